"""The Trainer of a PRM: Hugging Face's, with the loss at the label positions only.

In: a native InternVL model, batches of `encoding.collator`, padded or trees. Out: trained weights and checkpoints,
by the Trainer.
Normalisation: the Trainer counts `labels != -100` over accumulation and ranks; the loss is divided by that number.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import EvalPrediction, InternVLForConditionalGeneration, Trainer
from transformers.models.internvl.modeling_internvl import InternVLModel

from medprm.encoding.collator import UNKNOWN
from medprm.encoding.tokens import LabelTokens
from medprm.errors import InputError
from medprm.model.tree_attention import use_tree_attention
from medprm.scoring.step_scores import label_log_probabilities, label_logits
from medprm.training.loss import summed_loss

# P(+) of each labelled step and whether the step is correct -> named numbers.
StepMetrics = Callable[[np.ndarray, np.ndarray], dict[str, float]]

TARGET_NAMES = ("labels", "targets", "weights")


def look_at_nothing(model: InternVLModel) -> None:
    """From now on a batch without images adds zero times the features of a blank tile to its embeddings.

    Ranks must do the same work in the same order: under ZeRO-3 one that skips the vision tower hangs the others, and
    gradients are averaged in the order in which they come up. So it is done where images would be read, inside the
    forward: after it, or in a hook before it, the order differs.
    """
    forward = model.forward

    @wraps(forward)
    def with_blank_tile(*arguments: Any, **inputs: Any) -> Any:
        if inputs.get("pixel_values") is None and inputs.get("input_ids") is not None:
            internvl: Any = model
            embeddings = internvl.get_input_embeddings()(inputs.pop("input_ids"))
            vision = internvl.config.vision_config
            tile = torch.zeros((1, vision.num_channels, *vision.image_size), device=embeddings.device)
            features = internvl.get_image_features(pixel_values=tile, return_dict=True).pooler_output
            inputs["inputs_embeds"] = embeddings + (0.0 * features.sum()).to(embeddings.dtype)
        return forward(*arguments, **inputs)

    model.forward = with_blank_tile


class PRMTrainer(Trainer):
    """Trains `label_tokens` at the label positions. `step_metrics` is reported on the evaluation set.

    `tree_attention` is a back end of `medprm.model.tree_attention`, `loss` one of medprm.training.settings.LOSSES.
    """

    def __init__(
        self,
        *args: Any,
        label_tokens: LabelTokens,
        step_metrics: StepMetrics | None = None,
        tree_attention: str = "auto",
        loss: str = "label_tokens",
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if self.args.n_gpu > 1:
            raise InputError(
                f"{self.args.n_gpu} GPUs in one process; expected one process per GPU; start with "
                f"torchrun --nproc_per_node {self.args.n_gpu} train.py ..."
            )
        self.label_tokens = label_tokens
        self.step_metrics = step_metrics
        self.is_full_vocabulary = loss == "full_vocabulary"
        self.compute_metrics = self._evaluation_metrics
        # Our loss is not shifted, and it is divided by `num_items_in_batch` here: every labelled step counts once.
        self.model_accepts_loss_kwargs = True
        self._loss_shifts_labels = False
        self.loss_is_scaled_for_ga = True
        # A cache would be made from either flag, and breaks the isolation of packed sequences.
        config: Any = self.accelerator.unwrap_model(self.model).config  # type: ignore[arg-type]
        config.use_cache = False
        config.get_text_config().use_cache = False
        is_half = self.args.bf16 or self.args.fp16
        use_tree_attention(self.accelerator.unwrap_model(self.model), tree_attention, is_half)  # type: ignore[arg-type]
        if self.accelerator.num_processes > 1:
            for module in self.model.modules():  # type: ignore[union-attr]
                if isinstance(module, InternVLModel):
                    look_at_nothing(module)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, torch.Tensor | Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Summed loss / labelled steps of the whole optimiser step."""
        targets, logits = self._forward(model, inputs)
        loss = summed_loss(logits, **targets, is_normalised=self.is_full_vocabulary)
        if num_items_in_batch is None:
            num_items_in_batch = (targets["labels"] != UNKNOWN).sum()
            num_averaged = 1
        else:
            # Ranks average their gradients; the sum over ranks is meant.
            num_averaged = self.accelerator.num_processes if self.args.average_tokens_across_devices else 1
        loss = loss * num_averaged / num_items_in_batch
        return (loss, {"logits": logits}) if return_outputs else loss

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, torch.Tensor | Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[None, torch.Tensor, tuple[torch.Tensor, ...]]:
        """Logits (B, S, K) and targets; the loss is computed over all of them, not batch by batch."""
        with torch.no_grad(), self.compute_loss_context_manager():
            targets, logits = self._forward(model, self._prepare_inputs(inputs))
        return None, logits, tuple(targets[name] for name in TARGET_NAMES)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        """The weights of a checkpoint, every key of them.

        `save_pretrained` writes InternVL under the names of its original layout. The Trainer reads them as they are,
        finds none of its own, warns and goes on with the weights it has; `from_pretrained` translates the names.
        """
        native = self.accelerator.unwrap_model(self.model if model is None else model)  # type: ignore[arg-type]
        if not isinstance(native, InternVLForConditionalGeneration) or self.is_fsdp_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        loaded: Any = InternVLForConditionalGeneration.from_pretrained(
            resume_from_checkpoint, dtype=native.dtype, use_safetensors=True, output_loading_info=True
        )
        saved, report = loaded
        faults = [str(key) for name in ("missing_keys", "unexpected_keys", "mismatched_keys") for key in report[name]]
        if faults:
            raise InputError(
                f"{resume_from_checkpoint}: {len(faults)} weights do not fit the model ({faults[0]}, ...); resume with "
                "the settings it was written with"
            )
        native.load_state_dict(saved.state_dict(), strict=True)

    def _load_best_model(self) -> None:
        """`load_best_model_at_end`, by the same way."""
        if self.is_deepspeed_enabled or self.state.best_model_checkpoint is None:
            super()._load_best_model()
        else:
            self._load_from_checkpoint(self.state.best_model_checkpoint)

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """What the Trainer only warns of: keys that were not loaded."""
        if load_result.missing_keys or load_result.unexpected_keys:
            raise InputError(
                f"the checkpoint lacks {len(load_result.missing_keys)} keys of the model and has "
                f"{len(load_result.unexpected_keys)} others; resume with the settings it was written with"
            )

    def _forward(
        self, model: nn.Module, inputs: dict[str, torch.Tensor | Any]
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        inputs = dict(inputs)
        targets = {name: inputs.pop(name) for name in TARGET_NAMES}
        positions = inputs.pop("label_positions")
        read = label_log_probabilities if self.is_full_vocabulary else label_logits
        return targets, read(model, inputs, positions, self.label_tokens.ids)

    def _evaluation_metrics(self, prediction: EvalPrediction) -> dict[str, float]:
        """Loss over all labelled steps, and the metrics on those with a correct or incorrect label.

        Arrays are padded with -100 by the Trainer where batches differ in steps.
        """
        labels, targets, weights = (torch.from_numpy(np.asarray(one)) for one in prediction.label_ids)
        logits = torch.from_numpy(np.asarray(prediction.predictions)).float()
        num_labelled = int((labels != UNKNOWN).sum())
        if num_labelled == 0:
            raise InputError("the evaluation set has no labelled step; expected at least one; check its labels")
        loss = summed_loss(logits, labels, targets, weights, self.is_full_vocabulary)
        metrics = {"loss": float(loss) / num_labelled}
        if self.step_metrics:
            texts = self.label_tokens.texts
            is_judged = (labels == texts.index("+")) | (labels == texts.index("-"))
            scores = torch.softmax(logits, dim=-1)[..., 0][is_judged].numpy()
            metrics |= self.step_metrics(scores, (labels[is_judged] == texts.index("+")).numpy())
        return metrics
