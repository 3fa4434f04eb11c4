"""Settings of the ways out: servers, limits, prices, and where data may go."""

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from medprm.errors import InputError, check_least

ZONES = ("machine", "site", "outside")


@dataclass
class SourcePolicy:
    """Where the cases of one source (`metadata.source`) may go."""

    # The farthest zone: machine, site or outside.
    zone: str = "machine"
    # Patients' data: what leaves the site must be marked phi_removed and irb_approved. false for public exam questions.
    is_patient_data: bool = True
    # Addresses of which an agreement says that this source may go there; MIMIC and CheXpert go nowhere else outside.
    agreed_endpoints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.zone not in ZONES:
            raise InputError(f"guard.sources.*.zone: {self.zone!r}; expected one of {', '.join(ZONES)}")


@dataclass
class GuardSettings:
    """Nothing leaves this machine unless it says so here."""

    # Hosts of this site (a node with vLLM), by name or address.
    site_hosts: list[str] = field(default_factory=list)
    # Source -> where it may go; a source that is not named stays on this machine. The phantom is nobody's.
    sources: dict[str, SourcePolicy] = field(
        default_factory=lambda: {"phantom": SourcePolicy(zone="outside", is_patient_data=False)}
    )


@dataclass
class ModelPrice:
    """Dollars per million tokens."""

    input: float = 0.0
    output: float = 0.0
    # Input that the server read from its cache; null: as other input.
    cached: float | None = None

    def __post_init__(self) -> None:
        for name in ("input", "output", "cached"):
            check_least(f"prices.models.*.{name}", getattr(self, name) or 0.0, 0.0)


@dataclass
class PriceSettings:
    """A dated price list."""

    # Day that the list was read, for the ledger.
    date: str | None = None
    # Model -> price; a name also covers longer ones that begin with it and a hyphen or at-sign.
    models: dict[str, ModelPrice] = field(default_factory=dict)


@dataclass
class ServerSettings:
    """An OpenAI-compatible server."""

    # Addresses up to and with the version, such as http://127.0.0.1:8000/v1; cases are shared out among several,
    # and where one fails the next is tried.
    base_urls: list[str] = field(default_factory=list)
    # The model asked for; the one that answers is recorded and priced.
    model: str = ""
    # Name of the environment variable with the key; null: no key is sent.
    api_key_env: str | None = None
    # Requests under way at a time.
    concurrency: int = 16
    # Longest wait for a whole answer, in seconds.
    timeout_seconds: float = 300.0
    # Largest answer that is read, in bytes; a longer one is a failure.
    max_answer_bytes: int = 8_000_000
    # Times that one request is sent before it counts as unanswered.
    max_attempts: int = 6
    # First wait after a failure, doubled each time, half of it by chance.
    backoff_seconds: float = 1.0
    # Longest wait between two attempts; where the server asks for more (Retry-After), as long as it asks.
    max_backoff_seconds: float = 60.0
    # Failures in a row of one address after which nothing is sent there for `rest_seconds`; then one request tries.
    breaker_failures: int = 20
    rest_seconds: float = 30.0
    # Limits of the provider; null: none. Tokens are those of text and images sent and of the longest answers.
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None

    def __post_init__(self) -> None:
        for url in self.base_urls:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
                raise InputError(f"base_urls: {url!r}; expected http(s)://host[:port]/path without user, key or query")
        for name in ("concurrency", "max_attempts", "max_answer_bytes", "breaker_failures"):
            check_least(f"server {name}", getattr(self, name), 1)
        for name in ("max_backoff_seconds", "rest_seconds"):
            check_least(f"server {name}", getattr(self, name), 0.0)
        for name in ("requests_per_minute", "tokens_per_minute"):
            limit = getattr(self, name)
            if limit is not None and not limit > 0:
                raise InputError(f"server {name} is {limit}; expected null or more than 0")
        if self.timeout_seconds <= 0 or self.backoff_seconds < 0:
            raise InputError(
                f"server timeout_seconds is {self.timeout_seconds}, backoff_seconds {self.backoff_seconds}"
            )
