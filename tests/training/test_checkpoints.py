"""Only a complete checkpoint is resumed from."""

import json
import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from medprm.training.checkpoints import Writers, discard_newer, find_resumable, num_writers


def write(run: Path, step: int) -> Path:
    folder = run / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    save_file({"weight": torch.zeros(100)}, folder / "model.safetensors")
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        (folder / name).write_bytes(b"content")
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    return folder


def test_the_newest_number_wins_not_the_longest_name(tmp_path: Path) -> None:
    write(tmp_path, 9)
    newest = write(tmp_path, 100)
    write(tmp_path, 20)
    (tmp_path / "checkpoint-best").mkdir()
    assert find_resumable(tmp_path) == newest


def test_nothing_to_resume_from(tmp_path: Path) -> None:
    assert find_resumable(tmp_path) is None
    assert find_resumable(tmp_path / "absent") is None


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth"])
@pytest.mark.parametrize("damage", ["absent", "empty"])
def test_a_torn_checkpoint_is_skipped_with_a_warning(
    tmp_path: Path, name: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    older = write(tmp_path, 1)
    torn = write(tmp_path, 2)
    (torn / name).unlink()
    if damage == "empty":
        (torn / name).touch()
    with caplog.at_level(logging.WARNING):
        assert find_resumable(tmp_path) == older
    assert "checkpoint-2 is skipped" in caplog.text


@pytest.mark.parametrize("state", ['{"global_st', '{"global_step": 3}', "[]", "{}"])
def test_an_unreadable_or_foreign_state_is_skipped(tmp_path: Path, state: str) -> None:
    older = write(tmp_path, 1)
    (write(tmp_path, 2) / "trainer_state.json").write_text(state)
    assert find_resumable(tmp_path) == older


def test_cut_weights_are_skipped(tmp_path: Path) -> None:
    older = write(tmp_path, 1)
    weights = write(tmp_path, 2) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    assert find_resumable(tmp_path) == older


def test_a_missing_shard_is_skipped(tmp_path: Path) -> None:
    older = write(tmp_path, 1)
    torn = write(tmp_path, 2)
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002.safetensors"}}
    (torn / "model.safetensors.index.json").write_text(json.dumps(index))
    assert find_resumable(tmp_path) == older


def test_the_number_of_processes_must_match(tmp_path: Path) -> None:
    folder = write(tmp_path, 1)
    assert find_resumable(tmp_path, num_processes=2) is None
    for rank in range(2):
        (folder / f"rng_state_{rank}.pth").write_bytes(b"content")
    assert find_resumable(tmp_path, num_processes=2) == folder


def test_deepspeed_checkpoints_need_every_rank(tmp_path: Path) -> None:
    folder = write(tmp_path, 1)
    (folder / "latest").write_text("global_step1\n")
    states = folder / "global_step1"
    states.mkdir()
    assert find_resumable(tmp_path) is None
    (states / "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt").write_bytes(b"content")
    assert find_resumable(tmp_path) == folder


def write_by(run: Path, step: int, num_processes: int, num_found: int) -> Path:
    """A checkpoint of DeepSpeed that says who wrote it, with the files of `num_found` of them."""
    folder = write(run, step)
    (folder / "rng_state.pth").unlink()
    state = {"global_step": step, "stateful_callbacks": {"Writers": Writers(num_processes).state()}}
    (folder / "trainer_state.json").write_text(json.dumps(state))
    (folder / "latest").write_text(f"global_step{step}\n")
    (folder / f"global_step{step}").mkdir()
    for rank in range(num_found):
        (folder / f"rng_state_{rank}.pth").write_bytes(b"content")
        (folder / f"global_step{step}" / f"zero_pp_rank_{rank}_mp_rank_00_optim_states.pt").write_bytes(b"content")
    return folder


def test_complete_is_what_all_its_writers_have_written(tmp_path: Path) -> None:
    """Three of four processes had written when the run was killed: no whole checkpoint of three."""
    older = write_by(tmp_path, 1, num_processes=4, num_found=4)
    write_by(tmp_path, 2, num_processes=4, num_found=3)
    for num_processes in (1, 3, 4):
        assert find_resumable(tmp_path, num_processes) == older
    assert num_writers(older, default=1) == 4


def test_what_is_newer_than_the_start_is_removed(tmp_path: Path) -> None:
    older, torn = write(tmp_path, 1), write(tmp_path, 20)
    (tmp_path / "checkpoint").mkdir()
    discard_newer(tmp_path, older)
    assert older.is_dir() and not torn.exists() and (tmp_path / "checkpoint").is_dir()
    discard_newer(tmp_path, None)
    assert not older.exists()
