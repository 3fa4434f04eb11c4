"""Settings of PRM-guided search. Light: no torch."""

from dataclasses import dataclass, field

from medprm.errors import InputError, check_choice, check_least
from medprm.scoring.aggregate import AGGREGATORS

METHODS = ("beam", "dvts")


@dataclass
class SearchSettings:
    """Step-level search against a policy, and Best-of-N beside it."""

    # beam: all candidates of a round compete; dvts: each of the kept ones has a tree of its own.
    methods: list[str] = field(default_factory=lambda: list(METHODS))
    # Candidates of a round, N: N / branch are kept.
    num_candidates: list[int] = field(default_factory=lambda: [4, 8, 16])
    # Next steps drawn for each that was kept.
    branch: int = 4
    # How step scores make the score that decides which are kept; null: as solutions are scored.
    keep_by: str | None = None
    # How step scores make a solution's score; null: as the checkpoint says.
    aggregation: str | None = None
    # Rounds at most: solutions with more steps are given up, and counted.
    max_steps: int = 16
    # Of the policy, in the search and for Best-of-N alike.
    temperature: float = 0.7
    # Tokens of the longest step, and of the longest solution of Best-of-N.
    max_step_tokens: int = 48
    max_solution_tokens: int = 160
    # Solutions drawn whole for each case, from which Best-of-N takes as many as the search's tokens pay for.
    num_solutions: int = 32
    # tiny: the shipped base in this process; server: policy_server.
    policy: str = "tiny"
    # policy=server: how it goes on from a prefix, as monte_carlo.continuation.
    continuation: str = "continue_final_message"
    # Random orders of a case's solutions behind Best-of-N at equal tokens.
    num_orders: int = 200

    def __post_init__(self) -> None:
        for one in self.methods:
            check_choice("search.methods", one, METHODS)
        check_choice("search.policy", self.policy, ("tiny", "server"))
        check_choice("search.continuation", self.continuation, ("continue_final_message", "prompt"))
        for name in ("keep_by", "aggregation"):
            if getattr(self, name) is not None:
                check_choice(f"search.{name}", getattr(self, name), tuple(AGGREGATORS))
        for name in ("branch", "max_steps", "max_step_tokens", "max_solution_tokens", "num_solutions", "num_orders"):
            check_least(f"search.{name}", getattr(self, name), 1)
        if not self.methods or not self.num_candidates:
            raise InputError("search.methods and search.num_candidates: expected at least one of each")
        for one in self.num_candidates:
            if one < self.branch or one % self.branch:
                raise InputError(
                    f"search.num_candidates has {one}; expected multiples of search.branch={self.branch}: "
                    "N / branch are kept of every round"
                )
        if self.temperature <= 0:
            raise InputError(f"search.temperature is {self.temperature}; expected more than 0: draws must differ")
