"""Attention over trees: three back ends and separate runs give the same logits.

Tolerance 1e-5 on logits of size 10: float32 sums in another order; measured 6e-6. FlexAttention runs uncompiled here.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import tiny_encoder, tiny_model
from torch.nn.attention.flex_attention import create_mask
from trees import branching_cases

from medprm.encoding.collator import lay_out_trees, stack_tiles
from medprm.encoding.encoder import Encoded
from medprm.encoding.pixels import PixelLoader
from medprm.encoding.tree import build_tree
from medprm.images.settings import ImageSettings
from medprm.model.tree_attention import (
    fastest_backend,
    tree_block_mask,
    tree_inputs,
    tree_mask,
    tree_paths,
    use_tree_attention,
    varlen_attention,
)

TOLERANCE = 1e-5
IMAGE_SETTINGS = ImageSettings(tile_size=32, max_tiles=4)


def read(folder: Path, seed: int) -> list[tuple[list[Encoded], Any]]:
    """Sequences of each case, and its tiles."""
    loader = PixelLoader(folder, IMAGE_SETTINGS)
    encoder = tiny_encoder()
    read = []
    for case, solutions in branching_cases(folder, seed, most_solutions=6):
        pixels = loader.load(case)
        read.append(([encoder.encode(case, one.step_texts, pixels.num_tiles) for one in solutions], pixels.values))
    return read


def rows_of(cases: list[tuple[list[Encoded], Any]]) -> dict[str, torch.Tensor]:
    """Two rows: the first two cases in one, the last in the other, padded."""
    trees = [build_tree(encoded) for encoded, _ in cases]
    return lay_out_trees([trees[:2], trees[2:]], 2) | stack_tiles([values for _, values in cases])


def forward(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    inputs = dict(batch)
    inputs |= tree_inputs(model, inputs.pop("subtree_ends"))
    # FlexAttention is compiled at its first call otherwise, which on a CPU is minutes.
    with torch.inference_mode(), torch.compiler.set_stance("force_eager"):
        return model(**inputs, use_cache=False).logits


@pytest.mark.parametrize("backend", ["gather", "mask", "eager", "flex"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_row_of_trees_gives_the_logits_of_separate_runs(tmp_path: Path, backend: str, seed: int) -> None:
    model = tiny_model()
    cases = read(tmp_path, seed)
    alone = []
    for encoded, values in cases:
        for one in encoded:
            inputs = {} if values is None else {"pixel_values": torch.from_numpy(values)}
            with torch.inference_mode():
                alone.append(model(input_ids=torch.tensor([one.input_ids]), **inputs, use_cache=False).logits[0])
    if backend == "eager":
        model.set_attn_implementation("eager")
    use_tree_attention(model, "mask" if backend == "eager" else backend)
    batch = rows_of(cases)
    together = forward(model, batch)
    begins = [(0, 0), (0, len(build_tree(cases[0][0]))), (1, 0)]
    expected = iter(alone)
    for (encoded, _), (row, begin) in zip(cases, begins, strict=True):
        for one, positions in zip(encoded, build_tree(encoded).label_positions, strict=True):
            logits = together[row, [begin + position for position in positions]]
            torch.testing.assert_close(logits, next(expected)[one.label_positions], atol=TOLERANCE, rtol=TOLERANCE)


def test_auto_never_takes_the_loop_over_chains_on_a_gpu() -> None:
    """flash-attn's kernel takes half precision alone; `gather` without it is a loop in Python."""
    assert fastest_backend(is_on_gpu=True, is_half=True, has_flash=True) == "gather"
    assert fastest_backend(is_on_gpu=True, is_half=False, has_flash=True) == "mask"
    assert fastest_backend(is_on_gpu=True, is_half=True, has_flash=False) == "mask"
    assert fastest_backend(is_on_gpu=False, is_half=False, has_flash=False) == "gather"


def test_a_mask_of_ones_would_leak(tmp_path: Path) -> None:
    """The check above can fail: without the trees' mask the logits differ."""
    model = tiny_model()
    batch = rows_of(read(tmp_path, 1))
    use_tree_attention(model, "mask")
    right = forward(model, batch)
    inputs = dict(batch) | {"attention_mask": torch.ones_like(batch["input_ids"])}
    del inputs["subtree_ends"]
    with torch.inference_mode():
        wrong = model(**inputs, use_cache=False).logits
    assert (right - wrong).abs().max() > 1e-2


def test_the_block_mask_is_the_mask(tmp_path: Path) -> None:
    ends = rows_of(read(tmp_path, 2))["subtree_ends"]
    block = tree_block_mask(ends)
    num_rows, num_tokens = ends.shape
    made = create_mask(block.mask_mod, num_rows, 1, num_tokens, num_tokens, device="cpu")
    assert torch.equal(made, tree_mask(ends))


def test_gathered_keys_are_those_of_the_mask(tmp_path: Path) -> None:
    ends = rows_of(read(tmp_path, 3))["subtree_ends"]
    paths, mask = tree_paths(ends), tree_mask(ends)
    num_tokens = ends.shape[1]
    assert paths.key_indices is not None, "no branch in this test"
    query = 0
    for chain in range(len(paths.query_ends) - 1):
        keys = paths.key_indices[paths.key_ends[chain] : paths.key_ends[chain + 1]]
        num_queries = int(paths.query_ends[chain + 1] - paths.query_ends[chain])
        for number in range(num_queries):
            row, token = divmod(query, num_tokens)
            seen = keys[: len(keys) - num_queries + number + 1]
            assert seen.tolist() == (torch.nonzero(mask[row, 0, token]).flatten() + row * num_tokens).tolist()
            query += 1
    assert query == ends.numel()
    assert paths.max_keys == int(paths.key_ends.diff().max())


def test_the_reference_kernel_is_causal_from_the_last_key_on() -> None:
    """As flash-attn's from 2.1 on; with fewer key heads than query heads, and a scale of its own."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(size, generator=generator) for size in ((5, 4, 8), (9, 2, 8), (9, 2, 8)))
    found = varlen_attention(
        q, k, v, torch.tensor([0, 2, 5]), torch.tensor([0, 6, 9]), 3, 6, softmax_scale=0.5, causal=True
    )
    for query in range(5):
        keys = range(0, 5 + query) if query < 2 else range(6, 6 + query - 1)
        for head in range(4):
            weights = torch.softmax(0.5 * k[list(keys), head // 2] @ q[query, head], dim=0)
            torch.testing.assert_close(found[query, head], weights @ v[list(keys), head // 2])


def test_a_model_that_attends_along_trees_still_reads_padded_batches() -> None:
    model = tiny_model()
    ids = torch.tensor([[5, 6, 7, 8], [2, 2, 5, 6]])
    mask = torch.tensor([[1, 1, 1, 1], [0, 0, 1, 1]])
    with torch.inference_mode():
        before = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        use_tree_attention(model, "gather")
        after = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    torch.testing.assert_close(before[mask.bool()], after[mask.bool()])
