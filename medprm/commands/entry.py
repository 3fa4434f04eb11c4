"""From a command line to a verb: compose `conf/`, make typed settings, run; every mistake of the user in one line.

In: a verb and the folder of its configuration. Out: the process's exit code: 0, 2 for something that the user can mend
(one line on stderr, no traceback), 130 when interrupted. What is ours to mend keeps its traceback.
"""

import difflib
import importlib
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from medprm.config import SCHEMAS, typed
from medprm.errors import InputError
from medprm.run import check_launch

MISTAKE = 2
INTERRUPTED = 130


def main(verb: str, conf: Path) -> NoReturn:
    """Run the verb with the arguments of this process, and exit."""
    sys.exit(run_verb(verb, conf))


def run_verb(verb: str, conf: Path) -> int:
    """Run the verb with `sys.argv`; returns the exit code."""
    # Else Hydra prints errors in its own form and exits with 1.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    ConfigStore.instance().store(f"{verb}_schema", node=SCHEMAS[verb])
    try:
        hydra.main(version_base="1.3", config_path=str(conf), config_name=verb)(_Task(verb))()
    except KeyboardInterrupt:
        _say("interrupted; resume=true goes on from the last complete checkpoint")
        return INTERRUPTED
    except (InputError, HydraException, OmegaConfBaseException, FileNotFoundError, IsADirectoryError, PermissionError) as error:
        _say(explain(error, verb, conf))
        return MISTAKE
    return 0


class _Task:
    """What Hydra calls with the composed configuration, once per job of a multirun."""

    def __init__(self, verb: str) -> None:
        self.verb = verb

    def __call__(self, composed: DictConfig) -> None:
        _name_job(composed)
        config = typed(composed, SCHEMAS[self.verb])
        if self.verb == "train":
            chosen = HydraConfig.get().runtime.choices["scale"]
            said = [one for one in HydraConfig.get().overrides.task if one.startswith(("scale=", "+scale="))]
            check_launch(chosen, bool(said), sys.argv)
        # Heavy (torch, transformers); --help and mistakes in settings answer without it.
        importlib.import_module(f"medprm.commands.{self.verb}").run(config)


def _name_job(composed: DictConfig) -> None:
    """A multirun's jobs and a sweep agent's runs get folders of their own."""
    hydra_config = HydraConfig.get()
    suffix = ""
    if hydra_config.mode == RunMode.MULTIRUN:
        suffix = f"_{hydra_config.job.num}"
    elif os.environ.get("WANDB_SWEEP_ID") and os.environ.get("WANDB_RUN_ID"):
        suffix = f"_{os.environ['WANDB_RUN_ID']}"
    with open_dict(composed):
        composed.run_name = f"{composed.run_name}{suffix}"


def explain(error: Exception, verb: str, conf: Path) -> str:
    """One line: what is wrong, and what was probably meant."""
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, MissingConfigException):
        return _explain_missing_option(error, conf)
    cause = error if isinstance(error, OmegaConfBaseException) else error.__cause__
    if isinstance(cause, OmegaConfBaseException):
        return _explain_setting(cause, verb, conf)
    return _one_line(str(error))


def _explain_missing_option(error: MissingConfigException, conf: Path) -> str:
    wanted = error.missing_cfg_file or ""
    group, _, option = wanted.rpartition("/")
    if not error.options:
        group = group or wanted
        hint = _suggest(group, (path.name for path in conf.iterdir() if path.is_dir()), f"{option}".join(("{}=", "")))
        return f"{wanted}: no such group of settings{hint}"
    return f"{group}={option}: no such option; expected one of {', '.join(sorted(error.options))}{_suggest(option, error.options, group + '={}')}"


def _explain_setting(error: OmegaConfBaseException, verb: str, conf: Path) -> str:
    key = str(error.full_key or error.key or "")
    first = _one_line(str(error).split("full_key:")[0])
    if isinstance(error, MissingMandatoryValue):
        return f"{key} must be given: {key}=VALUE ({verb}.py --help)"
    known = list(_keys(OmegaConf.structured(SCHEMAS[verb])))
    if key in known:
        return f"{key}: {first}"
    groups = [path.name for path in conf.iterdir() if path.is_dir() and path.name != "hydra"]
    hint = _suggest(key, [*known, *groups, "experiment"]).replace("mean experiment", "mean +experiment")
    return f"{key}: no such setting{hint}; {verb}.py --cfg job shows all"


def _keys(node: DictConfig, path: str = "") -> Iterator[str]:
    for name in node:
        here = f"{path}.{name}" if path else str(name)
        yield here
        value: Any = None if OmegaConf.is_missing(node, name) else node[name]
        if isinstance(value, DictConfig):
            yield from _keys(value, here)


def _suggest(word: str, known: Iterable[str], form: str = "{}") -> str:
    """The nearest known words; a key is compared by its last part as well, for one put into the wrong section."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=2, cutoff=0.75)
    last = word.rpartition(".")[2]
    by_last: dict[str, list[str]] = {}
    for one in known:
        by_last.setdefault(one.rpartition(".")[2], []).append(one)
    for name in difflib.get_close_matches(last, list(by_last), n=2, cutoff=0.75):
        near += [one for one in by_last[name] if one not in near]
    return f"; did you mean {' or '.join(form.format(one) for one in near[:3])}?" if near else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _say(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
