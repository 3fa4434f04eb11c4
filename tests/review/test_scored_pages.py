"""The view of scored candidates: the pick is that of the evaluation."""

import json
import re
from pathlib import Path

import pytest
from review_project import drawn_records, drawn_scores, review_config, served

from medprm.commands.review import open_project
from medprm.errors import InputError
from medprm.evaluation.scored import write_scored


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    write_scored(tmp_path / "scored.jsonl", drawn_scores(drawn_records(2)))
    return tmp_path / "scored.jsonl"


@pytest.mark.parametrize(
    ("metrics", "words", "pick"),
    [
        ({"aggregation": "last"}, "last of its step scores (chosen in metrics.json)", "0.900"),
        ({"aggregation": "min"}, "min of its step scores (chosen in metrics.json)", "0.200"),
        (None, "mean of its step scores (there is no metrics.json beside data.scored)", "0.537"),
    ],
)
def test_the_aggregation_is_that_of_the_evaluation(
    metrics: dict | None, words: str, pick: str, scored: Path, data: Path, tmp_path: Path
) -> None:
    if metrics:
        (scored.parent / "metrics.json").write_text(json.dumps(metrics))
    with served(review_config(data, tmp_path / "review", data={"scored": str(scored)})) as server:
        judith = server.client("judith")
        pages = [judith.get("/scored").text, judith.get("/scored/1").text]
        assert all(words in page for page in pages)
        assert f"<td>{pick}</td>" in pages[0]
        first = re.search(r"1\. score ([0-9.]+)", pages[1])
        assert first and first[1] == pick


def test_an_aggregation_that_nobody_knows_is_refused(scored: Path, data: Path, tmp_path: Path) -> None:
    (scored.parent / "metrics.json").write_text('{"aggregation": "median"}')
    with pytest.raises(InputError, match="expected one of mean, min"):
        open_project(review_config(data, tmp_path / "review", data={"scored": str(scored)}))
