"""Search by meaning with tiny random BERTs: windows, the cache, kills, two encoders, fusion with BM25."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tiny_encoder import WORDS, write_encoder

from medprm.annotation.dense import DenseIndex
from medprm.annotation.lexical import LexicalIndex
from medprm.annotation.passages import Passage
from medprm.annotation.retrieval import Retriever, fuse_rankings
from medprm.annotation.settings import DenseSettings, RetrievalSettings
from medprm.annotation.text_encoder import Encoder
from medprm.annotation.vector_store import WRITTEN_EVERY, open_store
from medprm.cases.phantom.settings import PhantomSettings
from medprm.commands import annotators
from medprm.config import AnnotateConfig, DataSettings
from medprm.errors import InputError

ROOT = Path(__file__).parents[2]
TEXTS = ["fluid in the pleura", "air in the lung", "the heart is large", " ".join(WORDS * 2), "nodule of the left lung"]
PASSAGES = [Passage(f"g/{i}", "g", text) for i, text in enumerate(TEXTS)]
LONG = 3  # the place of the text over the window


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("encoder"))


def index_of(passages: list[Passage], encoder: Path, folder: Path, **settings: object) -> DenseIndex:
    return DenseIndex(passages, DenseSettings(passage_encoder=str(encoder), **settings), folder)  # type: ignore[arg-type]


def test_a_passage_is_found_by_its_text_and_by_any_of_its_windows(encoder_folder: Path, tmp_path: Path) -> None:
    index = index_of(PASSAGES, encoder_folder, tmp_path)
    assert index.num_split == 1
    for place, text in enumerate(TEXTS):
        if place != LONG:
            assert index.search(text, 2)[0] == place
    assert index.search(" ".join(TEXTS[LONG].split()[20:30]), 1) == [LONG]
    assert sorted(index.search("heart", 9)) == [0, 1, 2, 3, 4] and index.search(" ", 9) == []
    assert index.num_long_queries == 0
    index.search(TEXTS[LONG], 1)
    assert index.num_long_queries == 1


def test_equal_texts_are_found_in_file_order(encoder_folder: Path, tmp_path: Path) -> None:
    twins = [Passage(f"g/{i}", "g", "fluid in the pleura") for i in range(37)]
    assert index_of(twins, encoder_folder, tmp_path).search("fluid", 37) == list(range(37))


def test_embeddings_are_computed_once_and_the_same_in_pieces(encoder_folder: Path, tmp_path: Path) -> None:
    whole = index_of(PASSAGES, encoder_folder, tmp_path / "whole")
    first = index_of(PASSAGES[1:4], encoder_folder, tmp_path / "pieces")
    rest = index_of(PASSAGES, encoder_folder, tmp_path / "pieces")
    again = index_of(PASSAGES[::-1], encoder_folder, tmp_path / "pieces")
    assert [one.num_embedded for one in (whole, first, rest, again)] == [5, 3, 2, 0]
    assert np.array_equal(rest.vectors, whole.vectors) and isinstance(rest.vectors, np.memmap)
    assert again.search(TEXTS[0], 1) == [4]


def test_one_more_document_computes_one_more_vector_and_says_what_is_left(
    encoder_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    index_of(PASSAGES, encoder_folder, tmp_path)
    more = [*PASSAGES, Passage("g/5", "g", "clear lung")]
    caplog.set_level("INFO")
    assert index_of(more, encoder_folder, tmp_path).num_embedded == 1
    assert "5 of 6 texts are embedded, 1 are to be" in caplog.text and "also keeps" not in caplog.text
    changed = [one._replace(text="small heart") if one.passage_id == "g/2" else one for one in more]
    assert index_of(changed, encoder_folder, tmp_path).num_embedded == 1
    assert "also keeps the vectors of 1 texts that are in none of these collections" in caplog.text


def test_another_encoder_or_another_reading_of_it_has_other_vectors(encoder_folder: Path, tmp_path: Path) -> None:
    other = write_encoder(tmp_path / "other", seed=1)
    folder = tmp_path / "indexes"
    opened = [
        index_of(PASSAGES, encoder_folder, folder),
        index_of(PASSAGES, other, folder),
        index_of(PASSAGES, encoder_folder, folder, pooling="cls"),
        index_of(PASSAGES, encoder_folder, folder, similarity="dot"),
        index_of(PASSAGES, encoder_folder, folder, title="pair"),
        index_of(PASSAGES, encoder_folder, folder, max_passage_tokens=8),
    ]
    assert len({one.folder for one in opened}) == len({one.name for one in opened}) == 6
    assert [one.num_embedded for one in opened] == [5] * 6
    asked_otherwise = [
        index_of(PASSAGES, encoder_folder, folder, max_query_tokens=8),
        index_of(PASSAGES, encoder_folder, folder, query_encoder=str(other)),
    ]
    assert {one.folder for one in asked_otherwise} == {opened[0].folder}, "the passages are the same"
    assert len({opened[0].name, *(one.name for one in asked_otherwise)}) == 3, "the answers are not"


def test_queries_and_passages_have_encoders_of_their_own(encoder_folder: Path, tmp_path: Path) -> None:
    """As MedCPT: the first token, products, titles as pairs, short windows for queries."""
    other = write_encoder(tmp_path / "queries", seed=1)
    titled = [one._replace(title="large heart") for one in PASSAGES]
    settings = DenseSettings(
        passage_encoder=str(encoder_folder), query_encoder=str(other), pooling="cls", similarity="dot", title="pair",
        max_query_tokens=8,
    )  # fmt: skip
    index = DenseIndex(titled, settings, tmp_path / "indexes")
    query = "air in the lung of the left"  # 7 words, two windows of 6
    passages, queries = Encoder(str(encoder_folder), settings, None), Encoder(str(other), settings, 8)
    asked = queries.embed(query)
    assert len(asked) == 2
    scores = [(passages.embed(one.text, one.title) @ asked.mean(axis=0)).max() for one in titled]
    assert index.search(query, 5) == np.argsort(-np.array(scores).round(5), kind="stable").tolist()
    with pytest.raises(InputError, match="expected two encoders that belong together"):
        index_of(PASSAGES, encoder_folder, tmp_path, query_encoder=str(write_encoder(tmp_path / "wide", width=64)))


MANY = [Passage(f"g/{i}", "g", " ".join([*WORDS * 20, str(i)])) for i in range(4 * WRITTEN_EVERY)]
KILLED = """import json, sys
from pathlib import Path
from medprm.annotation.dense import DenseIndex
from medprm.annotation.passages import Passage
from medprm.annotation.settings import DenseSettings
passages = [Passage(*one) for one in json.loads(Path(sys.argv[3]).read_text())]
DenseIndex(passages, DenseSettings(passage_encoder=sys.argv[1]), Path(sys.argv[2]))
"""


def num_written(store: Path) -> int:
    try:
        with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as database:
            return database.execute("select count(*) from vectors").fetchone()[0]
    except sqlite3.OperationalError:
        return 0  # not there yet


def test_a_killed_run_goes_on_and_computes_nothing_twice(encoder_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "passages.json").write_text(json.dumps(MANY))
    arguments = [str(one) for one in (encoder_folder, tmp_path, tmp_path / "passages.json")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", KILLED, *arguments], env=environment)
    while not any(num_written(one) for one in tmp_path.glob("vectors-*.sqlite")) and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    (store,) = tmp_path.glob("vectors-*.sqlite")
    kept = num_written(store)
    assert 0 < kept < len(MANY) and kept % WRITTEN_EVERY == 0
    resumed = index_of(MANY, encoder_folder, tmp_path)
    assert resumed.num_embedded == len(MANY) - kept
    assert [one.name for one in tmp_path.glob(".building-*")] == [], "what the kill left is removed"


def test_a_stop_loses_at_most_what_was_not_written(tmp_path: Path) -> None:
    texts = {str(number): number for number in range(2 * WRITTEN_EVERY + 9)}
    computed: list[int] = []

    def embed(number: int) -> np.ndarray:
        if number == WRITTEN_EVERY + 5 and len(computed) < WRITTEN_EVERY + 6:
            computed.append(number)
            raise KeyboardInterrupt
        computed.append(number)
        return np.full((1, 2), number, dtype=np.float32)

    with open_store(tmp_path / "v.sqlite") as store, pytest.raises(KeyboardInterrupt):
        store.embed_missing(texts, embed)
    with open_store(tmp_path / "v.sqlite") as store:
        assert store.embed_missing(texts, embed) == len(texts) - WRITTEN_EVERY
        assert [store.vectors(key)[0, 0] for key in texts] == list(texts.values())


def test_both_indexes_are_fused_by_rank(encoder_folder: Path, tmp_path: Path) -> None:
    words, dense = LexicalIndex(PASSAGES, tmp_path), index_of(PASSAGES, encoder_folder, tmp_path)
    alone = Retriever(PASSAGES, [words], 5, tmp_path / "alone.sqlite")
    both = Retriever(PASSAGES, [words, dense], 5, tmp_path / "both.sqlite")
    assert alone.search("effusions") == [PASSAGES[LONG]], "the only passage with the word"
    found = both.search("effusions")
    assert found[0] == PASSAGES[LONG] and len(found) == 5
    fused = fuse_rankings([words.search("air lung", 50), dense.search("air lung", 50)])
    assert [PASSAGES[place] for place in fused] == both.search("air lung")


def test_the_settings_are_read(encoder_folder: Path, tmp_path: Path) -> None:
    phantom = PhantomSettings(num_train_patients=2, num_validation_patients=1, num_test_patients=1)
    config = AnnotateConfig(output_dir=str(tmp_path / "out"), data=DataSettings(phantom=phantom))
    source = annotators.open_source(config)
    folder = Path(config.output_dir)
    assert len(annotators.make_evidence(config, source, folder).retriever.indexes) == 1
    config.retrieval = RetrievalSettings(dense=DenseSettings(passage_encoder=str(encoder_folder)))
    assert isinstance(annotators.make_evidence(config, source, folder).retriever.indexes[1], DenseIndex)
    config.retrieval = RetrievalSettings(dense=DenseSettings(passage_encoder=str(tmp_path / "none")))
    with pytest.raises(InputError, match=r"retrieval.dense: encoder .*none"):
        annotators.make_evidence(config, source, folder)
    for unread in ({"pooling": "cls"}, {"query_encoder": "a"}, {"max_query_tokens": 64}):
        with pytest.raises(InputError, match=f"retrieval.dense.{next(iter(unread))}=.* nothing reads it"):
            DenseSettings(**unread)
