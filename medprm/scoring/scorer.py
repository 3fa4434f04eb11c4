"""A checkpoint and cases to step scores.

In: cases, candidate solutions, the folder of their images. Out: per solution one score per step, in [0, 1].
All candidates of a case stand on one tree: what they share (documents, images, context, question, first steps) is
computed once, and one forward over a row of trees gives every step of several cases.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from medprm.cases.schema import Case, CaseSolutions, Solution
from medprm.encoding.chat import token_id
from medprm.encoding.collator import lay_out_trees, stack_tiles
from medprm.encoding.encoder import Encoder, check_positions
from medprm.encoding.pixels import PixelLoader
from medprm.encoding.prm_record import restore_prm
from medprm.encoding.tokens import VALUE_LABELS, LabelTokens
from medprm.encoding.tree import Tree, build_tree, group_sequences
from medprm.model.loading import LoadedModel, load_checkpoint
from medprm.model.tree_attention import use_tree_attention
from medprm.scoring.step_scores import label_logits, step_scores

MAX_ROW_TOKENS = 16_384


class CaseScores(NamedTuple):
    """`step_scores[n][k]` is P(+) of step k of solution n."""

    case: Case
    solutions: list[Solution]
    step_scores: list[list[float]]


class _Piece(NamedTuple):
    """Some of a case's solutions, by index, as a tree, and the case's tiles (M, 3, H, W)."""

    indices: list[int]
    tree: Tree
    values: np.ndarray | None


class StepScorer:
    """Scores solutions with a trained PRM. A forward takes about `max_row_tokens` tokens."""

    def __init__(
        self,
        loaded: LoadedModel,
        encoder: Encoder,
        max_row_tokens: int = MAX_ROW_TOKENS,
        labels: tuple[str, ...] = VALUE_LABELS,
        tree_attention: str = "auto",
    ) -> None:
        assert encoder.settings.history == "plus", "scoring fills earlier turns with +"
        # The auto-generated signatures of transformers name neither `return_dict` nor the inner configs' types.
        self.model: Any = loaded.model.eval()
        self.encoder = encoder
        self.max_row_tokens = max_row_tokens
        self.label_tokens = LabelTokens.look_up(loaded.tokenizer, encoder.chat, labels)
        self.image_settings = loaded.image_settings
        self.device = next(self.model.parameters()).device
        self.max_positions = int(self.model.config.get_text_config().max_position_embeddings)
        if encoder.chat.has_images:
            image_token_id = token_id(loaded.tokenizer, encoder.chat.image_token)
            assert image_token_id == self.model.config.image_token_id, "the model and the tokenizer do not match"
        use_tree_attention(self.model, tree_attention)
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
    ) -> "StepScorer":
        """The scorer of a trained checkpoint, with the prompt and label tokens saved in it.

        `blank` takes inputs away for a control experiment (encoding/settings.py).
        """
        loaded = load_checkpoint(folder, dtype=dtype, device=device)
        return cls.from_loaded(loaded, str(folder), max_row_tokens, blank)

    @classmethod
    def from_loaded(
        cls,
        loaded: LoadedModel,
        where: str,
        max_row_tokens: int = MAX_ROW_TOKENS,
        blank: Sequence[str] | None = None,
        tree_attention: str = "auto",
    ) -> "StepScorer":
        """The same for a model in memory; `where` names it in errors."""
        prm = restore_prm(loaded.prm, loaded.tokenizer, loaded.image_tokens_per_tile, where)
        trained = prm.encoder.settings
        settings = replace(trained, history="plus", blank=list(trained.blank if blank is None else blank))
        encoder = Encoder(loaded.tokenizer, prm.encoder.prompt, settings, loaded.image_tokens_per_tile)
        return cls(loaded, encoder, max_row_tokens, prm.label_tokens.texts, tree_attention)

    def score(
        self, case: Case, solutions: Sequence[Solution] | Sequence[Sequence[str]], root: Path
    ) -> list[list[float]]:
        """One score per step of each solution; a solution may be a list of step texts."""
        scores: list[list[float]] = [[] for _ in solutions]
        for row in self._rows(self._pieces(case, solutions, root)):
            self._score_row(row, [scores] * len(row))
        return scores

    def score_cases(
        self, cases: Sequence[CaseSolutions], root: Path, progress: Callable[[int], None] | None = None
    ) -> Iterator[CaseScores]:
        """The scores of many cases, in order, several cases a forward; `progress` is told how many solutions are done.

        Cases are held until the tokens of a row are together.
        """
        held: list[tuple[CaseSolutions, list[_Piece]]] = []
        num_held = 0
        for item in cases:
            held.append((item, self._pieces(item.case, item.solutions, root)))
            num_held += sum(len(piece.tree) for piece in held[-1][1])
            if num_held >= self.max_row_tokens:
                yield from self._score_held(held, progress)
                held, num_held = [], 0
        yield from self._score_held(held, progress)

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

    def _pixels(self, root: Path) -> PixelLoader:
        if root not in self._pixel_loaders:
            is_blank = "images" in self.encoder.settings.blank
            self._pixel_loaders[root] = PixelLoader(root, self.image_settings, is_blank)
        return self._pixel_loaders[root]

    def _pieces(self, case: Case, solutions: Sequence[Solution] | Sequence[Sequence[str]], root: Path) -> list[_Piece]:
        """All solutions of a case on as few trees as fit."""
        pixels = self._pixels(root).load(case)
        encoded = [self.encoder.encode(case, _step_texts(one), pixels.num_tiles) for one in solutions]
        for number, one in enumerate(encoded):
            check_positions(one, self.max_positions, f"case {case.case_id} solution {number}")
        groups = group_sequences(encoded, self.max_row_tokens)
        return [_Piece(group, build_tree([encoded[n] for n in group]), pixels.values) for group in groups]

    def _rows(self, pieces: Sequence[_Piece]) -> Iterator[list[_Piece]]:
        """Pieces in order, as many as fit into a row."""
        row: list[_Piece] = []
        for piece in pieces:
            if row and sum(len(one.tree) for one in row) + len(piece.tree) > self.max_row_tokens:
                yield row
                row = []
            row.append(piece)
        if row:
            yield row

    def _score_held(
        self, held: Sequence[tuple[CaseSolutions, list[_Piece]]], progress: Callable[[int], None] | None
    ) -> Iterator[CaseScores]:
        scores: list[list[list[float]]] = [[[] for _ in item.solutions] for item, _ in held]
        places = {id(piece): scores[number] for number, (_, pieces) in enumerate(held) for piece in pieces}
        for row in self._rows([piece for _, pieces in held for piece in pieces]):
            self._score_row(row, [places[id(piece)] for piece in row])
            if progress:
                progress(sum(len(piece.indices) for piece in row))
        for (item, _), of_case in zip(held, scores, strict=True):
            yield CaseScores(item.case, list(item.solutions), of_case)

    def _score_row(self, row: Sequence[_Piece], places: Sequence[list[list[float]]]) -> None:
        """One forward; the scores of each piece go into its place, by solution."""
        positions, begin = [], 0
        for piece in row:
            positions += [begin + position for steps in piece.tree.label_positions for position in steps]
            begin += len(piece.tree)
        batch = lay_out_trees([[piece.tree for piece in row]], pad_id=0)  # a row by itself is not padded
        batch |= {"positions": torch.tensor([positions])} | stack_tiles([piece.values for piece in row])
        inputs = {name: tensor.to(self.device) for name, tensor in batch.items()}
        with torch.inference_mode():
            logits = label_logits(self.model, inputs, inputs.pop("positions"), self.label_tokens.ids)
        found = iter(step_scores(logits)[0].tolist())
        for piece, place in zip(row, places, strict=True):
            for index, steps in zip(piece.indices, piece.tree.label_positions, strict=True):
                place[index] = [next(found) for _ in steps]


def _step_texts(solution: Solution | Sequence[str]) -> Sequence[str]:
    return solution.step_texts if isinstance(solution, Solution) else solution
