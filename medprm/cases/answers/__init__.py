"""Final answers: reading them out of a solution's last step, and comparing them with the reference answer."""

from medprm.cases.answers.findings_process import MetricProcess, open_metric
from medprm.cases.answers.kinds import kind_of, reference_answer
from medprm.cases.answers.matching import (
    AnswerJudge,
    AnswerMatcher,
    FindingsMetric,
    answers_match,
    canonical_answer,
)
from medprm.cases.answers.reading import last_step, parse_answer
from medprm.cases.settings import AnswerSettings, Kind

__all__ = [
    "AnswerJudge",
    "AnswerMatcher",
    "AnswerSettings",
    "FindingsMetric",
    "Kind",
    "MetricProcess",
    "answers_match",
    "canonical_answer",
    "kind_of",
    "last_step",
    "open_metric",
    "parse_answer",
    "reference_answer",
]
