"""The phantom's experts: what they say of a step, from its truth.

In: a step's key, its truth, settings. Out: verdicts, always the same of the same step. Some steps are read by two;
where these differ and there is a third, that one decides.
"""

import hashlib

import numpy as np

from medprm.annotation.expert_queue import StepKey
from medprm.annotation.settings import ExpertSettings
from medprm.cases.schema import ExpertVerdict, Label


def panel_verdicts(key: StepKey, truth: Label, settings: ExpertSettings) -> tuple[ExpertVerdict, ...]:
    """What the experts who read the step say of it."""
    rng = _generator(f"panel {settings.seed} {tuple(key)}")
    readers = rng.permutation(settings.num_experts).tolist()
    num = 2 if rng.random() < settings.double_share else 1
    said = [simulated_verdict(key, truth, settings, reader) for reader in readers[:num]]
    if num == 2 and said[0].verdict != said[1].verdict and len(readers) > 2:
        said.append(simulated_verdict(key, truth, settings, readers[2]))
    return tuple(said)


def simulated_verdict(key: StepKey, truth: Label, settings: ExpertSettings, reader: int = 0) -> ExpertVerdict:
    """What one expert says of a step; experts err independently of each other."""
    rng = _generator(f"{settings.seed} {tuple(key)}" + f" {reader}" * (reader > 0))
    verdict: Label = truth
    if rng.random() < settings.cannot_tell:
        verdict = "unknown"
    elif rng.random() >= settings.accuracy:
        verdict = "incorrect" if truth == "correct" else "correct"
    name = "simulated_expert" if settings.num_experts == 1 else f"simulated_expert_{reader + 1}"
    return ExpertVerdict(verdict=verdict, expert_id=name, seconds=60.0 * settings.minutes_per_step)


def _generator(text: str) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))
