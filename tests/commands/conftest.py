"""A base, records, and one finished run of each command, shared by the tests of a module."""

from pathlib import Path

import pytest
from small_run import evaluate_config, train_config, write_base, write_records

from medprm.commands import evaluate, train


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_records(tmp_path_factory.mktemp("records") / "set")


@pytest.fixture(scope="module")
def trained(base: Path, records: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder after training."""
    output = tmp_path_factory.mktemp("outputs") / "run"
    train.run(train_config(base, records, output))
    return output


@pytest.fixture(scope="module")
def evaluated(trained: Path, records: Path) -> Path:
    """The folder of its evaluation."""
    return evaluate.run(evaluate_config(records, trained))
