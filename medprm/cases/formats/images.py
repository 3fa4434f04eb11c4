"""Image paths and `<image>` marks of published chat records.

Our turns put a case's images before its question; marks inside a question become `[image 1]`, ..., and are counted.
"""

import re
from collections import Counter
from typing import Any

from medprm.cases.parsing import RecordError
from medprm.cases.rows import Row
from medprm.cases.schema import Image, check_relative_path

MARK = re.compile(r"<image(?:\s+(\d+))?>")


def image_fields(row: Row, name: str = "image") -> tuple[Image, ...]:
    """The images of a row: its field holds a path, a list of paths, or nothing. RecordError for unsafe paths."""
    given = row.fields.get(name)
    paths = [] if given in (None, "") else given if isinstance(given, list) else [given]
    if not all(isinstance(path, str) for path in paths):
        raise row.error(name, "a path or a list of paths")
    try:
        return tuple(Image(path=check_relative_path(path.removeprefix("./"))) for path in paths)
    except ValueError as error:
        raise RecordError(f"{row.where}: {name} has a {error}") from None


def case_images(images: tuple[Image, ...]) -> dict[str, Any]:
    """The fields of a case for its images: `image` for one, `images` for several."""
    if not images:
        return {}
    return {"image": images[0]} if len(images) == 1 else {"images": images}


def without_marks(text: str, left_out: Counter[str]) -> str:
    """The question without the marks at its head or end; marks inside become words."""
    text = re.sub(rf"^(?:\s*{MARK.pattern}\s*)+", "", text)
    text = re.sub(rf"(?:\s*{MARK.pattern}\s*)+$", "", text)
    if MARK.search(text):
        left_out["the places of images inside the question, written as [image 1], [image 2], ..."] += 1
        numbers = iter(range(1, text.count("<image") + 1))
        text = MARK.sub(lambda found: f"[image {found.group(1) or next(numbers)}]", text)
    return text.strip()
