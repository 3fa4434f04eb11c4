"""The project's metrics as modules of Hugging Face's `evaluate`: `evaluate.load(module_path("step_f1"))`, offline.

Each folder holds one module, as `evaluate.load` wants it. They call the functions of this package and add nothing.
step_f1, step_ranking and step_calibration take the same input and go together in `evaluate.combine`.
"""

from pathlib import Path

from medprm.errors import check_choice

FOLDER = Path(__file__).parent
MODULES = ("step_f1", "step_ranking", "step_calibration", "first_error", "best_of_n")


def module_path(name: str) -> str:
    """What `evaluate.load` takes for one of `MODULES`."""
    check_choice("module", name, MODULES)
    return str(FOLDER / name)
