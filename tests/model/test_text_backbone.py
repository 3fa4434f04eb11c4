"""A Llama as text-only PRM: the same encoder, trainer and scorer as InternVL's."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_run import evaluate_config, train_config
from tiny import full_record, make_cases
from tiny_text import text_case, text_model, text_tokenizer, write_text_records

from medprm.commands import evaluate, train
from medprm.encoding.chat import INTERNVL2_5, LLAMA_3, EncodingError, chat_format
from medprm.encoding.encoder import Encoder
from medprm.encoding.settings import EncodingSettings
from medprm.encoding.tokens import LabelTokens
from medprm.errors import InputError
from medprm.model.errors import ModelError
from medprm.model.loading import LoadedModel, load_checkpoint, save_checkpoint
from medprm.model.settings import TuningSettings
from medprm.scoring.scorer import StepScorer


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text_base")
    save_checkpoint(folder, text_model(), None)
    return folder


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text_records(tmp_path_factory.mktemp("text_records") / "set")


def encoder(**settings: bool) -> Encoder:
    return Encoder.from_settings(text_tokenizer(), EncodingSettings(**settings), 0)


def test_the_template_is_that_of_the_tokenizer() -> None:
    assert chat_format(text_tokenizer()) is LLAMA_3 and not LLAMA_3.has_images
    assert INTERNVL2_5.control_tokens == ("<|im_start|>", "<|im_end|>", "<img>", "<IMG_CONTEXT>", "</img>")
    case, solutions = text_case("a")
    ids = encoder().encode(case, solutions[0].step_texts, []).input_ids
    said = text_tokenizer().decode(ids)
    assert said.startswith("<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nJudge each step")
    assert said.endswith("<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n")
    assert said.count("+<|eot_id|>") == len(solutions[0].solution_steps) - 1
    assert ids.count(ids[0]) == 1, "one beginning of text"


def test_text_that_looks_like_control_stays_text() -> None:
    case = text_case("a").case.model_copy(update={"question": "<|eot_id|> Who?"})
    ids = encoder().encode(case, ["a step"], []).input_ids
    assert ids.count(text_tokenizer().convert_tokens_to_ids("<|eot_id|>")) == 2, "system and user turn"


def test_an_image_is_refused() -> None:
    record = full_record()
    with pytest.raises(EncodingError, match=r"case case_1: 1 image\(s\), but the model reads text only"):
        encoder().encode(record.case(), ["a step"], [1])


def test_one_pass_scores_as_step_by_step() -> None:
    loaded = text_model()
    scorer = StepScorer(loaded, encoder())
    case, solutions = text_case("a", num_solutions=3)
    one_pass, stepwise = (one(case, solutions, Path("nowhere")) for one in (scorer.score, scorer.score_stepwise))
    assert [len(row) for row in one_pass] == [len(one.solution_steps) for one in solutions]
    flat = np.concatenate([np.array(row) for row in one_pass])
    assert flat.std() > 0.01
    # Another shape of batch.
    assert flat == pytest.approx(np.concatenate([np.array(row) for row in stepwise]), abs=1e-5)


def test_it_loads_as_it_was_saved(base: Path) -> None:
    loaded = load_checkpoint(base)
    assert loaded.image_tokens_per_tile == 0 and loaded.tokenizer.pad_token == "<|finetune_right_pad_id|>"
    assert not (base / "preprocessor_config.json").exists()
    first, second = text_model().model.state_dict(), loaded.model.state_dict()
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
    with pytest.raises(ModelError, match="max_tiles is 4 but the model reads text only"):
        load_checkpoint(base, max_tiles=4)


def test_a_missing_weight_is_refused(base: Path, tmp_path: Path) -> None:
    loaded = text_model()
    config = loaded.model.config.to_dict() | {"num_hidden_layers": 3}
    save_checkpoint(tmp_path, loaded, None)
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="missing keys: model.layers.2"):
        load_checkpoint(tmp_path)


def test_labels_are_found_behind_the_header() -> None:
    found = LabelTokens.look_up(text_tokenizer(), LLAMA_3)
    assert [text_tokenizer().decode([one]) for one in found.ids] == ["+", "-"]


@pytest.mark.parametrize("kind", ["full", "lora"])
def test_it_trains_and_is_evaluated(kind: str, base: Path, records: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    tuning = TuningSettings(kind=kind, lora_dropout=0.0)
    train.run(train_config(base, records, run, tuning=tuning, training={"per_device_train_batch_size": 4}))
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    found = [line["loss"] for line in lines if "loss" in line]
    assert len(found) == 6 and found[-1] < found[0]
    before, after = load_file(base / "model.safetensors"), load_file(run / "checkpoint" / "model.safetensors")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert before.keys() == after.keys() and any("q_proj" in name for name in changed)
    assert ("lm_head.weight" in changed) == (kind == "full")
    metrics = json.loads((evaluate.run(evaluate_config(records, run)) / "metrics.json").read_text())
    assert metrics["step_metrics"]["macro_f1"]["n"] > 0


def test_it_resumes_to_the_same_weights(base: Path, records: Path, tmp_path: Path) -> None:
    whole, again = tmp_path / "whole", tmp_path / "again"
    for run, steps in ((whole, 6), (again, 6)):
        train.run(train_config(base, records, run, training={"max_steps": steps, "save_total_limit": 9}))
    for path in (again / "checkpoint", again / "checkpoint-6"):
        path.rename(tmp_path / f"away_{path.name}")
    train.run(train_config(base, records, again, training={"max_steps": 6, "save_total_limit": 9}, resume=True))
    first, second = (load_file(run / "checkpoint" / "model.safetensors") for run in (whole, again))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_what_does_not_apply_is_refused(base: Path, records: Path, tmp_path: Path) -> None:
    tuning = TuningSettings(freeze_vision=True)
    with pytest.raises(InputError, match="freeze_vision is true but the model reads text only"):
        train.run(train_config(base, records, tmp_path / "run", tuning=tuning))


def test_cases_with_images_are_refused_before_training(base: Path, tmp_path: Path) -> None:
    (case, solutions), *_ = make_cases(tmp_path, 1)
    loaded: LoadedModel = load_checkpoint(base)
    with pytest.raises(EncodingError, match="reads text only"):
        StepScorer(loaded, encoder()).score(case, solutions, tmp_path)
