"""The table that an evaluation prints on the terminal: step metrics and Best-of-N, with intervals and baselines.

In: the mapping of metrics.json. Out: plain text of at most about 110 columns.
"""

from collections.abc import Mapping, Sequence
from typing import Any

STEP_ROWS = {
    "macro_f1": "macro F1",
    "f1_correct": "F1 of correct steps",
    "f1_incorrect": "F1 of incorrect steps",
    "balanced_accuracy": "balanced accuracy",
    "mcc": "Matthews correlation",
    "auroc": "AUROC",
    "auprc_correct": "AUPRC of correct steps",
    "auprc_incorrect": "AUPRC of incorrect steps",
    "first_error_f1": "first-error F1",
    "brier": "Brier score (lower is better)",
    "ece": "calibration error (lower is better)",
}
BASELINE_NAMES = {"all_plus": "all correct", "coin": "fair coin", "base_rate": "base rate", "length": "length"}
SELECTOR_NAMES = {
    "mean": "mean score",
    "min": "min score",
    "max": "max score",
    "product": "product of scores",
    "last": "last score",
    "logit_mean": "mean of logits",
    "geometric_mean": "product, length-normalised",
    "orm": "outcome reward model",
    "llm_judge": "judge",
    "weighted_vote": "score-weighted vote",
    "majority": "majority vote",
    "random": "random pick",
    "shortest": "shortest solution",
    "longest": "longest solution",
    "oracle": "oracle (best possible)",
}
AUROC_BY_CHANCE = "0.500"
MOST_COLUMNS = 8


def with_interval(number: Mapping[str, Any]) -> str:
    """0.931 [0.922, 0.940]"""
    return f"{number['value']:.3f} [{number['low']:.3f}, {number['high']:.3f}]"


def format_table(metrics: Mapping[str, Any]) -> str:
    """The whole table."""
    test = metrics["counts"]["test"]
    blocks = [
        f"{test['cases']} test cases of {test['patients']} patients, {test['solutions']} solutions, "
        f"{test['steps']} steps; threshold {metrics['threshold']:.3f}, aggregation {metrics['aggregation']}"
    ]
    if "step_metrics" in metrics:
        blocks += [aligned(_step_rows(metrics)), aligned(_category_rows(metrics))]
    if "best_of_n" in metrics:
        blocks.append(aligned(_best_of_n_rows(metrics)))
        blocks.append(aligned(_gap_rows(metrics)))
    if metrics.get("comparisons"):
        blocks.append(aligned(_comparison_rows(metrics)))
    if "calibration" in metrics:
        blocks.append(aligned(_calibration_rows(metrics)))
    if "published_protocol" in metrics:
        blocks.append("\n".join([aligned(_protocol_rows(metrics)), *metrics["published_protocol_words"]["notes"]]))
    notes = [f"note: {name}: {text}" for name, text in metrics["notes"].items()]
    return "\n\n".join(blocks + (["\n".join(notes)] if notes else [])) + "\n"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows with a header; the first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def _step_rows(metrics: Mapping[str, Any]) -> list[list[str]]:
    rows = [["step metrics", "value [95 % interval]", "n", *BASELINE_NAMES.values()]]
    for name, title in STEP_ROWS.items():
        number = metrics["step_metrics"].get(name)
        if number is None:
            continue
        chance = [baseline_cell(metrics, baseline, name) for baseline in BASELINE_NAMES]
        rows.append([title, with_interval(number), str(number["n"]), *chance])
    return rows


def baseline_cell(metrics: Mapping[str, Any], baseline: str, name: str) -> str:
    """The baseline's value; empty where a guesser has none."""
    number = metrics["baselines"].get(baseline, {}).get(name)
    if name == "auroc" and baseline != "length":
        return AUROC_BY_CHANCE
    return f"{number['value']:z.3f}" if number else ""


def _category_rows(metrics: Mapping[str, Any]) -> list[list[str]]:
    rows = [["by category", "macro F1", "AUROC", "n"]]
    for category, numbers in metrics["by_category"].items():
        cells = [with_interval(numbers[name]) if name in numbers else "undefined" for name in ("macro_f1", "auroc")]
        rows.append([category, *cells, str(next((one["n"] for one in numbers.values()), 0))])
    return rows


def sizes_of(metrics: Mapping[str, Any]) -> list[str]:
    """The values of N that were measured, in order."""
    return sorted(metrics["best_of_n"]["oracle"], key=int)


def columns_of(metrics: Mapping[str, Any]) -> list[str]:
    """The N that a printed table has room for: all, or of many the powers of two and the largest."""
    sizes = sizes_of(metrics)
    if len(sizes) <= MOST_COLUMNS:
        return sizes
    return [size for size in sizes if int(size).bit_count() == 1 or size == sizes[-1]]


def selectors_of(metrics: Mapping[str, Any]) -> list[str]:
    """The selectors that were measured, in the order of the table."""
    return [name for name in SELECTOR_NAMES if metrics["best_of_n"].get(name)]


def selector_title(metrics: Mapping[str, Any], name: str) -> str:
    """The selector's name, with a star at the aggregation chosen on validation."""
    return SELECTOR_NAMES[name] + (" *" if name == metrics["aggregation"] else "")


def _best_of_n_rows(metrics: Mapping[str, Any]) -> list[list[str]]:
    best, sizes = metrics["best_of_n"], columns_of(metrics)
    shown = sizes[-1] if "8" not in sizes else "8"
    rows = [["Best-of-N (* chosen on validation)", *(f"N={size}" for size in sizes), f"95 % interval at N={shown}"]]
    for name in selectors_of(metrics):
        values = [f"{best[name][size]['value']:.3f}" if size in best[name] else "" for size in sizes]
        interval = f"[{best[name][shown]['low']:.3f}, {best[name][shown]['high']:.3f}]" if shown in best[name] else ""
        rows.append([selector_title(metrics, name), *values, interval])
    return rows


def _gap_rows(metrics: Mapping[str, Any]) -> list[list[str]]:
    sizes = sizes_of(metrics)
    shown = sizes[-1] if "8" not in sizes else "8"
    rows = [[f"at N={shown}", "share of the gap to the oracle closed", "minus majority vote (paired)"]]
    for name in selectors_of(metrics):
        gap = metrics["gap_closed"].get(name, {}).get(shown)
        versus = metrics.get("versus_majority", {}).get(name, {}).get(shown)
        if gap or versus:
            cells = [with_interval(number) if number else "" for number in (gap, versus)]
            rows.append([selector_title(metrics, name), *cells])
    return rows


def _comparison_rows(metrics: Mapping[str, Any]) -> list[list[str]]:
    """The chosen selector against every other; the last columns say what this number of patients can show."""
    first = metrics["comparisons"][0]
    title = f"{SELECTOR_NAMES[first['selector']]} minus, at N={first['num_candidates']}"
    rows = [[title, "difference [95 % interval]", "p (Holm)", "seen with 80 % power", "patients to see 1 point"]]
    for one in metrics["comparisons"]:
        power = one["power"]
        found = (
            [f"{power['detectable']:.3f}", str(power["patients_needed"]["0.01"])] if "detectable" in power else ["", ""]
        )
        rows.append([SELECTOR_NAMES[one["minus"]], with_interval(one["difference"]), f"{one['p_holm']:.3g}", *found])
    return rows


def _calibration_rows(metrics: Mapping[str, Any]) -> list[list[str]]:
    rows = [["calibration, fitted on validation", "calibration error", "Brier score"]]
    for name, numbers in metrics["calibration"].items():
        rows.append(
            [name, *(with_interval(numbers[one]) if one in numbers else "undefined" for one in ("ece", "brier"))]
        )
    return rows


def _protocol_rows(metrics: Mapping[str, Any]) -> list[list[str]]:
    """Our numbers by a published protocol, then the published ones, in percent as they were printed."""
    words = metrics["published_protocol_words"]
    rows = [[words["title"], "number", "value [95 % interval]", "n"]]
    for part, numbers in metrics["published_protocol"].items():
        rows += [[part, name, with_interval(number), str(number["n"])] for name, number in numbers.items()]
    for one in words["published"]:
        rows.append([f"{one['kind']}: {one['model']}", one["metric"], f"{one['value']:.1f} %", ""])
    return rows
