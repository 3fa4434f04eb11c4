"""Who gets which task, what is saved, and what each role is shown."""

import json
import sqlite3
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args

import pytest
from review_project import Served, drawn_records, opened, review_config, served, write_data

from medprm.cases.schema import Image, Metadata, Modality, Record
from medprm.commands.review import open_project
from medprm.errors import InputError
from medprm.review.exchange import import_verdicts, num_open_disputes
from medprm.review.progress import work


def test_a_verdict_is_kept_and_comes_back(server: Served) -> None:
    ana = server.client("ana")
    view = ana.next()
    turn = view["turn"]["id"]
    said = {"note": "The border is sharp.", "error_kind": "perception", "severity": "minor"}
    assert ana.say(turn, 0, "incorrect", **said).json()["state"]["verdict"] == "incorrect"
    again = ana.next()
    assert again["turn"]["id"] == turn
    assert again["steps"][0]["state"] == {"verdict": "incorrect", "icd10": None, "seconds": 2.5} | said
    assert [step["state"] for step in again["steps"][1:]] == [None] * 3


def test_an_answer_that_is_sent_twice_is_saved_once(server: Served) -> None:
    ana = server.client("ana")
    turn = ana.next()["turn"]["id"]
    for _ in range(2):
        assert ana.say(turn, 0, client_id="the-same-one").json()["state"]["seconds"] == 2.5
    assert ana.say(turn, 0, "neutral").json()["state"]["seconds"] == 5.0


def test_undo_goes_back_one_answer_at_a_time(server: Served) -> None:
    ana = server.client("ana")
    turn = ana.next()["turn"]["id"]
    for step, verdict in ((0, "correct"), (0, "incorrect"), (1, "neutral")):
        ana.say(turn, step, verdict)
    undone = [ana.post(f"/api/turn/{turn}/undo").json()["undone"] for _ in range(4)]
    assert [(one["step_id"], one["verdict"]) for one in undone[:3]] == [(1, None), (0, "correct"), (0, None)]
    assert undone[3] is None
    assert undone[2]["seconds"] == 5.0  # time that was spent stays spent


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"verdict": "maybe"}, "verdict"),
        ({"seconds": -1.0}, "seconds"),
        ({"seconds": 1e9}, "seconds"),
        ({"note": "x" * 5000}, "note"),
        ({"surprise": 1}, "surprise"),
        ({"icd10": "pneumonia"}, "one code"),
        ({"icd10": "J18.9"}, "only on diagnosis"),
        ({"error_kind": "typo", "verdict": "incorrect"}, "perception"),
        ({"severity": "minor"}, "without the verdict incorrect"),
    ],
)
def test_answers_that_make_no_sense_are_refused(changes: dict, message: str, server: Served) -> None:
    ana = server.client("ana")
    turn = ana.next()["turn"]["id"]
    said = {"step_id": 0, "verdict": "correct", "seconds": 1.0, "client_id": "a-client-id"} | changes
    answer = ana.post(f"/api/turn/{turn}/verdict", said)
    assert answer.status_code == 422 and message in answer.json()["error"]
    assert ana.next()["steps"][0]["state"] is None


def test_icd10_is_normalised_on_a_diagnosis(server: Served) -> None:
    ana = server.client("ana")
    assert ana.say(ana.next()["turn"]["id"], 3, icd10="j189").json()["state"]["icd10"] == "J18.9"


def test_a_task_ends_when_every_step_is_judged_and_only_then_shows_the_reference(server: Served) -> None:
    ana = server.client("ana")
    view = ana.next()
    turn = view["turn"]["id"]
    assert "pneumonia of the left lung" not in json.dumps(view)
    ana.say(turn, 0)
    refused = ana.post(f"/api/turn/{turn}/finish")
    assert refused.status_code == 422 and "step 2, 3, 4" in refused.json()["error"]
    for step in (1, 2, 3):
        ana.say(turn, step)
    gold = ana.post(f"/api/turn/{turn}/finish").json()["gold"]
    assert ["diagnosis", "pneumonia of the left lung"] in gold
    assert ana.say(turn, 0, "incorrect").status_code == 409
    assert ana.post(f"/api/turn/{turn}/undo").status_code == 409
    assert ana.next()["turn"]["task"] != view["turn"]["task"]


def twice(num_cases: int = 1) -> list[Record]:
    """Two solutions a case."""
    return [
        record.model_copy(update={"solution_id": f"{record.case_id}-{copy}"})
        for record in drawn_records(num_cases)
        for copy in range(2)
    ]


def test_the_reference_waits_for_the_last_solution_of_the_case(tmp_path: Path) -> None:
    path = write_data(tmp_path / "two", twice(), size=32)
    with served(review_config(path, tmp_path / "alone")) as server:
        ana = server.client("ana")
        first, second = ana.judge(), ana.judge()
        assert first and second and first["gold"] == [] and second["gold"] != []
    with served(review_config(path, tmp_path / "both")) as server:
        ana, ben = server.client("ana"), server.client("ben")
        ben.next()
        first = ana.judge()
        assert first and first["gold"] == []  # what ben holds may come to ana
        second = ben.judge()
        assert second and second["gold"] != []


def test_an_adjudicator_of_the_case_does_not_know_its_reference(tmp_path: Path) -> None:
    path = write_data(tmp_path / "two", twice(), size=32)
    with served(review_config(path, tmp_path / "review", rules={"overlap": 1.0})) as server:
        ana, ben, judith = (server.client(name) for name in ("ana", "ben", "judith"))
        golds = [view["gold"] for _ in range(2) if (view := ana.judge())]
        golds += [view["gold"] for _ in range(2) if (view := ben.judge(verdict="incorrect"))]
        assert [bool(gold) for gold in golds] == [False, True, False, True]
        golds = [view["gold"] for _ in range(2) if (view := judith.judge("adjudicate"))]
        assert [bool(gold) for gold in golds] == [False, True]


def test_time_after_the_last_answer_comes_with_the_end(server: Served) -> None:
    ana = server.client("ana")
    turn = ana.next()["turn"]["id"]
    for step in range(4):
        ana.say(turn, step)
    for bad in ({"step_id": 0, "seconds": -1.0}, {"step_id": 0, "seconds": 1e9}, {"step_id": 0}):
        assert ana.post(f"/api/turn/{turn}/finish", {"spent": [bad]}).status_code == 422
    spent = [{"step_id": 0, "seconds": 1.5}, {"step_id": 3, "seconds": 0.25}]
    assert ana.post(f"/api/turn/{turn}/finish", {"spent": spent}).status_code == 200
    database = server.project.assignment.database
    assert [row["seconds"] for row in database.rows("SELECT * FROM verdicts ORDER BY step_id")] == [4.0, 2.5, 2.5, 2.75]
    last = database.rows("SELECT data FROM events ORDER BY id")[-1]
    assert json.loads(last["data"]) == {"spent": spent}


def test_nobody_gets_the_same_task_twice_or_at_once(server: Served) -> None:
    clients = [server.client(name) for name in ("ana", "ben")]

    def take(place: int) -> int:
        view = clients[place % 2].next()
        return view["turn"]["task"]

    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(take, range(16)))
    assert len(set(taken)) == 2  # each keeps the one that is open
    seen = []
    for client in clients * 4:
        view = client.judge()
        seen += [] if view is None else [view["turn"]["task"]]
    assert sorted(seen) == [1, 2, 3, 4]


def test_overlap_is_read_by_two_and_disagreement_is_adjudicated(data: Path, tmp_path: Path) -> None:
    with served(review_config(data, tmp_path / "review", rules={"overlap": 0.5})) as server:
        ana, ben, judith = (server.client(name) for name in ("ana", "ben", "judith"))
        while ana.judge(verdict="correct"):
            pass
        tasks = []
        while (view := ben.judge(verdict=lambda step: "incorrect" if step == 2 else "correct")) is not None:
            tasks.append(view["turn"]["task"])
        assert len(tasks) == 2
        view = judith.next("adjudicate")
        assert [step["step_id"] for step in view["steps"] if step["is_asked"]] == [2]
        others = view["steps"][2]["others"]
        assert [one["verdict"] for one in others] == ["correct", "incorrect"]
        assert [one["reader"] for one in others] == ["reader A", "reader B"] and "ben" not in json.dumps(view)
        assert judith.say(view["turn"]["id"], 0).status_code == 422  # nobody disagrees there
        assert judith.judge("adjudicate") and judith.judge("adjudicate")
        assert judith.judge("adjudicate") is None


def test_a_dispute_that_comes_up_after_an_adjudication_is_adjudicated(tmp_path: Path) -> None:
    path = write_data(tmp_path / "one", drawn_records(1), size=32)
    late = {"case_id": "case-0", "solution_id": "case-0-0", "step_id": 0, "verdict": "incorrect", "expert_id": "late"}
    (tmp_path / "late.jsonl").write_text(json.dumps(late))
    with served(review_config(path, tmp_path / "review", rules={"overlap": 1.0})) as server:
        assignment = server.project.assignment
        server.client("ana").judge()
        server.client("ben").judge(verdict=lambda step: "incorrect" if step == 2 else "correct")
        judith = server.client("judith")
        assert judith.judge("adjudicate") and judith.judge("adjudicate") is None
        import_verdicts(tmp_path / "late.jsonl", assignment, server.project.accounts)
        assert (num_open_disputes(assignment), work(assignment)["to_adjudicate"]) == (1, 1)
        view = judith.judge("adjudicate")
        assert view and [step["step_id"] for step in view["steps"] if step["is_asked"]] == [0]
        assert (num_open_disputes(assignment), work(assignment)["to_adjudicate"]) == (0, 0)
        assert judith.judge("adjudicate") is None and server.client("root").judge("adjudicate") is None


def test_an_adjudicator_does_not_decide_on_own_reviews(data: Path, tmp_path: Path) -> None:
    with served(review_config(data, tmp_path / "review", rules={"overlap": 1.0})) as server:
        ana, judith = server.client("ana"), server.client("judith")
        for client, verdict in ((ana, "correct"), (judith, "incorrect")):
            while client.judge(verdict=verdict):
                pass
        assert judith.next("adjudicate")["turn"] is None
        assert server.client("root").next("adjudicate")["turn"] is not None


def test_a_lock_that_ran_out_gives_the_task_to_another(data: Path, tmp_path: Path) -> None:
    records = drawn_records(1)
    path = write_data(tmp_path / "one", records, size=32)
    with served(review_config(path, tmp_path / "review")) as server:
        ana, ben = server.client("ana"), server.client("ben")
        turn = ana.next()["turn"]["id"]
        assert ben.next()["turn"] is None
        with server.project.assignment.database.transaction() as connection:
            connection.execute("UPDATE turns SET locked_until = ?", (time.time() - 1,))
        assert ana.say(turn, 0).status_code == 200  # nobody took it: it is still ana's, and locked anew
        assert ben.next()["turn"] is None
        with server.project.assignment.database.transaction() as connection:
            connection.execute("UPDATE turns SET locked_until = ?", (time.time() - 1,))
        assert ben.next()["turn"]["task"] == 1
        late = ana.say(turn, 1)
        assert late.status_code == 409 and "released" in late.json()["error"]


def let_locks_run_out(server: Served) -> None:
    with server.project.assignment.database.transaction() as connection:
        connection.execute("UPDATE turns SET locked_until = ?", (time.time() - 1,))


def test_a_pause_loses_nothing_while_others_have_work(server: Served) -> None:
    ana, ben = server.client("ana"), server.client("ben")
    turn = ana.next()["turn"]["id"]
    ana.say(turn, 0)
    let_locks_run_out(server)
    assert [view["turn"]["task"] for _ in range(3) if (view := ben.judge())] == [2, 3, 4]
    assert ana.say(turn, 1).status_code == 200
    assert ana.next()["turn"]["id"] == turn and ben.next()["turn"] is None


def test_a_second_reader_takes_nothing_from_the_first(data: Path, tmp_path: Path) -> None:
    path = write_data(tmp_path / "one", drawn_records(1), size=32)
    with served(review_config(path, tmp_path / "review", rules={"overlap": 1.0})) as server:
        ana, ben, root = (server.client(name) for name in ("ana", "ben", "root"))
        turn = ana.next()["turn"]["id"]
        let_locks_run_out(server)
        assert ben.judge() and ana.say(turn, 0).status_code == 200
        assert root.next()["turn"] is None  # both places are taken again
        let_locks_run_out(server)
        assert root.next()["turn"] and ana.say(turn, 1).status_code == 409  # root needs a place, and ben is done


def test_an_expert_finds_their_answers_when_the_task_comes_back(tmp_path: Path) -> None:
    path = write_data(tmp_path / "one", drawn_records(1), size=32)
    with served(review_config(path, tmp_path / "review")) as server:
        ana, ben = server.client("ana"), server.client("ben")
        turn = ana.next()["turn"]["id"]
        ana.say(turn, 0, "incorrect", note="The border is sharp.")
        let_locks_run_out(server)
        ben.say(ben.next()["turn"]["id"], 0, "neutral")
        assert ana.next()["turn"] is None
        let_locks_run_out(server)
        view = ana.judge(verdict=lambda step: "correct" if step else "incorrect")
        assert view and view["turn"]["id"] == turn
        state = view["steps"][0]["state"]
        assert (state["verdict"], state["note"], state["seconds"]) == ("incorrect", "The border is sharp.", 2.5)
        kinds = [row["kind"] for row in server.project.assignment.database.rows("SELECT kind FROM events")]
        assert (kinds.count("released"), kinds.count("reclaimed")) == (2, 1)


def test_specialists_only(tmp_path: Path) -> None:
    records = drawn_records(2)
    needs = Metadata(requires_specialist=True)
    records[0] = records[0].model_copy(update={"modality": "pathology", "metadata": needs})
    path = write_data(tmp_path / "data", records, size=32)
    users = {"ana": ("reviewer", ["radiology"]), "pat": ("reviewer", ["pathology"])}
    with served(review_config(path, tmp_path / "review"), users) as server:
        ana, pat = server.client("ana"), server.client("pat")
        view = ana.judge()
        assert view and "Case 1" in view["case"]["question"]
        assert ana.judge() is None
        view = pat.judge()
        assert view and "Case 0" in view["case"]["question"]


@pytest.mark.parametrize("modality", get_args(Modality))
def test_every_modality_is_reviewed(modality: str, tmp_path: Path) -> None:
    path = write_data(tmp_path / "data", drawn_records(1, modality=modality), size=16)
    with served(review_config(path, tmp_path / "review")) as server:
        view = server.client("ana").judge()
        assert view and view["case"]["modality"] == modality.replace("_", " ")


def test_disputes_and_checks_that_need_a_specialist_go_to_specialists(tmp_path: Path) -> None:
    needs = Metadata(requires_specialist=True)
    path = write_data(tmp_path / "data", drawn_records(1, modality="pathology", metadata=needs), size=32)
    readers = {name: ("reviewer", ["pathology"]) for name in ("pat", "pia")}
    leads = {"judith": ("adjudicator", ["radiology"]), "paul": ("adjudicator", ["pathology"])}
    with served(review_config(path, tmp_path / "twice", rules={"overlap": 1.0}), readers | leads) as server:
        for name, verdict in (("pat", "correct"), ("pia", "incorrect")):
            server.client(name).judge(verdict=verdict)
        assert server.client("judith").next("adjudicate")["turn"] is None
        assert server.client("paul").judge("adjudicate")
    protocol = {"kind": "split_check", "split_size": 1}
    with served(review_config(path, tmp_path / "split", protocol=protocol), readers | leads) as server:
        server.client("pat").judge()
        assert server.client("judith").next("check")["turn"] is None
        assert server.client("paul").judge("check")


def test_disputed_steps_come_from_the_queue(data: Path, tmp_path: Path) -> None:
    rows = [
        {"case_id": f"case-{case}", "solution_id": f"case-{case}-0", "step_id": step, "expected_value": value}
        for case, step, value in ((2, 1, 0.4), (0, 3, 0.3), (2, 3, 0.1))
    ]
    (data.parent / "expert_queue.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    with served(review_config(data, tmp_path / "review")) as server:
        ana = server.client("ana")
        first, second = ana.judge(), ana.judge()
        assert first and second and ana.judge() is None
        asked = [[step["step_id"] for step in one["steps"] if step["is_asked"]] for one in (first, second)]
        assert ("Case 2" in first["case"]["question"], asked) == (True, [[1, 3], [3]])
    rows[0]["case_id"] = "another"
    (data.parent / "expert_queue.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(InputError, match="no step"):
        open_project(review_config(data, tmp_path / "other"))


def test_blind_hides_the_machines(data: Path, tmp_path: Path) -> None:
    with served(review_config(data, tmp_path / "a", rules={"is_blind": True})) as server:
        view = server.client("ana").next()
        assert [step["machines"] for step in view["steps"]] == [None] * 4
        assert "The passage names the sign" not in json.dumps(view)
    with served(review_config(data, tmp_path / "b")) as server:
        machines = server.client("ana").next()["steps"][0]["machines"]
        assert machines["judge"][0]["citations"][0]["passage"].startswith("A silhouette sign")
        assert machines["monte_carlo"] == [{"num_correct": 3, "num_wrong": 12, "num_unread": 1}]


def test_pixels(server: Served) -> None:
    ana = server.client("ana")
    number = ana.next()["images"][0]["number"]
    data = ana.get(f"/api/pixels/{number}").content
    (length,) = struct.unpack("<I", data[:4])
    header = json.loads(data[4 : 4 + length])
    assert (header["kind"], header["width"], header["modality"], header["window"]["center"]) == ("grey", 32, "CT", 40)
    assert length % 2 == 0 and len(data) == 4 + length + 2 * 32 * 32


def test_other_data_in_the_same_folder_is_refused(data: Path, tmp_path: Path) -> None:
    config = review_config(data, tmp_path / "review")
    opened(config).assignment.database.close()
    opened(config).assignment.database.close()
    with pytest.raises(InputError, match="other data or rules"):
        open_project(review_config(data, tmp_path / "review", rules={"overlap": 0.5}))
    write_data(data.parent, drawn_records(3), size=32)
    with pytest.raises(InputError, match="other data or rules"):
        open_project(config)


def test_one_process_at_a_time(server: Served, data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="another process"):
        open_project(review_config(data, tmp_path / "review"))


def test_the_log_can_only_grow(server: Served) -> None:
    server.client("ana").judge()
    database = server.project.assignment.database
    for change in ("DELETE FROM events", "UPDATE events SET kind = 'other'"):
        with pytest.raises(sqlite3.IntegrityError, match="events are kept"), database.transaction() as connection:
            connection.execute(change)
    kinds = [row["kind"] for row in database.rows("SELECT kind FROM events ORDER BY id")]
    assert kinds.count("verdict") == 4 and kinds[-1] == "finished"


def test_a_case_without_images_and_one_that_is_missing(tmp_path: Path) -> None:
    records = [one.model_copy(update={"image": None}) for one in drawn_records(1)]
    records += [one.model_copy(update={"image": Image(path="gone.dcm")}) for one in drawn_records(2)[1:]]
    path = write_data(tmp_path / "data", records[:1], size=32)
    write_data(tmp_path / "data", records, size=32)
    (tmp_path / "data" / "gone.dcm").unlink()
    with served(review_config(path, tmp_path / "review")) as server:
        ana = server.client("ana")
        assert ana.judge()["images"] == []  # type: ignore[index]
        view = ana.next()
        answer = ana.get(f"/api/pixels/{view['images'][0]['number']}")
        assert answer.status_code == 422 and "gone" not in answer.text
