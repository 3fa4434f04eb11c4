"""The settings of every verb by its name, and from what Hydra composes to typed settings."""

from dataclasses import fields
from typing import Any, TypeVar, cast

from omegaconf import DictConfig, OmegaConf

from medprm.config.annotate import AnnotateComposition, AnnotateConfig
from medprm.config.evaluate import EvaluateComposition, EvaluateConfig
from medprm.config.review import ReviewConfig
from medprm.config.search import SearchConfig
from medprm.config.serve import ServeConfig
from medprm.config.train import TrainConfig

AnyConfig = TrainConfig | EvaluateConfig | AnnotateConfig | ServeConfig | SearchConfig | ReviewConfig
Config = TypeVar("Config", bound=AnyConfig)

SCHEMAS: dict[str, type[AnyConfig]] = {
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
    "annotate": AnnotateConfig,
    "serve": ServeConfig,
    "review": ReviewConfig,
    "search": SearchConfig,
}
COMPOSITIONS: dict[str, type[AnyConfig]] = SCHEMAS | {
    "evaluate": EvaluateComposition,
    "annotate": AnnotateComposition,
}
# What an experiment may set and the verb does not read.
NOT_READ = {
    verb: {one.name for one in fields(COMPOSITIONS[verb])} - {one.name for one in fields(schema)}
    for verb, schema in SCHEMAS.items()
}


def typed(composed: DictConfig, schema: type[Config]) -> Config:
    """The composed settings as dataclasses.

    Merged once more into a fresh schema: `+training.lr=1` adds a key that composition alone would let pass unread.
    """
    values = cast(dict[str, Any], OmegaConf.to_container(composed, resolve=True, throw_on_missing=True))
    unread = next(NOT_READ[verb] for verb, one in SCHEMAS.items() if one is schema)
    values = {name: value for name, value in values.items() if name not in unread}
    return cast(Config, OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), values)))
