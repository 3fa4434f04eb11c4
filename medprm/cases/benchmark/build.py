"""A benchmark put together from data folders: test first, then training cases that share nothing with it.

In: a recipe, data folders by the name of their set. Out: `Built`, cases by split under names of their own, where each
image lies, and what is missing. Test cases come from what each folder has as its test split (or validation, where the
recipe says so), official or drawn: `Built` says which. Training cases that share a patient, an image's pixels or a
question without image with a test or validation case are left out and counted. Where more is there than the quota, sets
are drawn from in turn.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from medprm.cases.benchmark.recipe import Recipe, Specialists
from medprm.cases.filters.cases import Held, hold, identity_of, leak, nothing_held
from medprm.cases.folder import DataFolder
from medprm.cases.schema import Case, CaseSolutions
from medprm.errors import InputError

SPLIT_OF_TEST = "test"


class Shortfall(NamedTuple):
    """One line of what was asked for: `found` of `quota`, by set, and sets of the recipe that were not given."""

    split: str
    part: str
    quota: int
    found: int
    by_set: dict[str, int]
    sets_not_given: list[str]

    @property
    def missing(self) -> int:
        return self.quota - self.found


class Cost(NamedTuple):
    """What the specialists of one domain take; `is_planned`: by the recipe's numbers, no solutions are there yet."""

    domain: str
    profession: str
    num_cases: int
    num_steps: int
    hours: float
    dollars: float
    is_planned: bool


class Source(NamedTuple):
    """A case and the set that it is of."""

    name: str
    item: CaseSolutions


@dataclass
class Built:
    """`splits` hold the cases under their new names; `images` says where the file of each new path lies."""

    splits: dict[str, list[CaseSolutions]] = field(default_factory=dict)
    images: dict[str, Path] = field(default_factory=dict)
    shortfall: list[Shortfall] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    # By set: official, drawn or not stated.
    split_origins: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "shortfall": [one._asdict() | {"missing": one.missing} for one in self.shortfall],
            "specialists": [one._asdict() for one in self.costs],
            "left_out_of_training": self.left_out,
            "split_of_sets": self.split_origins,
            "splits": {name: len(cases) for name, cases in self.splits.items()},
        }


def build(recipe: Recipe, folders: Mapping[str, DataFolder]) -> Built:
    """InputError where a set is given that the recipe does not name, or none at all."""
    unknown = [name for name in folders if name not in recipe.sets]
    if unknown or not folders:
        raise InputError(f"sets {unknown or 'none'}: expected some of {', '.join(recipe.sets)} (--set NAME=FOLDER)")
    generator = random.Random(recipe.seed)
    built = Built(split_origins={name: data.split_origin() for name, data in folders.items()})
    held = nothing_held(0.9)
    pools = {split: _pools(folders, split) for split in ("train", "validation", SPLIT_OF_TEST)}
    test: list[Source] = []
    for domain, part in recipe.evaluation.items():
        found = _draw(pools[part.split], part.modalities, part.sets, part.quota, generator)
        test += found
        built.shortfall.append(_line(SPLIT_OF_TEST, domain, part.quota, found, part.sets, folders))
        if part.specialists is not None:
            built.costs.append(_cost(domain, part.specialists, found, recipe))
    _hold(held, test, folders)
    validation: list[Source] = []
    for modality, part in recipe.train.items() if recipe.validation_quota else ():
        pool = _apart(pools["validation"], modality, held, folders, built.left_out)
        found = _draw(pool, [modality], part.sets, recipe.validation_quota, generator)
        validation += found
        built.shortfall.append(_line("validation", modality, recipe.validation_quota, found, part.sets, folders))
    _hold(held, validation, folders)
    train: list[Source] = []
    for modality, part in recipe.train.items():
        pool = _apart(pools["train"], modality, held, folders, built.left_out)
        found = _draw(pool, [modality], part.sets, part.quota, generator)
        train += found
        built.shortfall.append(_line("train", modality, part.quota, found, part.sets, folders))
    for split, sources in (("train", train), ("validation", validation), (SPLIT_OF_TEST, test)):
        built.splits[split] = [_renamed(one, split, folders[one.name].image_root, built.images) for one in sources]
    return built


def _pools(folders: Mapping[str, DataFolder], split: str) -> dict[str, list[CaseSolutions]]:
    return {name: data.split(split, require_steps=False) if data.has(split) else [] for name, data in folders.items()}


def _draw(
    pools: Mapping[str, Sequence[CaseSolutions]],
    modalities: Sequence[str],
    sets: Sequence[str],
    quota: int,
    generator: random.Random,
) -> list[Source]:
    """At most `quota` cases, one set after the other in turn, each in drawn order."""
    drawn: dict[str, list[CaseSolutions]] = {}
    for name in sets:
        members = [item for item in pools.get(name, ()) if item.case.modality in modalities]
        generator.shuffle(members)
        if members:
            drawn[name] = members
    found: list[Source] = []
    while len(found) < quota and any(drawn.values()):
        for name, members in drawn.items():
            if members and len(found) < quota:
                found.append(Source(name, members.pop()))
    return found


def _apart(
    pools: Mapping[str, Sequence[CaseSolutions]],
    modality: str,
    held: Held,
    folders: Mapping[str, DataFolder],
    left_out: dict[str, int],
) -> dict[str, list[CaseSolutions]]:
    """The cases of a modality that share nothing with what is held out."""
    kept: dict[str, list[CaseSolutions]] = defaultdict(list)
    for name, members in pools.items():
        for item in members:
            if item.case.modality != modality:
                continue
            reason = leak(item.case, identity_of(item.case, folders[name].image_root), held, name)
            if reason is None:
                kept[name].append(item)
            else:
                left_out[f"{name}: {reason}"] = left_out.get(f"{name}: {reason}", 0) + 1
    return kept


def _hold(held: Held, sources: Iterable[Source], folders: Mapping[str, DataFolder]) -> None:
    for name, item in sources:
        hold(held, item.case, folders[name].image_root, name)


def _line(
    split: str,
    part: str,
    quota: int,
    found: Sequence[Source],
    sets: Sequence[str],
    folders: Mapping[str, DataFolder],
) -> Shortfall:
    by_set = Counter(one.name for one in found)
    return Shortfall(split, part, quota, len(found), dict(by_set), [name for name in sets if name not in folders])


def _cost(domain: str, who: Specialists, found: Sequence[Source], recipe: Recipe) -> Cost:
    num_steps = sum(len(one.solution_steps) for _, item in found for one in item.solutions)
    is_planned = num_steps == 0
    if is_planned:
        num_steps = len(found) * recipe.solutions_a_case * recipe.steps_a_solution
    hours = num_steps * who.num_a_case * who.minutes_a_step / 60
    return Cost(domain, who.profession, len(found), num_steps, hours, hours * who.dollars_an_hour, is_planned)


def _renamed(source: Source, split: str, root: Path, images: dict[str, Path]) -> CaseSolutions:
    """The case under `SET-` and its own name: two sets may use the same. Image paths likewise, below images/SET/."""
    name, (case, solutions) = source
    changes: dict[str, Any] = {
        "case_id": f"{name}-{case.case_id}",
        "metadata": case.metadata.model_copy(update={"split": split, "source": case.metadata.source or name}),
    }
    if case.patient_id is not None:
        changes["patient_id"] = f"{name}-{case.patient_id}"
    moved = []
    for image in case.all_images:
        path = f"images/{name}/{image.path}"
        images[path] = root / image.path
        moved.append(image.model_copy(update={"path": path}))
    if case.image is not None:
        changes["image"] = moved[0]
    if case.images:
        changes["images"] = tuple(moved[1:] if case.image is not None else moved)
    return CaseSolutions(_copied(case, changes), solutions)


def _copied(case: Case, changes: Mapping[str, Any]) -> Case:
    return case.model_copy(update=dict(changes))
