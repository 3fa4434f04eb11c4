"""Whoever compares answers in a run, as the settings say; run.json says by which metric findings are compared.

In: settings, the run's folder, what is open. Out: an `AnswerMatcher`, whose metric ends with what is open.
"""

import sys
from contextlib import ExitStack
from pathlib import Path

from medprm.cases.answers import AnswerJudge, AnswerMatcher, AnswerSettings, open_metric
from medprm.run import save_run


def make_matcher(
    settings: AnswerSettings, folder: Path, opened: ExitStack, judge: AnswerJudge | None = None
) -> AnswerMatcher:
    """Starts the metric of findings where it has a process of its own."""
    if settings.findings_metric == "token_f1":
        return AnswerMatcher(settings, judge)
    metric = opened.enter_context(open_metric(settings))
    python = settings.findings_python or sys.executable
    save_run(folder, findings_metric={"name": settings.findings_metric, "python": python, "versions": metric.versions})
    return AnswerMatcher(settings, judge, metric)
