"""The checking protocol: splits of one reviewer, a share checked by a lead, accepted or sent back whole."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from review_project import Served, drawn_records, review_config, served, write_data

from medprm.errors import InputError
from medprm.review.exchange import expert_verdicts


@pytest.fixture
def split(tmp_path: Path) -> Iterator[Served]:
    path = write_data(tmp_path / "data", drawn_records(8), size=16)
    protocol = {"kind": "split_check", "split_size": 4, "check_share": 0.1}
    with served(review_config(path, tmp_path / "review", protocol=protocol)) as server:
        yield server


def tasks_of(client, kind: str = "review", most: int = 99, **said) -> list[int]:
    found = []
    while len(found) < most and (view := client.judge(kind, **said)) is not None:
        found.append(view["turn"]["task"])
    return found


def test_a_split_belongs_to_one_reviewer(split: Served) -> None:
    ana, ben = split.client("ana"), split.client("ben")
    assert tasks_of(ana, most=1) == [1]
    assert tasks_of(ben, most=1) == [5]
    assert tasks_of(ana) == [2, 3, 4]
    assert tasks_of(ben) == [6, 7, 8]


def test_a_share_is_checked_and_the_split_goes_back_whole(split: Served) -> None:
    ana, judith = split.client("ana"), split.client("judith")
    tasks_of(ana, most=3)
    assert judith.next("check")["turn"] is None  # not before the split is done
    tasks_of(ana, most=1)
    assert judith.form("/splits/1", decision="accept").status_code == 409  # nor decided before it is checked
    view = judith.judge("check", "incorrect")
    assert view and 1 <= view["turn"]["task"] <= 4 and view["steps"][0]["others"][0]["verdict"] == "correct"
    assert judith.next("check")["turn"] is None  # a tenth of four is one
    assert "4 of 4" in judith.get("/progress").text
    assert split.client("ben").form("/splits/1", decision="return").status_code == 403
    assert judith.form("/splits/1", decision="perhaps").status_code == 422
    assert judith.form("/splits/1", decision="return").status_code == 303
    assert expert_verdicts(split.project.assignment) == {}
    assert tasks_of(ana, most=4, verdict="incorrect") == [1, 2, 3, 4]
    assert tasks_of(judith, "check", verdict="incorrect") != []
    assert judith.form("/splits/1", decision="accept").status_code == 303
    assert judith.form("/splits/1", decision="return").status_code == 409
    said = expert_verdicts(split.project.assignment)
    assert len(said) == 16 and {one.verdict for verdicts in said.values() for one in verdicts} == {"incorrect"}
    assert sum((one.extra or {}).get("role") == "lead" for verdicts in said.values() for one in verdicts) == 4


def test_a_lead_does_not_check_own_work(split: Served) -> None:
    judith = split.client("judith")
    assert tasks_of(judith, most=4) == [1, 2, 3, 4]
    assert judith.next("check")["turn"] is None
    assert judith.form("/splits/1", decision="accept").status_code == 409
    root = split.client("root")
    assert len(tasks_of(root, "check")) == 1
    assert root.form("/splits/1", decision="accept").status_code == 303


def number_of(split: Served, name: str) -> int:
    return next(user.id for user in split.project.accounts.users() if user.name == name)


def test_a_closed_account_leaves_its_split_to_others(split: Served) -> None:
    ana, ben, root = (split.client(name) for name in ("ana", "ben", "root"))
    assert tasks_of(ana, most=1) == [1]
    ana.say(ana.next()["turn"]["id"], 0, "incorrect")
    assert tasks_of(ben) == [5, 6, 7, 8]
    assert root.form(f"/accounts/{number_of(split, 'ana')}", is_active="false").status_code == 303
    assert tasks_of(ben) == [3, 4, 2]  # what was begun comes last
    rows = split.project.assignment.database.rows("SELECT * FROM events WHERE kind = 'split_freed'")
    assert [(row["user_id"], row["data"]) for row in rows] == [
        (number_of(split, "root"), f'{{"split": 1, "owner": {number_of(split, "ana")}}}')
    ]
    assert len(expert_verdicts(split.project.assignment)) == 32  # ana's first task stands


def test_who_reviewed_a_split_before_it_was_freed_does_not_decide_on_it(split: Served) -> None:
    judith, ana, root = (split.client(name) for name in ("judith", "ana", "root"))
    assert tasks_of(judith, most=3) == [1, 2, 3]
    for is_active in ("false", "true"):
        root.form(f"/accounts/{number_of(split, 'judith')}", is_active=is_active)
    assert tasks_of(ana, most=1) == [4]
    tasks_of(root, "check")
    assert split.client("judith").form("/splits/1", decision="accept").status_code == 409
    assert root.form("/splits/1", decision="accept").status_code == 303


def test_a_split_that_is_not_accepted_shows_no_reference(split: Served) -> None:
    ana, judith = split.client("ana"), split.client("judith")
    golds = [view["gold"] for _ in range(4) if (view := ana.judge())]
    checked = judith.judge("check")
    assert golds == [[]] * 4 and checked and checked["gold"] == []


def test_splits_and_overlap_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a split is one reviewer's"):
        review_config(tmp_path, tmp_path, rules={"overlap": 0.2}, protocol={"kind": "split_check"})
