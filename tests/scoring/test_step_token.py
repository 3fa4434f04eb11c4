"""Med-PRM's own reward model: its step token, its labels, and an evaluation with it."""

import copy
import json
from pathlib import Path

import pytest
import torch
from small_run import evaluate_config
from tiny import make_cases
from tiny_text import text_case, text_model, write_text_records

from medprm.cases.schema import Document
from medprm.commands import evaluate
from medprm.encoding.chat import EncodingError
from medprm.errors import InputError
from medprm.model.loading import LoadedModel, save_checkpoint
from medprm.scoring.settings import ScoringSettings
from medprm.scoring.step_token import LABELS, STEP_TOKEN, StepTokenScorer


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return text_model(STEP_TOKEN)


def test_every_step_is_closed_by_the_step_token(loaded: LoadedModel) -> None:
    scorer = StepTokenScorer(loaded, "model")
    case, (solution, *_) = text_case("a")
    ids = scorer.encode(case, solution.step_texts)
    said = loaded.tokenizer.decode(ids)
    assert ids.count(scorer.step_id) == len(solution.solution_steps)
    assert said.startswith("<|begin_of_text|><|begin_of_text|><|start_header_id|>system")
    assert "Question: What is seen?\n(A) pneumonia (B) effusion\n\nExplanation: " in said
    assert said.index("Document 1: ") < said.index("Question: ")
    assert said.endswith(f"{STEP_TOKEN}<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n")


def test_the_tokenizers_own_template_is_used() -> None:
    loaded = copy.deepcopy(text_model(STEP_TOKEN))
    loaded.tokenizer.chat_template = (
        "{{ bos_token }}{% for one in messages %}<|start_header_id|>{{ one.role }}<|end_header_id|>\n\n"
        "{% if loop.first %}Today Date: 26 Jul 2024\n\n{% endif %}{{ one.content }}<|eot_id|>{% endfor %}"
        "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
    )
    case, (solution, *_) = text_case("a")
    said = loaded.tokenizer.decode(StepTokenScorer(loaded, "model", system="Judge.").encode(case, solution.step_texts))
    assert "Today Date: 26 Jul 2024\n\nJudge.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nDocument 1" in said
    assert said.startswith("<|begin_of_text|><|begin_of_text|>") and said.endswith("assistant<|end_header_id|>\n\n")


def test_the_scores_are_the_label_logits_at_the_step_tokens(loaded: LoadedModel) -> None:
    """Against one plain forward of every solution alone; batches are padded."""
    scorer = StepTokenScorer(loaded, "model", max_row_tokens=200)
    case, solutions = text_case("a", num_solutions=4)
    labels = [loaded.tokenizer(text, add_special_tokens=False)["input_ids"][0] for text in LABELS]
    expected = []
    for solution in solutions:
        ids = torch.tensor([scorer.encode(case, solution.step_texts)])
        with torch.inference_mode():
            logits = loaded.model(input_ids=ids).logits[0, ids[0] == scorer.step_id]
        expected.append(torch.softmax(logits[:, labels], dim=-1)[:, 0].tolist())
    found = scorer.score(case, solutions, Path("nowhere"))
    assert torch.tensor([score for row in expected for score in row]).std() > 0.01
    for row, other in zip(found, expected, strict=True):
        # Another shape of batch.
        assert row == pytest.approx(other, abs=1e-5)


def test_a_step_token_in_a_text_is_spelled_out(loaded: LoadedModel) -> None:
    scorer = StepTokenScorer(loaded, "model")
    ids = scorer.encode(text_case("a").case, [f"a word{STEP_TOKEN} and more", "next"])
    assert ids.count(scorer.step_id) == 2


def test_documents_over_the_budget_are_left_out(loaded: LoadedModel) -> None:
    scorer = StepTokenScorer(loaded, "model")
    case = text_case("a").case
    long = tuple(Document(document_id=str(number), text=f"{number} " * 500) for number in range(9))
    ids = scorer.encode(case.model_copy(update={"documents": long}), ["a step"])
    assert len(ids) <= 4096
    said = loaded.tokenizer.decode(ids)
    assert "Document 1: " in said and "Document 9: " not in said
    with pytest.raises(EncodingError, match="tokens without any document; allowed 4096"):
        scorer.encode(case, ["word " * 5000])


def test_what_it_cannot_score_is_refused(loaded: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(EncodingError, match=r"expected one token each.* for Med-PRM's own reward model"):
        StepTokenScorer(text_model(), "model")
    (case, solutions), *_ = make_cases(tmp_path, 1)
    with pytest.raises(EncodingError, match="reads text only"):
        StepTokenScorer(loaded, "model").score(case, solutions, tmp_path)
    with pytest.raises(InputError, match=r"scoring.system_prompt is set but scoring.protocol=own"):
        ScoringSettings(system_prompt="prompt.txt")


def test_it_is_evaluated_like_any_other(loaded: LoadedModel, tmp_path: Path) -> None:
    records = write_text_records(tmp_path / "set")
    save_checkpoint(tmp_path / "reward", loaded, None)
    (tmp_path / "prompt.txt").write_text("Say + or -.\n")
    results = []
    for name, prompt in (("ours", None), ("theirs", str(tmp_path / "prompt.txt"))):
        scoring = ScoringSettings(device="cpu", protocol="medprm_reward", system_prompt=prompt)
        folder = evaluate.run(
            evaluate_config(records, tmp_path / "run", checkpoint=str(tmp_path / "reward"), name=name, scoring=scoring)
        )
        results.append(json.loads((folder / "metrics.json").read_text()))
        assert ("in our words" in (folder / "log.txt").read_text()) == (prompt is None)
    assert results[0]["best_of_n"]["min"]["2"]["n"] > 0
    assert results[0]["step_metrics"] != results[1]["step_metrics"], "the prompt is read"
