"""The settings of the expert review."""

from dataclasses import dataclass, field

from medprm.annotation.settings import ConsensusSettings
from medprm.errors import InputError
from medprm.review.settings import (
    AccountSettings,
    AddressSettings,
    ProtocolSettings,
    ReviewDataSettings,
    RuleSettings,
    check_together,
)


@dataclass
class ReviewConfig:
    """`python -m medprm.review`."""

    # Names the review; the folder follows from it.
    run_name: str = "review"
    # The review's folder: verdicts, accounts and the log; it is gone on with whenever it is there.
    output_dir: str = "outputs/review"
    data: ReviewDataSettings = field(default_factory=ReviewDataSettings)
    rules: RuleSettings = field(default_factory=RuleSettings)
    protocol: ProtocolSettings = field(default_factory=ProtocolSettings)
    accounts: AccountSettings = field(default_factory=AccountSettings)
    address: AddressSettings = field(default_factory=AddressSettings)
    # How labels follow from sources in the merged records; the default: as in the annotation run beside data.path.
    consensus: ConsensusSettings = field(default_factory=ConsensusSettings)
    # Folder to write every export into, instead of serving.
    export: str | None = None
    # File of verdicts to take in (JSON Lines, or Label Studio's export .json), instead of serving.
    verdicts: str | None = None

    def __post_init__(self) -> None:
        check_together(self.address, self.rules, self.protocol, self.accounts)
        if self.export is not None and self.verdicts is not None:
            raise InputError("export and verdicts: one takes out, the other takes in; give one")
