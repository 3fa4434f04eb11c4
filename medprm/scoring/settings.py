"""Settings of the scoring room. Light: no torch and no transformers."""

from dataclasses import dataclass

from medprm.errors import InputError, check_choice, check_least
from medprm.model.settings import ATTENTION, TREE_ATTENTION

DTYPES = ("auto", "float32", "bfloat16", "float16")
DEVICES = ("auto", "cpu", "cuda")
CALIBRATION_KINDS = ("temperature", "isotonic")
CALIBRATIONS = ("none", "saved")
PROTOCOLS = ("own", "medprm_reward")


@dataclass
class ScoringSettings:
    """How a checkpoint is run."""

    # Tokens in one forward; the solutions of a case share their beginning, several cases share a forward.
    max_row_tokens: int = 16384
    # Processes that decode, tile and encode ahead of the model; null: none on a CPU, up to 8 beside a GPU.
    num_workers: int | None = None
    # Number format of the weights: auto (bfloat16 on a GPU that computes in it, else float32), float32, bfloat16 or
    # float16; run.json says which it was. Scores are float32 always.
    dtype: str = "auto"
    # auto (a GPU where there is one), cpu or cuda.
    device: str = "auto"
    # As model.attn_implementation in training.
    attn_implementation: str = "auto"
    # As packing.attention in training.
    tree_attention: str = "auto"
    # own: as the checkpoint's medprm.json says; medprm_reward: a published Med-PRM reward model, which has none.
    protocol: str = "own"
    # none, or saved: step scores through the calibration kept with the checkpoint (evaluate.py save_calibration=...).
    calibration: str = "none"
    # protocol=medprm_reward: a text file with the published system prompt; null: the same said in our words.
    system_prompt: str | None = None

    def __post_init__(self) -> None:
        check_choice("scoring.dtype", self.dtype, DTYPES)
        check_choice("scoring.protocol", self.protocol, PROTOCOLS)
        if self.system_prompt is not None and self.protocol == "own":
            raise InputError("scoring.system_prompt is set but scoring.protocol=own has the checkpoint's; leave it out")
        check_choice("scoring.calibration", self.calibration, CALIBRATIONS)
        if self.calibration != "none" and self.protocol != "own":
            raise InputError(
                f"scoring.calibration={self.calibration} with scoring.protocol={self.protocol}: leave it out"
            )
        check_choice("scoring.device", self.device, DEVICES)
        check_choice("scoring.attn_implementation", self.attn_implementation, ATTENTION)
        check_choice("scoring.tree_attention", self.tree_attention, TREE_ATTENTION)
        check_least("scoring.max_row_tokens", self.max_row_tokens, 1)
        check_least("scoring.num_workers", self.num_workers or 0, 0)
