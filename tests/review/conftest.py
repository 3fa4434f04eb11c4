"""Servers to test against."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from review_project import Served, drawn_records, review_config, served, write_data

from medprm.review import accounts


@pytest.fixture(autouse=True, scope="session")
def quick_hashes() -> Iterator[None]:
    """Argon2id as it is, at the least cost: a tenth of a second for each account and login is what it is for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accounts, "_HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        yield


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for the tests of a module that leave it as it is."""
    folder = tmp_path_factory.mktemp("shared")
    path = write_data(folder / "data", drawn_records(4), size=32)
    with served(review_config(path, folder / "review")) as found:
        yield found


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """labelled.jsonl of four cases."""
    return write_data(tmp_path / "data", drawn_records(4), size=32)


@pytest.fixture
def server(data: Path, tmp_path: Path) -> Iterator[Served]:
    with served(review_config(data, tmp_path / "review")) as found:
        yield found
