"""Plots of the report as SVG text: Best-of-N curves, calibration, confusion, score histogram.

In: the mapping of metrics.json and the judged test steps. Out: `<svg ...>` to be put into a page as it is; the same
numbers give the same text. Colours: Okabe and Ito's palette, told apart by line style and marker too.
"""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medprm.evaluation.steps import JudgedSteps, Resampling
from medprm.evaluation.table import SELECTOR_NAMES, selector_title, selectors_of, sizes_of
from medprm.statistics.bootstrap import PERCENTILES, resample_sums, sum_by_cluster
from medprm.statistics.step_metrics import NUM_CALIBRATION_BINS, calibration_rows, confusion_rows

BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, GREY = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
    "#5F6368",
)
INK = "#202124"
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E3E5E8",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.fonttype": "path",
}


class Line(NamedTuple):
    """How a selector is drawn."""

    colour: str
    dashes: str
    marker: str


LINES = {
    "oracle": Line(INK, ":", ""),
    "mean": Line(BLUE, "-", "o"),
    "min": Line(VERMILION, "-", "s"),
    "max": Line(PURPLE, "-", "^"),
    "product": Line(SKY, "-", "v"),
    "last": Line(GREEN, "-", "D"),
    "logit_mean": Line(BLUE, "--", "h"),
    "geometric_mean": Line(SKY, "--", "<"),
    "orm": Line(INK, "-", "*"),
    "llm_judge": Line(INK, "-.", "+"),
    "weighted_vote": Line(ORANGE, "-.", "x"),
    "majority": Line(ORANGE, "--", "P"),
    "random": Line(GREY, "--", ""),
    "shortest": Line(GREY, ":", "1"),
    "longest": Line(GREY, ":", "2"),
}


def best_of_n_plot(metrics: Mapping[str, Any]) -> str:
    """Expected correctness against N with 95 % bands; the aggregation chosen on validation is drawn heavier."""
    sizes, best = [int(size) for size in sizes_of(metrics)], metrics["best_of_n"]

    def draw(axes: Axes) -> None:
        for name in selectors_of(metrics):
            line, numbers = LINES[name], [best[name][str(size)] for size in sizes if str(size) in best[name]]
            at = [size for size in sizes if str(size) in best[name]]
            is_main = name in (metrics["aggregation"], "majority", "oracle")
            axes.plot(
                at,
                [number["value"] for number in numbers],
                line.dashes,
                color=line.colour,
                marker=line.marker,
                markersize=5 if is_main else 4,
                linewidth=2.4 if name == metrics["aggregation"] else 1.8 if is_main else 1.2,
                label=selector_title(metrics, name) if name != "random" else "random pick (pass@1)",
            )
            lows, highs = [number["low"] for number in numbers], [number["high"] for number in numbers]
            axes.fill_between(at, lows, highs, color=line.colour, alpha=0.16 if is_main else 0.07, linewidth=0)
        _name_sizes(axes, sizes)

    label = "Best-of-N: share of right answers against the number of candidates, with 95 % bands"
    return _svg("best-of-n", label, draw, width=9.2, height=4.2)


RUN_LINES = (
    *(Line(BLUE, "-", "o"), Line(VERMILION, "-", "s"), Line(GREEN, "-", "D"), Line(PURPLE, "-", "^")),
    *(Line(ORANGE, "--", "v"), Line(SKY, "--", "P"), Line(INK, "--", "x"), Line(GREY, "-.", "h")),
)


def runs_plot(runs: Mapping[str, Mapping[str, Any]]) -> str:
    """Best-of-N of several runs, by name -> metrics.json, each by its own aggregation, with 95 % bands."""
    sizes = sorted({int(size) for metrics in runs.values() for size in sizes_of(metrics)})

    def draw(axes: Axes) -> None:
        for (name, metrics), line in zip(runs.items(), RUN_LINES, strict=False):
            numbers = {int(size): one for size, one in metrics["best_of_n"][metrics["aggregation"]].items()}
            at = sorted(numbers)
            # A name is text: no mathematics in it.
            label = f"{name}, {SELECTOR_NAMES[metrics['aggregation']]}".replace("$", r"\$")
            values = [numbers[size]["value"] for size in at]
            axes.plot(at, values, line.dashes, color=line.colour, marker=line.marker, markersize=5, label=label)
            lows, highs = [numbers[size]["low"] for size in at], [numbers[size]["high"] for size in at]
            axes.fill_between(at, lows, highs, color=line.colour, alpha=0.1, linewidth=0)
        _name_sizes(axes, sizes)

    label = "Best-of-N of the runs: share of right answers against the number of candidates, with 95 % bands"
    return _svg("runs", label, draw, width=9.2, height=4.2)


def _name_sizes(axes: Axes, sizes: Sequence[int]) -> None:
    """The axes of a Best-of-N plot."""
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.set_xlabel("N, candidates to pick from")
    axes.set_ylabel("share of right answers")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))


def calibration_plot(steps: JudgedSteps, resampling: Resampling) -> str:
    """Share of correct steps against the mean score of each bin, with its 95 % interval by patient.

    The area of a point shows how many steps it holds.
    """
    by_group = sum_by_cluster(calibration_rows(steps.is_correct, steps.scores), resampling.clusters(steps.group_ids))
    sums = by_group.sum(axis=0).reshape(3, NUM_CALIBRATION_BINS)
    is_there = sums[0] > 0
    counts, scores, truths = sums[:, is_there]
    resampled = resample_sums(by_group, resampling.weights).reshape(-1, 3, NUM_CALIBRATION_BINS)[:, :, is_there]
    with np.errstate(divide="ignore", invalid="ignore"):
        lows, highs = np.nanpercentile(resampled[:, 2] / resampled[:, 0], PERCENTILES, axis=0)

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1.2, label="perfectly calibrated")
        axes.fill_between(scores / counts, lows, highs, color=BLUE, alpha=0.16, linewidth=0, label="95 % by patient")
        axes.plot(scores / counts, truths / counts, "-", color=BLUE, linewidth=1.4)
        areas = 20 + 180 * counts / counts.max()
        axes.scatter(scores / counts, truths / counts, s=areas, color=BLUE, alpha=0.85, label="this model")
        axes.set_xlim(-0.03, 1.03)
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel("mean step score in bin")
        axes.set_ylabel("share of correct steps")
        axes.legend(loc="upper left", markerscale=0.6)

    return _svg("calibration", "Calibration: share of correct steps against step score", draw)


def threshold_plot(sweep: Mapping[str, Any], chosen: float) -> str:
    """Macro F1 against the threshold on both splits; what the test labels would have chosen is marked as a bound."""

    def draw(axes: Axes) -> None:
        points = sweep["points"]
        for split, colour, dashes in (("validation", ORANGE, "--"), ("test", BLUE, "-")):
            found = [(one["threshold"], one[split]) for one in points if split in one]
            if found:
                axes.plot(*zip(*found, strict=True), dashes, color=colour, linewidth=1.6, label=split)
        axes.axvline(chosen, color=INK, linestyle=":", linewidth=1.4, label=f"chosen {chosen:.3f}")
        best = sweep["test_tuned"]
        label = f"tuned on test, {best['macro_f1']:.3f}: a bound"
        axes.plot([best["threshold"]], [best["macro_f1"]], "x", color=VERMILION, markersize=8, label=label)
        axes.set_xlim(-0.02, 1.02)
        axes.set_xlabel("threshold on the step score")
        axes.set_ylabel("macro F1")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)

    return _svg("sweep", "Macro F1 against the threshold, on validation and on test", draw)


def confusion_plot(steps: JudgedSteps, threshold: float) -> str:
    """Counts of true against predicted labels; shades are shares of the true label."""
    tp, fp, fn, tn = confusion_rows(steps.is_correct, steps.scores >= threshold).sum(axis=0)
    counts = np.array([[tp, fn], [fp, tn]])
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.where(totals > 0, totals, 1)

    def draw(axes: Axes) -> None:
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.25, aspect="auto")
        for (row, column), count in np.ndenumerate(counts):
            is_dark = shares[row, column] > 0.7
            text = f"{int(count):,}\n{shares[row, column]:.1%} of row"
            axes.text(column, row, text, ha="center", va="center", fontsize=11, color="white" if is_dark else INK)
        axes.set_xticks([0, 1], ["correct", "incorrect"])
        axes.set_yticks([0, 1], ["correct", "incorrect"], rotation=90, va="center")
        axes.set_xlabel(f"predicted (correct from a score of {threshold:.3f})")
        axes.set_ylabel("truth")
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)

    return _svg("confusion", "Confusion matrix of true and predicted step labels", draw)


def score_histogram(steps: JudgedSteps, threshold: float) -> str:
    """Step scores of correct and of incorrect steps, each as shares of its own label."""

    def draw(axes: Axes) -> None:
        edges = np.linspace(0, 1, 26)
        for truth, colour, hatch, name in ((True, BLUE, "", "correct"), (False, VERMILION, "///", "incorrect")):
            scores = steps.scores[steps.is_correct == truth]
            if len(scores):
                heights = np.histogram(scores, edges)[0] / len(scores)
                axes.stairs(heights, edges, fill=True, color=colour, alpha=0.35)
                label = f"{name} steps ({len(scores):,})"
                axes.stairs(heights, edges, color=colour, linewidth=1.5, hatch=hatch, label=label)
        axes.axvline(threshold, color=INK, linestyle=":", linewidth=1.4, label=f"threshold {threshold:.3f}")
        axes.set_xlim(0, 1)
        axes.set_xlabel("step score")
        axes.set_ylabel("share of the steps of a label")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)

    return _svg("scores", "Histogram of step scores by true label", draw)


def _svg(name: str, label: str, draw: Any, width: float = 5.2, height: float = 4.0) -> str:
    """One plot as SVG with ids of its own and a text for those who cannot see it."""
    # A figure of its own and settings within the block: nothing global changes, and no window system is touched.
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": f"medprm-{name}"}):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure.add_subplot())
        buffer = io.StringIO()
        empty = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", metadata=empty, transparent=True)
    text = buffer.getvalue()
    text = text[text.index("<svg") :].strip()
    # matplotlib's style rule is for `*`: inside a page it would reach everything else there.
    text = re.sub(r"\s*<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', text)
    # The size comes from the page: the viewBox keeps the shape.
    head, body = text.split(">", 1)
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    return f'{head} role="img" aria-label="{label}" stroke-linejoin="round">{body}'


assert set(LINES) == set(SELECTOR_NAMES), "every selector of the table has a line style"
