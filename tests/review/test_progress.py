"""Agreement, pace and cost as the page shows them, against scikit-learn and nltk."""

from pathlib import Path

import numpy as np
import pytest
from nltk.metrics.agreement import AnnotationTask
from review_project import drawn_records, opened, review_config, served, write_data
from sklearn.metrics import cohen_kappa_score

from medprm.review.progress import agreement, experts, progress, work
from medprm.review.verdicts import VERDICTS, Said, finish, save
from medprm.statistics.agreement import krippendorff_alpha

NUM_CASES = 15


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_agreement_equals_scikit_learn_and_nltk(seed: int, tmp_path: Path) -> None:
    path = write_data(tmp_path / "data", drawn_records(NUM_CASES), size=16)
    project = opened(review_config(path, tmp_path / "review", rules={"overlap": 1.0}))
    assignment = project.assignment
    users = {user.name: user for user in project.accounts.users()}
    rng = np.random.default_rng(seed)
    said: dict[str, dict[tuple[int, int], str]] = {"ana": {}, "ben": {}}
    for name in said:
        for _ in range(NUM_CASES):
            turn = assignment.next_turn(users[name])
            assert turn is not None
            for step in range(4):
                verdict = str(rng.choice(VERDICTS, p=(0.5, 0.3, 0.15, 0.05)))
                said[name][turn.task, step] = verdict
                client_id = f"{name}-{turn.task}-{step}-0"
                one = Said(step_id=step, verdict=verdict, seconds=6.0, client_id=client_id)  # type: ignore[arg-type]
                save(assignment, users[name], turn.id, one)
            finish(assignment, users[name], turn.id)
    keys = [key for key in said["ana"] if "unknown" not in (said["ana"][key], said["ben"][key])]
    found = agreement(assignment, project.accounts.users())
    pair = found["pairs"][0]
    assert pair["num_steps"] == 4 * NUM_CASES and pair["num_left_out"] == 4 * NUM_CASES - len(keys)
    kappa = cohen_kappa_score([said["ana"][key] for key in keys], [said["ben"][key] for key in keys])
    assert float(pair["kappa"].split()[0]) == pytest.approx(kappa, abs=0.00501)  # two decimals are shown
    for place, category in enumerate(("observation", "analysis", "integration", "diagnosis")):
        of_category = [key for key in keys if key[1] == place]
        kappa = cohen_kappa_score(*([said[name][key] for key in of_category] for name in said))
        assert float(pair["by_category"][category].split()[0]) == pytest.approx(kappa, abs=0.00501)
    triples = [(name, key, said[name][key]) for name in said for key in keys]
    assert float(found["alpha"].split()[0]) == pytest.approx(AnnotationTask(triples).alpha(), abs=0.00501)
    rows = {row["name"]: row for row in experts(assignment, project.accounts.users())}
    assert rows["ana"]["steps"] == 60 and rows["ana"]["median_seconds"] == 6.0
    assert rows["ana"]["steps_per_hour"] == pytest.approx(600)
    assert rows["ana"]["dollars"] == pytest.approx(0.1 * 37.0)
    assert work(assignment)["finished"] == NUM_CASES
    project.assignment.database.close()


@pytest.mark.parametrize("seed", range(5))
def test_alpha_with_missing_ratings_equals_nltk(seed: int) -> None:
    rng = np.random.default_rng(seed)
    words = [*VERDICTS[:3], None]
    ratings = [[words[k] for k in rng.choice(4, 3, p=(0.4, 0.3, 0.1, 0.2))] for _ in range(80)]
    rated = [[one for one in unit if one is not None] for unit in ratings]
    triples = [
        (rater, unit, word)
        for unit, row in enumerate(ratings)
        for rater, word in enumerate(row)
        if word is not None and len(rated[unit]) > 1  # nltk pairs no unit of one, and counts it in its totals
    ]
    assert krippendorff_alpha(ratings).value == pytest.approx(AnnotationTask(triples).alpha(), abs=1e-6)


def test_an_empty_project_has_a_page(tmp_path: Path) -> None:
    path = write_data(tmp_path / "data", drawn_records(1), size=16)
    with served(review_config(path, tmp_path / "review")) as server:
        page = server.client("judith").get("/progress")
        assert page.status_code == 200 and "No two experts" in page.text
        found = progress(server.project.assignment, server.project.accounts.users())
        assert found["agreement"]["alpha"] == "–" and found["experts"] == []
