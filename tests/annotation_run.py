"""Cases of text alone and settings that annotate them by a stub server: small, and quick to run again."""

from pathlib import Path
from typing import Any

from medprm.annotation.settings import ExpertSettings, JudgeSettings, MonteCarloSettings, RetrievalSettings
from medprm.cases.jsonl import write_records
from medprm.cases.schema import ClinicalContext, GoldStandard, Metadata, Record, Step
from medprm.clients.settings import ServerSettings
from medprm.config import AnnotateConfig

OPTIONS = ("pneumonia", "empyema", "barotrauma")


def text_records(num_cases: int, num_solutions: int = 2, num_steps: int = 5) -> list[Record]:
    """Cases whose steps differ from each other."""
    return [
        Record(
            case_id=f"case-{number}",
            patient_id=f"patient-{number}",
            modality="text",
            metadata=Metadata(source="made_up"),
            clinical_context=ClinicalContext(age=40 + number % 50, symptoms=("cough",)),
            question=f"Case {number}: what is the most likely diagnosis?",
            options=OPTIONS,
            gold_standard=GoldStandard(answer=OPTIONS[0]),
            solution_id=f"case-{number}-{which}",
            solution_steps=tuple(
                Step(step_id=i, content=f"Finding {number}.{which}.{i} points to infection.")
                for i in range(num_steps - 1)
            )
            + (Step(step_id=num_steps - 1, content=f"The answer is {OPTIONS[(number + which) % 3]}."),),
        )
        for number in range(num_cases)
        for which in range(num_solutions)
    ]


def open_records(num_cases: int, question: str = "Which lung is it?") -> list[Record]:
    """Cases without options, whose reference is `the left lung`; each with a solution in other words."""
    answers = ("the left lung", "lung on the left", "right lung")
    return [
        Record(
            **one.model_dump(exclude={"options", "question", "gold_standard", "solution_steps"}, exclude_unset=True),
            question=f"Case {number}: {question}",
            gold_standard=GoldStandard(answer="the left lung"),
            solution_steps=(*one.solution_steps[:-1], Step(step_id=2, content=f"The answer is {answers[number % 3]}.")),
        )
        for number, one in enumerate(text_records(num_cases, num_solutions=1, num_steps=3))
    ]


def write_inputs(folder: Path, records: list[Record] | None = None, **sizes: int) -> Path:
    """cases.jsonl and passages.jsonl."""
    folder.mkdir(parents=True, exist_ok=True)
    write_records(folder / "cases.jsonl", records or text_records(**sizes))
    (folder / "passages.jsonl").write_text('{"document_id": "p1", "text": "Fever and cough point to infection."}\n')
    return folder


def server_settings(url: str, **changes: Any) -> ServerSettings:
    quick = {"backoff_seconds": 0.01, "max_backoff_seconds": 0.2, "timeout_seconds": 2.0, "concurrency": 8}
    quick |= {"breaker_failures": 1000, "max_attempts": 8}
    return ServerSettings(base_urls=[url], model="stub", **(quick | changes))


def annotate_config(
    inputs: Path, output: Path, url: str, server: dict[str, Any] | None = None, **changes: Any
) -> AnnotateConfig:
    both = server_settings(url, **(server or {}))
    fields: dict[str, Any] = {
        "output_dir": str(output),
        "num_threads": 1,
        "num_bootstrap": 50,
        "date": "2026-11-23",
        "cases": str(inputs / "cases.jsonl"),
        "retrieval": RetrievalSettings(collections={"guidelines": str(inputs / "passages.jsonl")}),
        "judge": JudgeSettings(kind="server"),
        "judge_server": both,
        "monte_carlo": MonteCarloSettings(policy="server", num_rollouts=16, rollouts_per_round=4),
        "policy_server": both,
        "expert": ExpertSettings(kind="none"),
    }
    return AnnotateConfig(**(fields | changes))
