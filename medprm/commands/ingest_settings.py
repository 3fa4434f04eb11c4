"""Settings of an ingest, checked before a file is opened."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from medprm.cases.deidentify_settings import TextDeidentifySettings
from medprm.errors import InputError, check_choice, check_least
from medprm.images.ct_windows import check_windows
from medprm.images.isolation import IsolationSettings

IMAGES = ("keep", "png")


@dataclass(frozen=True)
class IngestSettings:
    """What is read, what is written, and within which limits."""

    # Folder that is searched.
    source: Path
    # Folder that is written.
    target: Path
    # CSV of questions; None: `question` is asked of every readable file.
    questions: Path | None = None
    # The question for all files, where there is no CSV.
    question: str | None = None
    # keep: records name the files where they lie; png: every picture is written as 8-bit PNG, without any header.
    images: str = "keep"
    # images=png: CT windows, one (grey) or three (red, green, blue); empty: the file's own.
    windows: tuple[str, ...] = ()
    # Modality of the cases whose row does not say; None: that of the header, where it is clear.
    modality: str | None = None
    # Most images of one case.
    max_images: int = 8
    # Also write train, validation and test, by patient.
    split: bool = False
    # Of the split.
    seed: int = 0
    # Settings of de-identification; None: none.
    deidentify: Mapping[str, Any] | None = None
    # De-identified: how names are told in questions, contexts and answers.
    text: TextDeidentifySettings = field(default_factory=TextDeidentifySettings)
    # Worker processes and their limits.
    isolation: IsolationSettings = field(default_factory=lambda: IsolationSettings(memory_mib=1536))
    # Go on with a run that was killed.
    resume: bool = False
    # Delete what an earlier run has written to the target.
    overwrite: bool = False

    def __post_init__(self) -> None:
        check_choice("images", self.images, IMAGES)
        check_windows(self.windows)
        check_least("max_images", self.max_images, 1)
        if self.windows and self.images != "png":
            raise InputError("windows are given with images=keep, which leaves pixels as they are; choose images=png")
        if self.deidentify is not None and self.images != "png":
            raise InputError("deidentify with images=keep would name the original files; choose images=png")
        if (self.questions is None) == (self.question is None):
            raise InputError(
                "expected either a CSV of questions or one question for all files (--questions, --question)"
            )
        if self.resume and self.overwrite:
            raise InputError("resume and overwrite: one goes on with the run, the other deletes it; leave one out")
        if not self.source.is_dir():
            raise InputError(f"{self.source}: no such folder; expected the folder that holds the DICOM files")
        if self.target.resolve().is_relative_to(self.source.resolve()):
            raise InputError(
                f"{self.target}: lies in the source, and would be read as a part of it; choose another place"
            )

    @property
    def working(self) -> Path:
        """Folder of the journal, which holds names and paths of the source: never a part of what is passed on."""
        return self.target.with_name(f"{self.target.name}.journal")

    @property
    def pictures(self) -> Path | None:
        return self.target / "images" if self.images == "png" else None

    def asked(self) -> dict[str, Any]:
        """What makes the result what it is: a run may go on with a journal only if this is the same."""
        content = self.questions.read_bytes() if self.questions else b""
        return {
            "source": str(self.source.resolve()),
            "questions": hashlib.sha256(content).hexdigest(),
            "question": self.question,
            "images": self.images,
            "windows": list(self.windows),
            "deidentify": {**self.deidentify, **asdict(self.text)} if self.deidentify is not None else None,
            "memory_mib": self.isolation.memory_mib,
            "seconds_per_file": self.isolation.seconds_per_file,
        }
