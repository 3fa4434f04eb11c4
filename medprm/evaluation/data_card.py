"""What is in a file of records, in numbers: counts by every field that matters, and how far the label sources agree.

In: cases with solutions, each read once. Out: one JSON object. Counts are of the file itself; agreement has n and a
95 % interval by patient. What is undefined (kappa of sources that always say the same word) is left out.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any

from medprm.cases.schema import CaseSolutions, Label, Step
from medprm.cases.verdicts import majority, share_so_far
from medprm.statistics.agreement import pair_agreement

NOT_GIVEN = "(not given)"
LABELS: tuple[Label, ...] = ("correct", "incorrect", "neutral", "unknown")
SOURCES = {
    "label": "the label of the record",
    "judge": "majority of the judges",
    "monte_carlo_above_0": "any rollout is right",
    "monte_carlo_above_half": "more than half of the rollouts are right",
    "expert": "majority of the experts",
    "rule": "rules and reference labels",
    "outcome": "the final answer, on its step",
}


def describe_cases(cases: Iterable[CaseSolutions], num_bootstrap: int = 2000) -> dict[str, Any]:
    """The numbers of the data card."""
    totals: Counter[str] = Counter()
    tables: dict[str, Counter[str]] = defaultdict(Counter)
    lengths: Counter[int] = Counter()
    crossed: dict[str, Counter[str]] = defaultdict(Counter)
    patients: set[str] = set()
    votes: dict[str, list[str | None]] = {name: [] for name in SOURCES}
    groups: list[str] = []
    for item in cases:
        _count_case(item, totals, tables)
        patients.add(item.case.group_id)
        for solution in item.solutions:
            lengths[len(solution.solution_steps)] += 1
            tables["generator"][solution.generator or NOT_GIVEN] += 1
            tables["final_answer"][{True: "right", False: "wrong", None: "not judged"}[solution.is_correct]] += 1
            tables["solution_labels"][_mixture(solution.labels)] += 1
            for step in solution.solution_steps:
                label, category = step.label or "unknown", step.category or NOT_GIVEN
                tables["label"][label] += 1
                tables["category"][category] += 1
                tables["annotation_method"][step.annotation_method or NOT_GIVEN] += 1
                crossed[category][label] += 1
                groups.append(item.case.group_id)
                for name, verdict in verdicts_of(step).items():
                    votes[name].append(verdict)
    totals.update(patients=len(patients), solutions=lengths.total(), steps=len(groups))
    return {
        "totals": dict(totals),
        "tables": {name: dict(table.most_common()) for name, table in tables.items()},
        "labels_by_category": {name: {one: row[one] for one in LABELS} for name, row in crossed.items()},
        "steps_per_solution": {str(length): lengths[length] for length in sorted(lengths)},
        "coverage": {name: sum(one is not None for one in row) for name, row in votes.items() if any(row)},
        "agreement": _agreement(votes, groups, num_bootstrap),
    }


def verdicts_of(step: Step) -> dict[str, str | None]:
    """What each source says of a step; None where it says nothing, or that it cannot tell."""
    sources = step.sources
    said: dict[str, Label] = {"label": step.label or "unknown"}
    if sources:
        said["judge"] = majority([one.verdict for one in sources.judge])
        said["expert"] = majority([one.verdict for one in sources.expert])
        said["rule"] = majority([one.verdict for one in sources.rule])
        said["outcome"] = majority([one.verdict for one in sources.outcome])
    score = share_so_far(sources.monte_carlo) if sources and sources.monte_carlo else step.mc_score
    if score is not None:
        said["monte_carlo_above_0"] = "correct" if score > 0 else "incorrect"
        said["monte_carlo_above_half"] = "correct" if score > 0.5 else "incorrect"
    return {name: None if (one := said.get(name)) in (None, "unknown") else one for name in SOURCES}


def _count_case(item: CaseSolutions, totals: Counter[str], tables: Mapping[str, Counter[str]]) -> None:
    case = item.case
    totals.update(
        cases=1,
        images=len(case.all_images),
        documents=len(case.documents),
        cases_without_patient_id=case.patient_id is None,
        cases_without_solutions=not item.solutions,
        cases_without_reference=case.gold_standard is None,
    )
    metadata = case.metadata
    words = {True: "yes", False: "no", None: NOT_GIVEN}
    tables["modality"][case.modality] += 1
    for name in ("source", "split", "licence", "difficulty", "specialty"):
        tables[name][getattr(metadata, name) or NOT_GIVEN] += 1
    tables["phi_removed"][words[metadata.phi_removed]] += 1
    tables["irb_approved"][words[metadata.irb_approved]] += 1


def _mixture(labels: Iterable[Label]) -> str:
    known = {one for one in labels if one in ("correct", "incorrect")}
    if len(known) == 2:
        return "correct and incorrect steps"
    return f"{next(iter(known))} steps only" if known else "no labelled step"


def _agreement(votes: Mapping[str, list[str | None]], groups: list[str], num_bootstrap: int) -> list[dict[str, Any]]:
    """Of every two sources that speak of the same steps; the two thresholds of one score are not two sources."""
    found = []
    for first, second in combinations([name for name, row in votes.items() if any(row)], 2):
        if first.startswith("monte_carlo") and second.startswith("monte_carlo"):
            continue
        agreed = pair_agreement(votes[first], votes[second], groups, num_bootstrap)
        if not agreed.raw_agreement.n:
            continue
        numbers = {"raw_agreement": agreed.raw_agreement, "kappa": agreed.kappa, "ac1": agreed.ac1}
        kept = {name: one.as_json() for name, one in numbers.items() if one.is_defined}
        found.append({"first": first, "second": second, "n": agreed.raw_agreement.n, **kept})
    return found
