"""Settings of the review application. Light: no web framework, so that `--help` is quick."""

from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path

from medprm.clients.hosts import is_loopback
from medprm.errors import InputError, check_choice, check_least

STEPS = ("disputed", "all")
PROTOCOLS = ("none", "split_check")
ROLES = ("reviewer", "adjudicator", "admin")
SPECIALTIES = ("radiology", "pathology", "dermatology")


@dataclass
class ReviewDataSettings:
    """What is reviewed and shown."""

    # labelled.jsonl of annotate.py, or any file of records (.jsonl, .parquet); null: a small phantom, for a first look.
    path: str | None = None
    # expert_queue.jsonl; null: the one beside `path` where there is one, else the steps labelled unknown.
    queue: str | None = None
    # Folder that image paths start from; null: that of the annotation run (run.json beside `path`), else of `path`.
    image_root: str | None = None
    # scored.jsonl of evaluate.py: its scores stand beside the steps, and its candidates can be looked through.
    scored: str | None = None


@dataclass
class AddressSettings:
    """Where the application listens."""

    # Loopback unless said otherwise; another address needs a certificate, or a proxy that has one.
    host: str = "127.0.0.1"
    port: int = 8765
    # Names by which browsers may call it, beside `host` and localhost (others are refused: DNS rebinding).
    names: list[str] = field(default_factory=list)
    # Certificate and key (PEM) for HTTPS.
    certificate: str | None = None
    key: str | None = None
    # A proxy in front ends HTTPS; cookies are sent over HTTPS only.
    behind_https_proxy: bool = False
    # Addresses or networks (10.0.0.7, 10.1.0.0/16) of proxies whose X-Forwarded-For is believed, so that failed logins
    # count for whoever made them; a proxy on this machine is believed anyway where only this machine can call.
    trusted_proxies: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for one in self.trusted_proxies:
            _check_network("address.trusted_proxies", one)
        if self.trusted_proxies and not self.behind_https_proxy:
            raise InputError("address.trusted_proxies has no effect without address.behind_https_proxy=true; set both")
        if (self.certificate is None) != (self.key is None):
            raise InputError("address.certificate and address.key go together; give both or none")
        if not 0 <= self.port <= 65535:
            raise InputError(f"address.port is {self.port}; expected 0 (any free one) to 65535")
        if not self.is_loopback and not self.is_https:
            raise InputError(
                f"address.host={self.host} can be reached from other machines, and passwords would travel readable; "
                "give address.certificate and address.key, or set address.behind_https_proxy=true"
            )

    @property
    def believed_proxies(self) -> list[str]:
        """Whose X-Forwarded-For is believed."""
        return [*self.trusted_proxies, *(("127.0.0.1", "::1") if self.is_loopback else ())]

    @property
    def is_https(self) -> bool:
        return self.certificate is not None or self.behind_https_proxy

    @property
    def is_loopback(self) -> bool:
        return is_loopback(self.host)


@dataclass
class RuleSettings:
    """Who is asked what, and what they see."""

    # disputed: the steps of the queue; all: every step of every solution (an evaluation set).
    steps: str = "disputed"
    # Hide what the machines said, so that agreement with them and between experts is measured honestly.
    is_blind: bool = False
    # Share of the solutions that two experts read, each without the other's verdicts.
    overlap: float = 0.2
    # Minutes for which a solution is kept for the expert who opened it, counted from the last verdict.
    lock_minutes: float = 30.0
    # Show the gold standard once a case is finished; its solutions can then no longer be changed.
    show_gold: bool = True
    # Show on *Scored* what is true of cases that are still to be judged, too: where nobody will judge them.
    show_truth_early: bool = False
    # What an hour of an expert costs.
    dollars_per_hour: float = 37.0
    # Seconds without any input after which the clock of a step stands still.
    idle_seconds: float = 60.0
    # Of the draws: which solutions are read twice or checked.
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("rules.steps", self.steps, STEPS)
        if not 0.0 <= self.overlap <= 1.0:
            raise InputError(f"rules.overlap is {self.overlap}; expected a share in [0, 1]")
        for name, least in (("lock_minutes", 0.1), ("dollars_per_hour", 0.0), ("idle_seconds", 1.0)):
            check_least(f"rules.{name}", getattr(self, name), least)


@dataclass
class ProtocolSettings:
    """How the work itself is checked (VisualProcessBench: splits, a share checked by a lead, sent back whole)."""

    # none, or split_check: every split is one reviewer's, a lead checks a share of it and accepts or returns it.
    kind: str = "none"
    # Solutions of a split.
    split_size: int = 50
    # Share of a split's solutions that a lead checks.
    check_share: float = 0.1

    def __post_init__(self) -> None:
        check_choice("protocol.kind", self.kind, PROTOCOLS)
        check_least("protocol.split_size", self.split_size, 1)
        if not 0.0 < self.check_share <= 1.0:
            raise InputError(f"protocol.check_share is {self.check_share}; expected a share in (0, 1]")


@dataclass
class AccountSettings:
    """Sessions and logging in."""

    # Hours after which a session ends, and after which one that is not used does.
    session_hours: float = 12.0
    idle_hours: float = 1.0
    # Failed attempts for one name, or from one address, within the window, before further ones are refused.
    max_failures: int = 5
    max_failures_of_address: int = 30
    failure_window_minutes: float = 15.0
    # Make two reviewers and an adjudicator, with new passwords printed at every start; loopback only.
    demo: bool = False
    # Give this account a new password, printed at the start: for whoever lost theirs.
    reset: str | None = None

    def __post_init__(self) -> None:
        for name, least in (("session_hours", 0.01), ("idle_hours", 0.01), ("max_failures", 1)):
            check_least(f"accounts.{name}", getattr(self, name), least)
        check_least("accounts.max_failures_of_address", self.max_failures_of_address, self.max_failures)


def check_together(
    address: AddressSettings, rules: RuleSettings, protocol: ProtocolSettings, accounts: AccountSettings
) -> None:
    """What each setting allows by itself and all of them together do not."""
    if protocol.kind == "split_check" and rules.overlap:
        raise InputError(
            f"protocol.kind=split_check with rules.overlap={rules.overlap}: a split is one reviewer's; set "
            "rules.overlap=0, or protocol.kind=none"
        )
    if accounts.demo and not address.is_loopback:
        raise InputError(f"accounts.demo=true with address.host={address.host}: demo accounts are for loopback only")


def _check_network(name: str, value: str) -> None:
    try:
        ip_network(value)
    except ValueError:
        raise InputError(
            f"{name}: {value!r}; expected an address or a network, such as 10.0.0.7 or 10.1.0.0/16"
        ) from None


def check_file(name: str, path: str | None) -> Path | None:
    """The path where it names a file; InputError otherwise."""
    if path is None:
        return None
    if not Path(path).is_file():
        raise InputError(f"{name}={path}: no such file")
    return Path(path)
