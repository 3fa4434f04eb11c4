"""Names of diagnoses that mean the same.

In: a file, one JSON list of names a line: `["myocardial infarction", "heart attack", "MI"]`. Out: `Synonyms`. A name
stands for a whole answer and never for words inside one: "left", "chronic" or "no" in front make another diagnosis.
`synonyms.jsonl` beside this file comes with the code; it is ours, modest, and no terminology.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from medprm.cases.answers.wording import normalise
from medprm.cases.parsing import parse_json
from medprm.errors import InputError

SHIPPED = Path(__file__).with_name("synonyms.jsonl")
EXPECTED = 'expected a JSON list of two names or more, ["heart attack", "myocardial infarction"]'


class Synonyms(NamedTuple):
    """Each name in normal form, and the first name of its group, likewise."""

    group_of: Mapping[str, str]

    def canonical(self, name: str) -> str:
        """What the names of a group have in common; a name of no group stands for itself. In and out: normal form."""
        return self.group_of.get(name, name)


@cache
def read_synonyms(path: str | None = None) -> Synonyms:
    """The groups of a file, of the shipped one where none is named. InputError says file and line."""
    file = SHIPPED if path is None else Path(path)
    if not file.is_file():
        raise InputError(f"answers.synonyms={path}: no such file; {EXPECTED} a line")
    group_of: dict[str, str] = {}
    place_of: dict[str, str] = {}
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError:
        raise InputError(f"answers.synonyms={path}: not UTF-8; save it as UTF-8") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{file}:{number}"
        names = _names(parse_json(line, where), where)
        for normal, name in names.items():
            if normal in group_of:
                raise InputError(
                    f"{where}: {name!r} stands at {place_of[normal]} already; a name belongs to one group: leave it "
                    "out of one of them, or put both groups into one line"
                )
        first = next(iter(names))
        group_of |= dict.fromkeys(names, first)
        place_of |= dict.fromkeys(names, where)
    if not group_of:
        raise InputError(f"{file}: no names; {EXPECTED} a line")
    return Synonyms(group_of)


def _names(value: object, where: str) -> dict[str, str]:
    """Normal form -> name, of one line."""
    if not isinstance(value, list) or not all(isinstance(one, str) and one.strip() for one in value):
        raise InputError(f"{where}: {str(value)[:60]}; {EXPECTED}")
    names = {normalise(one): one for one in value}
    if len(names) < 2:
        raise InputError(f"{where}: {value}: one name, however it is written; {EXPECTED}")
    return names
