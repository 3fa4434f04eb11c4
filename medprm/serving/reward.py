"""Rewards for reinforcement learning: a PRM as a reward function of TRL's GRPO and of verl.

In: prompts and completions of a policy, and per row the case that they are about (column `case`, a record's case as
JSON, or `case_id` of cases that are known). Out: one number in [0, 1] per completion, its solution score. The texts
of a case are scored in one call, so that what they share is read once. Backends: a scorer in this process, or a scoring
service (`python -m medprm.serving`), which an RL environment with other versions of its packages can reach.
Light: torch is imported only where a checkpoint is loaded here.

TRL >= 1.0: `GRPOTrainer(reward_funcs=PrmReward.from_service(URL), ...)`.
verl: `reward.custom_reward_function.path=<this file> reward.custom_reward_function.name=compute_score`.
"""

import asyncio
import json
import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from medprm.cases.parsing import parse_record
from medprm.cases.schema import Case
from medprm.cases.steps import split_steps
from medprm.clients.guard import Guard
from medprm.clients.scoring_http import ScoringClient
from medprm.clients.settings import GuardSettings
from medprm.errors import InputError, SolutionTooLong, check_choice
from medprm.scoring.aggregate import AGGREGATORS, DEFAULT_AGGREGATION

logger = logging.getLogger(__name__)

ADDRESS_VARIABLE = "MEDPRM_SCORING_URL"
TOKEN_VARIABLE = "MEDPRM_SCORING_TOKEN"
NO_STEP, TOO_LONG = "no step", "too long"
"""Why a completion has no score, as `num_unscored` counts them."""
Completion = str | Sequence[Mapping[str, Any]]
"""A text, or a chat: the assistant's turns of it are the text."""


class StepScoring(Protocol):
    """Scores the solutions of a case: one number per step."""

    def __call__(self, case: Case, solutions: Sequence[Sequence[str]]) -> list[list[float]]: ...


class PrmReward:
    """A reward function of TRL: `reward(prompts=..., completions=..., case=[...]) -> list of float`.

    A completion that cannot be scored (no step in it, longer than the model reads) gets `unscored`, and is counted by
    reason in `num_unscored`: a training run must not end because a policy babbles. None leaves it out of TRL's mean.
    Whatever else is refused (the token, the case, a path) raises: it is no property of a completion.
    """

    def __init__(
        self,
        score: StepScoring,
        cases: Iterable[Case] = (),
        aggregation: str = DEFAULT_AGGREGATION,
        unscored: float | None = 0.0,
    ) -> None:
        check_choice("aggregation", aggregation, tuple(AGGREGATORS))
        self.score, self.aggregation, self.unscored = score, aggregation, unscored
        self.cases = {case.case_id: case for case in cases}
        self.num_unscored: Counter[str] = Counter()
        self.__name__ = "medprm"  # TRL logs rewards by it

    @classmethod
    def from_checkpoint(
        cls, folder: str | Path, image_root: str | Path = ".", aggregation: str | None = None, **settings: Any
    ) -> "PrmReward":
        """The model in this process. `aggregation` None: as the checkpoint says. `settings` as in the constructor."""
        from medprm.scoring.scorer import StepScorer  # heavy: torch and transformers

        scorer = StepScorer.from_checkpoint(folder)
        root = Path(image_root)

        def score(case: Case, solutions: Sequence[Sequence[str]]) -> list[list[float]]:
            return scorer.score(case, solutions, root)

        return cls(score, aggregation=aggregation or scorer.prm.get("aggregation", DEFAULT_AGGREGATION), **settings)

    @classmethod
    def from_service(
        cls, url: str, token_env: str | None = None, guard: GuardSettings | None = None, **settings: Any
    ) -> "PrmReward":
        """A service. Cases name images by paths inside its data root. What may go there is for `guard` to say."""
        token = None if token_env is None else _secret(token_env)
        return cls(ScoringClient(url, Guard(guard or GuardSettings()), token).score, **settings)

    def __call__(
        self,
        prompts: Sequence[Any] | None = None,
        completions: Sequence[Completion] = (),
        *,
        case: Sequence[str | Mapping[str, Any]] | None = None,
        case_id: Sequence[str] | None = None,
        **_columns: Any,
    ) -> list[float | None]:
        """One reward per completion. Other columns of the data set, which TRL passes too, are not read."""
        of_row = self._cases_of_rows(len(completions), case, case_id)
        rows_by_case: dict[str, list[int]] = {}
        for row, one in enumerate(of_row):
            rows_by_case.setdefault(one.model_dump_json(), []).append(row)
        rewards: list[float | None] = [self.unscored] * len(completions)
        for rows in rows_by_case.values():
            steps = {row: split_steps(completion_text(completions[row])) for row in rows}
            for row, reward in self._of_case(of_row[rows[0]], steps).items():
                rewards[row] = reward
        return rewards

    def _of_case(self, case: Case, steps: Mapping[int, list[str]]) -> dict[int, float]:
        """Rewards by row; rows that cannot be scored are missing."""
        scorable = {row: one for row, one in steps.items() if one}
        self._count(NO_STEP, len(steps) - len(scorable), case, "no step in it")
        if not scorable:
            return {}
        try:
            scores = self.score(case, list(scorable.values()))
        except SolutionTooLong as error:
            if len(scorable) == 1:
                self._count(TOO_LONG, 1, case, str(error))
                return {}
            found: dict[int, float] = {}
            for row, one in scorable.items():  # which of them it is
                found |= self._of_case(case, {row: one})
            return found
        return {row: AGGREGATORS[self.aggregation](one) for row, one in zip(scorable, scores, strict=True)}

    def _count(self, reason: str, number: int, case: Case, said: str) -> None:
        if number:
            self.num_unscored[reason] += number
            logger.warning("case %s: %d completions get the reward %s: %s", case.case_id, number, self.unscored, said)

    def _cases_of_rows(
        self, num: int, case: Sequence[str | Mapping[str, Any]] | None, case_id: Sequence[str] | None
    ) -> list[Case]:
        if case is not None:
            return [_read_case(one) for one in case]
        if case_id is None:
            raise InputError("reward: the data set has neither a column `case` nor `case_id`; add one of them")
        unknown = [one for one in case_id if one not in self.cases]
        if unknown:
            raise InputError(f"reward: case_id {unknown[0]!r} is none of the {len(self.cases)} known cases")
        assert len(case_id) == num, "one case_id per completion"
        return [self.cases[one] for one in case_id]


def completion_text(completion: Completion) -> str:
    """The text of a completion; of a chat, what the assistant says."""
    if isinstance(completion, str):
        return completion
    said = [one.get("content") or "" for one in completion if one.get("role", "assistant") == "assistant"]
    texts = ["".join(part.get("text", "") for part in one) if isinstance(one, list) else one for one in said]
    return "\n".join(texts)


async def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    url: str | None = None,
    aggregation: str = DEFAULT_AGGREGATION,
    **_: Any,
) -> dict[str, float]:
    """verl's custom reward function: `{"score": ..., "num_steps": ...}` from a scoring service.

    `extra_info["case"]` is the case of the row as in PrmReward. The service is `url` (reward_kwargs) or the environment
    variable MEDPRM_SCORING_URL, its token MEDPRM_SCORING_TOKEN. `data_source` and `ground_truth` are not read.
    """
    address = url or os.environ.get(ADDRESS_VARIABLE)
    if not address:
        raise InputError(
            f"compute_score: no scoring service; set {ADDRESS_VARIABLE}=http://127.0.0.1:8765, or give url"
        )
    if not extra_info or "case" not in extra_info:
        raise InputError("compute_score: extra_info has no 'case'; put the record's case there as JSON")
    token_env = TOKEN_VARIABLE if os.environ.get(TOKEN_VARIABLE) else None
    reward = _service_reward(address, token_env, aggregation)
    (score,) = await asyncio.to_thread(reward, None, [solution_str], case=[extra_info["case"]])
    assert score is not None, "the reward of what cannot be scored is a number here"
    return {"score": score, "num_steps": float(len(split_steps(solution_str)))}


_services: dict[tuple[str, str | None, str], PrmReward] = {}


def _service_reward(url: str, token_env: str | None, aggregation: str) -> PrmReward:
    """One client per address and token, so that connections are kept."""
    key = (url, token_env and _secret(token_env), aggregation)
    if key not in _services:
        _services[key] = PrmReward.from_service(url, token_env, aggregation=aggregation)
    return _services[key]


def _read_case(value: str | Mapping[str, Any]) -> Case:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return parse_record(text, "reward: column case").case()


def _secret(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise InputError(f"the environment variable {name} is not set; put the service's token there")
    return value
