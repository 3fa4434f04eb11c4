"""Make the phantom set ready for training: built once for its settings, then labelled by the simulated annotators.

In: settings. Out: a folder with train.jsonl, validation.jsonl, test.jsonl, truth.jsonl and the films, named after a
hash of the settings and of the code that draws it, so that a changed exam is never mistaken for the old one.
"""

import hashlib
import json
import logging
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path

from medprm.annotation.settings import SimulatedSettings
from medprm.annotation.simulated import annotate_phantom
from medprm.cases import phantom
from medprm.cases.phantom.build import build_phantom
from medprm.cases.phantom.settings import PhantomSettings

logger = logging.getLogger(__name__)


def ensure_phantom(folder: Path, settings: PhantomSettings, annotators: SimulatedSettings) -> Path:
    """The set's folder below `folder`; complete or absent, never half-made."""
    finished = folder / f"phantom-{_fingerprint(settings, annotators)}"
    if finished.is_dir():
        return finished
    logger.info("drawing the phantom set into %s", finished)
    folder.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".phantom-", dir=folder))
    try:
        build_phantom(scratch / "set", settings)
        counts = annotate_phantom(scratch / "set", annotators)
        logger.info("training labels by way and verdict: %s", json.dumps(counts))
        if not finished.is_dir():  # another process may have been faster
            (scratch / "set").rename(finished)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return finished


def _fingerprint(settings: PhantomSettings, annotators: SimulatedSettings) -> str:
    digest = hashlib.sha256(json.dumps([asdict(settings), asdict(annotators)], sort_keys=True).encode())
    for source in sorted(Path(phantom.__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:12]
