"""Metrics of radiology in a process of their own: packages as they are called, and every way in which that can fail."""

import ast
import sys
from pathlib import Path

import pytest
from radiology_packages import VERSIONS, calls, write_packages

from medprm.cases.answers import AnswerMatcher, AnswerSettings, open_metric
from medprm.cases.answers.findings_process import INSTALLED_BY, SCRIPT
from medprm.cases.schema import Case, GoldStandard
from medprm.errors import InputError

PACKAGES = {"radgraph": "radgraph", "chexbert": "f1chexbert", "ratescore": "RaTEScore"}
LEFT = "small effusion on the left"


def asking(metric: str = "radgraph", **given: object) -> AnswerSettings:
    return AnswerSettings(kind="findings", findings_metric=metric, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", PACKAGES)
def test_scores_of_each_package(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_packages(tmp_path, monkeypatch)
    with open_metric(asking(name)) as metric:
        package = PACKAGES[name]
        assert metric.versions == {key: VERSIONS[key] for key in (package, "torch", "transformers")}
        assert metric.score("left pleural nodule", LEFT) == pytest.approx(1 / 3)
        assert metric.score("left", LEFT) == 1, "the answer's words in the reference, not the other way round"
        assert metric.score("Erguß\n\"left\" 'é'", LEFT) == 0
        assert metric.score("left", "rotated") is None, "nothing to compare is not wrong"
        assert metric.score("left pleural nodule", LEFT) == pytest.approx(1 / 3)
    assert sum(one == f"left pleural nodule | {LEFT}" for one in calls(tmp_path)) == 1, "an equal pair is scored once"


def test_a_text_that_a_package_stumbles_over_has_no_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_packages(tmp_path, monkeypatch)
    with open_metric(asking()) as metric:
        assert metric.score("stumbles", LEFT) is None and metric.score("it stumbles", LEFT) is None
        assert metric.score("left", LEFT) == 1
    assert "radgraph has no score for 2 pairs, unparsed: KeyError: 'doc 0'" in caplog.text
    with open_metric(asking("ratescore")) as metric:
        assert metric.score("no", LEFT) is None


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("it ends", "it ended with exit code 3; .* its last words: .*out of memory, says the library"),
        ("it hangs", "no answer after 0.5 seconds; raise answers.findings_timeout_seconds"),
        ("above", "expected a score from 0 to 1, got 1.5"),
        ("no number", "expected a score from 0 to 1, got nan"),
    ],
)
def test_a_metric_that_fails_says_how_and_stays_shut(
    answer: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_packages(tmp_path, monkeypatch)
    with open_metric(asking()) as metric:
        assert metric.score("left", LEFT) == 1
        metric._settings.findings_timeout_seconds = 0.5 if "hangs" in answer else 60
        for later in (answer, "another"):
            with pytest.raises(InputError, match=f"(?s)answers.findings_metric=radgraph: .*{message}"):
                metric.score(later, LEFT)


def test_a_metric_that_can_score_nothing_any_more_is_no_fault_of_the_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "left = [1.0, 1.0]\n\ndef precision(answer, reference):\n    return left.pop()\n"
    write_packages(tmp_path, monkeypatch, words=words)
    with open_metric(asking()) as metric:
        assert metric.score("left", LEFT) == 1
        with pytest.raises(InputError, match="IndexError: pop from empty list; resume=true"):
            metric.score("left nodule", LEFT)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("radgraph", "import no_such_package", "No module named 'no_such_package'"),
        ("radgraph", "import sys\nsys.exit(4)", "it ended with exit code 4"),
        ("chexbert", "class F1CheXbert:\n  def __init__(self):\n    print('no hub'); raise OSError('chexbert.pth')",
         "OSError: chexbert.pth; .*its last words: no hub"),
        ("ratescore", "class RaTEScore: pass", "TypeError: RaTEScore.. takes no arguments"),
    ],
)  # fmt: skip
def test_a_package_that_cannot_be_loaded_says_what_to_install(
    name: str, text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_packages(tmp_path, monkeypatch, **{PACKAGES[name]: text})
    with pytest.raises(InputError) as error, open_metric(asking(name)):
        pass
    told = str(error.value)
    assert INSTALLED_BY[name] in told and "answers.findings_python" in told and "Hugging Face" in told
    with pytest.raises(InputError, match=message), open_metric(asking(name)):
        pass


def test_a_package_that_is_not_there(tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')  # without site-packages
    bare.chmod(0o755)
    with (
        pytest.raises(InputError, match="No module named 'radgraph'.*pip install radgraph==0.1.18"),
        open_metric(asking(findings_python=str(bare))),
    ):
        pass


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("Python 2.7", "expected a line of JSON, got b'Python 2.7"),
        ("[1]", "expected a line of JSON"),
        ('{"score": 1.0}', "expected its versions"),
        ('{"versions": {}}\n{"score": "high"}', "expected a score, got {'score': 'high'}"),
        ('{"versions": {}}\n{}', "expected a score"),
        ('{"versions": {}}', "it ended with exit code 0"),
    ],
)
def test_replies_that_are_none(said: str, message: str, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\ncat <<'END'\n{said}\nEND\n")
    python.chmod(0o755)
    settings = asking(findings_python=str(python))
    with pytest.raises(InputError) as error, open_metric(settings) as metric:
        metric.score("left", LEFT)
    assert message in str(error.value) and str(python) in str(error.value)


def test_a_python_that_is_none(tmp_path: Path) -> None:
    wrong = str(tmp_path / "none")
    with (
        pytest.raises(InputError, match="cannot be started .*No such file"),
        open_metric(asking(findings_python=wrong)),
    ):
        pass


def test_the_process_ends_with_the_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_packages(tmp_path, monkeypatch)
    with open_metric(asking()) as metric:
        assert metric._process.poll() is None
    assert metric._process.poll() is not None


def test_the_script_runs_without_this_project_and_on_older_pythons() -> None:
    tree = ast.parse(SCRIPT.read_text(encoding="utf-8"), feature_version=(3, 8))
    imported = [one for one in ast.walk(tree) if isinstance(one, ast.Import | ast.ImportFrom)]
    names = {one.module for one in imported if isinstance(one, ast.ImportFrom)}
    names |= {alias.name for one in imported if isinstance(one, ast.Import) for alias in one.names}
    assert names == {"__future__", "json", "os", "sys", "importlib", "typing"}


class Fixed:
    """A metric with one score."""

    def __init__(self, value: float | None) -> None:
        self.value = value
        self.asked: list[tuple[str, str]] = []

    def score(self, answer: str, reference: str) -> float | None:
        self.asked.append((answer, reference))
        return self.value


def test_the_matcher_asks_about_other_words_only() -> None:
    gold = GoldStandard(findings=("left effusion", "nodule"))
    case = Case(case_id="c", modality="chest_xray", question="What is seen?", gold_standard=gold)
    for value, is_right in ((0.7, True), (0.69, False), (None, None)):
        metric = Fixed(value)
        matcher = AnswerMatcher(asking(findings_least=0.7), metric=metric)
        assert matcher.is_right(case, "Nodule, effusion.") is is_right
        assert matcher.is_right(case, "The left effusion; nodule") is True, "the reference's words need no metric"
        assert matcher.is_right(case, None) is None
        assert metric.asked == [("Nodule, effusion.", "left effusion, nodule")]
    with pytest.raises(AssertionError, match="metric="):
        AnswerMatcher(asking()).is_right(case, "nodule")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"findings_metric": "bleu"}, "expected one of token_f1, radgraph, chexbert, ratescore"),
        (
            {"findings_python": "/env/bin/python"},
            "answers.findings_python is '/env/bin/python' with answers.findings_m",
        ),
        ({"findings_timeout_seconds": 5.0}, "with answers.findings_metric=token_f1, which needs no process of its own"),
        ({"findings_metric": "radgraph", "findings_timeout_seconds": 0.0}, "expected seconds above 0"),
        ({"findings_metric": "radgraph", "findings_timeout_seconds": float("inf")}, "expected seconds above 0"),
        ({"findings_metric": "radgraph", "findings_least": 1.1}, "answers.findings_least is 1.1"),
    ],
)
def test_settings_that_are_refused(given: dict, message: str) -> None:
    with pytest.raises(InputError) as error:
        AnswerSettings(kind="findings", **given)
    assert message in str(error.value)


def test_a_metric_without_findings_is_refused() -> None:
    with pytest.raises(InputError, match="answers.findings_metric is 'radgraph' with answers.kind=open"):
        AnswerSettings(kind="open", findings_metric="radgraph")
    case = Case(case_id="c", modality="text", question="?", gold_standard=GoldStandard(answer="12"))
    with pytest.raises(InputError, match="answers.findings_metric=radgraph but no case asks for"):
        AnswerMatcher(AnswerSettings(findings_metric="radgraph")).check([case])
