"""Medical questions without images: MedQA, MedMCQA, PubMedQA, MMLU's medical subjects, DDXPlus, AgentClinic.

Each reader takes an `Origin` and gives one case a question, with the official split. Answers are texts of options.
"""

import ast
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from medprm.cases.parsing import RecordError, parse_json
from medprm.cases.reading import Reading
from medprm.cases.rows import Row, read_csv_rows, read_rows
from medprm.cases.schema import Case, CaseSolutions, ClinicalContext, SplitName
from medprm.cases.sets.origin import Origin, Unfit
from medprm.cases.sets.questions import option_at, question_case

SPLIT_FILES: tuple[tuple[str, SplitName], ...] = (("train", "train"), ("dev", "validation"), ("test", "test"))
MMLU_SUBJECTS = (
    *("anatomy", "clinical_knowledge", "college_biology", "college_medicine"),
    *("medical_genetics", "professional_medicine"),
)
PUBMEDQA_OPTIONS = ("yes", "no", "maybe")
DIAGNOSIS = "What is the most likely diagnosis?"


def read_medqa(pattern: str, num_options: int) -> Callable[[Origin], Reading]:
    """MedQA-US (jind11/MedQA) with 4 or 5 options; `pattern` has `{split}`."""

    def read(origin: Origin) -> Reading:
        cases: list[CaseSolutions] = []
        for word, split in SPLIT_FILES:
            file = origin.folder / pattern.format(split=word)
            cases += origin.cases(
                _numbered(read_rows(file)),
                partial(_medqa_case, num_options=num_options, split=split, word=word),
            )
        return origin.reading(cases)

    return read


def _medqa_case(row: Row, num_options: int, split: SplitName, word: str) -> Case:
    given = row.row("options").fields
    letters = [chr(ord("A") + place) for place in range(num_options)]
    if sorted(given) != letters:
        raise row.error("options", f"{num_options} options {letters[0]} to {letters[-1]}")
    options = [str(given[letter]) for letter in letters]
    answer = option_at(options, row.text("answer_idx"), row, "answer_idx")
    if answer != row.text("answer").strip():
        raise row.error("answer", f"the text of option {row.text('answer_idx')}, {answer!r}")
    case_id = f"medqa{num_options}_{word}_{row.fields['number']}"
    return question_case(
        "MedQA",
        "MIT (questions collected from the web)",
        case_id,
        row.text("question"),
        answer=answer,
        options=options,
        split=split,
        extra={"exam": row.optional_text("meta_info")},
        data_source=f"MedQA-{num_options}",
    )


def read_medmcqa(origin: Origin) -> Reading:
    """MedMCQA (arXiv 2203.14371). `cop` counts from 1 in the authors' JSON Lines, from 0 in Hugging Face's Parquet."""
    cases: list[CaseSolutions] = []
    for word, split in SPLIT_FILES:
        for file in origin.files(f"{word}.json", f"data/{word.replace('dev', 'validation')}-*.parquet"):
            base = 0 if file.suffix == ".parquet" else 1
            cases += origin.cases(read_rows(file), partial(_medmcqa_case, base=base, split=split))
    return origin.reading(cases)


def _medmcqa_case(row: Row, base: int, split: SplitName) -> Case:
    options = [row.word(name) for name in ("opa", "opb", "opc", "opd")]
    given = row.fields.get("cop")
    is_hidden = given is None or (base == 0 and given == -1)
    place = None if is_hidden else row.integer("cop") - base
    if place is not None and not 0 <= place < len(options):
        raise row.error("cop", f"{base} to {base + len(options) - 1}")
    return question_case(
        "MedMCQA",
        "MIT (questions collected from the web)",
        f"medmcqa_{row.text('id')}",
        row.text("question"),
        answer=None if place is None else options[place],
        options=options,
        split=split,
        extra={"subject": row.optional_text("subject_name"), "choice_type": row.optional_text("choice_type")},
    )


def read_pubmedqa(origin: Origin) -> Reading:
    """PubMedQA's labelled part: the abstract without its conclusion is the context; 500 ids are the test split."""
    test_file = origin.folder / "test_ground_truth.json"
    test_ids = set(_test_ids(test_file)) if test_file.is_file() else None
    if test_ids is None:
        origin.left_out["the official split: test_ground_truth.json is absent"] += 1
    rows = list(read_rows(origin.file("ori_pqal.json", "pubmedqa*.json")))

    def split_of(row: Row) -> SplitName | None:
        return None if test_ids is None else "test" if row.text("key") in test_ids else "train"

    cases: list[CaseSolutions] = []
    found: list[SplitName | None] = [split_of(row) for row in rows]
    for split in dict.fromkeys(found):
        mine = [row for row in rows if split_of(row) == split]
        cases += origin.cases(mine, partial(_pubmedqa_case, split=split))
    return origin.reading(cases)


def _pubmedqa_case(row: Row, split: SplitName | None) -> Case:
    return question_case(
        "PubMedQA",
        "MIT",
        f"pubmedqa_{row.text('key')}",
        row.text("QUESTION"),
        answer=row.choice("final_decision", PUBMEDQA_OPTIONS),
        options=PUBMEDQA_OPTIONS,
        split=split,
        context=ClinicalContext(note="\n".join(row.texts("CONTEXTS"))),
        gold_extra={"conclusion": row.optional_text("LONG_ANSWER")},
    )


def _test_ids(path: Any) -> Iterator[str]:
    value = parse_json(path.read_text(encoding="utf-8"), str(path))
    if not isinstance(value, dict):
        raise RecordError(f"{path}: expected an object, id -> answer")
    yield from value


def read_mmlu(origin: Origin) -> Reading:
    """MMLU's six medical subjects (arXiv 2009.03300): headerless CSV, question, four options, letter."""
    columns = ("question", "A", "B", "C", "D", "answer")
    cases: list[CaseSolutions] = []
    splits: tuple[tuple[str, SplitName], ...] = (("dev", "train"), ("val", "validation"), ("test", "test"))
    for word, split in splits:
        for subject in MMLU_SUBJECTS:
            file = origin.folder / "data" / word / f"{subject}_{word}.csv"
            if word == "test" or file.is_file():
                rows = _numbered(read_csv_rows(file, columns))
                cases += origin.cases(rows, partial(_mmlu_case, subject=subject, word=word, split=split))
    return origin.reading(cases)


def _mmlu_case(row: Row, subject: str, word: str, split: SplitName) -> Case:
    options = [row.word(letter) for letter in "ABCD"]
    return question_case(
        "MMLU medical",
        "MIT",
        f"mmlu_{subject}_{word}_{row.fields['number']}",
        row.text("question"),
        answer=option_at(options, row.text("answer"), row, "answer"),
        options=options,
        split=split,
        extra={"subject": subject},
        data_source="MMLU-Med",
    )


def read_ddxplus(origin: Origin) -> Reading:
    """DDXPlus (arXiv 2205.09148): synthetic patients; evidences as questions and answers, 49 diagnoses as options."""
    evidences = {row.text("name"): row for row in read_rows(origin.folder / "release_evidences.json")}
    options = sorted(row.text("condition_name") for row in read_rows(origin.folder / "release_conditions.json"))
    words: tuple[tuple[str, SplitName], ...] = (("train", "train"), ("validate", "validation"), ("test", "test"))
    cases: list[CaseSolutions] = []
    for word, split in words:
        for file in origin.files(f"release_{word}_patients.csv", f"release_{word}_patients/*.csv"):
            cases += origin.cases(
                _numbered(read_rows(file)),
                partial(_ddxplus_case, word=word, evidences=evidences, options=options, split=split),
            )
    return origin.reading(cases)


def _ddxplus_case(row: Row, word: str, evidences: Mapping[str, Row], options: Sequence[str], split: SplitName) -> Case:
    name = f"{word}_{row.fields['number']}"
    codes = _literal(row, "EVIDENCES")
    first = row.text("INITIAL_EVIDENCE")
    said = [_evidence(code, evidences, row) for code in codes]
    opening = _evidence(first, evidences, row) if first in codes else evidences[first].text("question_en")
    answer = row.text("PATHOLOGY")
    if answer not in options:
        raise row.error("PATHOLOGY", "a diagnosis of release_conditions.json")
    return question_case(
        "DDXPlus",
        "CC BY 4.0 (synthetic patients)",
        f"ddxplus_{name}",
        DIAGNOSIS,
        answer=answer,
        options=options,
        split=split,
        patient_id=f"ddxplus_{name}",
        context=ClinicalContext(
            age=row.integer("AGE"), sex=row.text("SEX"), symptoms=(f"presenting: {opening}",), history=tuple(said)
        ),
        gold_extra={"differential": _literal(row, "DIFFERENTIAL_DIAGNOSIS")},
    )


def _evidence(code: str, evidences: Mapping[str, Row], row: Row) -> str:
    """`E_55_@_V_89` as question and answer; a code without a value is answered yes."""
    name, _, value = code.partition("_@_")
    if name not in evidences:
        raise row.error("EVIDENCES", f"names of release_evidences.json, which has no {name}")
    evidence = evidences[name]
    meaning = (evidence.fields.get("value_meaning") or {}).get(value)
    said = meaning["en"] if isinstance(meaning, dict) else value or "yes"
    return f"{evidence.text('question_en').strip()} {said}"


def _literal(row: Row, name: str) -> list[Any]:
    """A list as Python writes it, which is how the published CSV has it. Literals only: nothing is evaluated."""
    try:
        value = ast.literal_eval(row.text(name))
    except (ValueError, SyntaxError):
        raise row.error(name, "a list as Python writes it") from None
    if not isinstance(value, list):
        raise row.error(name, "a list as Python writes it")
    return value


def read_agentclinic_medqa(origin: Origin) -> Reading:
    """AgentClinic's MedQA cases: all that the patient, the examination and the tests say, as context.

    The extended file holds the other file's cases again: it is read alone where it is there.
    """
    files = origin.files("agentclinic_medqa_extended.jsonl") or [origin.file("agentclinic_medqa.jsonl")]
    cases = origin.cases(_numbered(read_rows(files[0])), _osce_case)
    return origin.reading(cases)


def _osce_case(row: Row) -> Case:
    osce = row.row("OSCE_Examination")
    parts = ("Patient_Actor", "Physical_Examination_Findings", "Test_Results")
    note = "\n".join(f"{part.replace('_', ' ')}: {_said(osce.fields.get(part))}" for part in parts)
    demographics = str((osce.fields.get("Patient_Actor") or {}).get("Demographics") or "")
    age = re.search(r"(\d+)[- ]year", demographics)
    sex = re.search(r"\b(female|male)\b", demographics, re.IGNORECASE)
    person: dict[str, Any] = {"age": int(age.group(1))} if age else {}
    person |= {"sex": sex.group(1).lower()} if sex else {}
    return question_case(
        "AgentClinic MedQA",
        "MIT",
        f"agentclinic_medqa_{row.fields['number']}",
        DIAGNOSIS,
        answer=osce.text("Correct_Diagnosis").strip(),
        split="test",
        context=ClinicalContext(note=note, **person),
        extra={"objective": osce.optional_text("Objective_for_Doctor")},
        data_source="AgentClinic-MedQA",
    )


def _said(value: Any) -> str:
    """A tree of findings as one text: `Vital Signs: Temperature: 36.6; Heart Rate: 72`."""
    if isinstance(value, dict):
        return "; ".join(f"{key.replace('_', ' ')}: {_said(one)}" for key, one in value.items())
    return ", ".join(map(_said, value)) if isinstance(value, list) else str(value)


def read_agentclinic_nejm(origin: Origin) -> Reading:
    """AgentClinic's NEJM cases. Only addresses of the images are published: the pictures lie in `images/` by name."""
    files = origin.files("agentclinic_nejm_extended.jsonl") or [origin.file("agentclinic_nejm.jsonl")]
    return origin.reading(origin.cases(_numbered(read_rows(files[0])), lambda row: _nejm_case(row, origin)))


def _nejm_case(row: Row, origin: Origin) -> Case:
    answers = row.rows("answers")
    right = [one.text("text") for one in answers if one.flag("correct")]
    if len(right) != 1:
        raise Unfit("not one right answer")
    name = row.text("image_url").rsplit("/", 1)[-1].split("?")[0]
    note = f"{row.text('patient_info').strip()} {row.optional_text('physical_exams') or ''}".strip()
    return question_case(
        "AgentClinic NEJM",
        "copyright Massachusetts Medical Society",
        f"agentclinic_nejm_{row.fields['number']}",
        row.text("question"),
        answer=right[0].strip(),
        options=[one.text("text") for one in answers],
        split="test",
        modality="other",
        images=[origin.image(f"images/{name}")],
        context=ClinicalContext(note=note),
        data_source="AgentClinic-NEJM",
    )


def _numbered(rows: Iterator[Row]) -> Iterator[Row]:
    """Rows with their place, from 0, under `number`: sets without ids of their own."""
    for number, row in enumerate(rows):
        yield Row(row.where, {**row.fields, "number": number})
