"""Plan quality against cost: `python -m medprm.commands.simulate_labels [--out FOLDER]`.

In: accuracies and prices of the annotators. Out: a table of expert budgets under several thresholds of the consensus
rule, and the cheapest way to the target; with --out also cost.json and cost.svg.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from medprm.annotation.planning import Plan, PlanSettings, Point, Thresholds, least_budget, simulate
from medprm.cases.atomic import replaced_file
from medprm.errors import InputError

SHARES = tuple(round(0.02 * number, 2) for number in range(51))
SHOWN = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)
THRESHOLDS = tuple(Thresholds(low, round(1 - low, 2)) for low in (0.5, 0.4, 0.3, 0.2, 0.1))
TARGET = 0.95


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code: 0, or 2 with one line on stderr for a mistake of the user."""
    parser = argparse.ArgumentParser(prog="python -m medprm.commands.simulate_labels", description=__doc__)
    for field in fields(PlanSettings):
        kind = int if isinstance(field.default, int) else float
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=kind, default=field.default)
    parser.add_argument("--out", type=Path, help="folder for cost.json and cost.svg")
    given = vars(parser.parse_args(arguments))
    folder = given.pop("out")
    try:
        settings = PlanSettings(**given)
    except InputError as error:
        print(f"simulate_labels: {error}", file=sys.stderr)
        return 2
    plans = [simulate(settings, SHARES, one) for one in THRESHOLDS]
    print(table(plans))
    if folder is not None:
        write(folder, plans)
    return 0


def table(plans: Sequence[Plan]) -> str:
    """What each budget gives under each pair of thresholds, and where the target is reached.

    Past the last disputed step a larger budget buys nothing.
    """
    lines = []
    for plan in plans:
        lines += [
            f"thresholds {_named(plan)}: {plan.disputed.value:.3f} of the steps disputed; where judge and score agree, "
            f"{plan.agreed_accuracy.value:.3f} are right",
            "reviewed  accuracy [95 % interval]  labelled  of these right    dollars per 10,000 cases",
            *(_row(one) for one in plan.points if one.reviewed_share in SHOWN),
            f"{TARGET:.0%} over all steps {_reached(least_budget(plan, TARGET))}\n",
        ]
    ways = [(found, plan) for plan in plans if (found := least_budget(plan, TARGET))]
    if not ways:
        return "\n".join([*lines, f"{TARGET:.0%} is reached at no budget under any of these thresholds"])
    found, plan = min(ways, key=lambda way: way[0].dollars)
    return "\n".join(
        [*lines, f"the cheapest way: thresholds {_named(plan)}; {TARGET:.0%} {_reached(found)}, ${found.dollars:,.0f}"]
    )


def _named(plan: Plan) -> str:
    return f"{plan.thresholds.low:.1f} / {plan.thresholds.high:.1f}"


def _row(point: Point) -> str:
    accuracy = f"{point.accuracy.value:.3f} [{point.accuracy.low:.3f}, {point.accuracy.high:.3f}]"
    right = f"{point.labelled.value:.3f}" if point.labelled.n else "    -"
    return (
        f"{point.reviewed_share:8.2f}  {accuracy:24}  {point.coverage.value:8.3f}  {right:>14}  {point.dollars:26,.0f}"
    )


def _reached(point: Point | None) -> str:
    return f"is reached from {point.reviewed_share:.2f} of the steps reviewed" if point else "is reached at no budget"


def write(folder: Path, plans: Sequence[Plan]) -> None:
    """cost.json and the curves as cost.svg."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with replaced_file(folder / "cost.json") as draft:
        draft.write_text(json.dumps([_as_json(plan) for plan in plans], indent=2) + "\n")
    figure, axes = pyplot.subplots(figsize=(6.4, 3.8))
    for plan in plans:
        used = [p for p in plan.points if p.reviewed_share <= plan.disputed.value + 0.02]
        dollars, values = [p.dollars for p in used], [p.accuracy.value for p in used]
        (line,) = axes.plot(dollars, values, label=_named(plan))
        axes.fill_between(
            dollars, [p.accuracy.low for p in used], [p.accuracy.high for p in used], alpha=0.2, color=line.get_color()
        )
    axes.axhline(TARGET, color="grey", linestyle=":")
    axes.set_xlabel("dollars per 10,000 cases")
    axes.set_ylabel("accuracy over all steps")
    axes.legend(title="thresholds", fontsize=8)
    figure.tight_layout()
    with replaced_file(folder / "cost.svg") as draft:
        figure.savefig(draft, format="svg", metadata={"Date": None})
    pyplot.close(figure)


def _as_json(plan: Plan) -> dict[str, Any]:
    rows = [
        {
            "reviewed": one.reviewed_share,
            "accuracy": one.accuracy.as_json(),
            "coverage": one.coverage.as_json(),
            "dollars": one.dollars,
            **({"labelled_accuracy": one.labelled.as_json()} if one.labelled.is_defined else {}),
        }
        for one in plan.points
    ]
    return {"thresholds": list(plan.thresholds), "disputed": plan.disputed.as_json(), "points": rows}


if __name__ == "__main__":
    sys.exit(main())
