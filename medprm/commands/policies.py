"""Who draws, as a verb's settings name it: the tiny policy in this process, or a server behind the guard.

In: AnnotateConfig or SearchConfig, where images start, an open journal. Out: clients and policies.
"""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from medprm.annotation.local_policy import LocalPolicy
from medprm.annotation.rollouts import Drawing
from medprm.annotation.server_policy import ServerPolicy
from medprm.cases.png_files import png_files
from medprm.cases.schema import Case
from medprm.clients.guard import Guard, zone_of
from medprm.clients.journal import Journal
from medprm.clients.openai_http import OpenAIClient
from medprm.clients.settings import GuardSettings, ServerSettings
from medprm.config import AnnotateConfig, SearchConfig
from medprm.model.tiny import shipped_base

Config = TypeVar("Config", bound=AnnotateConfig | SearchConfig)


class Workshop(NamedTuple, Generic[Config]):
    """What clients and policies are made with; `opened` closes what they hold."""

    config: Config
    # Of the run.
    folder: Path
    image_root: Path
    # Longest side of an image that a server is shown.
    max_image_pixels: int
    # Most dollars for what is bought here; None: no limit.
    budget_dollars: float | None
    journal: Journal
    opened: ExitStack

    @property
    def images(self) -> Callable[[Case], list[bytes]]:
        return partial(png_files, root=self.image_root, max_side=self.max_image_pixels)

    def client(self, server: ServerSettings) -> OpenAIClient:
        guard = Guard(self.config.guard, self.image_root)
        return OpenAIClient(server, self.config.prices, guard, self.journal, self.budget_dollars)


def local_policy(shop: Workshop[Config], drawing: Drawing, num_processes: int) -> LocalPolicy:
    """The shipped base in so many processes of this machine."""
    policy = LocalPolicy(shipped_base(), shop.image_root, drawing, shop.journal, shop.config.seed, num_processes)
    return shop.opened.enter_context(policy)


def server_policy(shop: Workshop[Config], server: ServerSettings, drawing: Drawing) -> ServerPolicy:
    """The model of a server."""
    return ServerPolicy(shop.client(server), drawing, shop.images, shop.config.seed, shop.config.answers.kind)


def is_any_outside(servers: Iterable[ServerSettings], guard: GuardSettings) -> bool:
    """Whether a server stands outside this site: what it answers is bought."""
    return any(zone_of(url, guard.site_hosts) == "outside" for one in servers for url in one.base_urls)
