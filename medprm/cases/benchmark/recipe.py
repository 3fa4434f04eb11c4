"""The recipe of a benchmark: how many cases of what, from which sets, read by whom.

In: a YAML file (conf/recipe/). Out: a frozen, checked `Recipe`.
"""

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medprm.cases.schema import Modality, Text
from medprm.errors import InputError

Positive = Annotated[int, Field(ge=1)]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Specialists(_Frozen):
    """Who reads every step of a case, how many of them, how long a step takes and what an hour costs."""

    profession: Text
    num_a_case: Positive = 2
    minutes_a_step: Annotated[float, Field(gt=0)] = 1.0
    dollars_an_hour: Annotated[float, Field(ge=0)] = 37.0


class TrainQuota(_Frozen):
    """Training cases of one modality."""

    quota: Positive
    sets: tuple[Text, ...]


class EvaluationQuota(_Frozen):
    """Test cases of one domain; without specialists nobody is to read them and they cost nothing."""

    quota: Positive
    modalities: tuple[Modality, ...]
    sets: tuple[Text, ...]
    specialists: Specialists | None = None
    # The split of their folders that they are drawn from: `validation` for sets whose test answers are not published.
    split: Literal["validation", "test"] = "test"


class Recipe(_Frozen):
    """A benchmark; `version` is of the release that a build of it becomes."""

    name: Text
    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]
    seed: int = 0
    train: dict[Modality, TrainQuota] = {}
    evaluation: dict[str, EvaluationQuota]
    # Validation cases of each training modality.
    validation_quota: Annotated[int, Field(ge=0)] = 0
    # What the cost of the specialists is reckoned with until solutions are there.
    solutions_a_case: Positive = 4
    steps_a_solution: Positive = 6

    @property
    def sets(self) -> list[str]:
        """Every set that is named, in order."""
        parts = [*self.train.values(), *self.evaluation.values()]
        return list(dict.fromkeys(name for part in parts for name in part.sets))


def read_recipe(path: Path) -> Recipe:
    """InputError names the file, the place and the value."""
    if not path.is_file():
        raise InputError(f"{path}: no such recipe; expected a file like conf/recipe/medprm_v1.yaml, or its name")
    try:
        return Recipe.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(one) for one in first["loc"])
        raise InputError(f"{path}: {place or 'the recipe'}: {first['msg']}; given {first['input']!r:.80}") from None
