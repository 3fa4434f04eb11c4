"""What the tests of `isolation` run in worker processes: they are found by name there."""

import ctypes
import os
import time
import warnings
from pathlib import Path
from typing import Any

from medprm.images.files import ImageError
from medprm.images.load import decode_image


def misbehave(how: str) -> str:
    """Do what the item says."""
    if how == "crash":
        ctypes.string_at(0)
    if how == "exit":
        os._exit(3)
    if how == "who":
        return str(os.getpid())
    if how == "hang":
        time.sleep(600)
    if how == "refuse":
        raise ImageError("x.dcm: refused")
    if how == "bug":
        raise KeyError("ours")
    if how == "memory":
        try:
            bytearray(2**31)
        except MemoryError as error:
            raise ImageError("x.dcm: does not fit") from error
    if how == "warn":
        warnings.warn("of a library", stacklevel=1)
        os.write(2, b"noise of a C library\n")
    if how.startswith("sleep"):
        time.sleep(float(how[5:]))
    return how.upper()


def read_mutant(value: dict[str, Any]) -> dict[str, Any]:
    """Apply the mutation of `mutants.py` to a file, decode it, and say what came out and how much memory it took."""
    import resource

    from mutants import mutate

    data = mutate(Path(value["source"]).read_bytes(), value["seed"])
    size, refusal = None, None
    try:
        size = decode_image(data, Path(value["name"]), frame=value["frame"]).image.size
    except ImageError as error:
        refusal = str(error)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"size": size, "refusal": refusal, "peak_mib": peak}


def read_watched(value: dict[str, Any]) -> dict[str, Any]:
    """Open a file; why it is refused, and by how much the highest memory of the process grew."""
    import resource

    from medprm.images.load import load_image

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refusal = None
    try:
        load_image(Path(value["path"]))
    except ImageError as error:
        refusal = str(error)
    return {"refusal": refusal, "growth_mib": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024}
