"""A case's images as they are shown: in a report, to a judge, to a policy."""

from pathlib import Path

from medprm.cases.schema import Case
from medprm.images.files import resolve_image
from medprm.images.load import load_image, to_png_bytes


def png_files(case: Case, root: Path, max_side: int) -> list[bytes]:
    """PNG files in memory: decoded pixels without a header, neither side over `max_side`. Raises ImageError."""
    return [
        to_png_bytes(load_image(resolve_image(root, image.path), frame=image.frame), max_side)
        for image in case.all_images
    ]
