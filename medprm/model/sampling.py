"""Monte Carlo continuations of step prefixes by a model in this process.

In: a case as prompt ids and pixel values, step prefixes. Out: per prefix the sampled continuations with how often each
was drawn. Draws that agree so far share one row: the samples are independent, as if each were drawn alone, at the cost
of the distinct ones. Axes: B rows, T tokens, V vocabulary.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from medprm.cases.schema import Case
from medprm.encoding.chat import INTERNVL2_5, encode_segment, leading_ids, token_id
from medprm.encoding.pixels import CasePixels
from medprm.model.lessons import SOLVER, STEP_SEPARATOR, case_opening
from medprm.model.loading import LoadedModel


class Continuation(NamedTuple):
    """A text that was drawn `count` times; `is_truncated`: it had not ended at the limit of tokens."""

    text: str
    count: int
    is_truncated: bool


class _Rows(NamedTuple):
    """Live rows: the prefix each belongs to (B,), how many draws it stands for (B,), its new tokens (B, T)."""

    owner: torch.Tensor
    count: torch.Tensor
    tokens: torch.Tensor

    def picked(self, index: torch.Tensor) -> "_Rows":
        return _Rows(self.owner[index], self.count[index], self.tokens[index])


def prefix_ids(loaded: LoadedModel, case: Case, num_tiles: Sequence[int], steps: Sequence[str]) -> list[int]:
    """The prompt of the case and the steps taken so far, each ended by the step separator."""
    tokenizer = loaded.tokenizer
    head = case_opening(case, SOLVER, [loaded.image_tokens_per_tile * tiles for tiles in num_tiles])
    ids = leading_ids(tokenizer) + encode_segment(tokenizer, head, is_user_text=False)
    if steps:
        ids += encode_segment(tokenizer, STEP_SEPARATOR.join(steps) + STEP_SEPARATOR, is_user_text=True)
    return ids


@torch.inference_mode()
def sample_continuations(
    loaded: LoadedModel,
    case: Case,
    pixels: CasePixels,
    prefixes: Sequence[Sequence[str]],
    nums: Sequence[int],
    *,
    temperature: float,
    max_new_tokens: int,
    seed: int,
) -> list[list[Continuation]]:
    """`nums[i]` independent continuations of `prefixes[i]`; the same arguments and threads give the same texts."""
    assert temperature > 0 and len(prefixes) == len(nums)
    generator = torch.Generator().manual_seed(seed)
    logits, cache, mask = _read_prompts(loaded, case, pixels, prefixes)
    end = token_id(loaded.tokenizer, INTERNVL2_5.end)
    size = len(prefixes)
    rows = _Rows(torch.arange(size), torch.tensor(list(nums)), torch.zeros((size, 0), dtype=torch.long))
    found: list[list[Continuation]] = [[] for _ in prefixes]
    language: Any = loaded.model.model.language_model
    for length in range(1, max_new_tokens + 1):
        parent, rows = _draw(rows, logits, temperature, generator)
        has_ended = torch.eq(rows.tokens[:, -1], end)
        _collect(loaded, rows.picked(has_ended), False, found)
        alive = ~has_ended
        if length == max_new_tokens or not bool(alive.any()):
            _collect(loaded, rows.picked(alive), True, found)
            break
        parent, rows = parent[alive], rows.picked(alive)
        cache.batch_select_indices(parent)
        mask = torch.cat([mask[parent], torch.ones((len(parent), 1), dtype=mask.dtype)], dim=1)
        out = language(
            input_ids=rows.tokens[:, -1:],
            attention_mask=mask,
            position_ids=mask.sum(1, keepdim=True) - 1,
            past_key_values=cache,
            use_cache=True,
        )
        logits = loaded.model.lm_head(out.last_hidden_state[:, -1])  # type: ignore[operator]
    return found


def _read_prompts(
    loaded: LoadedModel, case: Case, pixels: CasePixels, prefixes: Sequence[Sequence[str]]
) -> tuple[torch.Tensor, Any, torch.Tensor]:
    """Logits (B, V) after each prompt, the cache, the mask (B, T); prompts are padded on the left."""
    encoded = [prefix_ids(loaded, case, pixels.num_tiles, steps) for steps in prefixes]
    length = max(map(len, encoded))
    pad = int(loaded.tokenizer.pad_token_id)  # type: ignore[arg-type]
    ids = torch.tensor([[pad] * (length - len(row)) + row for row in encoded])
    mask = torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in encoded])
    values = None
    if pixels.values is not None:
        values = torch.from_numpy(pixels.values).repeat(len(encoded), 1, 1, 1)
    model: Any = loaded.model
    out = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=(mask.cumsum(1) - 1).clamp(min=0),
        pixel_values=values,
        use_cache=True,
        logits_to_keep=1,
    )
    return out.logits[:, -1], out.past_key_values, mask


def _draw(
    rows: _Rows, logits: torch.Tensor, temperature: float, generator: torch.Generator
) -> tuple[torch.Tensor, _Rows]:
    """One more token for every draw; the row each new row came from, and the new rows."""
    chances = torch.softmax(logits.float() / temperature, dim=-1)
    parents = torch.repeat_interleave(torch.arange(len(rows.count)), rows.count)
    drawn = torch.multinomial(chances[parents], 1, generator=generator).squeeze(1)
    both, count = torch.unique(parents * chances.shape[1] + drawn, return_counts=True)
    parent, token = both // chances.shape[1], both % chances.shape[1]
    return parent, _Rows(rows.owner[parent], count, torch.cat([rows.tokens[parent], token[:, None]], dim=1))


def _collect(loaded: LoadedModel, rows: _Rows, is_truncated: bool, found: list[list[Continuation]]) -> None:
    texts = [str(loaded.tokenizer.decode(tokens, skip_special_tokens=True)) for tokens in rows.tokens.tolist()]
    for owner, count, text in zip(rows.owner.tolist(), rows.count.tolist(), texts, strict=True):
        found[owner].append(Continuation(text, count, is_truncated))
