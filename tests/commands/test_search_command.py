"""`search` from its settings to its files: every method and N, the same bytes again from what was drawn, mistakes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from small_run import SMALL

from medprm.cases.phantom.settings import PhantomSettings
from medprm.commands import search, seeds, train
from medprm.config import DataSettings, SearchConfig, TrainConfig
from medprm.errors import InputError
from medprm.evaluation.search_settings import SearchSettings
from medprm.model.settings import ModelSettings
from medprm.model.tiny import shipped_base
from medprm.training.settings import TrainingSettings

PHANTOM = PhantomSettings(0, 4, 2, 3, 2, 2, 2, 64)
NUM_CASES = 2


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> SearchConfig:
    """A search that has ended, by a PRM of one step on the shipped base."""
    output = tmp_path_factory.mktemp("outputs") / "run"
    data = DataSettings(phantom=PHANTOM)
    small = TrainingSettings(**{**SMALL, "max_steps": 1, "save_steps": 1})
    train.run(TrainConfig(output_dir=str(output), model=ModelSettings(str(shipped_base())), data=data, training=small))
    settings = SearchSettings(num_candidates=[4, 8], branch=2, num_solutions=4, num_orders=20)
    config = SearchConfig(
        output_dir=str(output), data=data, max_cases=NUM_CASES, search=settings, num_threads=1, num_bootstrap=100
    )
    search.run(config)
    return config


def files(config: SearchConfig) -> tuple[str, dict]:
    folder = Path(config.output_dir) / config.name
    return (folder / "searched.jsonl").read_text(), json.loads((folder / "search.json").read_text())


def test_every_case_is_there_by_every_method_and_n(found: SearchConfig) -> None:
    text, numbers = files(found)
    rows = [json.loads(line) for line in text.splitlines()]
    assert (
        len(rows) == NUM_CASES * 2 * 2 == len({(one["case_id"], one["method"], one["num_candidates"]) for one in rows})
    )
    assert all(one["num_tokens"] > 0 and one["num_scored"] > 0 for one in rows)
    wider = {(one["case_id"], one["method"]): one["num_tokens"] for one in rows if one["num_candidates"] == 8}
    for one in rows:
        assert one["num_candidates"] == 8 or one["num_tokens"] < wider[one["case_id"], one["method"]]
        assert one["best_of_n_tokens"] >= one["num_tokens"] or one["is_pool_short"]
    by_method = numbers["methods"]
    assert {name: set(by_size) for name, by_size in by_method.items()} == {"beam": {"4", "8"}, "dvts": {"4", "8"}}
    mine = [one["is_correct"] for one in rows if (one["method"], one["num_candidates"]) == ("beam", 8)]
    assert by_method["beam"]["8"]["search"]["value"] == sum(mine) / NUM_CASES
    assert "Phantom" in numbers["notes"]["data"]


def test_resumed_it_draws_nothing_and_gives_the_same_bytes(found: SearchConfig) -> None:
    folder = Path(found.output_dir) / found.name
    before, _ = files(found)
    drawn = json.loads((folder / "ledger.json").read_text())["stages"]
    assert drawn["search"]["num_finished"] > 0 and drawn["solutions"]["num_finished"] == NUM_CASES
    (folder / "searched.jsonl").unlink()
    search.run(replace(found, resume=True))
    assert files(found)[0] == before
    assert json.loads((folder / "ledger.json").read_text())["stages"] == drawn


def test_it_is_not_begun_over_another(found: SearchConfig) -> None:
    with pytest.raises(InputError, match="resume=true goes on with it, overwrite=true deletes it"):
        search.run(found)
    with pytest.raises(InputError, match="search.num_solutions"):
        search.run(replace(found, resume=True, search=replace(found.search, num_solutions=5)))


def test_seeds_wants_a_search_that_is_there(found: SearchConfig, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(seeds.read_search(Path(found.output_dir) / found.name)) == NUM_CASES * 2 * 2
    assert seeds.main([found.output_dir]) == 2
    assert "no evaluation/metrics.json; python evaluate.py run_name=run" in capsys.readouterr().err
    with pytest.raises(InputError, match="search first: python -m medprm.commands.search name=other"):
        seeds.read_search(Path(found.output_dir) / "other")
