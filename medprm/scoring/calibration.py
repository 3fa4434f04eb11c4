"""A map from step scores to calibrated probabilities, kept as calibration.json beside the weights of a checkpoint.

In: scores in [0, 1]. Out: scores in [0, 1], in the same order (isotonic regression may make neighbours equal).
Two kinds: a temperature T, sigmoid(logit(p) / T), and isotonic regression, a table of knots joined by lines.
Sources: Guo et al. 2017 (temperature); Zadrozny and Elkan 2002 (isotonic).
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medprm.cases.atomic import replaced_file
from medprm.cases.parsing import parse_json
from medprm.errors import InputError
from medprm.scoring.settings import CALIBRATION_KINDS

FILE_NAME = "calibration.json"
LEAST = 1e-7


def logits(scores: np.ndarray) -> np.ndarray:
    """log p / (1 - p); scores nearer to 0 or 1 than `LEAST` count as that near."""
    clipped = np.clip(np.asarray(scores, dtype=np.float64), LEAST, 1 - LEAST)
    return np.log(clipped / (1 - clipped))


@dataclass(frozen=True)
class Calibration:
    """`temperature` > 0, or the knots of the isotonic map: `scores` ascending, `probabilities` not descending."""

    kind: str
    num_steps: int
    temperature: float | None = None
    scores: tuple[float, ...] = ()
    probabilities: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in CALIBRATION_KINDS:
            raise InputError(f"calibration kind {self.kind!r}; expected one of {', '.join(CALIBRATION_KINDS)}")
        if self.kind == "temperature" and not (self.temperature and 0 < self.temperature < float("inf")):
            raise InputError(f"calibration temperature {self.temperature!r}; expected a number above 0")
        if self.kind == "isotonic":
            is_table = len(self.scores) == len(self.probabilities) > 0
            if not is_table or np.any(np.diff(self.scores) <= 0) or np.any(np.diff(self.probabilities) < 0):
                raise InputError("isotonic calibration: expected as many probabilities as scores, both ascending")
            if not (self.probabilities[0] >= 0 and self.probabilities[-1] <= 1):
                raise InputError("isotonic calibration: expected probabilities from 0 to 1")

    def apply(self, scores: np.ndarray) -> np.ndarray:
        """Calibrated scores of the same shape, float64."""
        if self.kind == "isotonic":
            return np.interp(np.asarray(scores, dtype=np.float64), self.scores, self.probabilities)
        assert self.temperature is not None
        return 1 / (1 + np.exp(-logits(scores) / self.temperature))

    def as_json(self) -> dict[str, Any]:
        found = {name: value for name, value in asdict(self).items() if value not in (None, ())}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}


def save_calibration(folder: str | Path, calibration: Calibration) -> Path:
    """calibration.json in the folder of a checkpoint, written whole or not at all."""
    path = Path(folder) / FILE_NAME
    with replaced_file(path) as draft:
        draft.write_text(json.dumps(calibration.as_json(), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return path


def load_calibration(folder: str | Path) -> Calibration:
    """Of a checkpoint. InputError where it has none, or none that holds together."""
    path = Path(folder) / FILE_NAME
    if not path.is_file():
        raise InputError(
            f"{path}: no calibration is kept with this checkpoint; fit one first "
            "(python evaluate.py save_calibration=temperature), or leave out scoring.calibration"
        )
    found = parse_json(path.read_text(encoding="utf-8"), str(path))
    fields = {"kind", "num_steps", "temperature", "scores", "probabilities"}
    if not isinstance(found, dict) or not {"kind", "num_steps"} <= set(found) <= fields:
        raise InputError(f"{path}: expected an object with kind, num_steps and the map; fit it again")
    try:
        tables = {name: tuple(float(one) for one in found.get(name, ())) for name in ("scores", "probabilities")}
        return Calibration(found["kind"], found["num_steps"], found.get("temperature"), **tables)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: {error}; fit it again") from None
