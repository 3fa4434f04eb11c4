"""What goes to Weights & Biases: metrics and settings, no secrets; nothing where it is disabled."""

from pathlib import Path

import pytest

from medprm.config import TrackingSettings
from medprm.tracking import REDACTED, NoTracker, redact, start_tracking

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


def test_disabled_tracking_writes_nothing(tmp_path: Path) -> None:
    tracker = start_tracking(TrackingSettings(), "run", {}, tmp_path)
    assert isinstance(tracker, NoTracker)
    tracker.log({"loss": 1.0}, 1)
    tracker.finish()
    assert list(tmp_path.iterdir()) == []


def test_an_offline_run_holds_metrics_and_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="tracking is an extra: pip install 'medprm[track]'")
    monkeypatch.setenv("WANDB_SILENT", "true")
    config = {"model": {"path": f"x {SECRETS['provider']}"}, "api_key": "canary-by-name", "seed": 7}
    tracker = start_tracking(TrackingSettings(wandb="offline", project="canary-project"), "run", config, tmp_path)
    tracker.log({"canary_loss": 0.25}, 1)
    tracker.finish()
    files = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink()]
    content = b"".join(path.read_bytes() for path in files)
    assert b"canary_loss" in content
    assert SECRETS["provider"].encode() not in content and b"canary-by-name" not in content
    assert not [path for path in files if path.suffix in (".py", ".patch")], "no code is kept"
