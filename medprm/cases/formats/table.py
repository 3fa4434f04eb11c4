"""Every step-labelled format by name: which files, how it says labels, how it is read and written.

`load_format(name, path)` reads one; `write_format(name, cases, writer)` gives the rows of one. `index_base` is what the
published numbers count from (None: labels lie beside the steps); conversion is in `labels`, once.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from medprm.cases.formats import (
    clinical_notes,
    first_error,
    math_shepherd,
    med_prm,
    mrben,
    prm800k,
    prmbench,
    trl_stepwise,
    visual_process_bench,
    visualprm,
)
from medprm.cases.formats.reading import RowReader, find_files, read_solutions
from medprm.cases.formats.writing import RowWriter, Writer, Writing, write_solutions
from medprm.cases.parsing import RecordError
from medprm.cases.reading import Reading
from medprm.cases.schema import CaseSolutions
from medprm.errors import check_choice

RowsWriter = Callable[[Iterable[CaseSolutions], Writer], Writing]


@dataclass(frozen=True)
class StepFormat:
    """One published format."""

    title: str
    licence: str
    # How labels are said, for the table in the docs.
    labels: str
    files: tuple[str, ...] = ()
    index_base: int | None = None
    read_row: RowReader | None = None
    read: Callable[[Path], Reading] | None = None
    write_row: RowWriter | None = None
    write: RowsWriter | None = None

    @property
    def is_read(self) -> bool:
        return self.read_row is not None or self.read is not None

    @property
    def is_written(self) -> bool:
        return self.write_row is not None or self.write is not None


def _load_med_prm(path: Path) -> Reading:
    files = find_files(path, ("*.json",))
    if len(files) != 1:
        names = ", ".join(file.name for file in files)
        raise RecordError(f"{path}: expected one .json file of Med-PRM's training records; found {names}")
    return med_prm.load_med_prm(files[0])


FORMATS: dict[str, StepFormat] = {
    "prm800k": StepFormat(
        "PRM800K", "MIT", "-1, 0, 1 by people", prm800k.FILES,
        read_row=prm800k.read_row, write_row=prm800k.write_row,
    ),
    "math_shepherd": StepFormat(
        "Math-Shepherd", "MIT", "+ / - by rollouts, in the text", math_shepherd.FILES,
        read_row=math_shepherd.read_row, write_row=math_shepherd.write_row,
    ),
    "trl": StepFormat(
        "TRL stepwise supervision", "the data's own", "true / false", trl_stepwise.FILES,
        read_row=trl_stepwise.read_row, write_row=trl_stepwise.write_row,
    ),
    "visualprm_raw": StepFormat(
        "VisualPRM400K, raw", visualprm.LICENCE, "counts of rollouts", visualprm.FILES,
        read_row=visualprm.read_raw, write_row=visualprm.write_raw,
    ),
    "visualprm": StepFormat(
        "VisualPRM400K, conversations (InternVL chat)", visualprm.LICENCE, "+ / - turns", visualprm.FILES,
        read_row=visualprm.read_conversation, write_row=visualprm.write_conversation,
    ),
    "swift": StepFormat(
        "ms-swift chat", "the data's own", "+ / - turns", write_row=visualprm.write_swift,
    ),
    "visualprocessbench": StepFormat(
        "VisualProcessBench", visual_process_bench.LICENCE, "1, 0, -1 by people", visual_process_bench.FILES,
        read_row=visual_process_bench.read_row, write_row=visual_process_bench.write_row,
    ),
    "med_prm": StepFormat(
        "Med-PRM, training and test", "MIT (data card)", "k/16, hard, two judges, outcome", ("*.json",),
        read=_load_med_prm, write=med_prm.write_med_prm,
    ),
    "processbench": StepFormat(
        "ProcessBench", "Apache-2.0", "first error, -1 for none", first_error.PROCESSBENCH_FILES, index_base=0,
        read_row=first_error.read_processbench, write_row=first_error.write_processbench,
    ),
    "prmbench": StepFormat(
        "PRMBench", "Apache-2.0", "all wrong steps", prmbench.FILES, index_base=1, read_row=prmbench.read_row,
    ),
    "mr_gsm8k": StepFormat(
        "MR-GSM8K", "MIT", "first error, N/A for none", first_error.MR_GSM8K_FILES, index_base=1,
        read_row=first_error.read_mr_gsm8k,
    ),
    "mrben": StepFormat(
        "Mr-Ben", "MIT", "first error by the text's `Step N`, N/A for none", ("*.json",), index_base=1,
        read=mrben.load_mrben,
    ),
    "reasoneval": StepFormat(
        "ReasonEval (MR-Math, perturbations)", "none stated", "first error; 1, 0 (redundant); perturbed step (from 0)",
        first_error.REASONEVAL_FILES, index_base=1, read_row=first_error.read_reasoneval,
    ),
    "medec": StepFormat(
        "MEDEC", "CC BY 4.0", "the one wrong sentence, -1 for none", index_base=0, read=clinical_notes.load_medec,
    ),
    "prm_clinic": StepFormat(
        "PRM-Clinic", "MIT", "+ / - of steps, problems and completeness", clinical_notes.PRM_CLINIC_FILES,
        read_row=clinical_notes.read_prm_clinic,
    ),
}  # fmt: skip

READ_FORMATS = tuple(name for name, one in FORMATS.items() if one.is_read)
WRITTEN_FORMATS = tuple(name for name, one in FORMATS.items() if one.is_written)


def load_format(name: str, path: str | Path) -> Reading:
    """The cases of a published file, or of the folder that holds it, with the counts of what was refused."""
    check_choice("format", name, READ_FORMATS)
    chosen, path = FORMATS[name], Path(path)
    if chosen.read is not None:
        return chosen.read(path)
    assert chosen.read_row is not None, f"{name} is among READ_FORMATS"
    return read_solutions(path, chosen.files, chosen.read_row)


def write_format(name: str, cases: Iterable[CaseSolutions], writer: Writer) -> Writing:
    """The rows of the format; `writer` counts what was refused or changed."""
    check_choice("format", name, WRITTEN_FORMATS)
    chosen = FORMATS[name]
    if chosen.write is not None:
        return chosen.write(cases, writer)
    assert chosen.write_row is not None, f"{name} is among WRITTEN_FORMATS"
    return write_solutions(cases, chosen.write_row, writer)
