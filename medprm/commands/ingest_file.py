"""One file of an ingest, in a worker process: header, pixels of the frames that are asked for, pictures written.

In: a JSON object (`FileTask.value`). Out: a JSON object with the header's facts and, for every frame, what was applied
or why it cannot be shown. A file that cannot be used at all raises ImageError with its path relative to the source.
"""

from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from PIL import Image
from pydicom import FileDataset

from medprm.cases.atomic import replaced_file
from medprm.images.dicom import render_dicom
from medprm.images.dicom_file import open_dicom, told_as_image_error
from medprm.images.files import ImageError, read_image_bytes, resolve_image, sniff_format
from medprm.images.header import is_whole_slide, read_facts
from medprm.images.load import decode_image


@dataclass(frozen=True)
class FileTask:
    """What a worker needs to know of one file."""

    # Source folder, and the file relative to it.
    root: str
    path: str
    # Frames that questions ask for; null stands for the only frame. Empty: nobody asks, but the file is checked.
    frames: tuple[int | None, ...]
    # CT windows of the pictures that are written; empty: the file's own.
    windows: tuple[str, ...]
    # Folder of written pictures, and their name without frame and suffix; null: none are written.
    pictures: str | None
    stem: str
    # Settings of `medprm.images.deidentify`; null: files stay as they are.
    deidentify: dict[str, Any] | None = None
    # Why the file is not to be opened at all; null: it is.
    refusal: str | None = None

    @property
    def value(self) -> dict[str, Any]:
        return asdict(self)


def examine_file(value: dict[str, Any]) -> dict[str, Any]:
    """Facts, and for each frame (`""` for the only one) `{"path", "applied"}` or `{"refusal"}`. Raises ImageError."""
    task = FileTask(**{**value, "frames": tuple(value["frames"]), "windows": tuple(value["windows"])})
    if task.refusal is not None:
        raise ImageError(task.refusal)
    shown = Path(task.path)
    try:
        data = read_image_bytes(resolve_image(Path(task.root), task.path))
    except ImageError as error:
        # Messages go into tables that are passed on, and say nothing of this machine's folders.
        raise ImageError(str(error).replace(str(Path(task.root).resolve()), "").lstrip("/")) from error
    if sniff_format(data, shown) == "dicom":
        return _examine_dicom(open_dicom(data, shown), shown, task)
    if task.deidentify is not None:
        raise ImageError(f"{shown}: no DICOM file, and only DICOM files are de-identified; leave it out of the source")
    opened = decode_image(data, shown, windows=task.windows if task.pictures else ())
    frames = {}
    for frame in task.frames or (None,):
        if frame not in (None, 0):
            frames[str(frame)] = {"refusal": f"frame {frame} of a file that has one, frame 0"}
            continue
        frames[_key(frame)] = {"path": _write(opened.image, frame, task), "applied": opened.applied}
    return {"facts": {"rows": opened.image.height, "columns": opened.image.width, "num_frames": 1}, "frames": frames}


def _examine_dicom(dataset: FileDataset, shown: Path, task: FileTask) -> dict[str, Any]:
    if not dataset.get("SOPInstanceUID") and "DirectoryRecordSequence" in dataset:
        raise ImageError(f"{shown}: a DICOMDIR, a list of files; the files themselves are looked for in the folder")
    original = read_facts(dataset)
    frames: dict[str, dict[str, Any]] = {}
    result: dict[str, Any] = {"facts": original.as_dict(), "frames": frames}
    if task.deidentify is not None:
        dataset, result["report"] = _deidentify(dataset, task.deidentify, shown)
        result |= {"facts": read_facts(dataset).as_dict(), "original_study_id": original.study_id}
    is_one = original.num_frames == 1 or is_whole_slide(dataset)
    for frame in task.frames or ((None,) if is_one else (0,)):
        try:
            image = render_dicom(dataset, shown, frame, windows=task.windows)
        except ImageError as error:
            frames[_key(frame)] = {"refusal": str(error)}
            continue
        # A frame that nobody asks for is decoded as a check, and not written.
        written = _write(Image.fromarray(image.pixels), frame, task) if task.frames else None
        frames[_key(frame)] = {"path": written, "applied": image.applied}
    # Of several frames, one that nobody can show costs its question only.
    if (is_one or not task.frames) and all("refusal" in one for one in frames.values()):
        raise ImageError(next(iter(frames.values()))["refusal"])
    return result


def _deidentify(dataset: FileDataset, settings: dict[str, Any], shown: Path) -> tuple[FileDataset, dict[str, Any]]:
    """Headers and burned-in text, by `medprm.images.deidentify`; what it held back is refused."""
    # Heavy (OCR), and of use to this option alone.
    deidentify = import_module("medprm.images.deidentify")
    try:
        with told_as_image_error(shown):
            cleaned, report = deidentify.deidentify_file(dataset, deidentify.DeidentifySettings(**settings))
    except ImageError as error:
        said = str(error)
        raise ImageError(said if said.startswith(str(shown)) else f"{shown}: {said}") from error
    return cleaned, report.to_json()


def _write(image: Image.Image, frame: int | None, task: FileTask) -> str | None:
    """The picture as PNG; its path below the target."""
    if task.pictures is None:
        return None
    name = f"{task.stem}.png" if frame is None else f"{task.stem}_{frame}.png"
    with replaced_file(Path(task.pictures) / name) as draft:
        image.save(draft, format="PNG")
    return name


def _key(frame: int | None) -> str:
    return "" if frame is None else str(frame)
