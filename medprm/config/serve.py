"""The settings of the scoring service."""

from dataclasses import dataclass, field

from medprm.clients.settings import GuardSettings
from medprm.config.checks import check_null_or_positive
from medprm.encoding.settings import TileSettings
from medprm.errors import InputError
from medprm.scoring.settings import ScoringSettings
from medprm.serving.settings import ServingSettings


@dataclass
class ServeConfig:
    """`python -m medprm.serving`."""

    # Folder or hub id of the trained PRM.
    checkpoint: str | None = None
    # CPU threads; null: all cores.
    num_threads: int | None = None
    serving: ServingSettings = field(default_factory=ServingSettings)
    scoring: ScoringSettings = field(default_factory=ScoringSettings)
    # What is kept of decoded images.
    tiles: TileSettings = field(default_factory=TileSettings)
    # Whose data may be answered about, and to which address.
    guard: GuardSettings = field(default_factory=GuardSettings)

    def __post_init__(self) -> None:
        if self.scoring.protocol != "own":
            raise InputError(f"scoring.protocol={self.scoring.protocol}: only checkpoints of this project are served")
        check_null_or_positive("num_threads", self.num_threads)
