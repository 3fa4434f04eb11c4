"""What leaves for Weights & Biases: metrics and settings, secrets taken out; never texts, images or code.

In: settings, named numbers, tables of numbers, and files that the settings ask to keep. Out: a run there, or files
below the run's folder (offline), or nothing (disabled). Tables, texts and weights pass a gate first, which knows the
cases that they were made of (medprm/clients/uploads.py).
"""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from medprm.errors import InputError

REDACTED = "[redacted]"
# A checkpoint's files and a report's: no records, no images, no code, no pickles.
KEPT_SUFFIXES = (".json", ".md", ".html", ".safetensors", ".model", ".jinja", ".txt")
WEIGHTS = (".safetensors",)
_SECRET_NAME = re.compile(r"(?i)(^|[_\-.])(api_?key|key|token|secret|password|passwd|credentials?|authorization)$")
_SECRET_VALUE = re.compile(
    r"hf_[A-Za-z0-9]{16,}|sk-[A-Za-z0-9_\-]{16,}|AKIA[0-9A-Z]{16}|AIza[0-9A-Za-z_\-]{30,}|gh[pousr]_[A-Za-z0-9]{20,}"
    r"|Bearer\s+\S+|(?<![0-9a-f])[0-9a-f]{40}(?![0-9a-f])|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
)


class TrackerFields(Protocol):
    """The fields of the tracking settings that are read here."""

    wandb: str
    project: str


class Gate(Protocol):
    """Raises where something may not leave."""

    def check_text(self, what: str, text: str) -> None: ...

    def check_weights(self, what: str) -> None: ...


class Tracker(Protocol):
    """Where metrics go beside metrics.jsonl."""

    def log(self, metrics: Mapping[str, float], step: int) -> None: ...

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[str | float]]) -> None: ...

    def keep(self, name: str, kind: str, files: Mapping[str, Path]) -> None: ...

    def finish(self) -> None: ...


class NoTracker:
    """Tracking disabled."""

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Nothing leaves."""

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[str | float]]) -> None:
        """Nothing leaves."""

    def keep(self, name: str, kind: str, files: Mapping[str, Path]) -> None:
        """Nothing leaves."""

    def finish(self) -> None:
        """Nothing is open."""


class WandbTracker:
    """A run at Weights & Biases, online or offline."""

    def __init__(self, run: Any, gate: Gate) -> None:
        self.run = run
        self.gate = gate

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self.run.log({name: float(value) for name, value in metrics.items()}, step=step)

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[str | float]]) -> None:
        """A table of numbers, the names of metrics beside them."""
        import wandb  # heavy and optional

        self.gate.check_text(f"table {name}", "\n".join(str(cell) for row in [columns, *rows] for cell in row))
        self.run.log({name: wandb.Table(columns=list(columns), data=[list(row) for row in rows])})

    def keep(self, name: str, kind: str, files: Mapping[str, Path]) -> None:
        """An artifact of these files, by the names they get in it. Raises InputError for records, images and code."""
        import wandb  # heavy and optional

        if refused := [str(file) for file in files.values() if file.suffix not in KEPT_SUFFIXES]:
            raise InputError(
                f"{refused[0]}: not kept at Weights & Biases; expected a file of {', '.join(KEPT_SUFFIXES)}; "
                "records and images stay here"
            )
        for inside, file in files.items():
            if file.suffix in WEIGHTS:
                self.gate.check_weights(f"artifact {name}: {inside}")
            elif kind != "model":  # a tokenizer's vocabulary has words of every kind
                self.gate.check_text(f"artifact {name}: {inside}", file.read_text(encoding="utf-8"))
        artifact = wandb.Artifact(re.sub(r"[^A-Za-z0-9_.-]", "_", name), type=kind)
        for inside, file in files.items():
            artifact.add_file(str(file), name=inside)
        self.run.log_artifact(artifact)

    def finish(self) -> None:
        self.run.finish()


def tracker_url(settings: TrackerFields) -> str:
    """Where the run would go: an offline run stays on this machine."""
    is_online = settings.wandb == "online"
    return os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai") if is_online else "http://localhost"


def start_tracking(
    settings: TrackerFields, run_name: str, config: Mapping[str, Any], folder: Path, gate: Gate
) -> Tracker:
    """Begin a run. Code, git state and console output are not sent."""
    if settings.wandb == "disabled":
        return NoTracker()
    os.environ["WANDB_DISABLE_CODE"] = "true"
    os.environ["WANDB_DISABLE_GIT"] = "true"
    try:
        import wandb  # heavy and optional
    except ImportError:
        raise InputError(
            f"tracking.wandb={settings.wandb} needs the package wandb: pip install 'medprm[track]', "
            "or leave it out: tracking.wandb=disabled"
        ) from None
    options = wandb.Settings(console="off", save_code=False, disable_git=True, x_disable_stats=True)
    run = wandb.init(
        project=settings.project,
        name=run_name,
        dir=str(folder),
        mode=settings.wandb,  # type: ignore[arg-type]
        config=redact(config),
        settings=options,
    )
    return WandbTracker(run, gate)


def redact(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same mapping with secrets replaced, known by the name of their key or by their form."""
    return {
        name: REDACTED if value is not None and _SECRET_NAME.search(str(name)) else _redact_value(value)
        for name, value in values.items()
    }


def _redact_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return redact(value)
    if isinstance(value, list | tuple):
        return [_redact_value(one) for one in value]
    return _SECRET_VALUE.sub(REDACTED, value) if isinstance(value, str) else value
