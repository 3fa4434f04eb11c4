"""Continuations are drawn as the model's chances say, alike in any company, and counted where they agree."""

from collections import Counter

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from tiny import make_cases, tiny_loaded

from medprm.cases.schema import Case
from medprm.encoding.pixels import CasePixels, PixelLoader
from medprm.model.loading import LoadedModel
from medprm.model.sampling import Continuation, prefix_ids, read_prompts, sample_continuations

PREFIXES = [("clear",), ("opacity left", "heart enlarged"), ()]


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    torch.set_num_threads(1)
    return tiny_loaded()


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory, loaded: LoadedModel) -> tuple[Case, CasePixels]:
    folder = tmp_path_factory.mktemp("images")
    case = make_cases(folder, 2)[1].case
    return case, PixelLoader(folder, loaded.image_settings).load(case)


def draw(
    loaded: LoadedModel,
    seen: tuple[Case, CasePixels],
    prefixes: list[tuple[str, ...]],
    num: int,
    seeds: list[int],
    max_new_tokens: int = 4,
    temperature: float = 1.0,
) -> list[list[Continuation]]:
    prompts = read_prompts(loaded, *seen, prefixes)
    return sample_continuations(
        loaded, prompts, num, temperature=temperature, max_new_tokens=max_new_tokens, seeds=seeds
    )


def test_every_draw_is_counted_once(loaded: LoadedModel, seen: tuple[Case, CasePixels]) -> None:
    for found in draw(loaded, seen, PREFIXES, 50, [1, 2, 3]):
        assert sum(one.count for one in found) == 50
        assert len({(one.text, one.is_truncated) for one in found}) <= len(found)


def test_a_prefix_draws_the_same_in_any_company(loaded: LoadedModel, seen: tuple[Case, CasePixels]) -> None:
    together = draw(loaded, seen, PREFIXES, 40, [1, 2, 3])
    for place, prefix in enumerate(PREFIXES):
        (alone,) = draw(loaded, seen, [prefix], 40, [place + 1])
        assert Counter(alone) == Counter(together[place])
    (other,) = draw(loaded, seen, [PREFIXES[0]], 40, [9])
    assert Counter(other) != Counter(together[0])


def test_what_was_read_once_draws_the_same_again_and_beside_others(
    loaded: LoadedModel, seen: tuple[Case, CasePixels]
) -> None:
    """Drawing leaves the prompts as they were, and takes any of them."""
    prompts = read_prompts(loaded, *seen, PREFIXES)
    settings = {"temperature": 1.0, "max_new_tokens": 6}
    first = sample_continuations(loaded, prompts, 30, seeds=[1, 2, 3], **settings)  # type: ignore[arg-type]
    again = sample_continuations(loaded, prompts[::-1][:2], 30, seeds=[3, 2], **settings)  # type: ignore[arg-type]
    assert [Counter(one) for one in again] == [Counter(one) for one in first[::-1][:2]]


def test_greedy_takes_the_likeliest_token(loaded: LoadedModel, seen: tuple[Case, CasePixels]) -> None:
    found = draw(loaded, seen, PREFIXES, 3, [1, 2, 3], max_new_tokens=5, temperature=0.0)
    assert all(len(one) == 1 and one[0].count == 3 for one in found)
    case, pixels = seen
    prompt = prefix_ids(loaded, case, pixels.num_tiles, PREFIXES[0])
    ids, end = list(prompt), loaded.tokenizer.convert_tokens_to_ids("<|im_end|>")
    while len(ids) < len(prompt) + 5 and ids[-1] != end:
        with torch.inference_mode():
            values = torch.from_numpy(pixels.values)
            ids.append(int(loaded.model(input_ids=torch.tensor([ids]), pixel_values=values).logits[0, -1].argmax()))
    assert found[0][0].text == loaded.tokenizer.decode(ids[len(prompt) :], skip_special_tokens=True)


def test_first_tokens_follow_the_models_chances(loaded: LoadedModel, seen: tuple[Case, CasePixels]) -> None:
    """At temperature 0.7, against the softmax of one plain forward; tokens under five expected draws are pooled."""
    num, temperature = 20_000, 0.7
    case, pixels = seen
    ids = torch.tensor([prefix_ids(loaded, case, pixels.num_tiles, PREFIXES[0])])
    with torch.inference_mode():
        logits = loaded.model(input_ids=ids, pixel_values=torch.from_numpy(pixels.values)).logits[0, -1]
    chances = torch.softmax(logits.double() / temperature, dim=-1).numpy()
    (found,) = draw(loaded, seen, [PREFIXES[0]], num, [5], max_new_tokens=1, temperature=temperature)
    expected: Counter[str] = Counter()
    for token, chance in enumerate(chances):
        expected[str(loaded.tokenizer.decode([token], skip_special_tokens=True))] += num * chance
    counts = Counter(dict.fromkeys(expected, 0))
    for one in found:
        counts[one.text] += one.count
    often = [text for text in expected if expected[text] >= 5]
    rare = [text for text in expected if expected[text] < 5]
    observed = [counts[text] for text in often] + [sum(counts[text] for text in rare)]
    wanted = [expected[text] for text in often] + [sum(expected[text] for text in rare)]
    assert len(often) > 10
    assert chisquare(observed, np.array(wanted) * sum(observed) / sum(wanted)).pvalue > 1e-3


def test_a_text_without_an_end_is_truncated(loaded: LoadedModel, seen: tuple[Case, CasePixels]) -> None:
    found = draw(loaded, seen, PREFIXES, 30, [1, 2, 3], max_new_tokens=2)
    truncated = sum(one.count for some in found for one in some if one.is_truncated)
    assert 0 < truncated <= 90
    longer = draw(loaded, seen, PREFIXES, 30, [1, 2, 3], max_new_tokens=40)
    assert sum(one.count for some in longer for one in some if one.is_truncated) < truncated


def test_a_draw_that_stops_is_the_beginning_of_the_one_that_does_not(
    loaded: LoadedModel, seen: tuple[Case, CasePixels]
) -> None:
    """The same random numbers: cut at the first token that has the text, and it says what it cost."""
    prompts = read_prompts(loaded, *seen, [PREFIXES[0]])
    tokenizer = loaded.tokenizer
    asked = {"temperature": 1.0, "max_new_tokens": 6, "seeds": [4]}
    (whole,) = sample_continuations(loaded, prompts, 30, **asked)
    (stopped,) = sample_continuations(loaded, prompts, 30, **asked, stop="e")
    assert sum(one.count for one in stopped) == 30
    assert any("e" in one.text for one in stopped), "some draw stops"
    begun = [one.text for one in whole]
    for one in stopped:
        assert any(text.startswith(one.text) for text in begun)
        assert "e" not in one.text or "e" in tokenizer.decode(tokenizer.encode(one.text, add_special_tokens=False)[-1:])
        assert one.is_truncated == (one.num_tokens == 6 and "e" not in one.text)
    assert all(one.num_tokens <= 6 for one in [*whole, *stopped])
