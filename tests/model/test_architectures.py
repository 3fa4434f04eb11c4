"""Shapes without weights: the published number of parameters, from numbers or from a folder."""

import json
import math
from pathlib import Path

import pytest
from original import original_config, original_shapes
from small_run import write_base
from tiny import tiny_model

from medprm.errors import InputError
from medprm.model.architectures import architecture_of, count_parameters, meta_model
from medprm.model.lora import apply_lora
from medprm.model.settings import TuningSettings
from medprm.model.tuning import tuned


@pytest.mark.parametrize("name", ["OpenGVLab/InternVL2_5-8B", "OpenGVLab/InternVL2_5-8B-MPO-hf", "some/VisualPRM-8B"])
def test_the_eight_billion_are_counted_without_weights(name: str) -> None:
    counts = count_parameters(meta_model(architecture_of(name)))
    assert sum(part["total"] for part in counts.values()) == 8_075_365_376
    assert counts["vision"]["total"] == 304_012_288 and counts["projector"]["total"] == 33_570_816


def test_a_folder_says_its_own_shape(tmp_path: Path) -> None:
    counts = count_parameters(meta_model(architecture_of(write_base(tmp_path / "base"))))
    assert counts == count_parameters(tiny_model())


@pytest.mark.parametrize("family", ["internlm2", "qwen2"])
def test_a_folder_in_the_original_layout_says_its_shape(family: str, tmp_path: Path) -> None:
    config = original_config(family, "300m", 96)
    (tmp_path / "config.json").write_text(json.dumps(config))
    counts = count_parameters(meta_model(architecture_of(tmp_path)))
    assert sum(part["total"] for part in counts.values()) == sum(
        math.prod(shape) for shape in original_shapes(config).values()
    )


@pytest.mark.parametrize("name", ["OpenGVLab/VisualPRM-8B-v1_1", "some/other", "/no/such/folder"])
def test_an_unknown_shape_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"its shape is not known; .* model.path=FOLDER"):
        architecture_of(name)


def test_adapters_are_counted_on_the_meta_device() -> None:
    settings = TuningSettings(kind="lora", r=4)
    on_meta = meta_model(tiny_model().config)
    counts = count_parameters(tuned(on_meta, settings))
    assert counts == count_parameters(apply_lora(tiny_model(), settings))
    assert counts["text"]["trained"] > 0 and counts["vision"]["trained"] == 0
