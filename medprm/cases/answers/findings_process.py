"""A metric of radiology in a process of its own, for packages whose version ranges are not ours.

In: the settings; pairs of an answer and the reference findings. Out: scores in [0, 1]; None where the metric has none.
The python that the settings name runs findings_script.py, which says what goes over its pipes. A package that is
missing, a process that ends, hangs or says what it should not: InputError, for that pair and all behind it.
"""

import json
import logging
import sys
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from queue import Empty, SimpleQueue
from subprocess import PIPE, Popen, TimeoutExpired
from threading import Lock, Thread
from typing import Any

from medprm.cases.settings import AnswerSettings
from medprm.errors import InputError

logger = logging.getLogger(__name__)

SCRIPT = Path(__file__).with_name("findings_script.py")
# What makes an environment for the metric: the packages' own ranges are wider than what they run with.
INSTALLED_BY = {
    "radgraph": "pip install radgraph==0.1.18 'transformers<5'",
    "chexbert": "pip install f1chexbert==0.0.2 'transformers<5' 'scikit-learn<1.8'",
    "ratescore": "pip install RaTEScore==0.6.0 medspacy pandas torch 'transformers<5'",
}
REMEMBERED = 4096  # pairs
# RaTEScore's cosines are of float32, whose rounding can lift them above 1 by about 1e-7.
ROUNDING = 1e-4
LAST_LINES, LONGEST_WORDS = 20, 1000  # of what a process that failed has said; the second in characters
SECONDS_TO_END = 5.0


@contextmanager
def open_metric(settings: AnswerSettings) -> Iterator["MetricProcess"]:
    """The metric that the settings name, ready to score; its process ends with the context."""
    python = settings.findings_python or sys.executable
    try:
        process = Popen([python, SCRIPT, settings.findings_metric], stdin=PIPE, stdout=PIPE, stderr=PIPE)
    except OSError as error:
        raise InputError(
            f"answers.findings_python is {python!r}, which cannot be started ({error}); expected the python of an "
            f"environment made by: {INSTALLED_BY[settings.findings_metric]}"
        ) from None
    metric = MetricProcess(process, settings)
    try:
        metric.start()
        yield metric
    finally:
        metric.close()


class MetricProcess:
    """A `FindingsMetric`. One process serves many threads, a pair after another; an equal pair is scored once."""

    def __init__(self, process: Popen[bytes], settings: AnswerSettings) -> None:
        self.versions: dict[str, str] = {}  # of the packages that decide the scores
        self.unscored: Counter[str] = Counter()  # pairs without a score, by the reason
        self._process = process
        self._settings = settings
        self._mutex = Lock()
        self._known = lru_cache(REMEMBERED)(self._ask)
        self._failure: str | None = None
        self._replies: SimpleQueue[bytes] = SimpleQueue()
        self._words: deque[bytes] = deque(maxlen=LAST_LINES)
        self._readers = [Thread(target=one, daemon=True) for one in (self._read_replies, self._read_words)]
        for reader in self._readers:
            reader.start()

    def start(self) -> None:
        """Waits for the package and its weights; InputError where they are not to be had."""
        name, python = self._settings.findings_metric, self._settings.findings_python or sys.executable
        logger.info("answers.findings_metric=%s: starting %s; the first start downloads weights", name, python)
        said = self._reply(
            f"name the python of an environment made by `{INSTALLED_BY[name]}` in answers.findings_python; its first "
            "start needs Hugging Face (docs/evaluation.md, Answers)"
        )
        versions = said.get("versions")
        if not isinstance(versions, dict):
            raise self._failed(f"expected its versions, got {said}")
        self.versions = versions

    def score(self, answer: str, reference: str) -> float | None:
        with self._mutex:
            return self._known(answer, reference)

    def close(self) -> None:
        """Ends the process, and tells what it had no score for."""
        self._kill()
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        for reason, count in self.unscored.items():
            logger.warning("%s has no score for %d pairs, unparsed: %s", self._settings.findings_metric, count, reason)

    def _ask(self, answer: str, reference: str) -> float | None:
        if self._failure is not None:
            raise InputError(self._failure)
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # that no reply comes will tell
            self._process.stdin.write(json.dumps({"answer": answer, "reference": reference}).encode() + b"\n")
            self._process.stdin.flush()
        said = self._reply("resume=true goes on once it is mended")
        if isinstance(said.get("unscored"), str):
            self.unscored[_one_line(said["unscored"])] += 1
            return None
        score = said.get("score")
        if not isinstance(score, float):
            raise self._failed(f"expected a score, got {said}")
        if not -ROUNDING <= score <= 1 + ROUNDING:
            raise self._failed(f"expected a score from 0 to 1, got {score}; check the version of its package")
        return min(max(score, 0.0), 1.0)

    def _reply(self, what_to_do: str) -> dict[str, Any]:
        seconds = self._settings.findings_timeout_seconds
        try:
            line = self._replies.get(timeout=seconds)
        except Empty:
            what = f"no answer after {seconds:g} seconds; raise answers.findings_timeout_seconds"
            raise self._failed(what) from None
        if not line:
            raise self._failed(f"it ended with exit code {self._exit_code()}; {what_to_do}")
        try:
            said = json.loads(line)
        except ValueError:
            said = None
        if not isinstance(said, dict):
            what = f"expected a line of JSON, got {line[:LONGEST_WORDS]!r}; is answers.findings_python a python?"
            raise self._failed(what)
        if "error" in said:
            raise self._failed(f"{_one_line(said['error'])}; {what_to_do}")
        return said

    def _failed(self, what: str) -> InputError:
        """Ends the process: a reply that comes late must not be taken for that to another pair."""
        self._kill()
        self._readers[1].join(SECONDS_TO_END)
        command = " ".join(map(str, self._process.args))  # type: ignore[arg-type]
        words = _one_line(b" ".join(self._words).decode(errors="replace"))
        self._failure = f"answers.findings_metric={self._settings.findings_metric}: {command}: {what}"
        if words:
            self._failure += f"; its last words: {words}"
        return InputError(self._failure)

    def _exit_code(self) -> int | None:
        with suppress(TimeoutExpired):
            self._process.wait(SECONDS_TO_END)
        return self._process.returncode

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _read_replies(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._replies.put(line)
        self._replies.put(b"")

    def _read_words(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            self._words.extend(lines)


def _one_line(text: object) -> str:
    return " ".join(str(text).split())[-LONGEST_WORDS:]
