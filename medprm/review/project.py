"""One review: its tasks, its accounts, its images, and the address where it is served."""

from dataclasses import dataclass
from functools import cached_property

from medprm.annotation.settings import ConsensusSettings
from medprm.review.accounts import Accounts
from medprm.review.assignment import Assignment
from medprm.review.pixels import Pixels
from medprm.review.progress import KeptAgreement
from medprm.review.settings import AddressSettings


@dataclass(frozen=True)
class Project:
    """Everything that the pages of one project stand on."""

    assignment: Assignment
    accounts: Accounts
    pixels: Pixels
    consensus: ConsensusSettings
    address: AddressSettings
    title: str

    @property
    def cookie(self) -> str:
        """Over HTTPS the browser itself holds the cookie to this host and path (`__Host-`)."""
        return "__Host-medprm_session" if self.address.is_https else "medprm_session"

    @cached_property
    def agreed(self) -> KeptAgreement:
        """The experts' agreement, kept until a review is finished."""
        return KeptAgreement(self.assignment)
