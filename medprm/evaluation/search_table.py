"""What a search came to, beside Best-of-N at the same tokens: numbers with intervals, and a table.

In: one `Outcome` per case, method and N. Out: a mapping of plain JSON values, and text. Differences are paired by case;
intervals are by patient.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from medprm.evaluation.steps import draw_resampling
from medprm.evaluation.table import aligned, with_interval
from medprm.statistics.bootstrap import MIN_CLUSTERS, estimate_mean, paired_difference

METHOD_NAMES = {"beam": "beam search", "dvts": "DVTS"}


@dataclass(frozen=True)
class Outcome:
    """One case under one method and N; what stands beside it had at least as many tokens."""

    case_id: str
    group_id: str
    method: str
    num_candidates: int
    is_correct: bool
    answer: str | None
    num_tokens: int
    num_scored: int
    num_cut: int
    num_open: int
    # Expected correctness of Best-of-N and of majority vote at these tokens, and how many candidates they paid for.
    best_of_n: float
    majority: float
    best_of_n_candidates: float
    best_of_n_tokens: float
    is_pool_short: bool
    pass_at_1: float
    oracle: float


def search_numbers(outcomes: Sequence[Outcome], num_bootstrap: int, seed: int) -> dict[str, Any]:
    """Numbers by method and N."""
    resampling = draw_resampling((one.group_id for one in outcomes), num_bootstrap, seed)
    found: dict[str, Any] = {"methods": {}, "num_patients": len(resampling.numbers), "notes": {}}
    if len(resampling.numbers) < MIN_CLUSTERS:
        found["notes"]["intervals"] = (
            f"only {len(resampling.numbers)} patients: below {MIN_CLUSTERS} they are too narrow"
        )
    for method, num_candidates in dict.fromkeys((one.method, one.num_candidates) for one in outcomes):
        rows = [one for one in outcomes if (one.method, one.num_candidates) == (method, num_candidates)]
        clusters = resampling.clusters([one.group_id for one in rows])

        def values(name: str, rows: list[Outcome] = rows) -> np.ndarray:
            return np.array([float(getattr(one, name)) for one in rows])

        numbers: dict[str, Any] = {
            name: estimate_mean(values(key), clusters, resampling.weights).as_json()
            for name, key in (
                *(("search", "is_correct"), ("best_of_n", "best_of_n"), ("majority", "majority")),
                *(("pass_at_1", "pass_at_1"), ("oracle_of_pool", "oracle")),
            )
        }
        numbers["search_minus_best_of_n"] = paired_difference(
            values("is_correct"), values("best_of_n"), clusters, resampling.weights
        ).as_json()
        for name in ("num_tokens", "best_of_n_tokens", "best_of_n_candidates", "num_scored"):
            numbers[f"mean_{name}"] = float(values(name).mean())
        numbers["num_steps_cut"], numbers["num_prefixes_open"] = (
            int(values("num_cut").sum()),
            int(values("num_open").sum()),
        )
        numbers["num_unanswered"] = sum(one.answer is None for one in rows)
        short = sum(one.is_pool_short for one in rows)
        if short:
            found["notes"][f"{method} N={num_candidates}"] = (
                f"in {short} of {len(rows)} cases all solutions drawn together have fewer tokens than the search; "
                "raise search.num_solutions"
            )
        found["methods"].setdefault(method, {})[str(num_candidates)] = numbers
    return found


def search_table(numbers: Mapping[str, Any]) -> str:
    """The numbers as text."""
    head = ["", "tokens a case", "search", "Best-of-N", "its N", "majority", "search - Best-of-N (paired)"]
    rows = [head]
    for method, by_size in numbers["methods"].items():
        for size, one in by_size.items():
            rows.append(
                [
                    f"{METHOD_NAMES[method]}, N={size}",
                    f"{one['mean_num_tokens']:.0f} / {one['mean_best_of_n_tokens']:.0f}",
                    with_interval(one["search"]),
                    with_interval(one["best_of_n"]),
                    f"{one['mean_best_of_n_candidates']:.1f}",
                    f"{one['majority']['value']:.3f}",
                    with_interval(one["search_minus_best_of_n"]),
                ]
            )
    first = next(iter(next(iter(numbers["methods"].values())).values()))
    cases = (
        f"{first['search']['n']} cases of {numbers['num_patients']} patients; pass@1 {first['pass_at_1']['value']:.3f}"
    )
    notes = [f"note: {name}: {text}" for name, text in numbers["notes"].items()]
    return "\n\n".join([cases, aligned(rows), *(["\n".join(notes)] if notes else [])]) + "\n"


def as_row(outcome: Outcome) -> dict[str, Any]:
    return asdict(outcome)
