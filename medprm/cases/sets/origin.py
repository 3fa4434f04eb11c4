"""Where a set lies and what of it is taken: the folder, the draw, and images that have to be written out.

Sets that keep their images inside a table or a volume (Parquet, HDF5, NIfTI) have them written as PNG or JPEG below the
folder of records; all others stay where they are. A case whose image is missing is refused and counted.
"""

import hashlib
import io
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image as Picture

from medprm.cases.atomic import replaced_file
from medprm.cases.parsing import RecordError
from medprm.cases.reading import Reading
from medprm.cases.rows import Row
from medprm.cases.schema import Case, CaseSolutions, Image, check_relative_path

T = TypeVar("T")

FOLDER = "images"
# Left as they are; anything else that Pillow reads is written as PNG, without loss.
KEPT = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpg"}


class Unfit(ValueError):
    """Why a row gives no case: counted by its text, which therefore names no row."""


@dataclass
class Origin:
    """One set to read."""

    folder: Path
    # Folder of the records: images that lie inside a table are written below it.
    target: Path
    seed: int = 0
    # At most so many rows a split, drawn by the seed; None: all.
    limit: int | None = None
    refused: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    # Whether pictures were written below `target`, where their paths start.
    has_written: bool = False

    def files(self, *patterns: str) -> list[Path]:
        """Files below the folder that fit a pattern, by name."""
        return sorted({file for pattern in patterns for file in self.folder.glob(pattern) if file.is_file()})

    def file(self, *patterns: str) -> Path:
        """The one file that fits; RecordError where there is none or more than one."""
        found = self.files(*patterns)
        if len(found) != 1:
            names = ", ".join(str(path.relative_to(self.folder)) for path in found) or "none"
            raise RecordError(f"{self.folder}: expected one file that fits {' or '.join(patterns)}; found {names}")
        return found[0]

    def draw(self, rows: Iterable[T]) -> Sequence[T]:
        """All rows of one split, or `limit` of them drawn by the seed, in their order."""
        rows = list(rows)
        if self.limit is None or len(rows) <= self.limit:
            return rows
        return [rows[place] for place in sorted(random.Random(self.seed).sample(range(len(rows)), self.limit))]

    def cases(self, rows: Iterable[Row], read_one: Callable[[Row], Case]) -> list[CaseSolutions]:
        """The cases of one split's rows; rows that give none are counted."""
        found = []
        for row in self.draw(rows):
            try:
                found.append(CaseSolutions(read_one(row), []))
            except Unfit as reason:
                self.refused[str(reason)] += 1
        return found

    def reading(self, cases: list[CaseSolutions]) -> Reading:
        """The cases with the tallies of this origin."""
        num_read = len(cases) + self.refused.total()
        return Reading(cases, num_read, dict(self.refused), dict(self.left_out), unit="cases")

    def image(self, path: str, view: str | None = None) -> Image:
        """An image that lies in the folder. Unfit where it is missing, RecordError where its path is unsafe."""
        try:
            check_relative_path(path)
        except ValueError as error:
            raise RecordError(f"{self.folder}: {error}") from None
        if not (self.folder / path).is_file():
            raise Unfit("its image file is missing")
        return Image(path=path) if view is None else Image(path=path, view=view)

    def written_image(self, data: bytes, name: str | None = None) -> Image:
        """An image from inside a table or volume, as a file of the given name.

        Without a name it is named by its content, so that one picture of several questions is one file, whose place in
        two splits shows as a leak.
        """
        suffix = next((suffix for mark, suffix in KEPT.items() if data.startswith(mark)), None)
        if suffix is None:
            data, suffix = _as_png(data), "png"
            self.left_out["the coding of images other than PNG and JPEG, written as PNG"] += 1
        self.has_written = True
        path = f"{FOLDER}/{name or hashlib.sha256(data).hexdigest()[:24]}.{suffix}"
        if name is not None or not (self.target / path).exists():
            with replaced_file(self.target / path) as draft:
                draft.write_bytes(data)
        return Image(path=path)

    def embedded(self, row: Row, name: str) -> Image | None:
        """The image of a Parquet field as Hugging Face stores it, `{bytes, path}`; None where the field is null."""
        found = row.fields.get(name)
        if found is None:
            return None
        if not isinstance(found, dict) or not isinstance(found.get("bytes"), bytes):
            raise RecordError(f"{row.where}: {name}: expected an image as Hugging Face stores it, with its bytes")
        return self.written_image(found["bytes"])


def png_bytes(pixels: Any) -> bytes:
    """PNG of (H, W) or (H, W, 3) uint8."""
    buffer = io.BytesIO()
    Picture.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def _as_png(data: bytes) -> bytes:
    buffer = io.BytesIO()
    try:
        with Picture.open(io.BytesIO(data)) as picture:
            picture.convert("RGB").save(buffer, format="PNG")
    except (OSError, Picture.DecompressionBombError):
        raise Unfit("its image cannot be read") from None
    return buffer.getvalue()
