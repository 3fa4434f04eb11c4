"""A run's checkpoint as a scorer, for every verb that scores."""

import logging
from pathlib import Path

import torch

from medprm.config import EvaluateConfig, SearchConfig
from medprm.encoding.settings import TileSettings
from medprm.errors import InputError
from medprm.model.attention import resolve_attention
from medprm.model.loading import LoadedModel, load_checkpoint
from medprm.run import local_rank
from medprm.scoring.calibration import load_calibration
from medprm.scoring.precision import resolve_dtype
from medprm.scoring.scorer import StepScorer
from medprm.scoring.settings import ScoringSettings
from medprm.scoring.step_token import SYSTEM, StepTokenScorer

logger = logging.getLogger(__name__)


def find_checkpoint(config: EvaluateConfig | SearchConfig) -> str:
    """The folder of the checkpoint, or a hub id as it was given."""
    if config.checkpoint is not None:
        return config.checkpoint
    found = Path(config.output_dir) / "checkpoint"
    if not found.is_dir():
        raise InputError(
            f"{found}: no checkpoint; train first (python train.py run_name={config.run_name}), "
            "or give checkpoint=FOLDER"
        )
    return str(found)


def load_scorer(
    checkpoint: str, settings: ScoringSettings, tiles: TileSettings, blank: list[str] | None = None
) -> StepScorer | StepTokenScorer:
    """The checkpoint as a scorer, on the device and in the precision asked for; each process has a GPU of its own."""
    loaded = _load(checkpoint, settings)
    if settings.protocol == "medprm_reward":
        if blank:
            raise InputError("blank with scoring.protocol=medprm_reward: that model's prompt is fixed; leave it out")
        return StepTokenScorer(loaded, checkpoint, settings.max_row_tokens, _system(settings))
    return StepScorer.from_loaded(
        *(loaded, checkpoint, settings.max_row_tokens, blank, settings.tree_attention, tiles),
        load_calibration(checkpoint) if settings.calibration == "saved" else None,
    )


def _load(checkpoint: str, settings: ScoringSettings) -> LoadedModel:
    device = settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    elif device == "cuda" and not torch.cuda.is_available():
        raise InputError("scoring.device=cuda but there is no GPU; choose auto or cpu")
    dtype = resolve_dtype(settings.dtype, device)
    attention = resolve_attention(settings.attn_implementation, device == "cuda", dtype != "float32")
    if device == "cuda":
        device = f"cuda:{local_rank()}"
    loaded = load_checkpoint(checkpoint, dtype=dtype, device=device, attn_implementation=attention)
    logger.info("scoring with %s on %s in %s", checkpoint, device, dtype)
    return loaded


def _system(settings: ScoringSettings) -> str:
    """The published system prompt where it is given, else ours."""
    if settings.system_prompt is None:
        logger.warning("the system prompt is in our words; scoring.system_prompt=FILE gives the published one")
        return SYSTEM
    return Path(settings.system_prompt).read_text(encoding="utf-8").strip()
