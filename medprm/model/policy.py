"""The tiny base as a policy in this process: it continues a prefix of steps to a final answer.

In: cases, a film each, step prefixes. Out: step lists. Steps are separated by a newline, as in the base's lessons.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from medprm.cases.answers import answers_match, parse_answer
from medprm.cases.phantom.draw import draw_film
from medprm.cases.phantom.records import PhantomCase, draw_case
from medprm.encoding.chat import INTERNVL2_5
from medprm.images.tiles import pixel_values, split_tiles
from medprm.model.lessons import FILM_PIXELS, STEP_SEPARATOR
from medprm.model.loading import LoadedModel
from medprm.model.sampling import prefix_ids


class Prefix(NamedTuple):
    """A case with its film and the steps taken so far (none: from the beginning)."""

    drawn: PhantomCase
    film: Image.Image
    steps: Sequence[str]


@torch.inference_mode()
def continue_steps(
    loaded: LoadedModel,
    prefixes: Sequence[Prefix],
    *,
    temperature: float = 0.0,
    max_new_tokens: int = 160,
    seed: int = 0,
) -> list[list[str]]:
    """The whole step list of each prefix, the given steps included; greedy at temperature 0."""
    tokenizer = loaded.tokenizer
    rows = [prefix_ids(loaded, prefix.drawn.case, [1], prefix.steps) for prefix in prefixes]
    length = max(map(len, rows))
    pad = int(tokenizer.pad_token_id)  # type: ignore[arg-type]
    ids = torch.tensor([[pad] * (length - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in rows])
    settings = loaded.image_settings
    tiles = [tile for one in prefixes for tile in split_tiles(one.film, settings.tile_size, settings.max_tiles)]
    torch.manual_seed(seed)
    sampling = {"do_sample": True, "temperature": temperature} if temperature > 0 else {"do_sample": False}
    model: Any = loaded.model
    generated = model.generate(
        input_ids=ids,
        attention_mask=mask,
        pixel_values=torch.from_numpy(pixel_values(tiles)),
        max_new_tokens=max_new_tokens,
        eos_token_id=tokenizer.convert_tokens_to_ids(INTERNVL2_5.end),
        pad_token_id=pad,
        use_cache=True,
        **sampling,
    )
    texts = tokenizer.batch_decode(generated[:, length:], skip_special_tokens=True)
    return [
        [*prefix.steps, *(step for step in text.split(STEP_SEPARATOR) if step.strip())]
        for prefix, text in zip(prefixes, texts, strict=True)
    ]


def measure_policy(loaded: LoadedModel, num_cases: int, rng: np.random.Generator) -> dict[str, float]:
    """On held-out phantom patients: share of readable answers and accuracy.

    Greedy, sampled at temperature 0.7, and greedy from half-way prefixes of solutions that may be wrong already. An
    answer that is none of the options counts as unreadable.
    """
    drawn = [draw_case(rng, "held-out", 1, "test") for _ in range(num_cases)]
    films = [Image.fromarray(np.uint8(draw_film(one.study, rng, FILM_PIXELS) * 255)).convert("RGB") for one in drawn]
    starts = [Prefix(one, film, []) for one, film in zip(drawn, films, strict=True)]
    halves = [
        Prefix(one, film, one.solutions[0].step_texts[: len(one.solutions[0].step_texts) // 2])
        for one, film in zip(drawn, films, strict=True)
    ]
    measured = {"num_cases": float(num_cases)}
    for name, prefixes, temperature in (("greedy", starts, 0.0), ("sampled", starts, 0.7), ("continued", halves, 0.0)):
        readable, right = 0, 0
        for begin in range(0, num_cases, 50):
            chunk = prefixes[begin : begin + 50]
            for prefix, steps in zip(chunk, continue_steps(loaded, chunk, temperature=temperature), strict=True):
                case = prefix.drawn.case
                answer = parse_answer(steps[-1], case.options)
                readable += answer is not None
                right += answers_match(answer, prefix.drawn.study.answer, case.options)
        measured[f"{name}_parse_rate"] = readable / num_cases
        measured[f"{name}_accuracy"] = right / num_cases
    return measured
