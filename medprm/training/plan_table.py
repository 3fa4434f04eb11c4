"""A plan as text: what `train.py plan=true` prints.

In: the mapping of plan.json. Out: text of at most about 110 columns. Estimates carry a star.
"""

from collections.abc import Mapping
from typing import Any

ESTIMATES = ("activations", "logits", "buffers")


def format_plan(plan: Mapping[str, Any]) -> str:
    """The plan as text of at most about 110 columns."""
    return "\n\n".join([_counts_text(plan), _memory_text(plan), _work_text(plan), _scales_text(plan)]) + "\n"


def _counts_text(plan: Mapping[str, Any]) -> str:
    parameters, lengths = plan["parameters"], plan["lengths"]
    parts = ", ".join(f"{part} {parameters[part]['total']:,}" for part in ("vision", "projector", "text"))
    return (
        f"plan of {plan['run']}: model {plan['model']}, tuning {plan['tuning']}\n"
        f"parameters  {parameters['total']:,} ({parts}); trained {parameters['trained']:,} "
        f"({100 * parameters['trained'] / parameters['total']:.2f} %)\n"
        f"data        {lengths['num_solutions']:,} training solutions, {lengths['num_sampled']:,} measured: "
        f"{lengths['mean_tokens']:.0f} tokens (text {lengths['mean_text_tokens']:.0f}), "
        f"{lengths['mean_tiles']:.1f} tiles, {lengths['mean_steps']:.1f} steps\n"
        f"rows        {lengths['solutions_per_row']:.1f} solutions in {lengths['row_tokens']:,.0f} tokens (alone "
        f"{lengths['solutions_per_row'] * lengths['mean_tokens']:,.0f}; largest row {lengths['max_row_tokens']:,}), "
        f"{lengths['row_tiles']:.1f} tiles\n"
        f"tokenizer   {lengths['tokenizer']}"
    )


def _memory_text(plan: Mapping[str, Any]) -> str:
    settings = plan["planning"]
    names = ("weights", "gradients", "optimizer", "activations", "logits", "buffers", "reserve", "total")
    header = [f"{name}{'*' * (name in ESTIMATES)}" for name in names]
    lines = [
        f"memory on each of {settings['num_gpus']} GPUs of {settings['gpu_memory_gib']:g} GiB, in GiB (* estimate)",
        f"{'':16}" + "".join(f"{name:>13}" for name in header) + "  fits",
    ]
    for stage, row in plan["memory_gib"].items():
        mark = " <" if stage == plan["stage"] else ""
        cells = "".join(f"{row[name]:13.2f}" for name in names)
        host = f", {row['host_per_gpu']:.1f} in host memory" if row["host_per_gpu"] else ""
        lines.append(f"{stage + mark:16}{cells}  {'yes' if row['fits'] else 'NO'}{host}")
    used, logits = plan["activations_gib"], plan["logits_gib"]
    lines += [
        f"activations* {used['without_checkpointing']:.2f} without checkpointing, "
        f"{used['with_checkpointing']:.2f} with it",
        f"logits* {logits['at_label_positions']:.2g} at the label positions; of all tokens at every position they "
        f"would take {logits['if_at_every_position']:.2f}",
    ]
    return "\n".join(lines)


def _work_text(plan: Mapping[str, Any]) -> str:
    done, settings = plan["work"], plan["planning"]
    return (
        f"step        {done['solutions_per_step']:,.0f} solutions, {done['tokens_per_step']:,.0f} tokens with padding, "
        f"{done['flops_per_step']:.2e} FLOPs\n"
        f"epoch       {done['steps_per_epoch']:,} steps, {done['tokens_per_epoch']:,.0f} tokens, "
        f"{done['flops_per_epoch']:.2e} FLOPs\n"
        f"run         {done['num_steps']:,} steps, {done['hours']:.2f} hours*, {done['dollars']:,.2f} dollars* "
        f"({settings['num_gpus']} x {settings['gpu_teraflops']:g} TFLOP/s at {settings['utilization']:.0%}, "
        f"{settings['dollars_per_gpu_hour']:g} dollars per GPU and hour)"
    )


def _scales_text(plan: Mapping[str, Any]) -> str:
    lines = ["the same command at each scale"]
    for name, row in plan["scales"].items():
        if "refused" in row:
            lines.append(f"{name:10}  refused: {row['refused']}")
            continue
        lines.append(
            f"{name:10}  {row['model']}, {row['tuning']}, {row['stage']}, {row['num_gpus']} x "
            f"{row['gpu_memory_gib']:g} GiB: needs {row['total_gib']:.1f} GiB*, "
            f"{'fits' if row['fits'] else 'DOES NOT FIT'}; {row['hours']:.2f} hours*, {row['dollars']:,.2f} dollars*"
        )
    return "\n".join(lines)
