"""The calibration map: range, order, the file beside the weights, and files that do not hold together."""

import json
from pathlib import Path

import numpy as np
import pytest

from medprm.errors import InputError
from medprm.scoring.calibration import FILE_NAME, Calibration, load_calibration, save_calibration

MAPS = [Calibration("temperature", 50, 2.5), Calibration("isotonic", 50, None, (0.1, 0.4, 0.9), (0.0, 0.5, 0.5))]


@pytest.mark.parametrize("calibration", MAPS, ids=lambda one: one.kind)
def test_a_map_keeps_range_and_order_and_survives_its_file(calibration: Calibration, tmp_path: Path) -> None:
    scores = np.linspace(0, 1, 101)
    found = calibration.apply(scores)
    assert found.min() >= 0 and found.max() <= 1
    assert (np.diff(found) >= 0).all()
    save_calibration(tmp_path, calibration)
    assert load_calibration(tmp_path) == calibration


def test_a_temperature_by_hand() -> None:
    assert Calibration("temperature", 1, 2.0).apply(np.array([0.8])) == pytest.approx([2 / 3])  # odds 4 -> 2
    assert Calibration("temperature", 1, 1.0).apply(np.array([0.3])) == pytest.approx([0.3])
    assert MAPS[1].apply(np.array([0.0, 0.25, 0.65, 1.0])) == pytest.approx([0, 0.25, 0.5, 0.5])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"kind": "platt", "num_steps": 3}, "temperature, isotonic"),
        ({"kind": "temperature", "num_steps": 3, "temperature": 0}, "above 0"),
        ({"kind": "isotonic", "num_steps": 3, "scores": [0.1, 0.1], "probabilities": [0, 1]}, "ascending"),
        ({"kind": "isotonic", "num_steps": 3, "scores": [0.1, 0.2], "probabilities": [0, 1.5]}, "0 to 1"),
        ({"kind": "temperature"}, "fit it again"),
        ([1], "expected an object"),
    ],
)
def test_a_file_that_does_not_hold_together_is_named(content: object, says: str, tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError, match=says):
        load_calibration(tmp_path)


def test_a_checkpoint_without_one_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="save_calibration=temperature"):
        load_calibration(tmp_path)
