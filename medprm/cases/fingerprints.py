"""What an image or a text is, whatever its name: to find the same twice, and in two splits.

In: image files and cases. Out: hashes of file bytes and of decoded pixels, normalised texts; errors that name both
sides.
Pixel hashes see through another file format without loss, another name, another header. They do not see through
resizing, cropping or lossy compression; a perceptual hash would, and would also call many different chest films alike
(measured on real films in docs/data_quality.md).
"""

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from medprm.cases.schema import Case, Image
from medprm.errors import InputError
from medprm.images.files import resolve_image
from medprm.images.load import load_image


def normalised(text: str) -> str:
    """Lower case, compatible forms put together, letters and digits only, single spaces."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.findall(r"\w+", folded))


def word_runs(text: str, length: int = 3) -> frozenset[str]:
    """The runs of `length` words of a normalised text; the whole text where it is shorter."""
    words = text.split()
    if len(words) <= length:
        return frozenset([text])
    return frozenset(" ".join(words[begin : begin + length]) for begin in range(len(words) - length + 1))


def jaccard(first: frozenset[str], second: frozenset[str]) -> float:
    """Size of the intersection over that of the union."""
    return len(first & second) / max(1, len(first | second))


def file_hash(path: Path) -> str:
    """sha256 of the bytes."""
    with open(path, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def pixel_hash(root: Path, image: Image) -> str:
    """sha256 of size and pixels of the decoded image, as the model sees it before tiling (RGB, 8 bits)."""
    picture = load_image(resolve_image(root, image.path), image.frame).convert("RGB")
    digest = hashlib.sha256(f"{picture.size}".encode())
    digest.update(np.asarray(picture).tobytes())
    return digest.hexdigest()


def check_images_apart(
    cases: Iterable[Case], root: Path, held_out: Sequence[Case], held_out_root: Path, where: str
) -> None:
    """InputError where an image file of `cases` has the bytes of one of `held_out`. Only files of one size are read."""
    by_size: dict[int, set[Path]] = defaultdict(set)
    for case in held_out:
        for image in case.all_images:
            path = held_out_root / image.path
            if path.is_file():
                by_size[path.stat().st_size].add(path)
    hashes: dict[int, dict[str, Path]] = {}
    for case in cases:
        for image in case.all_images:
            path = root / image.path
            if not path.is_file() or (size := path.stat().st_size) not in by_size:
                continue
            if size not in hashes:
                hashes[size] = {file_hash(one): one for one in by_size[size]}
            other = hashes[size].get(file_hash(path))
            if other is not None:
                raise InputError(
                    f"{where} case {case.case_id}: image {path} is {other} of validation or test; leave the case out "
                    "(annotate.py filters=... with filters.held_out does)"
                )
