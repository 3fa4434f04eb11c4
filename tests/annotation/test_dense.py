"""Search by meaning with a tiny random BERT: windows, the cache, fusion with BM25."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, PreTrainedTokenizerFast

from medprm.annotation.dense import DenseIndex, SentenceEncoder
from medprm.annotation.passages import Passage
from medprm.annotation.retrieval import Retriever, fuse_rankings
from medprm.annotation.settings import RetrievalSettings
from medprm.cases.phantom.settings import PhantomSettings
from medprm.commands import annotate
from medprm.config import AnnotateConfig, DataSettings
from medprm.errors import InputError

WINDOW = 12  # tokens, two of them special
WORDS = "fluid air lung pleura heart large small left right in the of is nodule effusion clear".split()  # noqa: SIM905
TEXTS = ["fluid in the pleura", "air in the lung", "the heart is large", " ".join(WORDS * 2), "nodule of the left lung"]
PASSAGES = [Passage(f"g/{i}", "g", text) for i, text in enumerate(TEXTS)]
LONG = 3  # the place of the text over the window


def write_encoder(folder: Path, seed: int = 0) -> Path:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {word: number for number, word in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))  # type: ignore[assignment]
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=512,
    ).save_pretrained(folder)  # fmt: skip
    torch.manual_seed(seed)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = BertConfig(vocab_size=len(vocabulary), max_position_embeddings=WINDOW, initializer_range=0.5, **sizes)
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("encoder"))


def window_alone(folder: Path, words: list[str]) -> np.ndarray:
    """The vector of one window by transformers itself, without padding."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        mean = model(**tokenizer(" ".join(words), return_tensors="pt")).last_hidden_state[0].mean(dim=0)
    return (mean / mean.norm()).numpy()


def test_a_long_text_is_split_into_windows_and_padding_changes_nothing(encoder_folder: Path) -> None:
    words, size = TEXTS[LONG].split(), WINDOW - 2
    found = SentenceEncoder(encoder_folder).embed(TEXTS[LONG])
    wanted = [window_alone(encoder_folder, words[begin : begin + size]) for begin in range(0, len(words), size)]
    assert len(words) == 32 and found.shape == (4, 32), "32 words in windows of 10: the last one is padded"
    # float32; measured 0 here, other kernels may sum in another order
    np.testing.assert_allclose(found, np.stack(wanted), atol=1e-5)


def test_a_passage_is_found_by_its_text_and_by_any_of_its_windows(encoder_folder: Path, tmp_path: Path) -> None:
    index = DenseIndex(PASSAGES, encoder_folder, tmp_path)
    assert index.num_split == 1
    for place, text in enumerate(TEXTS):
        if place != LONG:
            assert index.search(text, 2)[0] == place
    assert index.search(" ".join(TEXTS[LONG].split()[20:30]), 1) == [LONG]
    assert sorted(index.search("heart", 9)) == [0, 1, 2, 3, 4] and index.search(" ", 9) == []


def test_embeddings_are_computed_once_and_the_same_in_pieces(encoder_folder: Path, tmp_path: Path) -> None:
    whole = DenseIndex(PASSAGES, encoder_folder, tmp_path / "whole")
    first = DenseIndex(PASSAGES[1:4], encoder_folder, tmp_path / "pieces")
    rest = DenseIndex(PASSAGES, encoder_folder, tmp_path / "pieces")
    again = DenseIndex(PASSAGES[::-1], encoder_folder, tmp_path / "pieces")
    assert [one.num_embedded for one in (whole, first, rest, again)] == [5, 3, 2, 0]
    assert np.array_equal(rest.vectors, whole.vectors)
    assert again.search(TEXTS[0], 1) == [4]


def test_another_encoder_has_another_cache(encoder_folder: Path, tmp_path: Path) -> None:
    other = write_encoder(tmp_path / "other", seed=1)
    paths = {DenseIndex(PASSAGES, one, tmp_path / "indexes").path for one in (encoder_folder, other)}
    assert len(paths) == 2


def test_both_indexes_are_fused_by_rank(encoder_folder: Path, tmp_path: Path) -> None:
    dense = DenseIndex(PASSAGES, encoder_folder, tmp_path)
    both, words = Retriever(PASSAGES, tmp_path, dense), Retriever(PASSAGES, tmp_path)
    assert words.search("effusions", 5) == [PASSAGES[LONG]], "the only passage with the word"
    found = both.search("effusions", 5)
    assert found[0] == PASSAGES[LONG] and len(found) == 5
    fused = fuse_rankings([words.indexes[0].search("air lung", 50), dense.search("air lung", 50)])
    assert [PASSAGES[place] for place in fused] == both.search("air lung", 5)


def test_the_setting_is_read(encoder_folder: Path, tmp_path: Path) -> None:
    phantom = PhantomSettings(num_train_patients=2, num_validation_patients=1, num_test_patients=1)
    config = AnnotateConfig(output_dir=str(tmp_path / "out"), data=DataSettings(phantom=phantom))
    source = annotate.open_source(config)
    assert len(annotate.make_retriever(config, source).indexes) == 1
    config.retrieval = RetrievalSettings(dense_model=str(encoder_folder))
    assert isinstance(annotate.make_retriever(config, source).indexes[1], DenseIndex)
    config.retrieval = RetrievalSettings(dense_model=str(tmp_path / "none"))
    with pytest.raises(InputError, match=r"retrieval.dense_model=.*none: expected a local folder"):
        annotate.make_retriever(config, source)
