"""General questions about pictures, on which VisualPRM is evaluated, and MMPR's prompts.

MMMU, MathVista, MathVision, MathVerse, DynaMath, WeMath, LogicVista: one small function each, a row to a case. Modality
is `other`. `<image 1>` in a question stands for a picture; ours stand before the question, so inner marks become words.
"""

import ast
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from medprm.cases.formats.images import image_fields, without_marks
from medprm.cases.reading import Reading
from medprm.cases.rows import Row, read_rows
from medprm.cases.schema import Case, CaseSolutions, Image, SplitName
from medprm.cases.sets.origin import Origin, Unfit
from medprm.cases.sets.questions import option_at, question_case

CaseReader = Callable[[Origin, Row], Case]
VISION_ONLY = "Vision Only"
"""MathVerse's version of a problem whose question is in the picture."""


def general(read_one: CaseReader, *patterns: str, only: Mapping[str, str] | None = None) -> Callable[[Origin], Reading]:
    """The reader of a general set: all files that fit, each row by `read_one`; rows get their number in their file.

    `only`: fields and the values they must have; other rows are not of the set.
    """

    def read(origin: Origin) -> Reading:
        cases: list[CaseSolutions] = []
        for file in origin.files(*patterns):
            rows = (
                Row(row.where, {**row.fields, "number": number, "file": file.stem})
                for number, row in enumerate(read_rows(file))
                if all(row.text(name) == value for name, value in (only or {}).items())
            )
            cases += origin.cases(rows, lambda row: read_one(origin, row))
        return origin.reading(cases)

    return read


def mmmu_case(origin: Origin, row: Row) -> Case:
    """MMMU (arXiv 2311.16502): `options` is a list as Python writes it; test answers are hidden (`?`)."""
    name = row.text("id")
    options = _listed(row, "options")
    images = [image for k in range(1, 8) if (image := origin.embedded(row, f"image_{k}"))]
    given = row.text("answer")
    answer = None if given == "?" else option_at(options, given, row, "answer") if options else given
    return _general_case(
        origin,
        "MMMU",
        "Apache-2.0",
        name,
        row.text("question"),
        answer,
        options,
        images,
        _split_in(name.split("_")[0]),
        {"subfield": row.optional_text("subfield")},
    )


def mathvista_case(origin: Origin, row: Row) -> Case:
    """MathVista (arXiv 2310.02255): `answer` is the text of a choice; hidden in the test part."""
    options = [str(one) for one in row.fields.get("choices") or []]
    answer = row.optional_text("answer")
    return _general_case(
        origin,
        "MathVista",
        "CC BY-SA 4.0",
        row.word("pid"),
        row.text("question"),
        answer,
        options,
        _pictures(origin, row, "decoded_image", "image"),
        "test",
        {"unit": row.optional_text("unit"), "answer_type": row.optional_text("answer_type")},
    )


def mathvision_case(origin: Origin, row: Row) -> Case:
    """MathVision (arXiv 2402.14804): `answer` is a letter where there are options."""
    options = [str(one) for one in row.fields.get("options") or []]
    given = row.word("answer")
    # Where the options are only in the picture, they are their own letters.
    answer = option_at(options, given, row, "answer") if options else given
    return _general_case(
        origin,
        "MathVision",
        "MIT",
        row.word("id"),
        row.text("question"),
        answer,
        options,
        _pictures(origin, row, "decoded_image", "image"),
        "test",
        {"subject": row.optional_text("subject"), "level": row.fields.get("level")},
    )


def mathverse_case(origin: Origin, row: Row) -> Case:
    """MathVerse (arXiv 2403.14624): five versions with a picture; the vision-only one has the question in it.

    That one is MathVerse-VO to published protocols.
    """
    version = row.text("problem_version")
    question = row.optional_text("question") or "Answer the question in the picture."
    return _general_case(
        origin,
        "MathVerse",
        "MIT",
        f"{row.word('sample_index')}",
        question,
        row.word("answer"),
        (),
        _pictures(origin, row, "image", "image"),
        "test",
        {"version": version, "problem": row.word("problem_index")},
        group=f"mathverse_{row.word('problem_index')}",
        data_source="MathVerse-VO" if version == VISION_ONLY else None,
    )


def dynamath_case(origin: Origin, row: Row) -> Case:
    """DynaMath (arXiv 2411.00836): ten variants of 501 problems, one file a variant; scored by the worst of them."""
    problem = row.word("id")
    return _general_case(
        origin,
        "DynaMath",
        "CC BY 4.0",
        f"{row.fields['file']}_{problem}",
        row.text("question"),
        row.word("ground_truth"),
        (),
        _pictures(origin, row, "decoded_image", "image"),
        "test",
        {"answer_type": row.optional_text("answer_type"), "subject": row.optional_text("subject")},
        group=f"dynamath_{problem}",
        variant_of=f"dynamath_{problem}",
    )


def wemath_case(origin: Origin, row: Row) -> Case:
    """WeMath (arXiv 2407.01284): options in one text, `A. 1; B. 2`; answers are letters."""
    options = _lettered(row.text("option"))
    answer = option_at(options, row.text("answer"), row, "answer")
    return _general_case(
        origin,
        "WeMath",
        "CC BY-NC 4.0",
        row.word("ID"),
        row.text("question"),
        answer,
        options,
        _pictures(origin, row, "image_path", "image_path"),
        "test",
        {"key": row.optional_text("key"), "concept": row.fields.get("knowledge concept")},
        group=f"wemath_{row.word('ID')}",
    )


def logicvista_case(origin: Origin, row: Row) -> Case:
    """LogicVista (arXiv 2407.04973): one object keyed by number; options are in the picture, answers are letters."""
    images = [origin.image(f"images/{row.text('imagename')}")]
    return _general_case(
        origin,
        "LogicVista",
        "none stated",
        row.text("key"),
        row.text("question"),
        row.word("answer"),
        (),
        images,
        "test",
        {"skill": row.fields.get("skill")},
    )


def mmpr_case(origin: Origin, row: Row) -> Case:
    """A prompt of MMPR (OpenGVLab): path or paths, question, answer."""
    images = [origin.image(image.path) for image in image_fields(row)]
    name = f"{row.fields['file']}_{row.fields['number']}"
    return _general_case(
        origin,
        "MMPR",
        "MIT; images under the terms of their own sets",
        name,
        row.text("question"),
        row.word("answer"),
        (),
        images,
        None,
        {"part": row.fields["file"]},
    )


def _general_case(
    origin: Origin,
    source: str,
    licence: str,
    name: str,
    question: str,
    answer: str | None,
    options: Sequence[str],
    images: Sequence[Image],
    split: SplitName | None,
    extra: dict[str, Any],
    group: str | None = None,
    data_source: str | None = None,
    variant_of: str | None = None,
) -> Case:
    question = without_marks(question, origin.left_out)
    if not question:
        raise Unfit("no question beside the picture")
    if any(not str(option).strip() for option in options):
        raise Unfit("a blank option")
    return question_case(
        source,
        licence,
        f"{source.casefold()}_{name}",
        question,
        answer=answer,
        options=options,
        modality="other" if images else "text",
        images=images,
        patient_id=group,
        split=split,
        extra={key: value for key, value in extra.items() if value is not None},
        data_source=data_source,
        variant_of=variant_of,
    )


def _pictures(origin: Origin, row: Row, embedded: str, path: str) -> list[Image]:
    """The picture inside the table, else the file that is named."""
    if isinstance(row.fields.get(embedded), dict):
        image = origin.embedded(row, embedded)
        return [image] if image else []
    return [origin.image(image.path) for image in image_fields(row, path)]


def _listed(row: Row, name: str) -> list[str]:
    """A list, or the text of one as Python writes it. Literals only: nothing is evaluated."""
    given = row.fields.get(name)
    if isinstance(given, str):
        try:
            given = ast.literal_eval(given)
        except (ValueError, SyntaxError):
            raise row.error(name, "a list as Python writes it") from None
    if not isinstance(given, list):
        raise row.error(name, "a list")
    return [str(one) for one in given]


def _lettered(text: str) -> list[str]:
    """`A. 1; B. 2` -> [1, 2]."""
    places: Iterable[re.Match[str]] = re.finditer(r"(?:^|;)\s*([A-H])[.、]\s*", text)
    found = list(places)
    ends = [one.start() for one in found[1:]] + [len(text)]
    return [text[one.end() : end].strip() for one, end in zip(found, ends, strict=True)]


def _split_in(word: str) -> SplitName | None:
    words: dict[str, SplitName] = {"dev": "train", "validation": "validation", "test": "test"}
    return words.get(word)
