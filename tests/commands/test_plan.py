"""`train.py plan=true`: counts that are exact, a table, and no trace of a run."""

import json
import sys
from pathlib import Path

import pytest
from small_run import MAX_ROW_TOKENS, train_config
from tiny import tiny_model

from medprm.commands import plan, train
from medprm.commands.entry import run_verb
from medprm.errors import InputError
from medprm.model.settings import ModelSettings, TuningSettings
from medprm.training.planning import PlanningSettings

CONF = Path(__file__).parents[2] / "conf"


def test_the_eight_billion_are_planned_from_the_command_line(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")  # a plan is no launch: nothing is refused for it
    arguments = ["+experiment=cxr", "scale=node8", "plan=true", f"data.path={records}", "planning.max_solutions=6"]
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments, "data.name=small"])
    assert run_verb("train", CONF) == 0
    shown = capsys.readouterr().out
    made = json.loads((tmp_path / "outputs" / "cxr" / "plan.json").read_text())
    assert made["parameters"]["total"] == 8_075_365_376 and "8,075,365,376" in shown
    assert made["stage"] == "zero3" and not made["memory_gib"]["none"]["fits"] and made["memory_gib"]["zero3"]["fits"]
    assert "activations*" in shown and "(* estimate)" in shown and "activations" in made["estimates"]
    assert made["activations_gib"]["with_checkpointing"] < made["activations_gib"]["without_checkpointing"]
    assert set(made["scales"]) == {"cluster", "gpu", "laptop", "node8"}
    assert made["scales"]["laptop"]["model"] == "tiny" and made["scales"]["gpu"]["tuning"] == "lora"
    assert made["lengths"]["num_sampled"] == 6 and "is an estimate" not in made["lengths"]["tokenizer"].split(":")[0]
    assert made["work"]["dollars"] == pytest.approx(made["work"]["hours"] * 8 * 2.5)


def test_lengths_are_those_that_training_sees(base: Path, records: Path, tmp_path: Path) -> None:
    config = train_config(base, records, tmp_path / "run", plan=True, training={"max_steps": 1})
    made = json.loads(plan.run(config, {}).read_text())
    config.plan = False
    train.run(config)  # the plan's file is not in its way
    counts = json.loads((tmp_path / "run" / "run.json").read_text())["counts"]["train"]
    lengths = made["lengths"]
    assert lengths["num_sampled"] == lengths["num_solutions"] == counts["num_solutions_read"]
    assert lengths["tokenizer"] == "the model's own"
    assert made["parameters"]["total"] == sum(one.numel() for one in tiny_model().parameters())
    # Every second image is wide: two tiles and a thumbnail.
    assert lengths["mean_tiles"] == 2 and lengths["max_row_tiles"] == 6
    assert (
        lengths["row_tokens"]
        <= lengths["padded_row_tokens"] + 1e-6
        <= 1e-6 + lengths["max_row_tokens"]
        <= MAX_ROW_TOKENS
    )
    assert lengths["row_tokens"] < 0.7 * lengths["solutions_per_row"] * lengths["mean_tokens"]
    assert f"in {round(24 / lengths['solutions_per_row'])} rows" in (tmp_path / "run" / "log.txt").read_text()
    assert (tmp_path / "run" / "plan.json").is_file()


def test_settings_change_the_plan(base: Path, records: Path, tmp_path: Path) -> None:
    def memory(**changes: object) -> dict:
        config = train_config(base, records, tmp_path / "run", **changes)
        return json.loads(plan.run(config, {"gpu": "refused for a reason"}).read_text())

    full, lora = memory(), memory(tuning=TuningSettings(kind="lora", r=2))
    four_bits = memory(
        tuning=TuningSettings(kind="qlora", r=2), training={"use_cpu": False}, planning=PlanningSettings(num_gpus=2)
    )
    rows = [one["memory_gib"]["none"] for one in (full, lora, four_bits)]
    assert rows[0]["optimizer"] > 5 * rows[1]["optimizer"]
    assert rows[1]["weights"] > 1.2 * rows[2]["weights"]
    assert lora["work"]["flops_per_step"] < full["work"]["flops_per_step"]
    assert full["scales"] == {"gpu": {"refused": "refused for a reason"}}
    over_all = memory(training={"loss": "full_vocabulary"})["logits_gib"]
    assert over_all["at_label_positions"] > 50 * full["logits_gib"]["at_label_positions"]
    tight = memory(planning=PlanningSettings(gpu_memory_gib=1e-3, reserve_gib=0))
    assert not tight["memory_gib"]["none"]["fits"]


def test_a_model_of_unknown_shape_is_refused(records: Path, tmp_path: Path) -> None:
    config = train_config(tmp_path, records, tmp_path / "run", model=ModelSettings(path="some/other"))
    with pytest.raises(InputError, match="its shape is not known"):
        plan.run(config, {})
