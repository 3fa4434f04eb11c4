"""Index folders on disk: built once for a content hash, beside their place first; old ones are removed.

In: where indexes are kept, the kind of index, a hash of all that it is made of, and how to build it. Out: its folder.
One process builds at a time; a build that was killed leaves a scratch folder, which the next build removes.
"""

import fcntl
import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

logger = logging.getLogger(__name__)

NUM_KEPT = 8  # of a kind, those opened last: enough to go to and fro between sets of collections
MARK = "done.json"  # its time is that of the last opening
SCRATCH = ".building-"


def index_folder(parent: Path, kind: str, digest: str, build: Callable[[Path], None]) -> Path:
    """The folder of the index `digest`; `build` fills an empty folder where it is not there yet."""
    folder = parent / f"{kind}-{digest[:16]}"
    if not _open(folder):
        parent.mkdir(parents=True, exist_ok=True)
        with open(parent / ".lock", "w") as lock:
            _wait_for(lock, parent)  # another process may build the same one just now
            if not _open(folder):
                _build(folder, digest, build)
                _remove_old(parent, kind)
    return folder


def _wait_for(lock: TextIO, parent: Path) -> None:
    """Hold the lock, until its file is closed."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        logger.info("another process builds an index in %s: waiting for it", parent)
        fcntl.flock(lock, fcntl.LOCK_EX)


def _open(folder: Path) -> bool:
    """Whether the index is there; if so it counts as the one opened last."""
    try:
        os.utime(folder / MARK)
    except FileNotFoundError:
        return False
    return True


def _build(folder: Path, digest: str, build: Callable[[Path], None]) -> None:
    for left_over in folder.parent.glob(f"{SCRATCH}*"):
        shutil.rmtree(left_over)
    scratch = folder.parent / f"{SCRATCH}{folder.name}"
    scratch.mkdir()
    build(scratch)
    (scratch / MARK).write_text(json.dumps({"hash": digest}))
    scratch.rename(folder)


def _remove_old(parent: Path, kind: str) -> None:
    marks = sorted(parent.glob(f"{kind}-*/{MARK}"), key=lambda one: one.stat().st_mtime_ns, reverse=True)
    for mark in marks[NUM_KEPT:]:
        logger.info("removing the index %s: %d others of its kind were opened since", mark.parent, NUM_KEPT)
        shutil.rmtree(mark.parent)
