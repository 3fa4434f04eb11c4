"""NIH ChestX-ray14 (Wang et al., CVPR 2017): real radiographs, and solutions made by rule from their labels.

In: the folder of images and the table of labels (`nih64_pack.csv`: image, finding_labels, view, patient_id, age,
sex). Out: one case an image with NUM_SOLUTIONS solutions of three to five steps: the projection, the presence or
absence of one to three findings, the conclusion. **The labels are weak**: text-mined from reports, so a step that
contradicts them may be true of the film. The view is asked for, so it stands in the gold standard and not beside
the image, where a prompt could read it.

A right and a wrong step are the same sentences, and no sentence tells by itself whether it is right:

1. Every case has the same numbers of findings named (FINDINGS_PER_SOLUTION), so lengths tell nothing.
2. A solution for an abnormal film names as many of its findings as it has room for, and absent ones otherwise. Which
   absent ones is drawn so that each finding is named in the same proportion on films that have it and on films
   that do not.
3. Per finding, the numbers of "signs of X" and "no signs of X" are solved such that each of the two sentences is
   right at the same rate (`solve_counts`), and which of the films get which is drawn. The projection likewise.
4. A solution that states a finding concludes "abnormal". For the others the conclusion is drawn as in 3, apart for
   each number of findings named, so that the preceding sentences do not tell either.

All this is done inside each split (`metadata.split`; by patient, and of many draws the one with the most even shares
of PA and abnormal films): balanced over all films together, a sentence that is right too often in training would be
right too rarely in the test. What is left: on films without findings right steps are likelier, which only the image
shows, and a conclusion after a stated finding is right somewhat oftener than others (0.74 against 0.67).
"""

import csv
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar, get_args

from medprm.cases.parsing import RecordError
from medprm.cases.schema import (
    AnnotationMetadata,
    Case,
    CaseSolutions,
    Category,
    ClinicalContext,
    GoldStandard,
    Image,
    Label,
    Metadata,
    RuleVerdict,
    Solution,
    Sources,
    SplitName,
    Step,
)
from medprm.cases.splits import SHARES, split_by_patient

T = TypeVar("T")

RULE = "nih14_labels"
QUESTION = "What does this chest radiograph show?"
ABNORMAL, NORMAL = "abnormal", "no finding"
NO_FINDING = "No Finding"
FINDING_TEXTS = {
    "Atelectasis": "atelectasis",
    "Cardiomegaly": "cardiomegaly",
    "Consolidation": "consolidation",
    "Edema": "pulmonary edema",
    "Effusion": "pleural effusion",
    "Emphysema": "emphysema",
    "Fibrosis": "fibrosis",
    "Hernia": "a hernia",
    "Infiltration": "infiltration",
    "Mass": "a mass",
    "Nodule": "a nodule",
    "Pleural_Thickening": "pleural thickening",
    "Pneumonia": "pneumonia",
    "Pneumothorax": "pneumothorax",
}
PROJECTION_TEXTS = {"PA": "posteroanterior (PA)", "AP": "anteroposterior (AP)"}
COLUMNS = ("image", "finding_labels", "view", "patient_id", "age", "sex")

NUM_DRAWS = 100
NUM_SOLUTIONS = 8
FINDINGS_PER_SOLUTION = (1, 1, 1, 1, 1, 1, 2, 3)
# Two thirds of the films are PA: a lower rate could be had only by never saying AP.
PROJECTION_RATE = 0.72
STEP_RATE = 0.67


class Film(NamedTuple):
    """One row of the table."""

    image: str
    findings: frozenset[str]
    view: str
    patient_id: str
    age: int
    sex: str

    @property
    def is_abnormal(self) -> bool:
        return bool(self.findings)


@dataclass
class Draft:
    """A solution in the making. Findings named: name -> what is said of it, True for present."""

    film: Film
    num_findings: int
    said: dict[str, bool | None] = field(default_factory=dict)
    projection: str = ""
    conclusion: str = ""

    @property
    def states_a_finding(self) -> bool:
        return any(self.said.values())


class Counts(NamedTuple):
    """How many true and false instances of a proposition are asserted; the others are denied."""

    true_asserted: int
    false_asserted: int


def read_nih(folder: str | Path, seed: int = 0, table: str | Path | None = None) -> list[CaseSolutions]:
    """Cases with solutions for all films of `table` (default: `splits/nih64_pack.csv` beside `folder`).

    Image paths are relative to `folder`, which holds `images/`. The same seed gives the same splits and solutions.
    """
    folder = Path(folder)
    films = read_films(Path(table) if table else folder.parent / "splits" / "nih64_pack.csv")
    for film in films:
        if not (folder / "images" / film.image).is_file():
            raise RecordError(f"{folder / 'images' / film.image}: no such image; the table names it")
    bare_cases = [CaseSolutions(_case(film), []) for film in films]
    made: dict[str, CaseSolutions] = {}
    for split, inside in _split_films(films, bare_cases, seed).items():
        rng = random.Random(f"{seed} {split}")
        made |= {item.case.case_id: item for item in _make_solutions(inside, split, rng)}
    return [made[item.case.case_id] for item in bare_cases]


def read_films(table: Path) -> list[Film]:
    """The rows of the table of labels. RecordError names the line and the value."""
    if not table.is_file():
        raise RecordError(f"{table}: no such file; expected the table of labels with columns {', '.join(COLUMNS)}")
    with open(table, encoding="utf-8", newline="") as lines:
        rows = csv.DictReader(lines)
        missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
        if missing:
            raise RecordError(f"{table}: no column {missing[0]!r}; expected {', '.join(COLUMNS)}")
        films = [_film(row, f"{table}:{rows.line_num}") for row in rows]
    twice = [name for name, count in Counter(film.image for film in films).items() if count > 1]
    if twice or not films:
        raise RecordError(f"{table}: {f'image {twice[0]} stands twice' if twice else 'no rows'}; expected one a film")
    return films


def solve_counts(num_true: int, num_false: int, rate: float) -> Counts:
    """How often to assert and to deny a proposition so that both sentences are right at `rate` (0.5 < rate < 1).

    With u the share asserted and f the share of instances where it is false, both are right equally often when
    u = (rate - f) / (2 rate - 1). Where that lies outside 0..1 only one of the sentences is used, right at the rate
    that the labels give.
    """
    total = num_true + num_false
    share_false = num_false / total
    share_asserted = min(1.0, max(0.0, (rate - share_false) / (2 * rate - 1)))
    num_asserted = round(share_asserted * total)
    true_asserted = min(num_true, max(num_asserted - num_false, round(rate * num_asserted)))
    if share_asserted in (0.0, 1.0):
        true_asserted = num_true if share_asserted else 0
    return Counts(true_asserted, num_asserted - true_asserted)


def _split_films(films: list[Film], bare_cases: list[CaseSolutions], seed: int) -> dict[SplitName, list[Film]]:
    """Films by split: of NUM_DRAWS draws of the patients the one with the most even shares of PA and abnormal films."""
    film_of = {_case_id(film): film for film in films}
    draws = (split_by_patient(bare_cases, SHARES, seed * NUM_DRAWS + draw) for draw in range(NUM_DRAWS))
    candidates = (
        {name: [film_of[item.case.case_id] for item in members] for name, members in draw.items()} for draw in draws
    )
    best = min(candidates, key=lambda splits: _unevenness(list(splits.values())))
    return {name: best[name] for name in get_args(SplitName)}


def _unevenness(splits: list[list[Film]]) -> float:
    """The larger of two spreads between the splits: of the share of PA films and of that of abnormal ones."""
    pa_shares = [sum(film.view == "PA" for film in split) / len(split) for split in splits]
    abnormal_shares = [sum(film.is_abnormal for film in split) / len(split) for split in splits]
    return max(max(shares) - min(shares) for shares in (pa_shares, abnormal_shares))


def _make_solutions(films: list[Film], split: SplitName, rng: random.Random) -> list[CaseSolutions]:
    drafts = [Draft(film, number) for film in films for number in _shuffled(FINDINGS_PER_SOLUTION, rng)]
    _name_findings(drafts, rng)
    _state_findings(drafts, rng)
    _state_projections(drafts, rng)
    _conclude(drafts, rng)
    made: list[CaseSolutions] = []
    for start, film in zip(range(0, len(drafts), NUM_SOLUTIONS), films, strict=True):
        own = drafts[start : start + NUM_SOLUTIONS]
        solutions = [_solution(draft, f"{_case_id(film)}_{place}", rng) for place, draft in enumerate(own)]
        made.append(CaseSolutions(_case(film, split), solutions))
    return made


def _name_findings(drafts: list[Draft], rng: random.Random) -> None:
    """Choose the findings that each solution speaks of: present ones first, then absent ones by quota."""
    for draft in drafts:
        present = sorted(draft.film.findings)
        named = rng.sample(present, min(len(present), draft.num_findings))
        draft.said = dict.fromkeys(named)
    num_present = Counter(name for draft in drafts for name in draft.said)
    num_open = sum(draft.num_findings - len(draft.said) for draft in drafts)
    # Every finding gets absent mentions in proportion to its present ones.
    # One that no film of the split has is not named at all.
    quota = {name: num_open * num_present[name] / sum(num_present.values()) for name in FINDING_TEXTS}
    for draft in _shuffled(drafts, rng):
        while len(draft.said) < draft.num_findings:
            free = [name for name in FINDING_TEXTS if name not in draft.film.findings and name not in draft.said]
            # The small floor keeps the draw possible when the quotas of all free findings are used up.
            name = rng.choices(free, weights=[max(quota[name], 1e-6) for name in free])[0]
            quota[name] -= 1
            draft.said[name] = None


def _state_findings(drafts: list[Draft], rng: random.Random) -> None:
    for name in FINDING_TEXTS:
        speaking = [draft for draft in drafts if name in draft.said]
        asserting = _choose_asserting(speaking, {id(d): name in d.film.findings for d in speaking}, STEP_RATE, rng)
        for draft in speaking:
            draft.said[name] = id(draft) in asserting


def _state_projections(drafts: list[Draft], rng: random.Random) -> None:
    asserting = _choose_asserting(drafts, {id(d): d.film.view == "PA" for d in drafts}, PROJECTION_RATE, rng)
    for draft in drafts:
        draft.projection = "PA" if id(draft) in asserting else "AP"


def _conclude(drafts: list[Draft], rng: random.Random) -> None:
    open_drafts: defaultdict[int, list[Draft]] = defaultdict(list)
    for draft in drafts:
        if draft.states_a_finding:
            draft.conclusion = ABNORMAL
        else:
            open_drafts[draft.num_findings].append(draft)
    for group in open_drafts.values():
        asserting = _choose_asserting(group, {id(d): d.film.is_abnormal for d in group}, STEP_RATE, rng)
        for draft in group:
            draft.conclusion = ABNORMAL if id(draft) in asserting else NORMAL


def _choose_asserting(drafts: list[Draft], is_true: Mapping[int, bool], rate: float, rng: random.Random) -> set[int]:
    """The ids of the drafts that assert the proposition, which `is_true` for some of them."""
    true = _shuffled([draft for draft in drafts if is_true[id(draft)]], rng)
    false = _shuffled([draft for draft in drafts if not is_true[id(draft)]], rng)
    if not drafts:
        return set()
    counts = solve_counts(len(true), len(false), rate)
    return {id(draft) for draft in true[: counts.true_asserted] + false[: counts.false_asserted]}


def _shuffled(items: Iterable[T], rng: random.Random) -> list[T]:
    shuffled = list(items)
    rng.shuffle(shuffled)
    return shuffled


def _case_id(film: Film) -> str:
    return f"nih_{Path(film.image).stem}"


def _case(film: Film, split: SplitName | None = None) -> Case:
    answer = ABNORMAL if film.is_abnormal else NORMAL
    return Case(
        case_id=_case_id(film),
        patient_id=f"nih_{film.patient_id}",
        modality="chest_xray",
        metadata=Metadata(
            source="NIH ChestX-ray14, 64 x 64",
            licence="NIH: unrestricted use with link, citation and acknowledgement",
            split=split,
            extra={"labels": "weak: text-mined from reports"},
        ),
        clinical_context=ClinicalContext(age=film.age, sex=film.sex),
        image=Image(path=f"images/{film.image}"),
        question=QUESTION,
        options=(ABNORMAL, NORMAL),
        gold_standard=GoldStandard(findings=tuple(sorted(film.findings)), answer=answer, extra={"view": film.view}),
    )


def _solution(draft: Draft, solution_id: str, rng: random.Random) -> Solution:
    film = draft.film
    steps = [
        _step(
            0,
            "observation",
            f"The projection is {PROJECTION_TEXTS[draft.projection]}.",
            draft.projection == film.view,
        )
    ]
    for name in _shuffled(draft.said, rng):
        sign = "signs" if draft.said[name] else "no signs"
        is_right = draft.said[name] == (name in film.findings)
        steps.append(_step(len(steps), "observation", f"There are {sign} of {FINDING_TEXTS[name]}.", is_right))
    is_correct = (draft.conclusion == ABNORMAL) == film.is_abnormal
    steps.append(
        _step(len(steps), "diagnosis", f"This concludes the reading. The answer is: {draft.conclusion}.", is_correct)
    )
    return Solution(
        solution_id=solution_id,
        generator="nih14_sentences",
        answer=draft.conclusion,
        is_correct=is_correct,
        solution_steps=tuple(steps),
        annotation_metadata=AnnotationMetadata(primary_annotator=RULE, total_steps=len(steps)),
    )


def _step(place: int, category: Category, content: str, is_right: bool) -> Step:
    label: Label = "correct" if is_right else "incorrect"
    return Step(
        step_id=place,
        category=category,
        content=content,
        label=label,
        annotation_method="rule",
        sources=Sources(rule=(RuleVerdict(verdict=label, rule=RULE),)),
    )


def _film(row: Mapping[str, str], where: str) -> Film:
    if any(not row.get(name) for name in COLUMNS):
        raise RecordError(f"{where}: an empty cell; expected values for {', '.join(COLUMNS)}")
    findings = frozenset(row["finding_labels"].split("|"))
    unknown = findings - FINDING_TEXTS.keys() - {NO_FINDING}
    if unknown or (NO_FINDING in findings and len(findings) > 1):
        raise RecordError(f"{where}: finding_labels {row['finding_labels']!r}; expected NIH's findings or {NO_FINDING}")
    if row["view"] not in PROJECTION_TEXTS:
        raise RecordError(f"{where}: view {row['view']!r}; expected PA or AP")
    if not row["age"].isdecimal() or int(row["age"]) > 120:
        raise RecordError(f"{where}: age {row['age']!r}; expected years from 0 to 120")
    return Film(row["image"], findings - {NO_FINDING}, row["view"], row["patient_id"], int(row["age"]), row["sex"])
