"""Clinical notes whose sentences are judged: MEDEC and PRM-Clinic.

MEDEC (abachaa/MEDEC, CC BY 4.0): `Sentences` numbers the sentences of a note from 0; lines without the next number
belong to the sentence before them. At most one sentence of a note is wrong (`Error Sentence ID`, -1 for none) and all
others are as they were written, so every sentence has a label. Rows without text (the UW part, which needs an
agreement) are refused and counted. Most vignettes are there twice, with an error and without or with another one:
`patient_id` is the vignette, so that splits and intervals go by it.
PRM-Clinic (hanyin88/prm-clinic, MIT): notes in problems and steps, each step + or -. The problem's name opens its first
step, as in the notes; scores of problems and of completeness are kept beside the steps. The two files of the
verification tasks hold of each dialogue the gold note and several with errors put in: candidates of one case, of which
the gold one is right.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medprm.cases.formats.labels import SIGNS, ruled_steps
from medprm.cases.formats.reading import Labelled, Unusable, file_of, read_solutions, split_of
from medprm.cases.formats.vignettes import first_of_vignette
from medprm.cases.reading import Reading
from medprm.cases.rows import Row
from medprm.cases.schema import Case, ClinicalContext, GoldStandard, Label, Metadata, Solution

MEDEC_FILES = ("MEDEC-MS*.csv", "*.csv")
PRM_CLINIC_FILES = ("prm_clinic_*.json.gz", "*.json.gz", "*.json")
# The authors' spelling is `verificaiton_tasks_gold.json.gz`.
VERIFICATION_FILES = "verif"  # opens their names; they are the set's test split
MEDEC_QUESTION = "Which sentence of this clinical note is wrong, if any?"
PRM_CLINIC_QUESTION = "Write the assessment and plan for the conversation between doctor and patient."
NUMBERED = re.compile(r"(\d+)(?: (.*))?$", re.DOTALL)
NO_ERROR = -1


def load_medec(path: Path) -> Reading:
    """The notes of a file or folder, each with its vignette as the patient."""
    reading = read_solutions(path, MEDEC_FILES, read_medec)
    firsts = first_of_vignette([item.solutions[0].step_texts for item in reading.cases])
    names = [f"{reading.cases[first].case.case_id}_vignette" for first in firsts]
    cases = [
        item._replace(case=item.case.model_copy(update={"patient_id": name}))
        for item, name in zip(reading.cases, names, strict=True)
    ]
    return reading._replace(cases=cases)


def read_medec(row: Row, _left_out: Counter[str]) -> Iterator[Labelled]:
    """A note as one solution, a sentence a step."""
    note_id = row.text("Text ID")
    if not str(row.fields.get("Text") or "").strip():
        raise Unusable("no text (MEDEC's UW part comes under an agreement of its own)")
    sentences = merge_sentences(row.text("Sentences"))
    wrong = row.integer("Error Sentence ID")
    _check_medec(row, sentences, wrong)
    labels: list[Label] = ["incorrect" if place == wrong else "correct" for place in range(len(sentences))]
    has_error = wrong != NO_ERROR
    found = {"error_type": row.text("Error Type"), "corrected_sentence": row.text("Corrected Sentence")}
    case = Case(
        case_id=f"medec_{note_id}",
        modality="text",
        metadata=Metadata(source="MEDEC", licence="CC BY 4.0", split=split_of(row.where)),
        question=MEDEC_QUESTION,
        gold_standard=GoldStandard(extra={"error_sentence_id": wrong, **(found if has_error else {})}),
    )
    steps = ruled_steps(sentences, labels, "medec_error_sentence", "human_reference")
    yield Labelled(case, Solution(solution_id=f"medec_{note_id}-0", is_correct=not has_error, solution_steps=steps))


def merge_sentences(text: str) -> list[str]:
    """Sentences by the numbers that open them, 0, 1, 2, ...; a line with any other number continues the one before."""
    sentences: list[str] = []
    for line in text.split("\n"):
        found = NUMBERED.match(line)
        if found and int(found.group(1)) == len(sentences):
            sentences.append(found.group(2) or "")
        elif sentences:
            sentences[-1] = f"{sentences[-1]}\n{line}"
        else:
            raise Unusable("sentences that are not numbered from 0")
    return [sentence.strip() for sentence in sentences]


def read_prm_clinic(row: Row, left_out: Counter[str]) -> Iterator[Labelled]:
    """A note as one solution; the conversation is the case's context. Notes with errors put in have a `Sample_no`."""
    texts, labels, extras = [], [], []
    completeness = {"note_completeness_score": row.optional_text("Note_completeness_score")}
    problems = row.rows("Problems")
    for problem in problems:
        name = problem.text("Problem").strip()
        for place, step in enumerate(problem.rows("Steps")):
            texts.append(f"{name}\n{step.text('Step').strip()}" if place == 0 else step.text("Step").strip())
            labels.append(SIGNS[step.choice("Step_score", tuple(SIGNS))])
            extras.append(_problem_scores(name, problem) | completeness)
    steps = ruled_steps(texts, labels, "prm_clinic_score", "construction", extras)
    if num_empty := sum(not problem.fields["Steps"] for problem in problems):
        left_out["the name of a problem whose steps were all taken away"] += num_empty
    case_id, source = f"prm_clinic_{row.text('Case_id')}", row.text("Data_source")
    split: dict[str, Any] = {"split": "test"} if file_of(row.where).name.startswith(VERIFICATION_FILES) else {}
    case = Case(
        case_id=case_id,
        modality="text",
        metadata=Metadata(
            source="PRM-Clinic", licence="MIT; ACI-BENCH CC BY 4.0", extra={"data_source": source}, **split
        ),
        clinical_context=ClinicalContext(note=row.text("Dialogue").strip()),
        question=PRM_CLINIC_QUESTION,
    )
    is_gold = "Sample_no" not in row.fields
    yield Labelled(
        case,
        Solution(
            solution_id=f"{case_id}-{'gold' if is_gold else row.integer('Sample_no')}",
            is_correct=is_gold,
            solution_steps=steps,
        ),
    )


def _problem_scores(name: str, problem: Row) -> dict[str, Any]:
    scores = ("Problem_score", "Problem_completeness_score")
    return {"problem": name} | {key.casefold(): problem.optional_text(key) for key in scores}


def _check_medec(row: Row, sentences: list[str], wrong: int) -> None:
    """The flag, the number and the sentence must say the same; a shift by one shows here."""
    if (row.integer("Error Flag") == 1) != (wrong != NO_ERROR):
        raise row.error("Error Flag", f"1 where Error Sentence ID is not {NO_ERROR}")
    if wrong == NO_ERROR:
        return
    if not 0 <= wrong < len(sentences):
        raise row.error("Error Sentence ID", f"{NO_ERROR} or 0 to {len(sentences) - 1}")
    if sentences[wrong].split() != row.text("Error Sentence").split():
        raise row.error("Error Sentence", f"the sentence numbered {wrong}, {sentences[wrong][:60]!r}")
