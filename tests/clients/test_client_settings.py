"""Settings of servers, prices and money that mean nothing are refused, with their name and their value."""

from collections.abc import Callable
from typing import Any

import pytest

from medprm.annotation.settings import ExpertSettings, JudgeSettings
from medprm.clients.settings import ModelPrice, ServerSettings
from medprm.config import AnnotateConfig, SearchConfig
from medprm.errors import InputError


@pytest.mark.parametrize(
    ("made", "name", "value"),
    [
        (AnnotateConfig, "budget_dollars", -1.0),
        (AnnotateConfig, "budget_dollars", float("nan")),
        (AnnotateConfig, "dollars_per_compute_hour", -0.5),
        (SearchConfig, "budget_dollars", -1.0),
        (ServerSettings, "requests_per_minute", 0.0),
        (ServerSettings, "tokens_per_minute", -5.0),
        (ServerSettings, "rest_seconds", -1.0),
        (ServerSettings, "max_backoff_seconds", -1.0),
        (ModelPrice, "input", -1.0),
        (ModelPrice, "output", -1.0),
        (ModelPrice, "cached", -1.0),
        (JudgeSettings, "max_image_pixels", 0),
        (ExpertSettings, "minutes_per_step", -1.0),
        (ExpertSettings, "dollars_per_hour", -1.0),
    ],
)
def test_a_value_without_meaning_is_refused(made: Callable[..., Any], name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{name} is {value}; expected"):
        made(**{name: value})


def test_nothing_to_spend_and_no_price_are_values() -> None:
    assert AnnotateConfig(budget_dollars=0.0).budget_dollars == 0.0
    assert ModelPrice(cached=0.0).cached == 0.0 and ServerSettings(tokens_per_minute=0.5).tokens_per_minute == 0.5
