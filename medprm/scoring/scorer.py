"""A checkpoint and cases to step scores.

In: cases, candidate solutions, the folder of their images. Out: per solution one score per step, in [0, 1].
All candidates of a case stand on one tree: what they share (documents, images, context, question, first steps) is
computed once, and one forward over a row of trees gives every step of several cases.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from medprm.cases.schema import Case, Solution
from medprm.encoding.chat import token_id
from medprm.encoding.encoder import Encoder
from medprm.encoding.pixels import PixelLoader
from medprm.encoding.prm_record import restore_prm
from medprm.encoding.settings import TileSettings
from medprm.encoding.tokens import VALUE_LABELS, LabelTokens
from medprm.model.loading import LoadedModel, load_checkpoint
from medprm.model.tree_attention import use_tree_attention
from medprm.scoring.calibration import Calibration, load_calibration
from medprm.scoring.engine import gather, score_rows
from medprm.scoring.kept_rows import KeptRows
from medprm.scoring.rows import Batch, Candidates, TreeRows, plan_tree_rows
from medprm.scoring.step_scores import label_logits, step_scores

MAX_ROW_TOKENS = 16_384


class StepScorer:
    """Scores solutions with a trained PRM, a `RowScorer`. A forward takes up to `max_row_tokens` tokens.

    `tiles`: what is kept of decoded images. `calibration`: the map that every score goes through, if any.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        encoder: Encoder,
        max_row_tokens: int = MAX_ROW_TOKENS,
        labels: tuple[str, ...] = VALUE_LABELS,
        tree_attention: str = "auto",
        tiles: TileSettings | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        assert encoder.settings.history == "plus", "scoring fills earlier turns with +"
        # The auto-generated signatures of transformers name neither `return_dict` nor the inner configs' types.
        self.model: Any = loaded.model.eval()
        self.encoder = encoder
        self.max_row_tokens = max_row_tokens
        self.label_tokens = LabelTokens.look_up(loaded.tokenizer, encoder.chat, labels)
        self.image_settings = replace(loaded.image_settings, windows=tuple(encoder.settings.ct_windows))
        # What the checkpoint says of itself: the aggregation and the threshold chosen on validation, among others.
        self.prm = dict(loaded.prm or {})
        self.device = next(self.model.parameters()).device
        self.max_positions = int(self.model.config.get_text_config().max_position_embeddings)
        if encoder.chat.has_images:
            image_token_id = token_id(loaded.tokenizer, encoder.chat.image_token)
            assert image_token_id == self.model.config.image_token_id, "the model and the tokenizer do not match"
        use_tree_attention(self.model, tree_attention)
        self._tiles = tiles
        self._calibration = calibration
        self._pixel_loaders: dict[Path, PixelLoader] = {}

    @classmethod
    def from_checkpoint(
        cls,
        folder: str | Path,
        *,
        max_row_tokens: int = MAX_ROW_TOKENS,
        dtype: str = "float32",
        device: str = "cpu",
        blank: Sequence[str] | None = None,
        calibrated: bool = False,
    ) -> "StepScorer":
        """The scorer of a trained checkpoint, with the prompt and label tokens saved in it.

        `blank` takes inputs away for a control experiment (encoding/settings.py); `calibrated` applies the calibration
        that is kept with the checkpoint (InputError where there is none).
        """
        loaded = load_checkpoint(folder, dtype=dtype, device=device)
        calibration = load_calibration(folder) if calibrated else None
        return cls.from_loaded(loaded, str(folder), max_row_tokens, blank, calibration=calibration)

    @classmethod
    def from_loaded(
        cls,
        loaded: LoadedModel,
        where: str,
        max_row_tokens: int = MAX_ROW_TOKENS,
        blank: Sequence[str] | None = None,
        tree_attention: str = "auto",
        tiles: TileSettings | None = None,
        calibration: Calibration | None = None,
    ) -> "StepScorer":
        """The same for a model in memory; `where` names it in errors."""
        prm = restore_prm(loaded.prm, loaded.tokenizer, loaded.image_tokens_per_tile, where)
        trained = prm.encoder.settings
        settings = replace(trained, history="plus", blank=list(trained.blank if blank is None else blank))
        encoder = Encoder(loaded.tokenizer, prm.encoder.prompt, settings, loaded.image_tokens_per_tile)
        return cls(loaded, encoder, max_row_tokens, prm.label_tokens.texts, tree_attention, tiles, calibration)

    def score(
        self, case: Case, solutions: Sequence[Solution] | Sequence[Sequence[str]], root: Path
    ) -> list[list[float]]:
        """One score per step of each solution; a solution may be a list of step texts."""
        cases = [Candidates(case, [_step_texts(one) for one in solutions])]
        kept, rows = KeptRows(), self.plan(cases, root)
        score_rows(self, rows, kept)
        return gather(rows, kept, cases)[0]

    def plan(self, cases: Sequence[Candidates], root: Path) -> TreeRows:
        """The forwards that score these cases, several cases each."""
        return plan_tree_rows(cases, self.encoder, self._pixels(root), self.max_row_tokens, self.max_positions)

    def score_row(self, batch: Batch) -> list[float]:
        """One forward: P(+) of every step of the row."""
        inputs = {name: tensor.to(self.device, non_blocking=True) for name, tensor in batch.items()}
        with torch.inference_mode():
            logits = label_logits(self.model, inputs, inputs.pop("positions"), self.label_tokens.ids)
        return self._calibrated(step_scores(logits)[0])

    def _calibrated(self, scores: torch.Tensor) -> list[float]:
        if self._calibration is None:
            return scores.tolist()
        return self._calibration.apply(scores.cpu().numpy()).tolist()

    def score_stepwise(
        self, case: Case, solutions: Sequence[Solution] | Sequence[Sequence[str]], root: Path
    ) -> list[list[float]]:
        """The same scores by one plain forward per step, each over the sequence up to that step. Slow: for tests."""
        pixels = self._pixels(root).load(case)
        values = {} if pixels.values is None else {"pixel_values": torch.from_numpy(pixels.values).to(self.device)}
        scores = []
        for solution in solutions:
            encoded = self.encoder.encode(case, _step_texts(solution), pixels.num_tiles)
            row = []
            for position in encoded.label_positions:
                ids = torch.tensor([encoded.input_ids[: position + 1]], device=self.device)
                with torch.inference_mode():
                    last = torch.tensor([[position]], device=self.device)
                    logits = label_logits(self.model, {"input_ids": ids, **values}, last, self.label_tokens.ids)
                row += self._calibrated(step_scores(logits)[0, :1])
            scores.append(row)
        return scores

    def _pixels(self, root: Path) -> PixelLoader:
        if root not in self._pixel_loaders:
            is_blank = "images" in self.encoder.settings.blank
            self._pixel_loaders[root] = PixelLoader(root, self.image_settings, is_blank, self._tiles)
        return self._pixel_loaders[root]


def _step_texts(solution: Solution | Sequence[str]) -> Sequence[str]:
    return solution.step_texts if isinstance(solution, Solution) else solution
