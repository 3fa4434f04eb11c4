"""Published figures, for reference rows: never measured here, and marked as published wherever they are shown.

Targets of a plan are marked as targets: nobody has measured them. Values are percentages.
"""

from typing import Any, Literal, NamedTuple

VISUALPRM = "VisualPRM, arXiv 2503.10291"
MED_PRM = "Med-PRM, arXiv 2506.11474, README"
MED_PRM_QUOTED = "Med-PRM, arXiv 2506.11474, second-hand: as a fork of its code quotes it"
MED_PRM_AGAIN = "an independent reproduction of Med-PRM with LoRA, second-hand: a fork of its code"
PLAN = "the project's brief"


class Figure(NamedTuple):
    """`value` of `metric` for `model`; `before` where the source states what it was improved from, both in percent."""

    protocol: str
    model: str
    metric: str
    value: float
    source: str
    kind: Literal["published", "target"] = "published"
    before: float | None = None
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        return {name: value for name, value in self._asdict().items() if value not in (None, "")}


def _process_bench(model: str, values: tuple[float, ...]) -> list[Figure]:
    sets = ("MMMU", "MathVision", "MathVerse-VO", "DynaMath", "WeMath", "all")
    return [
        Figure("visualprocessbench", model, f"macro F1, {name}", value, VISUALPRM)
        for name, value in zip(sets, values, strict=True)
    ]


def _best_of_8(model: str, rows: dict[str, tuple[float, float]]) -> list[Figure]:
    note = "VisualPRM-8B picks of 8 by the mean step score; before: pass@1"
    return [
        Figure("visualprm", model, f"accuracy, {name}", after, f"{VISUALPRM}, table 2", before=before, note=note)
        for name, (before, after) in rows.items()
    ]


def _selectors(model: str, part: str, source: str, rows: dict[str, float]) -> list[Figure]:
    return [
        Figure("med_prm", model, f"accuracy, {part}, {selector}", value, source, note="N = 64")
        for selector, value in rows.items()
    ]


FIGURES: tuple[Figure, ...] = (
    *_process_bench("VisualPRM-8B", (58.5, 62.1, 61.0, 62.7, 61.8, 62.0)),
    *_process_bench("GPT-4o", (56.3, 60.2, 59.7, 59.0, 63.3, 60.3)),
    *_process_bench("Gemini-2.0-Flash", (58.5, 60.1, 62.8, 66.7, 58.7, 62.3)),
    *_process_bench("InternVL2.5-8B as judge", (47.1, 45.5, 47.8, 50.3, 50.8, 48.0)),
    *_process_bench("random guessing", (50.0,) * 6),
    *_best_of_8(
        "InternVL2.5-8B",
        {
            "MMMU": (56.2, 60.2),
            "MathVista": (64.5, 68.5),
            "MathVision": (17.0, 25.7),
            "MathVerse-VO": (22.8, 35.8),
            "DynaMath": (9.4, 18.0),
            "WeMath": (23.5, 36.5),
            "LogicVista": (36.0, 43.8),
            "all": (32.8, 41.2),
        },
    ),
    *_best_of_8("InternVL2.5-26B", {"all": (36.9, 45.8)}),
    *_best_of_8("InternVL2.5-38B", {"all": (44.4, 50.7)}),
    *_best_of_8("InternVL2.5-78B", {"all": (46.0, 51.9)}),
    *_best_of_8("MiniCPM-V2.6", {"all": (29.5, 37.5)}),
    *_best_of_8("Qwen2.5-VL-7B", {"all": (41.4, 45.1)}),
    Figure("med_prm", "Llama-3.1-8B with Med-PRM", "accuracy, MedQA-4", 78.24, MED_PRM, note="SC + RM, N = 64"),
    Figure("med_prm", "Med-PRM policy with Med-PRM", "accuracy, MedQA-4", 79.18, MED_PRM, note="SC + RM, N = 64"),
    Figure("med_prm", "UltraMedical-8B with Med-PRM", "accuracy, MedQA-4", 79.87, MED_PRM, note="SC + RM, N = 64"),
    Figure("med_prm", "Meerkat-8B with Med-PRM", "accuracy, MedQA-4", 80.35, MED_PRM, note="SC + RM, N = 64"),
    *_selectors("Llama-3.1-8B with Med-PRM", "MedQA-4", MED_PRM_QUOTED, {"SC": 74.86, "Best-of-N": 76.98}),
    *_selectors(
        "Llama-3.1-8B with Med-PRM", "MedMCQA", MED_PRM_QUOTED, {"SC": 63.40, "Best-of-N": 63.40, "SC + RM": 66.40}
    ),
    *_selectors(
        "Llama-3.1-8B with a LoRA of Med-PRM",
        "mean of sets",
        MED_PRM_AGAIN,
        {"SC": 70.36, "Best-of-N by min": 72.43, "SC + RM by min": 72.07, "SC + RM by last": 72.12},
    ),
    Figure("med_prm", "any policy", "accuracy, MedQA: gain of 5 to 10 points", 5.0, PLAN, "target"),
    Figure("med_prm", "any policy", "accuracy, PathVQA: gain of 10 to 15 points", 10.0, PLAN, "target"),
    Figure("med_prm", "any policy", "accuracy, RadiologyQA: gain of 8 to 12 points", 8.0, PLAN, "target"),
)


def figures_of(protocol: str) -> list[Figure]:
    """The reference rows of a protocol; several have none."""
    return [one for one in FIGURES if one.protocol == protocol]
