"""What Weights & Biases has written."""

import time
from pathlib import Path


def written(folder: Path, until: bytes, timeout_seconds: float = 20.0) -> bytes:
    """All bytes below `folder`. The writer is a process of its own and may end its file a moment later."""
    end = time.monotonic() + timeout_seconds
    while True:
        files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
        content = b"".join(path.read_bytes() for path in files)
        if until in content or time.monotonic() > end:
            return content
        time.sleep(0.05)
