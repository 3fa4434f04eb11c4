"""Attention over trees: a token sees its ancestors and itself, whatever else lies in its row.

In: a model, `subtree_ends` (B, T) of `medprm.encoding.tree`. Out: what its forward needs beside ids and positions.
Three back ends give the same numbers:
    gather  each chain of tokens attends to the keys along its path, gathered: flash attention's variable-length kernel
            on a GPU, `varlen_attention` here elsewhere. No work is spent on what is not seen.
    mask    SDPA or eager attention with a mask (B, 1, T, T).
    flex    FlexAttention with a block mask (for a GPU, compiled: not yet run; uncompiled on a CPU: tested).
Axes: B rows, T tokens, H heads, D head size, Q and K queries and keys of all chains, one behind the other.
"""

from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.attention.flex_attention import BlockMask, create_block_mask
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils.import_utils import is_flash_attn_2_available

from medprm.encoding.tree import find_runs

GATHER = "medprm_tree"
HALF = (torch.float16, torch.bfloat16)


class TreePaths(NamedTuple):
    """Chains of tokens and the keys on their paths, as the variable-length kernels of flash-attn take them."""

    key_indices: torch.Tensor | None  # (K,) into the tokens of all rows; None: chains without ancestors, K = B x T
    query_ends: torch.Tensor  # (chains + 1,) int32, from 0 to B x T
    key_ends: torch.Tensor  # (chains + 1,) int32, from 0 to K
    max_queries: int
    max_keys: int


def use_tree_attention(model: nn.Module, backend: str = "auto", is_half: bool | None = None) -> None:
    """Make the text model attend along trees from now on; sequences without branches are attended to as before.

    `backend` is one of medprm.model.settings.TREE_ATTENTION. `is_half`: whether it computes in half precision; None: as
    its weights are.
    """
    text = _text_model(model)
    weights = next(text.parameters())
    if backend == "auto":
        is_half = weights.dtype in HALF if is_half is None else is_half
        backend = fastest_backend(weights.is_cuda, is_half, is_flash_attn_2_available())
    if backend == "mask":
        keeps = text.config._attn_implementation in ("sdpa", "eager")
        text.set_attn_implementation(text.config._attn_implementation if keeps else "sdpa")
    else:
        text.set_attn_implementation({"gather": GATHER, "flex": "flex_attention"}[backend])


def fastest_backend(is_on_gpu: bool, is_half: bool, has_flash: bool) -> str:
    """`gather` on a CPU, and on a GPU where flash-attn's kernel runs (half precision only); else `mask`."""
    return "gather" if not is_on_gpu or (is_half and has_flash) else "mask"


def tree_inputs(model: nn.Module, subtree_ends: torch.Tensor) -> dict[str, Any]:
    """The arguments of the model's forward that make it attend along the trees of a batch (B, T)."""
    config = _text_model(model).config
    if config._attn_implementation == GATHER:
        # A mask of four axes is passed on as it is: none is made, and `tree_attention` does not look at it.
        placeholder = torch.empty((1, 1, 1, 1), device=subtree_ends.device)
        return {"attention_mask": placeholder, "tree_paths": tree_paths(subtree_ends)}
    if config._attn_implementation == "flex_attention":
        return {"attention_mask": tree_block_mask(subtree_ends)}
    mask = tree_mask(subtree_ends)
    if config._attn_implementation == "eager":  # adds its mask
        mask = torch.zeros(mask.shape, dtype=config.dtype, device=mask.device).masked_fill(~mask, float("-inf"))
    return {"attention_mask": mask}


def tree_mask(subtree_ends: torch.Tensor) -> torch.Tensor:
    """(B, T) -> (B, 1, T, T), true where a query (row) sees a key (column)."""
    token = torch.arange(subtree_ends.shape[1], device=subtree_ends.device)
    query, key = token[:, None], token[None, :]
    return ((key <= query) & (query < subtree_ends[:, None, :]))[:, None]


def tree_block_mask(subtree_ends: torch.Tensor) -> BlockMask:
    """The same for FlexAttention, which skips blocks that nothing sees."""

    def is_seen(row: torch.Tensor, head: torch.Tensor, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        return (key <= query) & (query < subtree_ends[row, key])

    num_rows, num_tokens = subtree_ends.shape
    return create_block_mask(is_seen, num_rows, None, num_tokens, num_tokens, device=str(subtree_ends.device))


def tree_paths(subtree_ends: torch.Tensor) -> TreePaths:
    """The chains of all rows and the keys on their paths."""
    num_tokens = subtree_ends.shape[1]
    keys, num_queries, num_keys = [], [], []
    for row, ends in enumerate(subtree_ends.cpu().numpy()):
        for run in find_runs(ends):
            own = torch.arange(run.begin, run.end)
            keys += [torch.from_numpy(run.ancestors) + row * num_tokens, own + row * num_tokens]
            num_queries.append(len(own))
            num_keys.append(len(run.ancestors) + len(own))
    device = subtree_ends.device
    has_branches = sum(num_keys) > sum(num_queries)
    return TreePaths(
        key_indices=torch.cat(keys).to(device) if has_branches else None,
        query_ends=_ends(num_queries).to(device),
        key_ends=_ends(num_keys).to(device),
        max_queries=max(num_queries),
        max_keys=max(num_keys),
    )


def _ends(lengths: list[int]) -> torch.Tensor:
    return torch.tensor([0, *lengths]).cumsum(0).to(torch.int32)


def varlen_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    cu_seqlens_q: torch.Tensor,
    cu_seqlens_k: torch.Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    softmax_scale: float | None = None,
    causal: bool = True,
) -> torch.Tensor:
    """As `flash_attn.flash_attn_varlen_func`, by SDPA, chain by chain: q (Q, H, D), k and v (K, H', D) -> (Q, H, D).

    The last query of a chain stands at its last key (flash-attn 2.1 and later).
    """
    assert causal, "trees are causal"
    groups = q.shape[1] // k.shape[1]
    q, k, v = (one.transpose(0, 1)[None] for one in (q, k, v))  # (1, heads, tokens, D)
    k, v = (one.repeat_interleave(groups, dim=1) if groups > 1 else one for one in (k, v))
    num_queries, num_keys = cu_seqlens_q.diff().tolist(), cu_seqlens_k.diff().tolist()
    # Split, not sliced: the gradient of a slice is as large as what it is taken from.
    chains = zip(q.split(num_queries, 2), k.split(num_keys, 2), v.split(num_keys, 2), strict=True)
    outputs = []
    for queries, keys, values in chains:
        is_whole = queries.shape[2] == keys.shape[2]
        mask = None if is_whole else _lower_right(queries.shape[2], keys.shape[2], q.device)
        outputs.append(
            scaled_dot_product_attention(queries, keys, values, mask, is_causal=is_whole, scale=softmax_scale)
        )
    return torch.cat(outputs, dim=2)[0].transpose(0, 1)


def _lower_right(num_queries: int, num_keys: int, device: torch.device) -> torch.Tensor:
    """(queries, keys): the last query sees every key, the one before it all but the last, and so on."""
    return torch.ones((num_queries, num_keys), dtype=torch.bool, device=device).tril(num_keys - num_queries)


def tree_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    tree_paths: TreePaths | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' attention function: query (B, H, T, D), key and value (B, H', T, D) -> (B, T, H, D)."""
    if tree_paths is None:
        return ALL_ATTENTION_FUNCTIONS["sdpa"](
            module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **kwargs
        )
    assert dropout == 0.0, "tree attention has no dropout: scores would depend on what shares a row"
    num_rows = len(query)
    query, key, value = (one.transpose(1, 2).flatten(0, 1) for one in (query, key, value))
    if tree_paths.key_indices is not None:
        # The gradient of index_select is a sum; that of key[...] is many times slower.
        key, value = (one.index_select(0, tree_paths.key_indices) for one in (key, value))
    attended = _varlen_kernel(query)(
        query,
        key,
        value,
        tree_paths.query_ends,
        tree_paths.key_ends,
        tree_paths.max_queries,
        tree_paths.max_keys,
        softmax_scale=scaling,
        causal=True,
    )
    return attended.unflatten(0, (num_rows, -1)), None


def _varlen_kernel(query: torch.Tensor) -> Any:
    if query.is_cuda and query.dtype in HALF and is_flash_attn_2_available():
        # Optional, GPU only; not yet run.
        from flash_attn import flash_attn_varlen_func  # type: ignore[import-not-found]

        return flash_attn_varlen_func
    return varlen_attention


def _text_model(model: nn.Module) -> Any:
    """The text model below any wrapper."""
    inner: Any = model
    while hasattr(inner, "module"):
        inner = inner.module
    return inner.get_decoder()


AttentionInterface.register(GATHER, tree_attention)
# For batches without trees: the mask that SDPA gets.
AttentionMaskInterface.register(GATHER, sdpa_mask)
