"""Rooms import one way: themselves and rooms before them (CONTRIBUTING.md)."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import medprm
from medprm import ROOMS

PACKAGE = Path(medprm.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
OUTSIDE = ("config", "run", "tracking")
FREE = ("errors", "__version__")


def imported_modules(source: str, name: str) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything of ours that a file imports, inside functions as well."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, one.name) for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}:{node.lineno}: relative import; write the full name"
            yield from ((node.lineno, f"{node.module}.{one.name}") for one in node.names)


def broken_rules(path: Path, source: str) -> list[str]:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    own = parts[0] if len(parts) > 1 and parts[0] not in OUTSIDE else None
    if parts[-1] == "__main__":  # what `python -m medprm.ROOM` starts is a command
        own = "commands"
    broken = []
    for line, module in imported_modules(source, str(path)):
        if module.split(".")[0] != "medprm":
            continue
        target = module.split(".")[1] if "." in module else ""
        if target in FREE or own == "commands" or (own is None and parts[0] != "__init__"):
            is_allowed = target != "commands" or own == "commands"
        elif target in ROOMS and own in ROOMS:
            is_allowed = ROOMS.index(target) <= ROOMS.index(own)
        else:
            is_allowed = False
        if not is_allowed:
            broken.append(f"{own or parts[0]} may not import {module} ({path.name}:{line})")
    return broken


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    assert broken_rules(path, path.read_text()) == []


def test_a_broken_rule_is_found() -> None:
    inside = PACKAGE / "cases" / "made_up.py"
    assert broken_rules(inside, "from medprm.training.loss import summed_loss") == [
        "cases may not import medprm.training.loss.summed_loss (made_up.py:1)"
    ]
    assert broken_rules(inside, "def late():\n    import medprm.evaluation.scored")
    assert broken_rules(inside, "from medprm.config import TrainConfig")
    assert not broken_rules(inside, "from medprm.images.load import load_image\nimport numpy")
    assert broken_rules(PACKAGE / "run.py", "from medprm.commands.train import run")
    assert broken_rules(PACKAGE / "config" / "train.py", "from medprm.commands.train import run")
    assert not broken_rules(PACKAGE / "config" / "train.py", "from medprm.training.settings import MixSettings")


def test_every_folder_is_a_room() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders <= {*ROOMS, *OUTSIDE}
    assert {path.stem for path in PACKAGE.glob("*.py")} | (folders - set(ROOMS)) == {"__init__", "errors", *OUTSIDE}


def test_nothing_is_named_after_no_idea() -> None:
    assert not {path.stem for path in FILES} & {"utils", "common", "helpers", "base", "manager"}
