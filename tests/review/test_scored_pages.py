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


def test_what_is_true_is_hidden_until_the_case_is_judged(scored: Path, data: Path, tmp_path: Path) -> None:
    (scored.parent / "metrics.json").write_text('{"aggregation": "last"}')  # by which every pick is wrong
    with served(review_config(data, tmp_path / "review", data={"scored": str(scored)})) as server:
        judith, ana = server.client("judith"), server.client("ana")
        for place in (1, 2):
            page = judith.get(f"/scored/{place}").text
            assert "pneumonia of the left lung" not in page and "still to be judged" in page
            assert not re.search("label: |✓|✗| · (right|wrong) · ", page)
        assert judith.get("/scored").text.count("after the review") == 2
        assert "case 1</a>" not in judith.get("/scored?show=wrong").text
        ana.judge()
        told = judith.get("/scored/1").text
        assert "pneumonia of the left lung" in told and "label: incorrect" in told and "wrong ·" in told
        assert "pneumonia of the left lung" not in judith.get("/scored/2").text
        assert "case 1</a>" in (listed := judith.get("/scored?show=wrong").text) and "case 2</a>" not in listed
    config = review_config(data, tmp_path / "early", data={"scored": str(scored)}, rules={"show_truth_early": True})
    with served(config) as server:
        judith = server.client("judith")
        assert "label: incorrect" in judith.get("/scored/2").text
        assert "case 2</a>" in judith.get("/scored?show=wrong").text


def test_an_aggregation_that_nobody_knows_is_refused(scored: Path, data: Path, tmp_path: Path) -> None:
    (scored.parent / "metrics.json").write_text('{"aggregation": "median"}')
    with pytest.raises(InputError, match="expected one of mean, min"):
        open_project(review_config(data, tmp_path / "review", data={"scored": str(scored)}))
