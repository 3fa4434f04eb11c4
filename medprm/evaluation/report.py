"""report.html: one self-contained page with the numbers, the plots, the protocol and cases to look at.

In: metrics, scored test solutions, their cases and a callable that gives a case's images as PNG. Out: one HTML file
that asks the network for nothing and runs no script. All text of records is escaped by the template.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from medprm import __version__
from medprm.cases.atomic import replaced_file
from medprm.cases.schema import Case
from medprm.evaluation import plots
from medprm.evaluation.exports import export_tables
from medprm.evaluation.pages import page_template
from medprm.evaluation.scored import ScoredError, ScoredSolution, group_by_case
from medprm.evaluation.settings import EvaluationSettings
from medprm.evaluation.shown_cases import CASE_RULE, CaseView, pick_cases, score_colour, view_case
from medprm.evaluation.steps import draw_resampling, judged_steps
from medprm.evaluation.table import (
    BASELINE_NAMES,
    SELECTOR_NAMES,
    STEP_ROWS,
    baseline_cell,
    selector_title,
    selectors_of,
    sizes_of,
    with_interval,
)


class About(NamedTuple):
    """What the page says beside the numbers. `notes` come first, such as that phantom data is not clinical data.

    `look_command` is how to look through all cases in the review application.
    """

    title: str
    notes: Sequence[str] = ()
    settings: EvaluationSettings = EvaluationSettings()
    versions: Mapping[str, str] = {}
    look_command: str | None = None


class Shown(NamedTuple):
    """Where the page has its cases from. `image_png(case_id)` gives the images of a case, as PNG files in memory; it
    is asked only for the cases shown.
    """

    cases: Mapping[str, Case]
    image_png: Callable[[str], list[bytes]]


def write_report(
    path: Path, metrics: Mapping[str, Any], test: Sequence[ScoredSolution], about: About, shown: Shown | None = None
) -> None:
    """Write the page. Without `shown` it has numbers and plots alone: no id, text or image of a record."""
    page = page_template("report.html.j2").render(
        title=about.title,
        notes=list(about.notes),
        metrics=metrics,
        headline=_headline(metrics),
        step_rows=_step_rows(metrics),
        step_names=STEP_ROWS,
        baseline_names=list(BASELINE_NAMES.values()),
        category_rows=_category_rows(metrics),
        best_of_n=_best_of_n_table(metrics),
        plots=_plots(metrics, test, about.settings),
        exports=_exports(metrics),
        comparisons=metrics.get("comparisons", []),
        selector_names=SELECTOR_NAMES,
        parts=_part_tables(metrics),
        calibration=metrics.get("calibration"),
        sweep=metrics.get("threshold_sweep"),
        published=metrics.get("published_protocol_words"),
        published_rows=_published_rows(metrics),
        versions=dict(about.versions),
        cases=None if shown is None else _views(metrics, test, about.settings, shown),
        case_rule=CASE_RULE,
        look_command=about.look_command,
        low_colour=score_colour(0.0),
        high_colour=score_colour(1.0),
        version=__version__,
    )
    with replaced_file(path) as draft:
        draft.write_text(page, encoding="utf-8")


def _views(
    metrics: Mapping[str, Any], test: Sequence[ScoredSolution], settings: EvaluationSettings, shown: Shown
) -> list[CaseView]:
    """The cases to look at, picked by the rule that the page states."""
    aggregation, candidates = metrics["aggregation"], group_by_case(test)
    picked = pick_cases(candidates, aggregation, settings.num_report_cases, settings.seed)
    missing = [one.case_id for one in picked if one.case_id not in shown.cases]
    if missing:
        raise ScoredError(f"report: {len(missing)} scored cases have no record (first: {missing[0]!r}); expected all")
    return [
        view_case(
            *(one, shown.cases[one.case_id], candidates[one.case_id]),
            *(aggregation, metrics["threshold"], shown.image_png),
        )
        for one in picked
    ]


def versions_of(run: Mapping[str, Any]) -> dict[str, str]:
    """What a report names of run.json: checkpoint, data, commit, packages."""
    named = {"checkpoint": str(run["checkpoint"])} if "checkpoint" in run else {}
    if "data" in run:
        named["data"] = f"{run['data'].get('path')}, sha256 {str(run['data'].get('hash'))[:16]}"
    if git := run.get("git"):
        named["commit"] = f"{git['commit']}{' and changes' if git['dirty'] else ''}"
    named["versions"] = ", ".join(f"{name} {one}" for name, one in run.get("versions", {}).items())
    return {name: text for name, text in named.items() if text}


def _exports(metrics: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Of each table: the texts to copy, and the CSV as an address that holds the file itself."""
    return {
        name: {
            "csv": one.csv,
            "latex": one.latex,
            "file": "data:text/csv;base64," + base64.b64encode(one.csv.encode()).decode(),
        }
        for name, one in export_tables(metrics).items()
    }


def _part_tables(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Step metrics by modality, place, length, error kind: whatever was measured beside the categories."""
    tables = []
    for section, by_name in metrics.items():
        if section.startswith("by_") and section != "by_category" and by_name:
            rows = [{"title": name, "numbers": numbers} for name, numbers in by_name.items()]
            columns = list(dict.fromkeys(metric for row in rows for metric in row["numbers"]))[:4]
            tables.append({"title": section.replace("_", " "), "columns": columns, "rows": rows})
    return tables


def _published_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The numbers of a published protocol that were measured here, flat."""
    rows: list[dict[str, Any]] = []

    def collect(found: Mapping[str, Any], path: str) -> None:
        for name, value in found.items():
            here = f"{path} · {name}" if path else name
            if "low" in value:
                rows.append({"title": here.replace("_", " "), "number": value})
            else:
                collect(value, here)

    collect(metrics.get("published_protocol", {}), "")
    return rows


def _headline(metrics: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(title, value with interval, what to compare it with) of the few numbers to read first."""
    rows = []
    steps = metrics.get("step_metrics", {})
    for name in ("macro_f1", "auroc", "first_error_f1"):
        if name in steps:
            cells = {title: baseline_cell(metrics, key, name) for key, title in BASELINE_NAMES.items()}
            chance = (
                ["chance 0.500"] if name == "auroc" else [f"{title} {cell}" for title, cell in cells.items() if cell]
            )
            unit = "solutions" if name == "first_error_f1" else "steps"
            beside = " · ".join([f"n = {steps[name]['n']:,} {unit}", *chance])
            rows.append((STEP_ROWS[name], with_interval(steps[name]), beside))
    if "best_of_n" in metrics:
        best, sizes = metrics["best_of_n"], sizes_of(metrics)
        size = "8" if "8" in sizes else sizes[-1]
        number = best[metrics["aggregation"]][size]
        versus = [f"pass@1 {best['pass@1']['value']:.3f}", f"oracle {best['oracle'][size]['value']:.3f}"]
        if "majority" in best:
            versus.insert(1, f"majority {best['majority'][size]['value']:.3f}")
        title = f"Best-of-{size}, {metrics['aggregation']} score"
        rows.append((title, with_interval(number), f"n = {number['n']:,} cases · " + " · ".join(versus)))
    return rows


def _step_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    steps = metrics.get("step_metrics", {})
    return [
        {"title": title, "number": steps[name], "chance": [baseline_cell(metrics, one, name) for one in BASELINE_NAMES]}
        for name, title in STEP_ROWS.items()
        if name in steps
    ]


def _category_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"title": name, "numbers": numbers} for name, numbers in metrics.get("by_category", {}).items()]


def _best_of_n_table(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    if "best_of_n" not in metrics:
        return None
    sizes = sizes_of(metrics)
    size = "8" if "8" in sizes else sizes[-1]
    rows = [
        {
            "title": selector_title(metrics, name),
            "is_chosen": name == metrics["aggregation"],
            "numbers": [metrics["best_of_n"][name].get(one) for one in sizes],
            "gap": metrics["gap_closed"].get(name, {}).get(size),
            "versus": metrics.get("versus_majority", {}).get(name, {}).get(size),
        }
        for name in selectors_of(metrics)
    ]
    return {"sizes": sizes, "size": size, "rows": rows}


def _plots(
    metrics: Mapping[str, Any], test: Sequence[ScoredSolution], settings: EvaluationSettings
) -> dict[str, Markup]:
    """SVG made here from numbers and fixed words alone: the one text that the template does not escape."""
    drawn = {}
    if "best_of_n" in metrics:
        drawn["best_of_n"] = plots.best_of_n_plot(metrics)
    if "step_metrics" in metrics:
        steps, threshold = judged_steps(test), metrics["threshold"]
        resampling = draw_resampling((one.group_id for one in test), settings.num_bootstrap, settings.seed)
        drawn["calibration"] = plots.calibration_plot(steps, resampling)
        if sweep := metrics.get("threshold_sweep"):
            drawn["sweep"] = plots.threshold_plot(sweep, threshold)
        drawn["confusion"] = plots.confusion_plot(steps, threshold)
        drawn["scores"] = plots.score_histogram(steps, threshold)
    return {name: Markup(svg) for name, svg in drawn.items()}
