"""Monte Carlo continuations of step prefixes by a model in this process.

In: a case as prompt ids and pixel values, step prefixes. Out: what the model has read of each prefix, once; of that the
sampled continuations with how often each was drawn. Draws that agree so far share one row: the samples are independent,
as if each were drawn alone, at the cost of the distinct ones. Axes: B rows, D draws, T tokens, V vocabulary.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import DynamicCache

from medprm.cases.schema import Case
from medprm.encoding.chat import INTERNVL2_5, encode_segment, leading_ids, token_id
from medprm.encoding.pixels import CasePixels
from medprm.model.lessons import SOLVER, STEP_SEPARATOR, case_opening
from medprm.model.loading import LoadedModel


class Continuation(NamedTuple):
    """A text that was drawn `count` times; `is_truncated`: it had not ended at the limit of tokens.

    `num_tokens` were sampled for one draw of it, the end of turn included.
    """

    text: str
    count: int
    is_truncated: bool
    num_tokens: int


class Prompt(NamedTuple):
    """What the model has read: logits (V,) after it, and keys and values (heads, T, width) of every layer."""

    logits: torch.Tensor
    layers: list[tuple[torch.Tensor, torch.Tensor]]


class _Draws(NamedTuple):
    """Live draws, D of them: their prefix, their row of the model's batch, their random numbers (D, steps)."""

    owner: torch.Tensor
    row: torch.Tensor
    uniforms: torch.Tensor

    def picked(self, chosen: torch.Tensor) -> "_Draws":
        return _Draws(self.owner[chosen], self.row[chosen], self.uniforms[chosen])


def prefix_ids(loaded: LoadedModel, case: Case, num_tiles: Sequence[int], steps: Sequence[str]) -> list[int]:
    """The prompt of the case and the steps taken so far, each ended by the step separator."""
    tokenizer = loaded.tokenizer
    head = case_opening(case, SOLVER, [loaded.image_tokens_per_tile * tiles for tiles in num_tiles])
    ids = leading_ids(tokenizer) + encode_segment(tokenizer, head, is_user_text=False)
    if steps:
        ids += encode_segment(tokenizer, STEP_SEPARATOR.join(steps) + STEP_SEPARATOR, is_user_text=True)
    return ids


@torch.inference_mode()
def read_prompts(
    loaded: LoadedModel, case: Case, pixels: CasePixels, prefixes: Sequence[Sequence[str]]
) -> list[Prompt]:
    """One forward over the case with each prefix."""
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
    layers = [(layer.keys, layer.values) for layer in out.past_key_values.layers]
    return [
        Prompt(out.logits[row, -1], [(keys[row, :, -size:], values[row, :, -size:]) for keys, values in layers])
        for row, size in enumerate(map(len, encoded))
    ]


@torch.inference_mode()
def sample_continuations(
    loaded: LoadedModel,
    prompts: Sequence[Prompt],
    num: int,
    *,
    temperature: float,
    max_new_tokens: int,
    seeds: Sequence[int],
    stop: str | None = None,
) -> list[list[Continuation]]:
    """`num` independent continuations of each prompt; `seeds` has one number a prompt.

    With `stop` a text also ends with the first token that has it, which stays at its end.

    A prompt has random numbers of its own, so its texts do not depend on what else is asked for (but for a token whose
    chance another padding moves across a random number: sums in float32 differ by about 1e-6).
    """
    assert temperature >= 0 and len(prompts) == len(seeds)
    logits, cache, mask = _side_by_side(prompts)
    end = token_id(loaded.tokenizer, INTERNVL2_5.end)
    ends = torch.tensor([end, *_tokens_with(loaded, stop)])
    size = len(prompts)
    draws = _Draws(
        torch.arange(size).repeat_interleave(num),
        torch.arange(size).repeat_interleave(num),
        torch.from_numpy(np.concatenate([_uniforms(one, num, max_new_tokens) for one in seeds])),
    )
    texts = torch.zeros((size, 0), dtype=torch.long)  # of each row
    found: list[list[Continuation]] = [[] for _ in prompts]
    language: Any = loaded.model.model.language_model
    for length in range(1, max_new_tokens + 1):
        tokens = _draw(draws, logits, temperature, length - 1)
        # Draws that agree so far share a row: by the row they came from and the token.
        names, row = torch.unique(draws.row * logits.shape[1] + tokens, return_inverse=True)
        parent, token = names // logits.shape[1], names % logits.shape[1]
        draws, texts = draws._replace(row=row), torch.cat([texts[parent], token[:, None]], dim=1)
        is_last = length == max_new_tokens
        has_ended = torch.isin(token, ends)
        _collect(loaded, draws, texts, has_ended, False, found)
        if is_last:
            _collect(loaded, draws, texts, ~has_ended, True, found)
        alive = torch.nonzero(~has_ended).squeeze(1)
        if is_last or not len(alive):
            break
        draws = draws.picked(~has_ended[row])
        draws = draws._replace(row=torch.searchsorted(alive, draws.row))
        parent, texts = parent[alive], texts[alive]
        if not torch.equal(parent, torch.arange(len(mask))):  # the cache is large: it is copied only where rows change
            cache.batch_select_indices(parent)
            mask = mask[parent]
        mask = torch.cat([mask, torch.ones((len(parent), 1), dtype=mask.dtype)], dim=1)
        out = language(
            input_ids=texts[:, -1:],
            attention_mask=mask,
            position_ids=mask.sum(1, keepdim=True) - 1,
            past_key_values=cache,
            use_cache=True,
        )
        logits = loaded.model.lm_head(out.last_hidden_state[:, -1])  # type: ignore[operator]
    return found


def _tokens_with(loaded: LoadedModel, stop: str | None) -> list[int]:
    """The tokens whose text has `stop`; the vocabulary is looked through once for each model."""
    if stop is None:
        return []
    known: dict[str, list[int]] = loaded.__dict__.setdefault("_tokens_with", {})
    if stop not in known:
        tokenizer = loaded.tokenizer
        known[stop] = [number for number in range(len(tokenizer)) if stop in str(tokenizer.decode([number]))]
        assert known[stop], f"no token has {stop!r}"
    return known[stop]


def _uniforms(seed: int, num: int, num_steps: int) -> np.ndarray:
    """(num, num_steps) random numbers in [0, 1)."""
    return np.random.default_rng(seed).random((num, num_steps))


def _side_by_side(prompts: Sequence[Prompt]) -> tuple[torch.Tensor, Any, torch.Tensor]:
    """Logits (B, V) after each prompt, a cache of copies, the mask (B, T); prompts are padded on the left."""
    lengths = [prompt.layers[0][0].shape[1] for prompt in prompts]
    longest = max(lengths)
    cache = DynamicCache()
    for number in range(len(prompts[0].layers)):
        both = []
        for part in (0, 1):
            tensors = [prompt.layers[number][part] for prompt in prompts]
            heads, _, width = tensors[0].shape
            padded = tensors[0].new_zeros((len(prompts), heads, longest, width))
            for row, (tensor, size) in enumerate(zip(tensors, lengths, strict=True)):
                padded[row, :, longest - size :] = tensor
            both.append(padded)
        cache.update(both[0], both[1], number)
    mask = torch.tensor([[0] * (longest - size) + [1] * size for size in lengths])
    return torch.stack([prompt.logits for prompt in prompts]), cache, mask


def _draw(draws: _Draws, logits: torch.Tensor, temperature: float, step: int) -> torch.Tensor:
    """The next token of every draw (D,): where its random number falls in the cumulated chances of its row.

    At temperature 0 it is the likeliest.
    """
    if temperature == 0:
        return logits.argmax(dim=-1)[draws.row]
    chances = torch.softmax(logits.double() / temperature, dim=-1).cumsum(dim=-1)
    wanted = draws.uniforms[:, step, None] * chances[draws.row, -1:]
    return torch.searchsorted(chances[draws.row], wanted, right=True).squeeze(1).clamp(max=logits.shape[1] - 1)


def _collect(
    loaded: LoadedModel,
    draws: _Draws,
    texts: torch.Tensor,
    chosen: torch.Tensor,
    is_truncated: bool,
    found: list[list[Continuation]],
) -> None:
    """The texts of the rows in `chosen`, each as often as it was drawn."""
    counts = torch.bincount(draws.row, minlength=len(texts))
    owners = torch.zeros(len(texts), dtype=torch.long).scatter(0, draws.row, draws.owner)
    for row in torch.nonzero(chosen).squeeze(1).tolist():
        text = str(loaded.tokenizer.decode(texts[row].tolist(), skip_special_tokens=True))
        found[int(owners[row])].append(Continuation(text, int(counts[row]), is_truncated, texts.shape[1]))
