"""Settings of the HTTP service. Light: no torch and no web framework."""

from dataclasses import dataclass, field

from medprm.clients.hosts import is_loopback
from medprm.errors import InputError, check_least
from medprm.images.isolation import IsolationSettings


@dataclass
class ServingSettings:
    """Where the service listens, whom it answers, and how much it takes on."""

    # Address that it listens on; other than loopback it needs token_env and allowed_hosts.
    host: str = "127.0.0.1"
    # 0: any free port, which is printed.
    port: int = 8765
    # Name of the environment variable with the token that every request must carry; null: none, on loopback alone.
    token_env: str | None = None
    # Names that a request may call this service by (the Host header), beside those of loopback.
    allowed_hosts: list[str] = field(default_factory=list)
    # A proxy on this machine passes requests on: the token is needed on loopback too, and every request must carry
    # X-Forwarded-For, whose last address is the client that the guard is asked about.
    behind_proxy: bool = False
    # Folder that image paths of requests start from; null: requests bring their images as base64.
    data_root: str | None = None
    # Cases scored together at most.
    max_batch_cases: int = 16
    # How long the first case of a batch waits for others, in milliseconds.
    max_wait_ms: float = 5.0
    # Cases waiting at most; more are refused with status 503.
    max_waiting: int = 256
    # Largest request, in MiB.
    max_body_mib: int = 64
    # All requests that are being read, waiting or scored, in MiB; more are refused with status 503. While it is read, a
    # request takes up to five times its size.
    max_bodies_mib: int = 512
    # Images of one case at most.
    max_images: int = 32
    # Processes that decode the image files of requests; each one is started when it is first needed.
    image_workers: int = 2
    # Longest that the decoding of one file may take, in seconds, and the memory for it, in MiB.
    image_seconds: float = 20.0
    image_memory_mib: int = 768
    # Longest wait for the whole of a request, in seconds.
    read_timeout_seconds: float = 30.0
    # Solutions in one request at most.
    max_solutions: int = 128
    # Steps of one solution at most.
    max_steps: int = 256

    def __post_init__(self) -> None:
        for name in ("max_batch_cases", "max_waiting", "max_body_mib", "max_images", "max_solutions", "max_steps"):
            check_least(f"serving.{name}", getattr(self, name), 1)
        check_least(
            "serving.max_bodies_mib (serving.max_body_mib is the least)", self.max_bodies_mib, self.max_body_mib
        )
        check_least("serving.image_workers", self.image_workers, 1)
        check_least("serving.image_seconds", self.image_seconds, 0.1)
        check_least("serving.image_memory_mib", self.image_memory_mib, 64)
        if not 0 <= self.port <= 65535:
            raise InputError(f"serving.port is {self.port}; expected 0 to 65535")
        if self.max_wait_ms < 0 or self.read_timeout_seconds <= 0:
            raise InputError(
                f"serving.max_wait_ms is {self.max_wait_ms}, serving.read_timeout_seconds {self.read_timeout_seconds}; "
                "expected 0 or more, and more than 0"
            )
        if self.behind_proxy and (self.token_env is None or not is_loopback(self.host)):
            raise InputError(
                f"serving.behind_proxy=true with serving.host={self.host}, serving.token_env={self.token_env}: give "
                "serving.token_env=NAME, the environment variable with a token, and leave the host on loopback, so "
                "that nobody can go around the proxy"
            )
        if not is_loopback(self.host) and (self.token_env is None or not self.allowed_hosts):
            raise InputError(
                f"serving.host={self.host} answers other machines: give serving.token_env=NAME, the environment "
                "variable with a token, and serving.allowed_hosts=[NAME], what clients call this machine"
            )

    @property
    def isolation(self) -> IsolationSettings:
        """Limits of the processes that decode."""
        return IsolationSettings(self.image_workers, self.image_seconds, self.image_memory_mib)
