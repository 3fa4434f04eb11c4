"""MedPRM: train and evaluate process reward models for medical reasoning over images and text.

Rooms, in import order (a room imports itself and rooms before it; tests/test_rooms.py checks):
statistics, images, cases, clients, encoding, model, scoring, annotation, training, evaluation, serving,
review, commands. This file imports the standard library only.
"""

import sys
from pathlib import Path

__version__ = "0.1.0"

ROOMS = (
    "statistics",
    "images",
    "cases",
    "clients",
    "encoding",
    "model",
    "scoring",
    "annotation",
    "training",
    "evaluation",
    "serving",
    "review",
    "commands",
)


def import_last(folder: Path) -> None:
    """Search `folder` after the installed packages.

    The checkout holds an `evaluate.py`, and Hugging Face has a package `evaluate`: with the checkout's folder last,
    `import evaluate` finds theirs and an uninstalled checkout still runs. Compared by value and resolved, because
    under PYTHONSAFEPATH the first entry is not the script's folder, and a checkout can lie behind a link.
    """
    folder = folder.resolve()
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != folder] + [str(folder)]
