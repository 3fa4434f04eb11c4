"""`annotate` end to end against a real OpenAI-compatible server on loopback: `transformers serve`."""

import json
import sqlite3
from pathlib import Path

import pytest
from annotation_run import annotate_config, text_records, write_inputs
from served_model import served, teach

from medprm.annotation.passages import Passage
from medprm.annotation.rollouts import drawing_of
from medprm.annotation.server_judge import ServerJudge
from medprm.annotation.server_policy import ServerPolicy
from medprm.annotation.settings import JudgeSettings, MonteCarloSettings
from medprm.cases.jsonl import read_records
from medprm.clients.chat import ChatReply, ChatRequest, Message
from medprm.commands import annotate

pytest.importorskip("openai", reason="transformers serve is an extra: pip install 'transformers[serving]'")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NUM_STEPS, NUM_ROLLOUTS = 3, 4
VERDICTS = ["+", "-", "+"]
JSON_ANSWER = json.dumps({"steps": [{"step": k, "verdict": one, "reason": "so"} for k, one in enumerate(VERDICTS)]})
ANSWER = "The answer is pneumonia."
MONTE_CARLO = MonteCarloSettings(
    policy="server", continuation="prompt", num_rollouts=NUM_ROLLOUTS, rollouts_per_round=2, max_new_tokens=40
)


class Listener:
    """Keeps what would be asked; answers nothing useful."""

    model = "nobody"

    def __init__(self) -> None:
        self.asked: list[tuple[Message, ...]] = []

    def ask(self, request: ChatRequest) -> ChatReply:
        self.asked.append(request.messages)
        return ChatReply((), "nobody")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory):
    """A server that has learnt what to say to these very requests."""
    folder = tmp_path_factory.mktemp("served")
    lessons = []
    passage = Passage("guidelines/p1", "guidelines", "Fever and cough point to infection.")
    for record in text_records(num_cases=2, num_solutions=2, num_steps=NUM_STEPS):
        judge, policy = Listener(), Listener()
        settings = JudgeSettings(kind="server", max_rounds=1)
        ServerJudge(judge, settings).judge(record.case(), "s", record.step_texts, [passage])
        for place in range(NUM_STEPS - 1):
            with pytest.raises(ValueError, match="without choices"):
                ServerPolicy(policy, drawing_of(MONTE_CARLO)).draw(
                    record.case(), [tuple(record.step_texts[: place + 1])], 1, 0
                )
        lessons += [(messages, JSON_ANSWER) for messages in judge.asked]
        lessons += [(messages, ANSWER) for messages in policy.asked]
    teach(folder, lessons, max_steps=1500)
    with served(folder) as found:
        yield found, folder


def test_a_real_server_is_driven_end_to_end(url: tuple[str, Path], tmp_path: Path) -> None:
    address, model = url
    inputs = write_inputs(tmp_path / "in", num_cases=2, num_solutions=2, num_steps=NUM_STEPS)
    server = {"concurrency": 2, "timeout_seconds": 120.0}
    config = annotate_config(inputs, tmp_path / "out", address, server, monte_carlo=MONTE_CARLO)
    config.judge_server.model = config.policy_server.model = str(model)
    annotate.run(config)
    records = list(read_records(tmp_path / "out" / "labelled.jsonl"))
    assert len(records) == 4
    expected = ["correct", "incorrect", "correct"]
    for record in records:
        steps = record.solution_steps
        assert all(step.sources for step in steps)
        assert [step.sources.judge[0].verdict for step in steps] == expected  # type: ignore[union-attr]
        # The model that answered is recorded by the name that it gives itself.
        assert {step.sources.judge[0].model for step in steps} == {f"{model}@main"}  # type: ignore[union-attr]
        for step in steps[:-1]:
            (run,) = step.sources.monte_carlo  # type: ignore[union-attr]
            assert run.num_correct == run.num_total > 0 and run.stopping in ("exact", "complete")
    with sqlite3.connect(tmp_path / "out" / "journal.sqlite") as database:
        rows = database.execute("select state, stage, input_tokens, output_tokens from attempts").fetchall()
    assert {state for state, *_ in rows} == {"ok"} and all(read > 50 and said > 5 for *_, read, said in rows)
    ledger = json.loads((tmp_path / "out" / "ledger.json").read_text())
    assert ledger["stages"]["judge"]["num_finished"] == 4
    # It gives one answer whatever n is: each rollout is a request of its own.
    drawn = {
        (record.case_id, *record.step_texts[: place + 1]): step.sources.monte_carlo[0].num_total  # type: ignore[union-attr]
        for record in records
        for place, step in enumerate(record.solution_steps[:-1])
    }
    assert ledger["stages"]["monte_carlo"]["num_finished"] == sum(drawn.values())
