"""`train` on several sets: what is kept of the mix, streaming, selection, resuming, two processes, refusals."""

import json
import shutil
from pathlib import Path

import pytest
from small_run import train_arguments, train_config, write_base, write_records
from test_train_interrupted import cut_after, finished, largest_difference, losses, program

from medprm.cases.jsonl import read_cases, write_cases
from medprm.commands import train
from medprm.errors import InputError
from medprm.run import RunError
from medprm.training.settings import MixSettings, SelectionSettings


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base and two sets whose cases have the same names."""
    folder = tmp_path_factory.mktemp("mix")
    write_base(folder / "base")
    for name, seed in (("first", 0), ("second", 50)):
        (folder / name).mkdir()
        write_records(folder / name, seed=seed)
    return folder


def mix(inputs: Path, **changes: object) -> MixSettings:
    fields = {"sets": {"second": str(inputs / "second")}, "weights": {"second": 0.5}, "upsample_incorrect": 2.0}
    return MixSettings(**(fields | changes))  # type: ignore[arg-type]


def test_streaming_trains_the_same_weights_and_a_cut_run_goes_on_to_them(inputs: Path, tmp_path: Path) -> None:
    common = (inputs / "base", inputs / "first")
    train.run(train_config(*common, tmp_path / "whole", mix=mix(inputs)))
    train.run(train_config(*common, tmp_path / "streamed", mix=mix(inputs, streaming=True)))
    assert largest_difference(tmp_path / "whole", tmp_path / "streamed") == 0.0
    cut = cut_after(tmp_path / "streamed", 2, tmp_path / "cut")
    train.run(train_config(*common, cut, mix=mix(inputs, streaming=True), resume=True))
    assert largest_difference(tmp_path / "streamed", cut) == 0.0
    assert losses(cut) == losses(tmp_path / "streamed")
    kept = json.loads((cut / "run.json").read_text())
    assert {one["name"] for one in kept["mix"]} == {"small", "second"}
    assert kept["counts"]["train"]["num_solutions_kept"] == 48 == sum(one["num_solutions"] for one in kept["mix"])
    assert any(one["num_left_out"] for one in kept["mix"]) and "second" in kept["data"]["mixed_in"]


def test_another_mixed_in_set_is_other_data(inputs: Path, tmp_path: Path) -> None:
    shutil.copytree(inputs / "second", tmp_path / "second")
    settings = mix(inputs, sets={"second": str(tmp_path / "second")})
    train.run(train_config(inputs / "base", inputs / "first", tmp_path / "run", mix=settings))
    cases = read_cases(tmp_path / "second" / "train.jsonl")
    write_cases(tmp_path / "second" / "train.jsonl", cases[1:])
    with pytest.raises(RunError, match="the data changed"):
        train.run(train_config(inputs / "base", inputs / "first", tmp_path / "run", mix=settings, resume=True))


def test_selection_is_by_set_and_kept_in_run_json(inputs: Path, tmp_path: Path) -> None:
    chosen = SelectionSettings("random", 0.5)
    fields = {"mix": mix(inputs, streaming=True), "selection": chosen}
    train.run(train_config(inputs / "base", inputs / "first", tmp_path / "run", **fields))
    kept = json.loads((tmp_path / "run" / "run.json").read_text())
    assert kept["selection"]["second"]["num_kept"] == kept["selection"]["small"]["num_kept"] == {"made up": 12}
    assert kept["counts"]["train"]["num_solutions_kept"] == 24


def test_an_image_of_the_test_split_is_not_trained_on_under_another_name(inputs: Path, tmp_path: Path) -> None:
    shutil.copytree(inputs / "second", tmp_path / "second")
    shutil.copyfile(inputs / "first" / "test" / "1.png", tmp_path / "second" / "train" / "3.png")
    settings = mix(inputs, sets={"second": str(tmp_path / "second")})
    with pytest.raises(InputError, match=r"mix.sets.second case train_case_3: image .*3.png is .*1.png of validation"):
        train.run(train_config(inputs / "base", inputs / "first", tmp_path / "run", mix=settings))


def test_labels_laid_over_a_stream_are_refused(inputs: Path, tmp_path: Path) -> None:
    from medprm.config import LabelledSettings

    with pytest.raises(InputError, match="labels of another file are laid over cases in memory"):
        train_config(
            inputs / "base",
            inputs / "first",
            tmp_path,
            mix=MixSettings(streaming=True),
            labelled=LabelledSettings("x.jsonl"),
        )


@pytest.mark.distributed
def test_two_processes_train_as_one_does(inputs: Path, tmp_path: Path) -> None:
    plain = {"optim": "sgd", "lr_scheduler_type": "constant", "warmup_steps": 0.0, "max_grad_norm": 0.0, "max_steps": 3}
    given = [f"+mix.sets.second={inputs / 'second'}", "+mix.weights.second=0.5", "mix.streaming=true"]

    def arguments(output: str, training: dict[str, object]) -> list[str]:
        common = train_arguments(inputs / "base", inputs / "first", tmp_path / output, training | plain)
        return [one for one in common if not one.startswith("training.optim=adamw")] + given

    alone, shared = ({"per_device_train_batch_size": size, "eval_strategy": "no"} for size in (2, 1))
    runs = [program(0, *arguments("one", alone)), program(2, *arguments("two", shared))]
    for name, process in zip(("one", "two"), runs, strict=True):
        finished(process, tmp_path / name / "checkpoint" / "medprm.json")
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    # Measured 2e-7: the order of sums differs between one process and two.
    assert one.keys() == two.keys() == {1, 2, 3} and all(abs(one[step] - two[step]) < 1e-5 for step in one)
    assert largest_difference(tmp_path / "one", tmp_path / "two") < 1e-5
    rows = [json.loads((tmp_path / name / "run.json").read_text())["rows"] for name in ("one", "two")]
    assert rows[0]["num_rows"] == rows[1]["num_rows"] and rows[0]["num_repeated_an_epoch"] == 0
    assert rows[1]["num_repeated_an_epoch"] == rows[1]["num_rows"] % 2


@pytest.mark.parametrize(("num", "size", "processes", "repeated"), [(7, 2, 2, 1), (8, 2, 2, 0), (9, 1, 4, 3)])
def test_rows_that_an_epoch_shows_twice_are_counted(num: int, size: int, processes: int, repeated: int) -> None:
    """As many as accelerate's sampler, which deals the batches out, really repeats."""
    from accelerate.data_loader import BatchSamplerShard
    from torch.utils.data import BatchSampler

    batches = BatchSampler(range(num), size, drop_last=False)
    dealt = [
        index for rank in range(processes) for batch in BatchSamplerShard(batches, processes, rank) for index in batch
    ]
    assert train.row_counts(num, size, 1)["num_repeated_an_epoch"] == 0
    assert len(dealt) - num == repeated and set(dealt) == set(range(num))
    assert train.row_counts(num, size, processes) == {"num_rows": num, "num_repeated_an_epoch": repeated}
