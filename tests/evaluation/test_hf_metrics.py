"""Hugging Face's `evaluate` loads the packaged modules offline, combines them, and agrees with scikit-learn."""

from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

import evaluate
from medprm.errors import InputError
from medprm.evaluation.hf_metrics import MODULES, module_path


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory):
    """`evaluate.load` copies the script into a cache: one of the test's own."""
    folder = tmp_path_factory.mktemp("hf_modules")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evaluate.config.HF_MODULES_CACHE", str(folder))
        patch.setattr("evaluate.config.HF_METRICS_CACHE", str(folder / "metrics"))
        patch.setattr("evaluate.config.HF_EVALUATE_OFFLINE", True)
        yield


def sample() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return np.round(generator.random(200), 2), (generator.random(200) < 0.7).astype(int)


def load(name: str, **settings):
    return evaluate.load(module_path(name), **settings)


def test_it_is_hugging_faces_package() -> None:
    assert (Path(evaluate.__file__).parent / "loading.py").is_file()


def test_combined_step_metrics_agree_with_scikit_learn() -> None:
    scores, truth = sample()
    combined = evaluate.combine([load("step_f1", threshold=0.4), load("step_ranking"), load("step_calibration")])
    found = combined.compute(predictions=scores, references=truth)
    predicted = scores >= 0.4
    golden = {
        "macro_f1": sklearn_metrics.f1_score(truth, predicted, average="macro"),
        "f1_correct": sklearn_metrics.f1_score(truth, predicted),
        "f1_incorrect": sklearn_metrics.f1_score(truth, predicted, pos_label=0),
        "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(truth, predicted),
        "mcc": sklearn_metrics.matthews_corrcoef(truth, predicted),
        "auroc": sklearn_metrics.roc_auc_score(truth, scores),
        "auprc_correct": sklearn_metrics.average_precision_score(truth, scores),
        "auprc_incorrect": sklearn_metrics.average_precision_score(1 - truth, -scores),
        "brier": sklearn_metrics.brier_score_loss(truth, scores),
    }
    assert {name: found[name] for name in golden} == pytest.approx(golden, abs=1e-12)
    assert 0 < found["ece"] < 1


def test_a_threshold_at_compute_beats_the_one_at_load() -> None:
    scores, truth = sample()
    found = load("step_f1", threshold=0.4).compute(predictions=scores, references=truth, threshold=0.7)
    assert found["macro_f1"] == pytest.approx(sklearn_metrics.f1_score(truth, scores >= 0.7, average="macro"))


def test_first_error_by_hand() -> None:
    predictions = [[0.9, 0.1, 0.9], [0.1, 0.9], [0.9, 0.9], [0.9, 0.2]]
    found = load("first_error").compute(predictions=predictions, references=[1, 1, -1, -1])
    assert found == pytest.approx({"accuracy_on_erroneous": 0.5, "accuracy_on_correct": 0.5, "f1": 0.5})
    with pytest.raises(ValueError, match="expected -1 or 0 to 1"):
        load("first_error").compute(predictions=[[0.1, 0.2]], references=[2])


def test_best_of_n_by_hand_and_in_batches() -> None:
    module = load("best_of_n")
    module.add_batch(predictions=[[0.9, 0.1, 0.2], [0.1, 0.5, 0.9]], references=[[1, 0, 0], [1, 0, 0]])
    found = module.compute(sizes=[1, 2, 3])
    assert found["best_of_2"] == pytest.approx((2 / 3 + 0) / 2)
    assert found["best_of_3"] == pytest.approx(0.5)
    assert found["oracle_2"] == pytest.approx(2 / 3)
    assert [found["pass@1"], found["best_of_1"]] == pytest.approx([1 / 3, 1 / 3])
    with pytest.raises(ValueError, match="case 0"):
        load("best_of_n").compute(predictions=[[0.5]], references=[[1]])


def test_every_module_has_a_folder_and_others_are_named() -> None:
    assert {path.name for path in Path(module_path("step_f1")).parent.iterdir() if path.is_dir()} - {
        "__pycache__"
    } == set(MODULES)
    with pytest.raises(InputError, match="step_ranking"):
        module_path("f1")
