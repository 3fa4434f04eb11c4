"""Settings of the consensus rule and of the simulated annotators."""

from dataclasses import dataclass, field

from medprm.errors import InputError


@dataclass
class ConsensusSettings:
    mc_correct_above: float = 0.7  # judge + and Monte Carlo score above this: correct
    mc_incorrect_below: float = 0.3  # judge - and Monte Carlo score below this: incorrect

    def __post_init__(self) -> None:
        if not 0.0 <= self.mc_incorrect_below <= self.mc_correct_above <= 1.0:
            raise InputError(
                f"consensus thresholds {self.mc_incorrect_below} and {self.mc_correct_above}: expected "
                "0 <= mc_incorrect_below <= mc_correct_above <= 1"
            )


@dataclass
class SimulatedSettings:
    """How good the simulated annotators of the phantom are; every number is a share in [0, 1] or a count."""

    seed: int = 0  # of the annotators' mistakes
    judge_accuracy: float = 0.85  # chance that the judge's verdict on a step is the truth
    num_rollouts: int = 16  # continuations per step prefix
    success_if_right: float = 0.78  # mean chance that a rollout from a sound prefix ends at the gold answer
    success_if_wrong: float = 0.10  # the same from a prefix with an error that touches the answer
    unparsed_share: float = 0.03  # chance that a rollout's answer cannot be read
    expert_accuracy: float = 0.98  # chance that the expert's verdict on a step is the truth
    expert_cannot_tell: float = 0.03  # chance that the expert says "unknown"
    consensus: ConsensusSettings = field(default_factory=ConsensusSettings)
