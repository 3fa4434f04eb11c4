"""Scores of a published Med-PRM reward model (dmis-lab/llama-3.1-medprm-reward-v1.0), as a baseline.

In: a Llama whose tokenizer has the step token " ки", text cases, candidate solutions. Out: as `StepScorer`, one score
per step. Source: arXiv 2506.11474 and the behaviour of its scoring script: one user turn holds documents, question,
options and all steps, each closed by the step token, at which the logits of " +" and " -" are read. The turn stands in
the tokenizer's own chat template, behind a second beginning of text, as that model was trained. Not compared with
published scores yet: the system prompt is in our words unless the published one is given, and what stands between two
steps is taken to be a newline.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from medprm.cases.schema import Case, Solution
from medprm.encoding.chat import (
    LLAMA_3,
    EncodingError,
    SolutionTooLongToEncode,
    check_control_tokens,
    encode_segment,
    leading_ids,
)
from medprm.encoding.settings import EncodingSettings
from medprm.encoding.turns import document_text, render_options
from medprm.model.loading import LoadedModel
from medprm.scoring.engine import gather, score_rows
from medprm.scoring.kept_rows import KeptRows
from medprm.scoring.rows import Batch, Candidates, SolutionRef
from medprm.scoring.scorer import MAX_ROW_TOKENS
from medprm.scoring.step_scores import label_logits, step_scores

STEP_TOKEN = " ки"
LABELS = (" +", " -")
SYSTEM = (
    "Judge the logic and the medical validity of every step of the explanation, with the documents and the question "
    "that are given before it: + where a step is right, - where it has an error."
)


class StepTokenScorer:
    """Scores text cases, a `RowScorer`; a forward takes up to `max_row_tokens` tokens, padding included."""

    def __init__(
        self, loaded: LoadedModel, where: str, max_row_tokens: int = MAX_ROW_TOKENS, system: str = SYSTEM
    ) -> None:
        """Raises EncodingError where the tokenizer lacks the step token or the labels are not one token each."""
        self.model = loaded.model.eval()
        self.device = next(self.model.parameters()).device
        self.tokenizer: PreTrainedTokenizerBase = loaded.tokenizer
        self.max_row_tokens = max_row_tokens
        self.budget = EncodingSettings()
        check_control_tokens(self.tokenizer, LLAMA_3)
        found = [list(self.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in (STEP_TOKEN, *LABELS)]
        if STEP_TOKEN not in self.tokenizer.get_vocab() or any(len(ids) != 1 for ids in found):
            raise EncodingError(
                f"{where}: {STEP_TOKEN!r}, {LABELS[0]!r}, {LABELS[1]!r} become {found}; expected one token each, the "
                "first an added one; scoring.protocol=medprm_reward is for Med-PRM's own reward model"
            )
        self.step_id = found[0][0]
        self.label_ids = (found[1][0], found[2][0])
        before, after = self._frame(system)
        # The template begins with a beginning of text, and the tokenizer adds its own.
        self.head = [*leading_ids(self.tokenizer), *self._control(before)]
        self.tail = self._control(after)

    def encode(self, case: Case, step_texts: Sequence[str]) -> list[int]:
        """The ids of one solution. Documents over the budget are left out, from the last on; the rest must fit."""
        where = f"case {case.case_id}"
        if case.all_images:
            raise EncodingError(
                f"{where}: {len(case.all_images)} image(s), but the model reads text only; leave it out"
            )
        if not step_texts:
            raise EncodingError(f"{where}: the solution has no steps; expected one or more; leave it out")
        question = self._plain(f"Question: {case.question}{render_options(case.options)}\n\nExplanation: ")
        body = list(question)
        for number, text in enumerate(step_texts):
            body += self._plain("\n" * bool(number) + text.strip()) + [self.step_id]
        room = self.budget.max_text_tokens - len(self.head) - len(body) - len(self.tail)
        if room < 0:
            is_case = len(question) + len(self.head) + len(self.tail) > self.budget.max_text_tokens
            raise (EncodingError if is_case else SolutionTooLongToEncode)(
                f"{where}: {self.budget.max_text_tokens - room} tokens without any document; allowed "
                f"{self.budget.max_text_tokens}; shorten the steps"
            )
        documents: list[int] = []
        for number, document in enumerate(case.documents, start=1):
            ids = self._plain(f"Document {number}: {document_text(document)}\n\n")
            if len(documents) + len(ids) > min(room, self.budget.max_document_tokens):
                break
            documents += ids
        return [*self.head, *documents, *body, *self.tail]

    def score(
        self, case: Case, solutions: Sequence[Solution] | Sequence[Sequence[str]], root: Path
    ) -> list[list[float]]:
        """One score per step of each solution. `root` is not read: there are no images."""
        cases = [Candidates(case, [one.step_texts if isinstance(one, Solution) else one for one in solutions])]
        kept, rows = KeptRows(), self.plan(cases, root)
        score_rows(self, rows, kept)
        return gather(rows, kept, cases)[0]

    def plan(self, cases: Sequence[Candidates], root: Path) -> "PaddedRows":
        """Solutions of like length together, the longest first."""
        refs = [SolutionRef(c, n, len(steps)) for c, item in enumerate(cases) for n, steps in enumerate(item.steps)]
        lengths = [len(self.encode(cases[one.case].case, cases[one.case].steps[one.solution])) for one in refs]
        order = sorted(range(len(refs)), key=lambda place: (-lengths[place], place))
        rows: list[list[SolutionRef]] = []
        longest = 0
        for place in order:
            if not rows or (len(rows[-1]) + 1) * longest > self.max_row_tokens:
                rows.append([])
                longest = lengths[place]
            rows[-1].append(refs[place])
        return PaddedRows(self, cases, rows)

    def score_row(self, batch: Batch) -> list[float]:
        """One forward: P(+) of every step of the row."""
        inputs = {name: tensor.to(self.device, non_blocking=True) for name, tensor in batch.items()}
        positions, has_step = inputs.pop("positions"), inputs.pop("has_step")
        with torch.inference_mode():
            return step_scores(label_logits(self.model, inputs, positions, self.label_ids))[has_step].tolist()

    def _frame(self, system: str) -> tuple[str, str]:
        """What stands before and behind the text of the user turn."""
        place = "THE USER'S TURN"
        if self.tokenizer.chat_template:
            turns = [{"role": "system", "content": system}, {"role": "user", "content": place}]
            text = str(self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
        else:
            text = f"{self.tokenizer.bos_token}{LLAMA_3.system_header}{system}{LLAMA_3.turn_end}"
            text += f"{LLAMA_3.user_header}{place}{LLAMA_3.turn_end}{LLAMA_3.assistant_header}"
        before, _, after = text.partition(place)
        return before, after

    def _control(self, text: str) -> list[int]:
        return encode_segment(self.tokenizer, text, is_user_text=False)

    def _plain(self, text: str) -> list[int]:
        return encode_segment(self.tokenizer, text, is_user_text=True)


@dataclass(frozen=True)
class PaddedRows(Dataset[Batch]):
    """Rows of solutions, each padded on the right: input_ids, attention_mask (B, T), positions, has_step (B, S)."""

    scorer: StepTokenScorer
    cases: Sequence[Candidates]
    rows: Sequence[Sequence[SolutionRef]]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Batch:
        encoded = [
            self.scorer.encode(self.cases[one.case].case, self.cases[one.case].steps[one.solution])
            for one in self.rows[index]
        ]
        places = [[place for place, token in enumerate(ids) if token == self.scorer.step_id] for ids in encoded]
        ids = torch.zeros((len(encoded), max(map(len, encoded))), dtype=torch.long)
        mask = torch.zeros_like(ids)
        positions = torch.zeros((len(encoded), max(map(len, places))), dtype=torch.long)
        has_step = torch.zeros_like(positions, dtype=torch.bool)
        for row, (one, found) in enumerate(zip(encoded, places, strict=True)):
            ids[row, : len(one)] = torch.tensor(one)
            mask[row, : len(one)] = 1
            positions[row, : len(found)] = torch.tensor(found)
            has_step[row, : len(found)] = True
        return {"input_ids": ids, "attention_mask": mask, "positions": positions, "has_step": has_step}

    def owners(self, index: int) -> list[SolutionRef]:
        return list(self.rows[index])
