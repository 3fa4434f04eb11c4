"""A checkpoint and cases to step scores.

In: a case, candidate solutions, the folder of its images. Out: per solution one score per step, in [0, 1].
One forward gives all steps of a solution. What the candidates of a case share (documents, images, context, question)
is read once: the vision features once per case, the prompt's keys and values once per case.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import DynamicCache

from medprm.cases.schema import Case, CaseSolutions, Solution
from medprm.encoding.chat import token_id
from medprm.encoding.encoder import Encoded, Encoder
from medprm.encoding.pixels import CasePixels, PixelLoader
from medprm.encoding.prm_record import restore_prm
from medprm.encoding.tokens import VALUE_LABELS, LabelTokens
from medprm.model.loading import LoadedModel, load_checkpoint
from medprm.scoring.step_scores import label_logits, step_scores

NO_TOKEN = -1  # where a text model has no image token


class CaseScores(NamedTuple):
    """`step_scores[n][k]` is P(+) of step k of solution n."""

    case: Case
    solutions: list[Solution]
    step_scores: list[list[float]]


@dataclass(frozen=True)
class _SharedPrompt:
    """What all candidates of a case begin with: its length, its keys and values, the visual tokens (M, hidden)."""

    num_tokens: int
    cache: DynamicCache | None
    features: torch.Tensor | None


class StepScorer:
    """Scores solutions with a trained PRM. `batch_size` counts solutions in one forward."""

    def __init__(
        self,
        loaded: LoadedModel,
        encoder: Encoder,
        batch_size: int = 8,
        labels: tuple[str, ...] = VALUE_LABELS,
    ) -> None:
        assert encoder.settings.history == "plus", "scoring fills earlier turns with +"
        # The auto-generated signatures of transformers name neither `return_dict` nor the inner configs' types.
        self.model: Any = loaded.model.eval()
        self.encoder = encoder
        self.batch_size = batch_size
        self.label_tokens = LabelTokens.look_up(loaded.tokenizer, encoder.chat, labels)
        self.image_settings = loaded.image_settings
        self.device = next(self.model.parameters()).device
        self.image_token_id = NO_TOKEN
        if encoder.chat.has_images:
            self.image_token_id = token_id(loaded.tokenizer, encoder.chat.image_token)
            assert self.image_token_id == self.model.config.image_token_id, "the model and the tokenizer do not match"
        self._pixel_loaders: dict[Path, PixelLoader] = {}

    @classmethod
    def from_checkpoint(
        cls,
        folder: str | Path,
        *,
        batch_size: int = 8,
        dtype: str = "float32",
        device: str = "cpu",
        blank: Sequence[str] | None = None,
    ) -> "StepScorer":
        """The scorer of a trained checkpoint, with the prompt and label tokens saved in it.

        `blank` takes inputs away for a control experiment (encoding/settings.py).
        """
        return cls.from_loaded(load_checkpoint(folder, dtype=dtype, device=device), str(folder), batch_size, blank)

    @classmethod
    def from_loaded(
        cls, loaded: LoadedModel, where: str, batch_size: int = 8, blank: Sequence[str] | None = None
    ) -> "StepScorer":
        """The same for a model in memory; `where` names it in errors."""
        prm = restore_prm(loaded.prm, loaded.tokenizer, loaded.image_tokens_per_tile, where)
        trained = prm.encoder.settings
        settings = replace(trained, history="plus", blank=list(trained.blank if blank is None else blank))
        encoder = Encoder(loaded.tokenizer, prm.encoder.prompt, settings, loaded.image_tokens_per_tile)
        return cls(loaded, encoder, batch_size, prm.label_tokens.texts)

    def score(
        self, case: Case, solutions: Sequence[Solution] | Sequence[Sequence[str]], root: Path
    ) -> list[list[float]]:
        """One score per step of each solution; a solution may be a list of step texts."""
        if not solutions:
            return []
        pixels = self._pixels(root).load(case)
        encoded = [self.encoder.encode(case, _step_texts(one), pixels.num_tiles) for one in solutions]
        # Candidates of about one length share a batch: little padding.
        order = sorted(range(len(encoded)), key=lambda index: len(encoded[index].input_ids))
        scores: list[list[float]] = [[] for _ in encoded]
        with torch.inference_mode():
            shared = self._read_shared_prompt(encoded, pixels)
            for begin in range(0, len(order), self.batch_size):
                chunk = order[begin : begin + self.batch_size]
                for index, row in zip(chunk, self._score_batch([encoded[i] for i in chunk], shared), strict=True):
                    scores[index] = row
        return scores

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
                row.append(float(step_scores(logits)[0, 0]))
            scores.append(row)
        return scores

    def score_cases(
        self, cases: Sequence[CaseSolutions], root: Path, progress: Callable[[int], None] | None = None
    ) -> Iterator[CaseScores]:
        """The scores of many cases, in order; `progress` is told the number of solutions just scored."""
        for case, solutions in cases:
            yield CaseScores(case=case, solutions=list(solutions), step_scores=self.score(case, solutions, root))
            if progress:
                progress(len(solutions))

    def _pixels(self, root: Path) -> PixelLoader:
        if root not in self._pixel_loaders:
            is_blank = "images" in self.encoder.settings.blank
            self._pixel_loaders[root] = PixelLoader(root, self.image_settings, is_blank)
        return self._pixel_loaders[root]

    def _read_shared_prompt(self, encoded: Sequence[Encoded], pixels: CasePixels) -> _SharedPrompt:
        features = None
        if pixels.values is not None:
            values = torch.from_numpy(pixels.values).to(self.device)
            features = self.model.get_image_features(pixel_values=values, return_dict=True).pooler_output.flatten(0, 1)
        num_shared = _num_shared_tokens(encoded)
        if num_shared == 0:
            return _SharedPrompt(0, None, features)
        ids = torch.tensor([encoded[0].input_ids[:num_shared]], device=self.device)
        cache = DynamicCache(config=self.model.config.get_text_config())
        embeds = self._embed(ids, features)
        self.model(inputs_embeds=embeds, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return _SharedPrompt(num_shared, cache, features)

    def _score_batch(self, encoded: Sequence[Encoded], shared: _SharedPrompt) -> list[list[float]]:
        """One forward over what follows the shared prompt, padded on the right."""
        num_tokens = max(len(one.input_ids) for one in encoded) - shared.num_tokens
        num_steps = max(len(one.label_positions) for one in encoded)
        ids = torch.zeros((len(encoded), num_tokens), dtype=torch.long)
        mask = torch.zeros((len(encoded), shared.num_tokens + num_tokens), dtype=torch.long)
        positions = torch.zeros((len(encoded), num_steps), dtype=torch.long)
        for row, one in enumerate(encoded):
            ids[row, : len(one.input_ids) - shared.num_tokens] = torch.tensor(one.input_ids[shared.num_tokens :])
            mask[row, : len(one.input_ids)] = 1
            positions[row, : len(one.label_positions)] = torch.tensor(one.label_positions) - shared.num_tokens
        inputs = {
            "inputs_embeds": self._embed(ids.to(self.device), shared.features),
            "attention_mask": mask.to(self.device),
        }
        if shared.cache is not None:
            cache = copy.deepcopy(shared.cache)
            cache.batch_repeat_interleave(len(encoded))
            inputs |= {"past_key_values": cache, "use_cache": True}
        logits = label_logits(self.model, inputs, positions.to(self.device), self.label_tokens.ids)
        rows = step_scores(logits).tolist()
        return [row[: len(one.label_positions)] for row, one in zip(rows, encoded, strict=True)]

    def _embed(self, ids: torch.Tensor, features: torch.Tensor | None) -> torch.Tensor:
        """Token embeddings (B, T, hidden) with every sequence's visual tokens put in place."""
        embeds = self.model.get_input_embeddings()(ids)
        is_visual = ids == self.image_token_id
        num_visual = int(is_visual.sum())
        if num_visual == 0:
            return embeds
        assert features is not None, "image tokens without an image"
        assert num_visual == len(ids) * len(features), f"{num_visual} image tokens for {len(features)} visual tokens"
        visual = features.to(embeds.dtype).repeat(len(ids), 1)
        return embeds.masked_scatter(is_visual.unsqueeze(-1), visual)


def _step_texts(solution: Solution | Sequence[str]) -> Sequence[str]:
    return solution.step_texts if isinstance(solution, Solution) else solution


def _num_shared_tokens(encoded: Sequence[Encoded]) -> int:
    """Length of the longest common beginning that ends before every label position."""
    limit = min(one.label_positions[0] for one in encoded)
    first, *others = (one.input_ids for one in encoded)
    for index in range(limit):
        if any(ids[index] != first[index] for ids in others):
            return index
    return limit
