"""Settings of the encoding room. Light: imports no torch and no transformers."""

from dataclasses import dataclass, field

from medprm.errors import InputError, check_choice, check_least
from medprm.images.ct_windows import check_windows

PROMPT_NAMES = ("medprm", "visualprm_paper", "visualprm_v1")
HISTORIES = ("plus", "labels")
BLANKS = ("images", "context", "documents")
LABEL_KINDS = ("hybrid", "value", "advantage", "judge", "soft", "outcome")


@dataclass
class EncodingSettings:
    """How a case and its steps become a token sequence. Saved with the checkpoint and used again for scoring."""

    # Prompt preset: medprm, visualprm_paper or visualprm_v1.
    prompt: str = "medprm"
    # What the assistant turns of earlier steps hold: plus (always "+") or labels (training only, as VisualPRM).
    history: str = "plus"
    # Put the case's documents before its images.
    use_documents: bool = True
    # Inputs taken away for control experiments: any of images (made mid-grey), context, documents.
    blank: list[str] = field(default_factory=list)
    # CT slices in Hounsfield units through one window (grey) or three (red, green, blue), by name or as center/width,
    # such as [lung,mediastinum,bone]; empty: the file's own window. Every image must then be a DICOM file of a CT.
    ct_windows: list[str] = field(default_factory=list)
    # Limit of all text of a sequence, documents included [tokens].
    max_text_tokens: int = 4096
    # Limit of the documents of a sequence [tokens]; over it the last documents are dropped, whole.
    max_document_tokens: int = 3072
    # Limit of the visual tokens of a sequence [tokens]; 13 tiles of InternVL2.5 take 3,330.
    max_image_tokens: int = 4096

    def __post_init__(self) -> None:
        check_choice("encoding.prompt", self.prompt, PROMPT_NAMES)
        check_choice("encoding.history", self.history, HISTORIES)
        for blank in self.blank:
            check_choice("encoding.blank", blank, BLANKS)
        check_windows(self.ct_windows)
        for name in ("max_text_tokens", "max_image_tokens"):
            if getattr(self, name) < 1:
                raise InputError(f"encoding.{name} is {getattr(self, name)}; expected 1 or more tokens")
        if not 0 <= self.max_document_tokens <= self.max_text_tokens:
            raise InputError(
                f"encoding.max_document_tokens is {self.max_document_tokens}; expected 0 to encoding.max_text_tokens "
                f"({self.max_text_tokens})"
            )


@dataclass
class TileSettings:
    """What is kept of decoded images, so that they are decoded once. What the model reads does not depend on it."""

    # Folder where tiles are kept, found by the content of the image files and how they are cut; null: nowhere. It holds
    # pictures as open as the image files themselves, and no names.
    folder: str | None = None
    # Size beyond which nothing more is put into the folder [GiB].
    max_gib: float = 50.0
    # Tiles that each process holds in its memory [MiB].
    memory_mib: int = 512

    def __post_init__(self) -> None:
        check_least("tiles.memory_mib", self.memory_mib, 0)
        if self.max_gib <= 0:
            raise InputError(f"tiles.max_gib is {self.max_gib}; expected more than 0")
        if self.folder is None and self.max_gib != TileSettings.max_gib:
            raise InputError(
                f"tiles.max_gib is {self.max_gib} but tiles.folder is null; name a folder, or leave it out"
            )


@dataclass
class LabelSettings:
    """Which labels are trained on: the target of each step, and how much it weighs."""

    # hybrid (the fused label), value or soft (Monte Carlo), advantage (its change), judge, outcome (last step only).
    kind: str = "hybrid"
    # kind=value: a step is "+" where its Monte Carlo score is above this; in [0, 1).
    mc_threshold: float = 0.0
    # kind=advantage: a change of the Monte Carlo score within +- this is "="; in [0, 1).
    advantage_margin: float = 0.0
    # Weigh each step's loss by the step's confidence (1 where a step has none).
    use_confidence: bool = False

    def __post_init__(self) -> None:
        check_choice("labels.kind", self.kind, LABEL_KINDS)
        for name, kind in (("mc_threshold", "value"), ("advantage_margin", "advantage")):
            value = getattr(self, name)
            if not 0.0 <= value < 1.0:
                raise InputError(f"labels.{name} is {value}; expected 0 or more and below 1")
            if value and self.kind != kind:
                raise InputError(f"labels.{name} is {value} but only labels.kind={kind} reads it (kind={self.kind})")

    @property
    def texts(self) -> tuple[str, ...]:
        """The label texts in the order of the target columns; "+" first."""
        return ("+", "=", "-") if self.kind == "advantage" else ("+", "-")
