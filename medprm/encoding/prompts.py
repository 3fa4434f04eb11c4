"""Prompt presets: the fixed texts around a case. The preset's text is saved with every checkpoint.

`visualprm_paper` states in our words what the system prompt of VisualPRM's training data says (arXiv 2503.10291,
section 3; the headers are the original's). `visualprm_v1` has the default InternVL2.5 system message, which is what
the released VisualPRM-8B scores with.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Prompt:
    """The fixed texts of a sequence; the case's own texts stand between them."""

    name: str
    system: str
    # Before the images of turn 0.
    opening: str
    # Before the question.
    question: str
    # Between the question (or its options) and the first step.
    solution: str


PROMPTS = {
    "medprm": Prompt(
        name="medprm",
        system="Judge each step of the medical solution: + if right so far, - if wrong.",
        opening="",
        question="Question: ",
        solution="\n### Solution Process:\n",
    ),
    "visualprm_paper": Prompt(
        name="visualprm_paper",
        system=(
            "You supervise a reasoning process over an image. The first round gives a problem and the first step of "
            "a solution; every later round gives one more step. Answer + if the solution is right up to this step "
            "and - if anything is wrong up to this step. Answer with + or - only."
        ),
        opening="### Question:\n",
        question="",
        solution="\n\n### Solution Process:\n",
    ),
    "visualprm_v1": Prompt(
        name="visualprm_v1",
        system=(
            "你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的多模态大语言模型。"
        ),
        opening="### Question:\n",
        question="",
        solution="\n\n### Solution Process:\n",
    ),
}
