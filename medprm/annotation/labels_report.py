"""How good the labels are: coverage, accuracy against the truth where there is one, agreement, use of the experts.

In: steps with the machines' verdicts, the experts' verdicts, the truth by step. Out: one JSON object of
{"value", "low", "high", "n"} with intervals by patient, and a page. What is undefined is left out.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from medprm.annotation.calibration import step_chances
from medprm.annotation.dawid_skene import consensus_chances
from medprm.annotation.expert_queue import QueuedStep, StepKey, believed_chance, best_guess
from medprm.cases.atomic import replaced_file
from medprm.cases.schema import ExpertVerdict, Label
from medprm.cases.verdicts import expert_majority
from medprm.statistics.agreement import krippendorff_alpha, pair_agreement, pearson
from medprm.statistics.bootstrap import (
    Clusters,
    Estimate,
    draw_weights,
    estimate,
    estimate_mean,
    number_clusters,
    paired_difference,
    ratio,
    sum_by_cluster,
)

REVIEWED_SHARES = tuple(round(0.05 * number, 2) for number in range(21))
COMPARED_SHARE = 0.3
RANDOM_ORDERS = 20  # random queues that the ranked one is compared with, on average

Experts = Mapping[StepKey, Sequence[ExpertVerdict]]


class Measured(NamedTuple):
    """All that the report measures: steps, chances by the ranking, its order, verdicts given, the truth if known."""

    steps: Sequence[QueuedStep]
    chances: Sequence[float]
    order: Sequence[int]
    experts: Experts
    truth: Mapping[StepKey, Label]
    would_say: Callable[[StepKey], Sequence[ExpertVerdict]] | None  # what a simulated expert would say of any step
    labelled: Sequence[Label] = ()  # as written with the experts, step by step; there before anything is reported
    pilot: frozenset[StepKey] = frozenset()  # steps that experts were given at random


def make_report(measured: Measured, num_bootstrap: int, seed: int = 0) -> dict[str, Any]:
    """The numbers."""
    clusters = number_clusters([one.group_id for one in measured.steps])
    weights = draw_weights(clusters.num, num_bootstrap, seed)
    rows = source_labels(measured)
    report: dict[str, Any] = {
        "num_steps": len(measured.steps),
        "num_patients": clusters.num,
        "intervals_are_narrow": clusters.are_few,
        "sources": {name: _coverage(labels, clusters, weights) for name, labels in rows.items()},
        "disputed_share": _share([one.label == "unknown" for one in measured.steps], clusters, weights),
        "machine_labels": dict(sorted(Counter(one.label for one in measured.steps).items())),
        "reviewed_share": len(measured.experts) / len(measured.steps),
        "agreement": _agreement(rows, measured, num_bootstrap),
        "pilot": _pilot(rows, measured, num_bootstrap),
        "experts_together": _experts_together(measured, num_bootstrap),
        "pearson": _correlations(measured, num_bootstrap),
    }
    if measured.truth:
        truth: list[Label] = [measured.truth[one.key] for one in measured.steps]
        for name, labels in rows.items():
            report["sources"][name] |= _accuracies(labels, truth, clusters, weights)
        report["no_source"] = {"all_correct": _share([one == "correct" for one in truth], clusters, weights)}
        report["by_category"] = _by_category(rows, truth, measured.steps, clusters, weights)
        if measured.would_say:
            report |= _curve(measured, truth, clusters, weights)
    return report


def source_labels(measured: Measured) -> dict[str, list[Label]]:
    """The labels that each source alone, the machines together, and all with the experts give."""
    steps, guessed = measured.steps, zip(measured.steps, measured.chances, strict=True)
    judge: list[Label] = [one.judge for one in steps]
    fused: list[Label] = [one.label for one in steps]
    assert len(measured.labelled) == len(steps), "labels are measured as they were written"
    fitted = consensus_chances(steps, measured.experts)
    dawid_skene: list[Label] = [] if fitted is None else ["correct" if one >= 0.5 else "incorrect" for one in fitted]
    rows = {
        "judge": judge,
        "monte_carlo_value": [_by_score(one, 0.0) for one in steps],
        "monte_carlo_half": [_by_score(one, 0.5) for one in steps],
        "hybrid_before_experts": fused,
        "hybrid_after_experts": list(measured.labelled),
        "hybrid_and_best_guess": [
            best_guess(one, chance, measured.experts.get(one.key, ())) for one, chance in guessed
        ],
    }
    return rows | ({"dawid_skene": dawid_skene} if dawid_skene else {})


def write_report(folder: Path, report: Mapping[str, Any], title: str, notes: Sequence[str]) -> None:
    """labels_report.json and labels_report.html."""
    with replaced_file(folder / "labels_report.json") as draft:
        draft.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    environment = Environment(
        loader=PackageLoader("medprm.annotation", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template("labels_report.html.j2").render(title=title, notes=notes, report=report)
    with replaced_file(folder / "labels_report.html") as draft:
        draft.write_text(page, encoding="utf-8")


def _by_score(step: QueuedStep, threshold: float) -> Label:
    num = step.num_correct + step.num_wrong
    if num == 0:
        return step.outcome if step.is_answer else "unknown"
    return "correct" if step.num_correct / num > threshold else "incorrect"


def _coverage(labels: Sequence[Label], clusters: Clusters, weights: np.ndarray) -> dict[str, Any]:
    return {"coverage": _share([one in ("correct", "incorrect") for one in labels], clusters, weights)}


def _share(values: Sequence[bool], clusters: Clusters, weights: np.ndarray) -> dict[str, Any]:
    return estimate_mean(np.array(values, dtype=float), clusters, weights).as_json()


def _accuracies(
    labels: Sequence[Label], truth: Sequence[Label], clusters: Clusters, weights: np.ndarray
) -> dict[str, Any]:
    """Accuracy over the steps with a label; among those called incorrect (precision); among those that are (recall)."""
    given = np.array([one in ("correct", "incorrect") for one in labels])
    right = np.array([one == true for one, true in zip(labels, truth, strict=True)])
    called, wrong = np.array([one == "incorrect" for one in labels]), np.array([one == "incorrect" for one in truth])
    found = {
        "accuracy": _masked(right, given, clusters, weights),
        "precision_of_incorrect": _masked(right, called, clusters, weights),
        "recall_of_incorrect": _masked(right, wrong & given, clusters, weights),
    }
    return _defined(found)


def _masked(values: np.ndarray, mask: np.ndarray, clusters: Clusters, weights: np.ndarray) -> Estimate | None:
    """The mean of `values` where `mask`, resampled by all clusters."""
    if not mask.any():
        return None
    sums = sum_by_cluster(np.stack([values * mask, mask], axis=1).astype(float), clusters)
    return estimate(ratio, sums, weights, int(mask.sum()))


def _by_category(
    rows: Mapping[str, Sequence[Label]],
    truth: Sequence[Label],
    steps: Sequence[QueuedStep],
    clusters: Clusters,
    weights: np.ndarray,
) -> dict[str, Any]:
    """Coverage, and accuracy where there is a label, of each source: to see where one is blind."""
    found: dict[str, Any] = {}
    for category in sorted({one.category for one in steps}):
        is_here = np.array([one.category == category for one in steps])
        found[category] = {"n": int(is_here.sum())}
        for name, labels in rows.items():
            given = np.array([one in ("correct", "incorrect") for one in labels])
            right = np.array([one == true for one, true in zip(labels, truth, strict=True)])
            numbers = {
                "coverage": _masked(given, is_here, clusters, weights),
                "accuracy": _masked(right, given & is_here, clusters, weights),
            }
            found[category][name] = _defined(numbers)
    return found


def _defined(numbers: Mapping[str, Estimate | None]) -> dict[str, Any]:
    return {name: one.as_json() for name, one in numbers.items() if one is not None and one.is_defined}


def _agreement(rows: Mapping[str, Sequence[Label]], measured: Measured, num_bootstrap: int) -> dict[str, Any]:
    """Judge against score, and each against the experts."""
    expert = _expert_labels(measured)
    pairs = {
        "judge, monte_carlo_half": (rows["judge"], rows["monte_carlo_half"]),
        "judge, expert": (rows["judge"], expert),
        "monte_carlo_half, expert": (rows["monte_carlo_half"], expert),
        "machines, expert": (rows["hybrid_before_experts"], expert),
    }
    ids = [one.group_id for one in measured.steps]
    return {name: _pair(first, second, ids, num_bootstrap) for name, (first, second) in pairs.items()}


def _pilot(rows: Mapping[str, Sequence[Label]], measured: Measured, num_bootstrap: int) -> dict[str, Any]:
    """Each source against the experts on the random pilot alone: what holds of all steps, not of the disputed ones."""
    places = [place for place, one in enumerate(measured.steps) if one.key in measured.pilot]
    all_experts = _expert_labels(measured)
    expert = [all_experts[place] for place in places]
    ids = [measured.steps[place].group_id for place in places]
    sources = {"judge": "judge", "monte_carlo_half": "monte_carlo_half", "machines": "hybrid_before_experts"}
    agreement = {
        f"{name}, expert": _pair([rows[row][place] for place in places], expert, ids, num_bootstrap) if places else {}
        for name, row in sources.items()
    }
    num_decided = sum(one != "unknown" for one in expert)
    return {"num_steps": len(places), "num_decided": num_decided, "agreement": agreement}


def _expert_labels(measured: Measured) -> list[Label]:
    """The majority of the experts on every step; unknown where nobody spoke or could tell."""
    return [expert_majority(measured.experts.get(step.key, ())) for step in measured.steps]


def _pair(first: Sequence[str], second: Sequence[str], ids: Sequence[str], num_bootstrap: int) -> dict[str, Any]:
    """Raw agreement, Cohen's kappa and AC1 where both have a label."""
    known: list[list[str | None]] = [[None if one == "unknown" else one for one in side] for side in (first, second)]
    agreed = pair_agreement(known[0], known[1], ids, num_bootstrap)
    numbers = {"raw_agreement": agreed.raw_agreement, "kappa": agreed.kappa, "ac1": agreed.ac1}
    return {key: one.as_json() for key, one in numbers.items() if one.is_defined}


def _experts_together(measured: Measured, num_bootstrap: int) -> dict[str, Any]:
    """Steps that several experts decided: Krippendorff's alpha over all experts, and every two of them."""
    said = [{one.expert_id: one.verdict for one in measured.experts.get(step.key, ())} for step in measured.steps]
    ids = [one.group_id for one in measured.steps]
    names = sorted({name for verdicts in said for name in verdicts})
    ratings = [[verdicts.get(name, "unknown") for name in names] for verdicts in said]
    known: list[list[str | None]] = [[None if one == "unknown" else one for one in unit] for unit in ratings]
    alpha = krippendorff_alpha(known, ids, num_bootstrap)
    pairs = {
        f"{names[i]}, {names[j]}": _pair(
            [unit[i] for unit in ratings], [unit[j] for unit in ratings], ids, num_bootstrap
        )
        for i, j in combinations(range(len(names)), 2)
    }
    found: dict[str, Any] = {"num_experts": len(names), "num_steps_of_several": alpha.n, "pairs": pairs}
    return found | ({"alpha": alpha.as_json()} if alpha.is_defined else {})


def _correlations(measured: Measured, num_bootstrap: int) -> dict[str, Any]:
    """Pearson's r of the machines' scores with what the experts decided (correct 1, incorrect 0)."""
    steps, decided = measured.steps, {"correct": 1.0, "incorrect": 0.0}
    expert = [decided.get(one) for one in _expert_labels(measured)]
    scores: dict[str, list[float | None]] = {
        "monte_carlo_score, expert": [
            one.num_correct / num if (num := one.num_correct + one.num_wrong) else None for one in steps
        ],
        "judge, expert": [decided.get(one.judge) for one in steps],
        "ranking_chance, expert": list(measured.chances),
    }
    ids = [one.group_id for one in steps]
    found = {name: pearson(side, expert, ids, num_bootstrap) for name, side in scores.items()}
    return {name: one.as_json() for name, one in found.items() if one.is_defined}


def _curve(measured: Measured, truth: Sequence[Label], clusters: Clusters, weights: np.ndarray) -> dict[str, Any]:
    """Accuracy of the best guess by the share of all steps that experts review, ranked and at random.

    The ranking pays for its pilot: the first steps of the ranked order are those of the random pilot that it was fitted
    on, so shares below the pilot's have no such order and are left out. At 0 nobody has spoken: fixed beliefs guess.
    """
    num = len(measured.steps)
    beliefs = [believed_chance(one) for one in measured.steps]
    pilot_first = _pilot_first(measured)
    curve = {"0.00": estimate_mean(_is_right(measured, truth, beliefs, []), clusters, weights).as_json()}
    for share in REVIEWED_SHARES:
        if share * num >= max(1, len(measured.pilot)):
            ranked = _is_right(measured, truth, measured.chances, pilot_first[: round(share * num)])
            curve[f"{share:.2f}"] = estimate_mean(ranked, clusters, weights).as_json()
    differences = _against_random(measured, truth, pilot_first)
    return {
        "accuracy_by_reviewed_share": curve,
        f"at_{COMPARED_SHARE}": {
            name: paired_difference(first, second, clusters, weights).as_json()
            for name, (first, second) in differences.items()
        },
    }


def _pilot_first(measured: Measured) -> list[int]:
    """Places in the order of review: the pilot, then the rest as ranked."""
    is_pilot = [one.key in measured.pilot for one in measured.steps]
    return sorted(measured.order, key=lambda place: not is_pilot[place])


def _against_random(
    measured: Measured, truth: Sequence[Label], pilot_first: Sequence[int]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Ranked and random queues of one size, pilot included, by whether each step's best guess is right.

    The random queue over all steps is fitted on what its own experts said. Among the disputed steps both have the same
    pilot.
    """
    steps, most = measured.steps, round(COMPARED_SHARE * len(measured.steps))
    rng = np.random.default_rng(0)
    of_all = []
    for _ in range(RANDOM_ORDERS):
        places = rng.permutation(len(steps))[:most].tolist()
        of_all.append(_is_right(measured, truth, _fitted_on(measured, places), places))
    pilot = [place for place in pilot_first if steps[place].key in measured.pilot]
    rest = pilot_first[len(pilot) :]
    disputed = [place for place in rest if steps[place].label == "unknown"]
    num = max(0, most - len(pilot))
    of_disputed = [
        _is_right(measured, truth, measured.chances, [*pilot, *rng.permutation(disputed)[:num].tolist()])
        for _ in range(RANDOM_ORDERS)
    ]
    ranked = _is_right(measured, truth, measured.chances, pilot_first[:most])
    ranked_disputed = _is_right(measured, truth, measured.chances, [*pilot, *disputed[:num]])
    return {
        "ranked_minus_random_of_all": (ranked, np.mean(of_all, axis=0)),
        "ranked_minus_random_of_disputed": (ranked_disputed, np.mean(of_disputed, axis=0)),
    }


def _fitted_on(measured: Measured, places: Sequence[int]) -> Sequence[float]:
    """Chances as fitted on what the experts say of these steps."""
    assert measured.would_say is not None
    keys = [measured.steps[place].key for place in places]
    return step_chances(measured.steps, {key: measured.would_say(key) for key in keys})[0]


def _is_right(
    measured: Measured, truth: Sequence[Label], chances: Sequence[float], reviewed: Sequence[int]
) -> np.ndarray:
    """Whether the best guess of each step is right, (S,), where experts review these places."""
    assert measured.would_say is not None
    said = {place: measured.would_say(measured.steps[place].key) for place in reviewed}
    return np.array(
        [
            float(best_guess(one, chances[place], said.get(place, ())) == truth[place])
            for place, one in enumerate(measured.steps)
        ]
    )
