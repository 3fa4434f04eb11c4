"""What leaves and enters a review, and that what leaves can be trained on."""

import csv
import io
import json
import logging
import sqlite3
from pathlib import Path

import pytest
from review_project import Served, drawn_records, opened, review_config, served, write_data
from small_run import train_config, write_base, write_records

from medprm.annotation.expert_files import read_expert_file
from medprm.annotation.expert_queue import StepKey
from medprm.annotation.settings import ConsensusSettings
from medprm.cases.jsonl import read_records
from medprm.cases.schema import ExpertVerdict, Record, Step
from medprm.commands import review, train
from medprm.config import LabelledSettings
from medprm.errors import InputError
from medprm.review.database import FILE, Database
from medprm.review.exchange import (
    EXPORTS,
    expert_verdicts,
    import_verdicts,
    label_studio_config,
    merged_records,
    num_open_disputes,
)
from medprm.review.progress import experts

STEP = StepKey("case-0", "case-0-0", 2)


def disputed(server: Served) -> None:
    """Ana and Ben read every case and differ on step 2; Judith decides the first case."""
    ana, ben, judith = (server.client(name) for name in ("ana", "ben", "judith"))
    while ana.judge(verdict="correct", note="=1+1"):
        pass
    said = {"error_kind": "perception", "severity": "major", "note": "No."}
    while (view := ben.next())["turn"]:
        turn = view["turn"]["id"]
        for step in range(4):
            given = ben.say(turn, step, "incorrect", **said) if step == 2 else ben.say(turn, step)
            assert given.status_code == 200
        assert ben.post(f"/api/turn/{turn}/finish").status_code == 200
    judith.judge("adjudicate", "incorrect", note="The border is lost.")


@pytest.fixture
def reviewed(data: Path, tmp_path: Path):
    with served(review_config(data, tmp_path / "review", rules={"overlap": 1.0})) as server:
        disputed(server)
        yield server


def exported(server: Served, name: str) -> str:
    answer = server.client("root").get(f"/export/{name}")
    assert answer.status_code == 200 and "attachment" in answer.headers["content-disposition"]
    return answer.text


def test_json_lines_come_back_as_they_went(reviewed: Served, tmp_path: Path) -> None:
    (tmp_path / "experts.jsonl").write_text(exported(reviewed, "experts.jsonl"))
    said = read_expert_file(tmp_path / "experts.jsonl")
    assert said == expert_verdicts(reviewed.project.assignment)
    assert len(said) == 16 and sum(map(len, said.values())) == 33
    decided = said[StepKey("case-0", "case-0-0", 2)]
    assert [one.verdict for one in decided] == ["correct", "incorrect", "incorrect"]
    assert decided[1].extra == {"error_kind": "perception", "severity": "major"}
    assert decided[2].extra == {"role": "adjudicator"}
    assert all(one.expert_id.startswith("expert_") and one.seconds == 2.5 and one.date for one in decided)


def test_the_merged_records_follow_the_experts(reviewed: Served, tmp_path: Path) -> None:
    (tmp_path / "labelled.jsonl").write_text(exported(reviewed, "labelled.jsonl"))
    records = list(read_records(tmp_path / "labelled.jsonl"))
    assert [step.label for step in records[0].solution_steps] == ["correct", "correct", "incorrect", "correct"]
    # Elsewhere nobody has decided between the two yet.
    assert [step.label for step in records[1].solution_steps] == ["correct", "correct", "unknown", "correct"]
    step, metadata = records[0].solution_steps[2], records[0].annotation_metadata
    assert step.annotation_method == "expert_verified" and step.expert_note == "The border is lost."
    assert step.sources and len(step.sources.expert) == 3 and len(step.sources.judge) == 1
    assert metadata and metadata.expert_verified_steps == (0, 1, 2, 3) and metadata.uncertain_steps == 0
    assert metadata.expert_reviewer and metadata.expert_reviewer.count("expert_") == 3


def test_an_adjudicator_decides_even_between_three_words() -> None:
    records = drawn_records(1)
    reviewers = [{"verdict": word, "expert_id": word} for word in ("correct", "incorrect")]
    last = {"verdict": "neutral", "expert_id": "j", "extra": {"role": "adjudicator"}}
    verdicts = tuple(ExpertVerdict.model_validate(one) for one in [*reviewers, last])
    merged = merged_records(records, {StepKey("case-0", "case-0-0", 0): verdicts}, ConsensusSettings())
    assert merged[0].solution_steps[0].label == "neutral"
    tied = merged_records(records, {StepKey("case-0", "case-0-0", 0): verdicts[:2]}, ConsensusSettings())
    assert tied[0].solution_steps[0].label == "unknown"


def test_labels_without_sources_stay(tmp_path: Path) -> None:
    record = Record(
        case_id="c", modality="text", question="Q?", solution_id="s",
        solution_steps=(Step(step_id=0, content="a", label="correct", confidence=0.8), Step(step_id=1, content="b")),
    )  # fmt: skip
    path = write_data(tmp_path / "data", [record])
    with served(review_config(path, tmp_path / "review")) as server:
        server.client("ana").judge(verdict="incorrect")
        (tmp_path / "out.jsonl").write_text(exported(server, "labelled.jsonl"))
    merged = next(iter(read_records(tmp_path / "out.jsonl")))
    assert (merged.solution_steps[0].label, merged.solution_steps[0].confidence) == ("correct", 0.8)
    assert merged.solution_steps[1].label == "incorrect"


def test_csv_opens_in_a_spreadsheet_without_running(reviewed: Served) -> None:
    rows = list(csv.DictReader(io.StringIO(exported(reviewed, "experts.csv"))))
    assert len(rows) == 33 and {row["note"] for row in rows} == {"'=1+1", "No.", "", "The border is lost."}
    assert {row["role"] for row in rows} == {"", "adjudicator"}


def test_label_studio_and_back(reviewed: Served, data: Path, tmp_path: Path) -> None:
    path = tmp_path / "label_studio.json"
    path.write_text(exported(reviewed, "label_studio.json"))
    ours = expert_verdicts(reviewed.project.assignment)
    theirs = read_expert_file(path)
    for key, said in ours.items():
        assert [(one.verdict, one.note) for one in theirs[key]] == [(one.verdict, one.note) for one in said]
        assert [(one.expert_id, (one.extra or {}).get("role")) for one in theirs[key]] == [
            (one.expert_id, (one.extra or {}).get("role")) for one in said
        ]
    assert 'value="$step_3"' in exported(reviewed, "label_studio_config.xml")
    config = review_config(data, tmp_path / "another", rules={"overlap": 1.0}, verdicts=str(path))
    for num in (33, 0):  # the second time it is known
        review.run(config)
        project = opened(config, {})
        assert sum(map(len, expert_verdicts(project.assignment).values())) == 33, num
        project.assignment.database.close()


@pytest.mark.parametrize("name", ["experts.jsonl", "label_studio.json"])
def test_an_own_export_changes_nothing(name: str, reviewed: Served, tmp_path: Path) -> None:
    (tmp_path / name).write_text(exported(reviewed, name))
    assignment, accounts = reviewed.project.assignment, reviewed.project.accounts
    before = (expert_verdicts(assignment), accounts.users(), num_open_disputes(assignment))
    assert import_verdicts(tmp_path / name, assignment, accounts) == 0
    assert (expert_verdicts(assignment), accounts.users(), num_open_disputes(assignment)) == before


@pytest.mark.parametrize("name", ["experts.jsonl", "label_studio.json"])
def test_what_an_adjudicator_decided_stays_decided_elsewhere(
    name: str, reviewed: Served, data: Path, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(exported(reviewed, name))
    project = opened(review_config(data, tmp_path / "another", rules={"overlap": 1.0}))
    assert import_verdicts(tmp_path / name, project.assignment, project.accounts) == 33
    assert num_open_disputes(project.assignment) == num_open_disputes(reviewed.project.assignment) == 3
    theirs, ours = expert_verdicts(project.assignment), expert_verdicts(reviewed.project.assignment)
    roles = [{(one.expert_id, (one.extra or {}).get("role")) for one in said[STEP]} for said in (theirs, ours)]
    assert roles[0] == roles[1] and "adjudicator" in dict(roles[0]).values()
    # Accounts of the same number, in two reviews, are two experts.
    ids = {one.expert_id for said in theirs.values() for one in said}
    assert not any(one.startswith(f"expert_{project.assignment.database.review_id}_") for one in ids)
    project.assignment.database.close()


def line(**changes) -> str:
    return json.dumps({**STEP._asdict(), "verdict": "correct", "expert_id": "eve"} | changes) + "\n"


def test_time_that_a_file_does_not_tell_stays_unknown(server: Served, tmp_path: Path) -> None:
    path, (assignment, accounts) = tmp_path / "in.jsonl", (server.project.assignment, server.project.accounts)
    path.write_text(line() + line(step_id=1, seconds=8.0, date="2024-02-29"))
    assert import_verdicts(path, assignment, accounts) == 2
    said = expert_verdicts(assignment)
    assert (said[STEP][0].seconds, said[STEP][0].date) == (None, None)
    dated = said[STEP._replace(step_id=1)][0]
    assert (dated.seconds, dated.date) == (8.0, "2024-02-29")
    row = experts(assignment, accounts.users())[0]
    assert (row["steps"], row["median_seconds"], row["steps_per_hour"]) == (2, 8.0, 450)
    assert server.client("judith").get("/progress").status_code == 200
    exported_tasks = json.loads(exported(server, "label_studio.json"))
    assert "lead_time" not in exported_tasks[0]["annotations"][0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"date": "yesterday"}, "2026-11-23"), ({"extra": {"role": "king"}}, "adjudicator or lead")],
)
def test_dates_and_roles_that_nobody_knows_are_refused(
    changes: dict, message: str, server: Served, tmp_path: Path
) -> None:
    (tmp_path / "in.jsonl").write_text(line(**changes))
    with pytest.raises(InputError, match=message):
        import_verdicts(tmp_path / "in.jsonl", server.project.assignment, server.project.accounts)
    assert "eve" not in {user.name for user in server.project.accounts.users()}


def test_splits_take_in_no_verdicts(data: Path, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(line())
    config = review_config(
        data, tmp_path / "review", protocol={"kind": "split_check"}, verdicts=str(tmp_path / "in.jsonl")
    )
    with pytest.raises(InputError, match="split_check takes in no verdicts"):
        review.run(config)


def test_a_database_of_an_older_version_takes_in_unknown_times(tmp_path: Path) -> None:
    Database(tmp_path).close()
    old = sqlite3.connect(tmp_path / FILE)
    old.executescript(
        "DROP TABLE verdicts; CREATE TABLE verdicts (turn_id INTEGER NOT NULL REFERENCES turns, step_id INTEGER NOT "
        "NULL, verdict TEXT, note TEXT, error_kind TEXT, severity TEXT, icd10 TEXT, seconds REAL NOT NULL DEFAULT 0, "
        "at REAL NOT NULL, PRIMARY KEY (turn_id, step_id)); INSERT INTO users (id, name, role) VALUES (1, 'a', "
        "'reviewer'); INSERT INTO turns VALUES (1, 1, 1, 'review', 1, 'done', 0, 0, 0); INSERT INTO verdicts VALUES "
        "(1, 0, 'correct', NULL, NULL, NULL, NULL, 2.5, 7.0);"
    )
    old.close()
    database = Database(tmp_path)
    with database.transaction() as connection:
        connection.execute("INSERT INTO verdicts (turn_id, step_id, verdict) VALUES (1, 1, 'correct')")
    rows = database.rows("SELECT step_id, seconds, at FROM verdicts ORDER BY step_id")
    assert [tuple(row) for row in rows] == [(0, 2.5, 7.0), (1, None, None)]
    database.close()


def test_verdicts_of_another_project_are_refused(reviewed: Served, tmp_path: Path) -> None:
    (tmp_path / "experts.jsonl").write_text(exported(reviewed, "experts.jsonl"))
    path = write_data(tmp_path / "other", drawn_records(1), size=32)
    with pytest.raises(InputError, match="not a step of a task of this review"):
        review.run(review_config(path, tmp_path / "other_review", verdicts=str(tmp_path / "experts.jsonl")))


def test_unfinished_work_is_left_out_and_counted(server: Served, caplog: pytest.LogCaptureFixture) -> None:
    ana = server.client("ana")
    ana.judge()
    ana.say(ana.next()["turn"]["id"], 0)
    with caplog.at_level(logging.WARNING):
        assert len(expert_verdicts(server.project.assignment)) == 4
    assert "left out: 1 verdicts of tasks that are open" in caplog.text


def test_open_disputes_are_counted(reviewed: Served, caplog: pytest.LogCaptureFixture) -> None:
    judith = reviewed.client("judith")
    with caplog.at_level(logging.WARNING):
        for name in EXPORTS:
            exported(reviewed, name)
    assert caplog.text.count("readers differ on 3 steps that nobody has adjudicated yet") == 4
    assert "experts.csv: readers differ" in caplog.text and "audit" not in caplog.text
    assert "Readers differ on 3 steps" in reviewed.client("root").get("/accounts").text
    while judith.judge("adjudicate"):
        pass
    caplog.clear()
    exported(reviewed, "labelled.jsonl")
    assert "readers differ" not in caplog.text
    assert "Readers differ" not in reviewed.client("root").get("/accounts").text


def test_the_log_tells_everything(reviewed: Served) -> None:
    events = [json.loads(line) for line in exported(reviewed, "audit.jsonl").splitlines()]
    kinds = [one["kind"] for one in events]
    assert kinds.count("verdict") == 33 and kinds.count("finished") == 9
    assert [one["id"] for one in events] == sorted(one["id"] for one in events)
    assert "password" not in json.dumps(events).replace("password_changed", "")


def test_every_export_is_written_by_the_command(data: Path, tmp_path: Path) -> None:
    review.run(review_config(data, tmp_path / "review", export=str(tmp_path / "out")))
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(EXPORTS)
    assert label_studio_config(2).count("<Choices") == 2
    assert (tmp_path / "out" / "labelled.jsonl").read_text() == data.read_text()


def test_exported_labels_train(tmp_path: Path) -> None:
    records = write_records(tmp_path / "set")
    config = review_config(
        records / "train.jsonl", tmp_path / "review", rules={"steps": "all"}, data={"image_root": str(records)}
    )
    with served(config) as server:
        ana = server.client("ana")
        num_judged = 0
        while ana.judge(verdict=lambda step: "incorrect" if step else "correct"):
            num_judged += 1
        (tmp_path / "labelled.jsonl").write_text(exported(server, "labelled.jsonl"))
    labelled = LabelledSettings(path=str(tmp_path / "labelled.jsonl"), only=True)
    changes = {"labelled": labelled, "training": {"max_steps": 2}}
    train.run(train_config(write_base(tmp_path / "base"), records, tmp_path / "run", **changes))
    assert (tmp_path / "run" / "checkpoint").is_dir() and num_judged == 24
