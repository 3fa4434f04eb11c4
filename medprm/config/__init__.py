"""The settings of each verb, assembled from the rooms' own: a module a verb.

In: the composed mapping of `conf/`. Out: the `...Config` of the verb, typed and checked. Light: no torch, no
transformers, so that `--help` is quick. Rooms never import this package.
"""

from medprm.config.annotate import AnnotateConfig, Shard, parse_shard
from medprm.config.data import DataSettings, LabelledSettings
from medprm.config.evaluate import EvaluateConfig
from medprm.config.review import ReviewConfig
from medprm.config.schemas import COMPOSITIONS, NOT_READ, SCHEMAS, AnyConfig, typed
from medprm.config.search import SearchConfig
from medprm.config.serve import ServeConfig
from medprm.config.tracking import TrackingSettings
from medprm.config.train import TrainConfig

__all__ = [
    "COMPOSITIONS",
    "NOT_READ",
    "SCHEMAS",
    "AnnotateConfig",
    "AnyConfig",
    "DataSettings",
    "EvaluateConfig",
    "LabelledSettings",
    "ReviewConfig",
    "SearchConfig",
    "ServeConfig",
    "Shard",
    "TrackingSettings",
    "TrainConfig",
    "parse_shard",
    "typed",
]
