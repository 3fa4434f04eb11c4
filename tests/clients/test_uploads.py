"""What is made of cases and would leave: numbers without a case pass, weights go as far as their cases."""

import pytest
from uploads import ward_cases

from medprm.clients.guard import Guard, GuardRefusal
from medprm.clients.settings import GuardSettings, SourcePolicy
from medprm.clients.uploads import Uploads

OUT, HERE = "https://api.wandb.ai", "http://localhost"
OPEN = GuardSettings(sources={"ward": SourcePolicy(zone="outside")})


def uploads(settings: GuardSettings, url: str = OUT, **metadata: object) -> Uploads:
    return Uploads(Guard(settings), ward_cases(**metadata), url)


@pytest.mark.parametrize(
    "leak",
    [
        "macro F1 of case_1",
        "patient-0",
        "Case 1: what is the most likely diagnosis?",
        "worst step: Finding 0.0.0 points to infection. 0.93",
        "ask jane@example.org",
        "key sk-" + "a1" * 20,
    ],
)
@pytest.mark.parametrize("url", [OUT, HERE])
def test_a_case_in_a_page_of_numbers_is_seen(leak: str, url: str) -> None:
    with pytest.raises(GuardRefusal, match="page: not sent to"):
        uploads(OPEN, url).check_text("page", f"<p>{leak}</p>")


def test_the_refusal_says_nothing_of_the_case() -> None:
    with pytest.raises(GuardRefusal) as refusal:
        uploads(OPEN).check_text("page", "Finding 0.0.0 points to infection.")
    assert "infection" not in str(refusal.value) and "case_" not in str(refusal.value)


def test_numbers_pass() -> None:
    uploads(GuardSettings()).check_text("page", "macro F1 0.924 [0.915, 0.931] n 44313, 12.5 307.584 1024.25")


@pytest.mark.parametrize(
    ("settings", "metadata"),
    [
        (GuardSettings(), {}),
        (OPEN, {"phi_removed": None}),
        (OPEN, {"irb_approved": False}),
        (OPEN, {"source": "other"}),
        (GuardSettings(sources={"ward": SourcePolicy(zone="site")}), {}),
        (GuardSettings(sources={"MIMIC": SourcePolicy(zone="outside")}), {"source": "MIMIC"}),
    ],
)
def test_weights_are_as_open_as_their_cases(settings: GuardSettings, metadata: dict[str, object]) -> None:
    with pytest.raises(GuardRefusal, match=r"model: weights are as open as their cases: case case_0: not sent"):
        uploads(settings, **metadata).check_weights("model")
    uploads(settings, HERE, **metadata).check_weights("model")


def test_weights_of_open_cases_pass() -> None:
    uploads(OPEN).check_weights("model")
    uploads(GuardSettings(), source="phantom", irb_approved=None).check_weights("model")
