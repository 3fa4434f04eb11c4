"""`train` for real on a model of two layers: what a run leaves, how it goes on, and each way of training."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from small_run import MAX_ROW_TOKENS, SIZES, train_arguments, train_config, write_records
from wandb_files import written

from medprm.cases.folder import open_data
from medprm.cases.jsonl import write_cases
from medprm.cases.schema import CaseSolutions, Solution
from medprm.commands import train
from medprm.commands.entry import run_verb
from medprm.config import LabelledSettings, TrackingSettings
from medprm.encoding import pixels
from medprm.encoding.settings import EncodingSettings, LabelSettings, TileSettings
from medprm.errors import InputError
from medprm.model import tree_attention
from medprm.model.loading import load_checkpoint
from medprm.model.settings import TuningSettings
from medprm.run import RunError
from medprm.scoring.aggregate import AGGREGATORS
from medprm.scoring.scorer import StepScorer
from medprm.training.settings import PackingSettings

ROOT = Path(__file__).parents[2]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoint" / "model.safetensors")


def test_a_run_leaves_what_repeats_it(trained: Path, records: Path) -> None:
    config = yaml.safe_load((trained / "config.yaml").read_text())
    assert config["training"]["max_steps"] == 6 and config["data"]["path"] == str(records)
    kept = json.loads((trained / "run.json").read_text())
    assert len(kept["data"]["hash"]) == 64 and kept["data"]["read"]["train"]["cases"] == SIZES["train"]
    assert kept["versions"]["torch"] == torch.__version__
    counts = kept["counts"]["train"]
    assert counts["num_solutions_kept"] + sum(counts["refused"].values()) == counts["num_solutions_read"] == 24
    assert {"config.yaml", "run.json", "log.txt", "metrics.jsonl", "preview.txt", "checkpoint"} <= {
        path.name for path in trained.iterdir()
    }


def test_metrics_are_logged_step_by_step(trained: Path) -> None:
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4, 5, 6]
    assert any("eval_macro_f1" in line and "eval_auroc" in line for line in lines)


def test_the_preview_shows_every_target(trained: Path) -> None:
    shown = (trained / "preview.txt").read_text()
    assert "[target +]" in shown and "### Solution Process:" in shown and "\033" not in shown


def test_the_checkpoint_scores_by_itself(trained: Path, records: Path) -> None:
    checkpoint = trained / "checkpoint"
    loaded = load_checkpoint(checkpoint)
    assert loaded.prm is not None
    assert 0 <= loaded.prm["threshold"] <= 1
    assert loaded.prm["aggregation"] in AGGREGATORS
    scorer = StepScorer.from_loaded(loaded, str(checkpoint))
    case, solutions = open_data(records).split("test")[0]
    scores = scorer.score(case, solutions, records)
    assert [len(row) for row in scores] == [len(one.solution_steps) for one in solutions]
    assert all(0 <= score <= 1 for row in scores for score in row)


def test_training_changes_the_weights_and_lowers_the_loss(trained: Path, base: Path) -> None:
    before = load_file(base / "model.safetensors")
    assert any(not torch.equal(before[name], value) for name, value in weights(trained).items())
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert float(losses[-1]) < float(losses[0])


def test_the_same_run_gives_the_same_weights(trained: Path, base: Path, records: Path, tmp_path: Path) -> None:
    train.run(train_config(base, records, tmp_path / "again"))
    first, second = weights(trained), weights(tmp_path / "again")
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_checkpoint_says_what_it_is(trained: Path) -> None:
    card = (trained / "checkpoint" / "README.md").read_text()
    prm = json.loads((trained / "checkpoint" / "medprm.json").read_text())
    counts = json.loads((trained / "run.json").read_text())["counts"]["train"]
    assert f"{counts['num_solutions_kept']:,} solutions, {counts['num_steps']:,} steps" in card
    assert f"from {prm['threshold']:.3f} on" in card and f"the {prm['aggregation']} of" in card
    assert all(f"`{text}` = {number}" in card for text, number in prm["label_tokens"].items())
    assert "not a medical device" in card and str(trained) not in card


def test_another_seed_gives_other_weights(trained: Path, base: Path, records: Path, tmp_path: Path) -> None:
    train.run(train_config(base, records, tmp_path / "other", training={"seed": 1}, seed=1))
    first, second = weights(trained), weights(tmp_path / "other")
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_a_killed_run_goes_on_to_the_same_weights(base: Path, records: Path, tmp_path: Path) -> None:
    """SIGKILL after the first checkpoint; resumed, bit for bit as the run that was not interrupted."""
    longer = {"max_steps": 80, "save_steps": 5}
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    command = [sys.executable, "train.py", *train_arguments(base, records, killed, longer)]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)
    wait_for(lambda: (killed / "checkpoint-5" / "trainer_state.json").is_file() or process.poll() is not None)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    assert not (killed / "checkpoint").exists()
    train.run(train_config(base, records, whole, training=longer))
    train.run(train_config(base, records, killed, training=longer, resume=True))
    first, second = weights(whole), weights(killed)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert "going on from" in (killed / "log.txt").read_text()
    steps = [json.loads(line) for line in (killed / "metrics.jsonl").read_text().splitlines()]
    assert [one["step"] for one in steps if "loss" in one] == list(range(1, 81)), "each step is logged once"


@pytest.mark.distributed
def test_two_processes_share_a_run(base: Path, records: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    starter = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*starter, "train.py", *train_arguments(base, records, output, {"per_device_train_batch_size": 2})],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads((output / "run.json").read_text())["num_processes"] == 2
    steps = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    assert [one["step"] for one in steps if "loss" in one] == [1, 2, 3, 4, 5, 6]
    assert (output / "log.txt").read_text().count("the trained PRM is in") == 1
    assert "threshold" in json.loads((output / "checkpoint" / "medprm.json").read_text())
    num_steps = sum(
        len(one.solution_steps) for item in open_data(records).split("validation") for one in item.solutions
    )
    scored_here = [int(total) for total in re.findall(r"scoring validation: +100%.*/(\d+)", done.stderr)]
    assert scored_here and 0 < scored_here[-1] < num_steps, "the first process scores its share alone"


def test_the_choice_on_validation_has_the_tiles_and_the_attention_of_training(
    base: Path, records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[Path] = []
    original = pixels.cut_tiles

    def count(data: bytes, path: Path, *how: Any, **named: Any) -> object:
        decoded.append(path)
        return original(data, path, *how, **named)

    def gathered(subtree_ends: torch.Tensor) -> None:
        raise AssertionError("packing.attention=mask gathers no keys")

    monkeypatch.setattr(pixels, "cut_tiles", count)
    monkeypatch.setattr(tree_attention, "tree_paths", gathered)
    packing = PackingSettings(max_row_tokens=MAX_ROW_TOKENS, attention="mask")
    tiles = TileSettings(folder=str(tmp_path / "tiles"), memory_mib=0)
    train.run(train_config(base, records, tmp_path / "run", packing=packing, tiles=tiles))
    assert len(decoded) == len(set(decoded)) == SIZES["train"] + SIZES["validation"]


def wait_for(condition: Callable[[], bool], timeout_seconds: float = 120.0) -> None:
    end = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def test_a_run_does_not_go_on_with_other_data(base: Path, tmp_path: Path) -> None:
    records = write_records(tmp_path / "set")
    config = train_config(base, records, tmp_path / "run", training={"max_steps": 1})
    train.run(config)
    lines = (records / "train.jsonl").read_text().splitlines(keepends=True)
    (records / "train.jsonl").write_text("".join(lines[:-1]))
    config.resume = True
    with pytest.raises(RunError, match="the data changed"):
        train.run(config)


def test_a_multirun_gives_each_job_a_folder(
    base: Path, records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [one for one in train_arguments(base, records, tmp_path) if not one.startswith("output_dir=")]
    monkeypatch.setattr(sys, "argv", ["train.py", "-m", "seed=0,1", "run_name=sweep", *given])
    assert run_verb("train", ROOT / "conf") == 0
    runs = [tmp_path / "outputs" / f"sweep_{number}" for number in range(2)]
    assert [yaml.safe_load((run / "config.yaml").read_text())["training"]["seed"] for run in runs] == [0, 1]
    assert all((run / "checkpoint" / "medprm.json").is_file() for run in runs)


def test_an_existing_run_is_refused(trained: Path, base: Path, records: Path) -> None:
    with pytest.raises(RunError, match=r"resume=true .* overwrite=true .* run_name="):
        train.run(train_config(base, records, trained))


@pytest.mark.parametrize("kind", ["outcome", "judge", "value", "advantage", "soft"])
def test_every_kind_of_label_trains(kind: str, base: Path, tmp_path: Path) -> None:
    records = write_records(tmp_path / "set")
    add_sources(records)
    labels = LabelSettings(kind=kind)
    train.run(train_config(base, records, tmp_path / "run", labels=labels, training={"max_steps": 2}))
    prm = json.loads((tmp_path / "run" / "checkpoint" / "medprm.json").read_text())
    assert list(prm["label_tokens"]) == (["+", "=", "-"] if kind == "advantage" else ["+", "-"])
    counts = json.loads((tmp_path / "run" / "run.json").read_text())["counts"]
    assert counts["train"]["num_solutions_kept"] > 0
    assert "=" not in counts["validation"]["steps_by_label"], "validation is judged by the truth"


def test_the_loss_is_over_the_whole_vocabulary_where_asked_for(
    trained: Path, base: Path, records: Path, tmp_path: Path
) -> None:
    train.run(train_config(base, records, tmp_path / "run", training={"loss": "full_vocabulary", "max_steps": 1}))
    first, own = (
        json.loads((run / "metrics.jsonl").read_text().splitlines()[0])["loss"] for run in (tmp_path / "run", trained)
    )
    assert float(first) > float(own) + 0.5, "the same first batch: a label is likelier among two tokens than among all"


def add_sources(records: Path) -> None:
    """Judge and Monte Carlo verdicts on every training step; validation and test have none, as in the phantom set."""
    generator = np.random.default_rng(0)
    lines = [json.loads(line) for line in (records / "train.jsonl").read_text().splitlines()]
    for step in (step for line in lines for step in line["solution_steps"]):
        num_correct = int(generator.integers(0, 9))
        step["sources"] = {
            "judge": [{"verdict": str(generator.choice(["correct", "incorrect"]))}],
            "monte_carlo": [{"num_correct": num_correct, "num_wrong": 8 - num_correct}],
        }
    (records / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_labels_of_an_annotation_run_take_the_place_of_the_splits(base: Path, records: Path, tmp_path: Path) -> None:
    chosen = open_data(records).split("train")[:2]
    relabelled = [CaseSolutions(item.case, [_all_incorrect(one) for one in item.solutions]) for item in chosen]
    write_cases(tmp_path / "labelled.jsonl", relabelled)
    found = {}
    for only in (False, True):
        config = train_config(base, records, tmp_path / f"run_{only}")
        config.labelled = LabelledSettings(path=str(tmp_path / "labelled.jsonl"), only=only)
        train.run(config)
        found[only] = json.loads((tmp_path / f"run_{only}" / "run.json").read_text())
    assert found[True]["counts"]["train"]["steps_by_label"].keys() == {"-"}
    assert found[True]["data"]["read"]["train"]["cases"] == 2
    assert found[False]["data"]["read"]["train"]["cases"] == SIZES["train"]
    assert {"+", "-"} <= found[False]["counts"]["train"]["steps_by_label"].keys()
    assert found[False]["data"]["labelled"] == str(tmp_path / "labelled.jsonl")
    write_cases(tmp_path / "labelled.jsonl", relabelled[:1])
    config = train_config(base, records, tmp_path / "run_True", resume=True)
    config.labelled = LabelledSettings(path=str(tmp_path / "labelled.jsonl"), only=True)
    with pytest.raises(RunError, match="the data changed"):
        train.run(config)


def _all_incorrect(one: Solution) -> Solution:
    steps = tuple(step.model_copy(update={"label": "incorrect"}) for step in one.solution_steps)
    return one.model_copy(update={"solution_steps": steps})


def test_lora_saves_a_plain_checkpoint(base: Path, records: Path, tmp_path: Path) -> None:
    tuning = TuningSettings(kind="lora", r=2, lora_alpha=4, lora_dropout=0.0)
    train.run(train_config(base, records, tmp_path / "run", tuning=tuning, training={"max_steps": 2}))
    before, after = load_file(base / "model.safetensors"), weights(tmp_path / "run")
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all("language_model" in name for name in changed)


def test_a_frozen_vision_tower_stays(base: Path, records: Path, tmp_path: Path) -> None:
    tuning = TuningSettings(freeze_vision=True)
    train.run(train_config(base, records, tmp_path / "run", tuning=tuning, training={"max_steps": 2}))
    before, after = load_file(base / "model.safetensors"), weights(tmp_path / "run")
    vision = [name for name in before if "vision_tower" in name]
    assert vision and all(torch.equal(before[name], after[name]) for name in vision)
    assert any(not torch.equal(before[name], after[name]) for name in before if "multi_modal_projector" in name)


def test_a_control_without_images_is_saved_as_such(base: Path, records: Path, tmp_path: Path) -> None:
    encoding = EncodingSettings(blank=["images"])
    train.run(train_config(base, records, tmp_path / "run", encoding=encoding, training={"max_steps": 1}))
    assert json.loads((tmp_path / "run" / "checkpoint" / "medprm.json").read_text())["encoding"]["blank"] == ["images"]


def test_without_validation_it_must_be_said(base: Path, tmp_path: Path) -> None:
    records = write_records(tmp_path / "set")
    (records / "validation.jsonl").unlink()
    with pytest.raises(InputError, match=r"no validation split .* training.eval_strategy=no"):
        train.run(train_config(base, records, tmp_path / "a"))
    train.run(train_config(base, records, tmp_path / "b", training={"eval_strategy": "no", "max_steps": 1}))
    assert "threshold" not in json.loads((tmp_path / "b" / "checkpoint" / "medprm.json").read_text())


def test_a_leak_between_splits_is_refused(base: Path, tmp_path: Path) -> None:
    records = write_records(tmp_path / "set")
    text = (records / "test.jsonl").read_text().replace("test_patient_0", "train_patient_0")
    (records / "test.jsonl").write_text(text)
    with pytest.raises(InputError, match="patient 'train_patient_0' lies in two splits"):
        train.run(train_config(base, records, tmp_path / "run"))


def test_deepspeed_without_the_package_says_how_to_get_it(
    base: Path, records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'medprm\[train\]'"):
        train.make_arguments(
            train_config(base, records, tmp_path, deepspeed={"zero_optimization": {"stage": 2}}), tmp_path
        )


def test_deepspeed_without_torchrun_says_how_to_start(
    base: Path, records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(InputError, match="start with torchrun --nproc_per_node"):
        train.make_arguments(
            train_config(base, records, tmp_path, deepspeed={"zero_optimization": {"stage": 2}}), tmp_path
        )


def test_an_offline_tracker_is_fed(base: Path, records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="tracking is an extra: pip install 'medprm[track]'")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "staging"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    tracking = TrackingSettings(wandb="offline", keep_checkpoint=True)
    train.run(train_config(base, records, tmp_path / "run", tracking=tracking, training={"max_steps": 2}))
    everything = written(tmp_path / "run" / "wandb", until=b"model.safetensors")
    assert b"opacity in" not in everything, "no clinical text is tracked"
    assert b"model.safetensors" in everything and b"medprm.json" in everything, "the checkpoint is kept"
