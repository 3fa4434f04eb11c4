"""What goes to Weights & Biases: metrics and settings, no secrets; nothing where it is disabled."""

import json
from pathlib import Path

import pytest
from uploads import ward_cases
from wandb_files import written

from medprm.clients.guard import Guard, GuardRefusal
from medprm.clients.settings import GuardSettings
from medprm.clients.uploads import Uploads
from medprm.config import TrackingSettings
from medprm.errors import InputError
from medprm.tracking import REDACTED, NoTracker, redact, start_tracking, tracker_url

SECRETS = {
    "hub": "hf_" + "a" * 30,
    "provider": "sk-" + "b" * 40,
    "tracker": "0123456789" * 4,
    "cloud": "AKIA" + "C" * 16,
    "header": "Bearer abcdef.ghi",
}


@pytest.mark.parametrize("name", ["api_key", "API-KEY", "token", "hf_token", "password", "client_secret", "key"])
def test_secrets_are_known_by_their_names(name: str) -> None:
    assert redact({"outer": {name: "x"}}) == {"outer": {name: REDACTED}}


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_secrets_are_known_by_their_form(secret: str) -> None:
    kept = redact({"path": f"before {secret} after", "list": [secret]})
    assert secret not in str(kept) and kept["path"].startswith("before ")


def test_what_is_no_secret_stays() -> None:
    values = {
        "max_text_tokens": 4096,
        "label_tokens": {"+": 18},
        "path": "OpenGVLab/InternVL2_5-8B-MPO-hf",
        "tokenizer": "bpe",
        "password": None,
        "seeds": [0, 1],
    }
    assert redact(values) == values


def gate() -> Uploads:
    return Uploads(Guard(GuardSettings()), ward_cases(), tracker_url(TrackingSettings(wandb="offline")))


def test_disabled_tracking_writes_nothing(tmp_path: Path) -> None:
    tracker = start_tracking(TrackingSettings(), "run", {}, tmp_path, gate())
    assert isinstance(tracker, NoTracker)
    tracker.log({"loss": 1.0}, 1)
    tracker.table("numbers", ["metric"], [["loss"]])
    tracker.keep("run", "report", {"page.html": tmp_path / "page.html"})
    tracker.finish()
    assert list(tmp_path.iterdir()) == []


def test_an_offline_run_holds_metrics_and_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="tracking is an extra: pip install 'medprm[track]'")
    monkeypatch.setenv("WANDB_SILENT", "true")
    # The files are compressed: words without repetition stay whole in them.
    secret = "sk-Xq7vLw2NzR8tKb5YhM3cJd"
    config = {"model": {"path": f"plainword {secret}"}, "api_key": "wqzjvxkb", "seed": 7}
    tracker = start_tracking(TrackingSettings(wandb="offline", project="gnostic"), "run", config, tmp_path, gate())
    tracker.log({"zephyr_quotient": 0.25}, 1)
    tracker.finish()
    content = written(tmp_path, until=b"zephyr_quotient")
    assert b"zephyr_quotient" in content and b"plainword" in content
    assert secret.encode() not in content and b"wqzjvxkb" not in content
    assert not [*tmp_path.rglob("*.py"), *tmp_path.rglob("*.patch")], "no code is kept"


def test_tables_and_files_lie_in_an_offline_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="tracking is an extra: pip install 'medprm[track]'")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "staging"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    page = tmp_path / "page.html"
    page.write_text("<p>macro F1</p>")
    tracker = start_tracking(TrackingSettings(wandb="offline", keep_report=True), "run", {}, tmp_path, gate())
    tracker.table("numbers", ["metric", "value"], [["quixotic_f1", 0.5], ["auroc", 0.75]])
    with pytest.raises(GuardRefusal, match="table worst: not sent"):
        tracker.table("worst", ["case", "score"], [["case_0", 0.5]])
    case_page = tmp_path / "case.html"
    case_page.write_text("<p>case_1</p>")
    with pytest.raises(GuardRefusal, match="inside.html: not sent"):
        tracker.keep("run/1", "report", {"inside.html": case_page})
    tracker.keep("run/1", "report", {"inside.html": page})
    with pytest.raises(InputError, match=r"cases.jsonl: not kept at Weights & Biases"):
        tracker.keep("run/1", "report", {"cases.jsonl": tmp_path / "cases.jsonl"})
    tracker.finish()
    (table,) = tmp_path.glob("wandb/offline-run-*/files/media/table/numbers_*.table.json")
    kept = json.loads(table.read_text())
    assert kept["columns"] == ["metric", "value"] and kept["data"] == [["quixotic_f1", 0.5], ["auroc", 0.75]]
    assert b"inside.html" in written(tmp_path / "wandb", until=b"inside.html")
