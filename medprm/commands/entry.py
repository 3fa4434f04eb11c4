"""From a command line to a verb: compose `conf/`, make typed settings, run; every mistake of the user in one line.

In: a verb and the folder of its configuration. Out: the process's exit code: 0, 2 for something that the user can mend
(one line on stderr, no traceback), 75 when asked to stop, 130 when interrupted. What is ours to mend keeps its
traceback.
"""

import difflib
import importlib
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from medprm.config import COMPOSITIONS, NOT_READ, SCHEMAS, TrainConfig, typed
from medprm.errors import InputError
from medprm.run import RunStopped, check_launch

# Verbs that are modules, not scripts at the top.
COMMANDS = {
    "review": "python -m medprm.review",
    "search": "python -m medprm.commands.search",
    "serve": "python -m medprm.serving",
}
MISTAKE = 2
INTERRUPTED = 130
STOPPED = 75  # EX_TEMPFAIL: start it again
MISTAKES = (
    InputError,
    HydraException,
    OmegaConfBaseException,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)


def main(verb: str, conf: Path) -> NoReturn:
    """Run the verb with the arguments of this process, and exit."""
    sys.exit(run_verb(verb, conf))


def run_verb(verb: str, conf: Path) -> int:
    """Run the verb with `sys.argv`; returns the exit code."""
    # Else Hydra prints errors in its own form and exits with 1.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    store_schemas(verb)
    task = _Task(verb, conf)
    try:
        _refuse_hyphens(verb, conf, sys.argv[1:])
        hydra.main(version_base="1.3", config_path=str(conf), config_name=verb)(task)()
    except KeyboardInterrupt:
        _say("interrupted; resume=true goes on from the last complete checkpoint")
        return INTERRUPTED
    except RunStopped as stopped:
        _say(f"{stopped}; resume=true goes on", "stopped")
        return STOPPED
    except MISTAKES as error:
        task.mistake = error
    if task.mistake is None:
        return 0
    _say(explain(task.mistake, verb, conf))
    return MISTAKE


def store_schemas(*verbs: str) -> None:
    """Make the typed settings known to Hydra, by the names that conf/train.yaml and its like use.

    Only those that are asked for: Hydra copies all of them once for every group that `--help` lists.
    """
    for verb in verbs:
        ConfigStore.instance().store(f"{verb}_schema", node=COMPOSITIONS[verb])


class _Task:
    """What Hydra calls with the composed configuration, once per job of a multirun; the first mistake ends it.

    The mistake is kept, not raised: Hydra would add a line of its own.
    """

    def __init__(self, verb: str, conf: Path) -> None:
        self.verb = verb
        self.conf = conf
        self.mistake: Exception | None = None

    def __call__(self, composed: DictConfig) -> None:
        if self.mistake is not None:
            return
        try:
            self._run(composed)
        except MISTAKES as error:
            self.mistake = error

    def _run(self, composed: DictConfig) -> None:
        _name_job(composed)
        _refuse_unread(self.verb, HydraConfig.get().overrides.task)
        config = typed(composed, SCHEMAS[self.verb])
        if isinstance(config, TrainConfig) and config.plan:
            # Heavy, as below.
            importlib.import_module("medprm.commands.plan").run(config, _other_scales(self.conf))
            return
        if self.verb == "train":
            chosen = HydraConfig.get().runtime.choices["scale"]
            said = [one for one in HydraConfig.get().overrides.task if one.startswith(("scale=", "+scale="))]
            check_launch(chosen, bool(said), sys.argv)
        # Heavy (torch, transformers); --help and mistakes in settings answer without it.
        importlib.import_module(f"medprm.commands.{self.verb}").run(config)


def _other_scales(conf: Path) -> dict[str, TrainConfig | str]:
    """The same command line at each scale, for the plan; a reason where its settings are refused."""
    given = [one for one in HydraConfig.get().overrides.task if not one.startswith(("scale=", "+scale="))]
    scales: dict[str, TrainConfig | str] = {}
    for file in sorted((conf / "scale").glob("*.yaml")):
        try:
            scales[file.stem] = typed(hydra.compose("train", [*given, f"scale={file.stem}"]), TrainConfig)
        except MISTAKES as error:
            scales[file.stem] = _one_line(str(error))
    return scales


def _refuse_unread(verb: str, given: Sequence[str]) -> None:
    """Settings of another verb on the command line: they would have no effect."""
    for one in given:
        name = one.lstrip("+~").partition("=")[0]
        if name.partition(".")[0] not in NOT_READ[verb]:
            continue
        if verb == "evaluate" and not name.startswith("packing"):
            raise InputError(f"{name}: read from the checkpoint (medprm.json), not free in evaluate.py; leave it out")
        raise InputError(f"{name}: a setting of train.py, not read by {COMMANDS.get(verb, f'{verb}.py')}; leave it out")


def _refuse_hyphens(verb: str, conf: Path, given: Sequence[str]) -> None:
    """A setting written as a flag: argparse would only call it unrecognised."""
    known = {*_keys(OmegaConf.structured(SCHEMAS[verb])), *_groups(conf)}
    for one in given:
        name, _, value = one.removeprefix("--").partition("=")
        name = name.replace("-", "_")
        if one.startswith("--") and name in known:
            meant = f"{'+' * (name == 'experiment')}{name}={value or 'true'}"
            raise InputError(f"{one}: settings are written without hyphens{_did_you_mean([meant])}")


def _name_job(composed: DictConfig) -> None:
    """A multirun's jobs and a sweep agent's runs get folders of their own."""
    hydra_config = HydraConfig.get()
    suffix = ""
    if hydra_config.mode == RunMode.MULTIRUN:
        suffix = f"_{hydra_config.job.num}"
    elif os.environ.get("WANDB_SWEEP_ID") and os.environ.get("WANDB_RUN_ID"):
        suffix = f"_{os.environ['WANDB_RUN_ID']}"
    if "run_name" not in composed:
        return
    with open_dict(composed):
        composed.run_name = f"{composed.run_name}{suffix}"


def explain(error: Exception, verb: str, conf: Path) -> str:
    """One line: what is wrong, and what was probably meant."""
    if isinstance(error, MissingConfigException):
        return _explain_missing_option(error, conf)
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}"
    cause = error if isinstance(error, OmegaConfBaseException) else error.__cause__
    if isinstance(cause, OmegaConfBaseException):
        return _explain_setting(cause, verb, conf)
    return _one_line(_without_worker(str(error)))


def _without_worker(text: str) -> str:
    """PyTorch puts the traceback of a data loader's worker into the error; its last line has what was said."""
    if "DataLoader worker process" not in text:
        return text
    last = text.strip().rpartition("\n")[2]
    return re.sub(r"^[\w.]+: ", "", last)


def _explain_missing_option(error: MissingConfigException, conf: Path) -> str:
    group, _, option = (error.missing_cfg_file or "").rpartition("/")
    options = sorted(path.stem for path in (conf / group).glob("*.yaml")) if (conf / group).is_dir() else []
    if not group or not options:
        near = _near(group or option, _groups(conf))
        return f"{error.missing_cfg_file}: no such group of settings{_did_you_mean(f'+{one}=' for one in near)}"
    near = _did_you_mean(f"{'+' * (group == 'experiment')}{group}={one}" for one in _near(option, options))
    return f"{group}={option}: no such option; expected one of {', '.join(options)}{near}"


def _explain_setting(error: OmegaConfBaseException, verb: str, conf: Path) -> str:
    key = str(error.full_key or error.key or "")
    schema = OmegaConf.structured(SCHEMAS[verb])
    known = list(_keys(schema))
    parent = key.rpartition(".")[0]
    if parent in known and OmegaConf.get_type(OmegaConf.select(schema, parent)) is dict:
        return f"{key}: names in {parent} are your own, and are added with a plus: +{key}=..."
    if key in known and isinstance(OmegaConf.select(schema, key), DictConfig):
        value = str(error).partition("value: ")[2].split("\n")[0].strip()
        near = [f"{key}.{name}={value}" for name in _settings_that_take(OmegaConf.get_type(schema, key), value)]
        return f"{key}: a section of settings, not a setting{_did_you_mean(near)}"
    if key in known:
        return f"{key}: {_one_line(str(error).split('full_key:')[0])}"
    near = [*_near_keys(key, known), *(f"+{one}" for one in _near(key, ["experiment"]))]
    return f"{key}: no such setting{_did_you_mean(near)}; {COMMANDS.get(verb, f'{verb}.py')} --cfg job shows all"


def _settings_that_take(section: type | None, value: str) -> list[str]:
    """Names in a section of settings that may have this value."""
    found: list[str] = []
    if section is None or not is_dataclass(section):
        return found
    for one in fields(section):
        with suppress(InputError):
            if one.type is str and section(**{one.name: value}):
                found.append(one.name)
    return found


def _groups(conf: Path) -> list[str]:
    return sorted(path.name for path in conf.iterdir() if path.is_dir() and path.name not in ("hydra", "sweep"))


def _keys(node: DictConfig, path: str = "") -> Iterator[str]:
    for name in node:
        here = f"{path}.{name}" if path else str(name)
        yield here
        value: Any = node[name]
        if isinstance(value, DictConfig):
            yield from _keys(value, here)


def _near_keys(key: str, known: Sequence[str]) -> list[str]:
    """Keys like it; by their last part, too, so that one put into the wrong section is found, and by initials (lr)."""
    section, _, last = key.rpartition(".")
    is_like = {name: name.rpartition(".")[2] for name in known}
    matched = _near(last, is_like.values())  # the closest first
    near = [name for like in matched for name in known if is_like[name] == like]
    near += [name for name in known if _initials(is_like[name]) == last and name not in near]
    in_section = [name for name in near if name.rpartition(".")[0] == section]
    return in_section or near or _near(key, known)


def _initials(name: str) -> str:
    return "".join(part[0] for part in name.split("_") if part)


def _near(word: str, known: Iterable[str]) -> list[str]:
    return difflib.get_close_matches(word, list(dict.fromkeys(known)), n=2, cutoff=0.7)


def _did_you_mean(candidates: Iterable[str]) -> str:
    shown = list(dict.fromkeys(candidates))[:3]
    return f"; did you mean {' or '.join(shown)}?" if shown else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _say(message: str, kind: str = "error") -> None:
    print(f"{kind}: {message}", file=sys.stderr)
