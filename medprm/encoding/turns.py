"""A case and its steps as turns of text: the one place that decides what the model may read.

In: a case, step texts, a prompt. Out: `Turns`. A whitelist: system text, documents, number of images, clinical
context, question, options and step texts are read, and nothing else of the record. No gold standard, answer, label,
source, evidence, note or generator can enter.
"""

import string
from collections.abc import Sequence
from dataclasses import dataclass

from medprm.cases.schema import Case, ClinicalContext, Document
from medprm.encoding.prompts import Prompt


@dataclass(frozen=True)
class Turns:
    """The texts of one sequence, in order; the images stand between `documents` and `statement`."""

    system: str
    documents: tuple[str, ...]
    opening: str
    num_images: int
    # Context, question, options, header of the solution: what every solution of a case shares.
    statement: str
    steps: tuple[str, ...]


def build_turns(
    case: Case, step_texts: Sequence[str], prompt: Prompt, documents: Sequence[str], has_context: bool = True
) -> Turns:
    """The turns of one solution; turn 0 holds all but the later steps."""
    context = render_context(case.clinical_context) if has_context else ""
    return Turns(
        system=prompt.system,
        documents=tuple(f"Document {number}: {text}\n" for number, text in enumerate(documents, start=1)),
        opening=prompt.opening,
        num_images=len(case.all_images),
        statement=context + prompt.question + case.question + render_options(case.options) + prompt.solution,
        steps=tuple(step_texts),
    )


def document_text(document: Document) -> str:
    """What of a document enters the prompt: its title, where it has one, and its text."""
    return f"{document.title}. {document.text}" if document.title else document.text


def render_context(context: ClinicalContext) -> str:
    """One line in a fixed order, "" where nothing is known: `Context: age 63, sex M; symptoms: cough, fever.`"""
    age = context.age if context.age is not None else context.age_group
    person = [f"age {age}"] * (age is not None) + [f"sex {context.sex}"] * (context.sex is not None)
    parts = [", ".join(person)]
    for name, values in (("symptoms", context.symptoms), ("history", context.history)):
        parts.append(f"{name}: {', '.join(values)}" if values else "")
    for name, measured in (("vitals", context.vitals), ("laboratory", context.laboratory)):
        pairs = sorted((measured or {}).items())
        parts.append(f"{name}: {', '.join(f'{key} {value}' for key, value in pairs)}" if pairs else "")
    parts.append(context.note or "")
    known = [part for part in parts if part]
    return f"Context: {'; '.join(known)}.\n" if known else ""


def render_options(options: Sequence[str]) -> str:
    """On a line of their own, `(A) pneumonia (B) effusion`; "" where there is none."""
    if not options:
        return ""
    names = [*string.ascii_uppercase, *map(str, range(27, len(options) + 1))]
    return "\n" + " ".join(f"({name}) {option}" for name, option in zip(names, options, strict=False))
