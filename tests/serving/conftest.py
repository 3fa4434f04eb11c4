"""A scorer with random weights, cases with images, and the service on loopback in a thread of this process."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from small_run import train_config, write_base, write_records
from tiny import make_cases, tiny_encoder, tiny_loaded

from medprm.cases.schema import CaseSolutions
from medprm.clients.guard import Guard
from medprm.clients.settings import GuardSettings
from medprm.commands import train
from medprm.commands.serve import http_server, listen
from medprm.scoring.scorer import StepScorer
from medprm.serving.app import create_app
from medprm.serving.service import ScoringService
from medprm.serving.settings import ServingSettings

Serve = Callable[..., str]


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("images")


@pytest.fixture(scope="session")
def cases(image_folder: Path) -> list[CaseSolutions]:
    return make_cases(image_folder, 12, num_solutions=3)


@pytest.fixture(scope="session")
def scorer() -> StepScorer:
    return StepScorer(tiny_loaded(), tiny_encoder(), max_row_tokens=2000)


@contextmanager
def served(scorer: StepScorer, token: str | None = None, **settings: object) -> Iterator[str]:
    """The address of a service that listens until the context ends."""
    with ScoringService(scorer, ServingSettings(**settings), Guard(GuardSettings()), "tiny") as service:  # type: ignore[arg-type]
        listening = listen("127.0.0.1", 0)
        server = http_server(create_app(service, token))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 30
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        assert server.started
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


@pytest.fixture
def serve(scorer: StepScorer) -> Iterator[Serve]:
    with ExitStack() as opened:
        yield lambda **given: opened.enter_context(served(scorer, **given))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder after training."""
    folder = tmp_path_factory.mktemp("serving")
    train.run(train_config(write_base(folder / "base"), write_records(folder / "set"), folder / "run"))
    return folder / "run"
