"""Plan quality against cost: `python -m medprm.commands.simulate_labels [--out FOLDER]`.

In: accuracies and prices of the annotators. Out: a table; with --out also cost.json and cost.svg.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from medprm.annotation.planning import Plan, PlanSettings, least_share, simulate
from medprm.cases.atomic import replaced_file
from medprm.errors import InputError

SHARES = tuple(round(0.02 * number, 2) for number in range(0, 26))
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
        plan = simulate(PlanSettings(**given), SHARES)
    except InputError as error:
        print(f"simulate_labels: {error}", file=sys.stderr)
        return 2
    print(table(plan))
    if folder is not None:
        write(folder, plan)
    return 0


def table(plan: Plan) -> str:
    """Every budget, and where the target is reached."""
    agreed = plan.agreed_accuracy.value
    lines = [f"disputed {plan.disputed.value:.3f} of the steps; where judge and score agree, {agreed:.3f} are right"]
    lines.append("reviewed  accuracy [95 % interval]    dollars per 10,000 cases")
    for one in plan.points:
        low, high = one.accuracy.low, one.accuracy.high
        lines.append(
            f"{one.reviewed_share:8.2f}  {one.accuracy.value:.3f} [{low:.3f}, {high:.3f}]  {one.dollars:12,.0f}"
        )
    share = least_share(plan, TARGET)
    reached = f"from {share:.2f} of the steps reviewed" if share is not None else "at no budget"
    return "\n".join([*lines, f"{TARGET:.0%} is reached {reached}"])


def write(folder: Path, plan: Plan) -> None:
    """cost.json and the curve as cost.svg."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [{"reviewed": p.reviewed_share, "accuracy": p.accuracy.as_json(), "dollars": p.dollars} for p in plan.points]
    with replaced_file(folder / "cost.json") as draft:
        draft.write_text(json.dumps({"disputed": plan.disputed.as_json(), "points": rows}, indent=2) + "\n")
    figure, axes = pyplot.subplots(figsize=(6, 3.6))
    dollars, values = [p.dollars for p in plan.points], [p.accuracy.value for p in plan.points]
    axes.plot(dollars, values, color="#3b6ea5")
    axes.fill_between(dollars, [p.accuracy.low for p in plan.points], [p.accuracy.high for p in plan.points], alpha=0.2)
    axes.axhline(TARGET, color="grey", linestyle=":")
    axes.set_xlabel("dollars per 10,000 cases")
    axes.set_ylabel("accuracy of the labels")
    figure.tight_layout()
    with replaced_file(folder / "cost.svg") as draft:
        figure.savefig(draft, format="svg", metadata={"Date": None})
    pyplot.close(figure)


if __name__ == "__main__":
    sys.exit(main())
