"""A run's folder: refused, resumed, deleted; what is kept of it; the laptop's scale on more than a laptop."""

import json
import logging
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from medprm.config import DataSettings, TrainConfig
from medprm.run import (
    RunError,
    check_launch,
    check_same_config,
    check_same_data,
    git_state,
    prepare_run_folder,
    provenance,
    read_run,
    save_config,
    save_run,
    set_seed_and_threads,
    start_log,
)
from medprm.training.settings import TrainingSettings


@pytest.fixture
def finished_run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    save_config(folder, TrainConfig())
    (folder / "metrics.jsonl").write_text("{}\n")
    return folder


def test_a_run_before_its_first_step_is_refused_too(finished_run: Path) -> None:
    """It may be running."""
    (finished_run / "metrics.jsonl").unlink()
    with pytest.raises(RunError, match="exists already"):
        prepare_run_folder(finished_run, resume=False, overwrite=False, ways_out="use overwrite=true")
    assert (finished_run / "config.yaml").is_file()


def test_a_new_folder_is_made(tmp_path: Path) -> None:
    prepare_run_folder(tmp_path / "a" / "b", resume=False, overwrite=False, ways_out="")
    assert (tmp_path / "a" / "b").is_dir()


def test_a_folder_that_exists_is_refused_with_the_ways_out(finished_run: Path) -> None:
    with pytest.raises(RunError, match=r"exists already; use resume=true"):
        prepare_run_folder(finished_run, resume=False, overwrite=False, ways_out="use resume=true")
    assert (finished_run / "config.yaml").is_file()


def test_overwrite_deletes_the_run(finished_run: Path) -> None:
    (finished_run / "checkpoint").mkdir()
    prepare_run_folder(finished_run, resume=False, overwrite=True, ways_out="")
    assert list(finished_run.iterdir()) == []


def test_overwrite_deletes_nothing_but_runs(finished_run: Path) -> None:
    # The folder that holds all runs, given by mistake.
    with pytest.raises(RunError, match="is not deleted"):
        prepare_run_folder(finished_run.parent, resume=False, overwrite=True, ways_out="")
    assert (finished_run / "config.yaml").is_file()


def test_resume_leaves_the_folder_as_it_is(finished_run: Path) -> None:
    prepare_run_folder(finished_run, resume=True, overwrite=False, ways_out="")
    assert (finished_run / "config.yaml").is_file()


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("x")
    with pytest.raises(RunError, match="a file is in the way"):
        prepare_run_folder(tmp_path / "run", resume=False, overwrite=True, ways_out="")


def test_only_the_first_process_touches_the_folder(finished_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    prepare_run_folder(finished_run, resume=False, overwrite=True, ways_out="")
    assert (finished_run / "config.yaml").is_file()


def test_the_saved_settings_are_the_resolved_ones(finished_run: Path) -> None:
    saved = yaml.safe_load((finished_run / "config.yaml").read_text())
    assert saved["training"]["weight_decay"] == 0.05 and saved["data"]["phantom"]["num_test_patients"] == 220


def test_a_run_goes_on_with_its_own_settings_only(finished_run: Path) -> None:
    check_same_config(finished_run, TrainConfig(resume=True, num_threads=1))
    other = TrainConfig(resume=True, training=TrainingSettings(learning_rate=0.5), data=DataSettings(path="elsewhere"))
    with pytest.raises(RunError) as caught:
        check_same_config(finished_run, other)
    assert "training.learning_rate was 1e-05, is 0.5" in str(caught.value)
    assert "data.path was None, is 'elsewhere'" in str(caught.value)
    with pytest.raises(RunError, match="seed was 0, is 1"):
        check_same_config(finished_run, replace(TrainConfig(), seed=1))


def test_a_run_goes_on_with_its_own_data_only(finished_run: Path) -> None:
    check_same_data(finished_run, "anything: the run was killed before it read the data")
    save_run(finished_run, data={"hash": "a" * 64})
    check_same_data(finished_run, "a" * 64)
    with pytest.raises(RunError, match="the data changed"):
        check_same_data(finished_run, "b" * 64)


def test_sections_of_run_json_are_kept(tmp_path: Path) -> None:
    save_run(tmp_path, first=1)
    save_run(tmp_path, second={"deep": 2})
    assert read_run(tmp_path) == {"first": 1, "second": {"deep": 2}}


def test_provenance_says_what_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["train.py", "model.path=https://me:secret@host/x", "seed=1"])
    kept = provenance()
    assert kept["versions"]["torch"] == torch.__version__
    assert kept["num_processes"] == 1
    assert "secret" not in json.dumps(kept["command"]) and "seed=1" in kept["command"]


def test_git_state_knows_a_dirty_checkout(tmp_path: Path) -> None:
    assert git_state(tmp_path) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    (tmp_path / "code.py").write_text("a = 1\n")
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"]):
        subprocess.run([*git, *arguments], check=True)
    clean = git_state(tmp_path)
    assert clean is not None and len(clean["commit"]) == 40 and clean["dirty"] is False
    (tmp_path / "code.py").write_text("a = 2\n")
    assert git_state(tmp_path) == clean | {"dirty": True}


def test_several_processes_at_the_laptop_scale_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(RunError, match=r"4 processes .* torchrun .* train.py \+experiment=cxr scale=node8"):
        check_launch("laptop", is_said=False, arguments=["train.py", "+experiment=cxr"])
    check_launch("laptop", is_said=True, arguments=["train.py"])
    check_launch("node8", is_said=False, arguments=["train.py"])


def test_a_gpu_at_the_laptop_scale_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(RunError, match=r"a GPU .* python train.py \+experiment=cxr scale=gpu"):
        check_launch("laptop", is_said=False, arguments=["train.py", "+experiment=cxr"])
    check_launch("laptop", is_said=True, arguments=["train.py"])


def test_the_log_holds_our_messages_and_the_warnings_of_libraries(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start_log(tmp_path)
    logging.getLogger("medprm.made_up").info("ours")
    logging.getLogger("made_up.library").warning("theirs")
    logging.getLogger("made_up.library").info("chatter")
    shown = capsys.readouterr().err
    assert "ours" in shown and "theirs" not in shown
    start_log(tmp_path / "..")  # another run in the same process
    logging.getLogger("medprm.made_up").info("later")
    assert capsys.readouterr().err.count("later") == 1
    kept = (tmp_path / "log.txt").read_text()
    assert "ours" in kept and "theirs" in kept and "chatter" not in kept and "later" not in kept


def test_the_seed_decides_every_generator() -> None:
    threads = torch.get_num_threads()
    set_seed_and_threads(3, 1)
    first = torch.rand(2)
    set_seed_and_threads(3, 1)
    assert torch.equal(first, torch.rand(2))
    assert torch.get_num_threads() == 1
    torch.set_num_threads(threads)
