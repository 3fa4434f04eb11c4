"""Settings of annotation: retrieval, judge, rollouts, consensus, experts, and the simulated annotators."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from medprm.errors import InputError, check_choice, check_least

FITTED_RULES = ("calibrated", "dawid_skene")
RULES = ("brief", "value", "judge", "keep_if_agree", *FITTED_RULES)
SCORE_ABOVE_ZERO = ("value", "keep_if_agree")  # rules that ask of a score only whether it is above 0
ANSWER_STEPS = ("outcome", "rule", "unknown")
AFTER_FIRST_ERROR = ("keep", "unknown", "incorrect")
STOPPING = ("exact", "sequential", "fixed")
SEARCHES = ("all", "first_error")
JUDGES = ("rule", "server")
POLICIES = ("tiny", "server")
UNSEEN = ("unknown", "correct")
EXPERTS = ("auto", "none", "simulated", "file")
STAGES = ("none", "prototype", "pilot", "full")


def check_unread(group: str, settings: Any, names: Sequence[str], reason: str) -> None:
    """InputError where one of these settings differs from its default although nothing reads it."""
    for name in names:
        if getattr(settings, name) != getattr(type(settings), name):
            raise InputError(f"{group}.{name} is {getattr(settings, name)} but {reason}; leave it out")


@dataclass
class ConsensusSettings:
    """From the verdicts of a step to its label; the truth table is in docs/annotation.md."""

    # brief: judge and Monte Carlo score agree beyond the thresholds; value: score > 0; judge: its verdict alone;
    # keep_if_agree: judge + with score > 0, or judge - with score 0; calibrated, dawid_skene: a chance fitted on what
    # the experts decided, by a logistic regression or by confusion tables of judge, score and outcome.
    rule: str = "brief"
    certain_from: float = 0.9  # rule=calibrated, dawid_skene: least chance of the likelier label; below it, unknown
    mc_correct_above: float = 0.7  # judge + and Monte Carlo score above this: correct
    mc_incorrect_below: float = 0.3  # judge - and Monte Carlo score below this: incorrect
    min_readable: int = 1  # fewer readable rollouts are no score
    # The last step, whose rollouts only repeat the outcome. outcome: its label is whether the answer is right; rule: as
    # any other step; unknown: masked.
    answer_step: str = "rule"
    # Steps behind the first incorrect one. keep: as judged; unknown: masked; incorrect: as Med-PRM trains.
    after_first_error: str = "keep"

    def __post_init__(self) -> None:
        if not 0.0 <= self.mc_incorrect_below <= self.mc_correct_above <= 1.0:
            raise InputError(
                f"consensus thresholds {self.mc_incorrect_below} and {self.mc_correct_above}: expected "
                "0 <= mc_incorrect_below <= mc_correct_above <= 1"
            )
        check_choice("consensus.rule", self.rule, RULES)
        if self.rule != "brief":
            thresholds = ("mc_correct_above", "mc_incorrect_below")
            check_unread("consensus", self, thresholds, f"only rule=brief reads it (rule={self.rule})")
        if not 0.5 <= self.certain_from <= 1.0:
            raise InputError(f"consensus.certain_from is {self.certain_from}; expected a chance in [0.5, 1]")
        if self.rule not in FITTED_RULES and self.certain_from != ConsensusSettings.certain_from:
            raise InputError(
                f"consensus.certain_from is {self.certain_from} but only rule={' and '.join(FITTED_RULES)} reads it "
                f"(rule={self.rule})"
            )
        check_choice("consensus.answer_step", self.answer_step, ANSWER_STEPS)
        check_choice("consensus.after_first_error", self.after_first_error, AFTER_FIRST_ERROR)
        check_least("consensus.min_readable", self.min_readable, 1)


@dataclass
class SimulatedSettings:
    """How good the simulated annotators of the phantom are; every number is a share in [0, 1] or a count."""

    seed: int = 0  # of the annotators' mistakes
    judge_accuracy: float = 0.85  # chance that the judge's verdict on a step is the truth
    num_rollouts: int = 16  # continuations per step prefix
    success_if_right: float = 0.78  # mean chance that a rollout from a sound prefix ends at the gold answer
    success_if_wrong: float = 0.10  # the same from a prefix with an error that touches the answer
    unparsed_share: float = 0.03  # chance that a rollout's answer cannot be read
    expert_accuracy: float = 0.98  # chance that the expert's verdict on a step is the truth
    expert_cannot_tell: float = 0.03  # chance that the expert says "unknown"
    consensus: ConsensusSettings = field(default_factory=ConsensusSettings)


@dataclass
class DenseSettings:
    """Search by meaning beside BM25, fused with it by rank."""

    # Encoder of passages: a local folder, package:NAME (an installed package that ships one), or org/name in the hub's
    # cache; safetensors and a fast tokenizer. null: BM25 alone.
    passage_encoder: str | None = None
    # Encoder of queries, where it is another one; null: that of passages.
    query_encoder: str | None = None
    # What stands for a window. mean: the mean of its tokens' vectors; cls: the first token's.
    pooling: str = "mean"
    # How a query is compared with a passage: cosine or dot (product).
    similarity: str = "cosine"
    # joined: a passage's title goes in front of its text; pair: as a first segment of its own, in every window.
    title: str = "joined"
    # Tokens of one window of a passage, and of a query; what is longer is cut into windows, and counted. A passage's
    # score is that of its best window, a query's vector the mean over its windows. null: all that the encoder takes.
    max_passage_tokens: int | None = None
    max_query_tokens: int | None = None
    # Where the encoders run: cpu or cuda.
    device: str = "cpu"

    def __post_init__(self) -> None:
        check_choice("retrieval.dense.pooling", self.pooling, ("mean", "cls"))
        check_choice("retrieval.dense.similarity", self.similarity, ("cosine", "dot"))
        check_choice("retrieval.dense.title", self.title, ("joined", "pair"))
        check_choice("retrieval.dense.device", self.device, ("cpu", "cuda"))
        for name in ("max_passage_tokens", "max_query_tokens"):
            if (value := getattr(self, name)) is not None:
                check_least(f"retrieval.dense.{name}", value, 8)
        unread = [
            one.name for one in fields(self) if one.name != "passage_encoder" and getattr(self, one.name) != one.default
        ]
        if self.passage_encoder is None and unread:
            raise InputError(
                f"retrieval.dense.{unread[0]}={getattr(self, unread[0])} but passage_encoder is null: nothing reads "
                "it; retrieval=bm25 searches by words alone, retrieval=minilm and retrieval=medcpt name an encoder"
            )


@dataclass
class RetrievalSettings:
    """Where evidence comes from and how much of it is read."""

    # Collection -> file (.jsonl, .parquet, .txt) or folder of texts; empty: the phantom's guideline passages.
    collections: dict[str, str] = field(default_factory=dict)
    # The second search, by meaning.
    dense: DenseSettings = field(default_factory=DenseSettings)
    # Most passages taken for one step.
    num_passages: int = 8
    # Words of the longest passage; longer ones are split at sentences, and counted.
    max_passage_words: int = 250
    # Tokens of text in one judge's prompt: what it is told, evidence, context, question, options and steps.
    window_tokens: int = 4096
    # Most of them for evidence, marks around passages included; the rest is kept for what the judge is told and the
    # reasoning. Passages are packed whole.
    max_tokens: int = 3072
    # Folder of the judge's tokenizer (tokenizer.json), to count by; null: a rough guess, three bytes a token.
    tokenizer: str | None = None

    def __post_init__(self) -> None:
        for name in ("num_passages", "max_passage_words", "max_tokens"):
            check_least(f"retrieval.{name}", getattr(self, name), 1)
        if self.window_tokens <= self.max_tokens:
            raise InputError(
                f"retrieval.window_tokens is {self.window_tokens} and max_tokens {self.max_tokens}: nothing is left "
                "for the reasoning; make the window larger or the evidence smaller (4096 and 3072 leave 1024)"
            )


@dataclass
class JudgeSettings:
    """Who reads a solution against the evidence and says + or - of each step."""

    # rule: the built-in text-only judge of the phantom's sentences, refused for other cases; server: a model at an
    # OpenAI-compatible address.
    kind: str = "rule"
    # kind=rule: what it says of a step that it would have to see the film for: unknown, or correct (as a blind language
    # model that finds nothing against it).
    unseen: str = "correct"
    # kind=server: the reference answer stands in the prompt, as in Med-PRM's published code.
    show_answer: bool = False
    # kind=server: images stand in the prompt, at most so many pixels long.
    show_images: bool = True
    max_image_pixels: int = 1024
    # kind=server: most rounds of asking again for an answer that could not be used.
    max_rounds: int = 3
    # kind=server: tokens of the longest answer.
    max_answer_tokens: int = 1024

    def __post_init__(self) -> None:
        check_choice("judge.kind", self.kind, JUDGES)
        check_choice("judge.unseen", self.unseen, UNSEEN)
        for name in ("max_rounds", "max_answer_tokens", "max_image_pixels"):
            check_least(f"judge.{name}", getattr(self, name), 1)
        of_server = ("show_answer", "show_images", "max_rounds", "max_answer_tokens")
        other, unread = ("rule", ("unseen",)) if self.kind == "server" else ("server", of_server)
        check_unread("judge", self, unread, f"only kind={other} reads it (kind={self.kind})")


@dataclass
class MonteCarloSettings:
    """Rollouts of step prefixes."""

    # tiny: the shipped base in this process, for the phantom's cases; server: an OpenAI-compatible address that can
    # continue a text.
    policy: str = "tiny"
    # policy=server: how it goes on from a prefix. continue_final_message: as vLLM continues the assistant's turn;
    # prompt: by asking for it, for servers that cannot.
    continuation: str = "continue_final_message"
    # Planned rollouts of a step: 32 in the brief, 16 in VisualPRM.
    num_rollouts: int = 32
    temperature: float = 0.7
    # Tokens of the longest continuation; one that has not ended by then is truncated.
    max_new_tokens: int = 160
    # exact: stop where the label can no longer change; sequential: where it hardly will; fixed: never.
    stopping: str = "exact"
    # stopping=sequential: expected share of labels that differ from those of all planned rollouts, in (0, 0.5).
    sequential_error: float = 0.01
    # stopping=sequential: the share holds where the steps' chances of a right rollout are nowhere denser than if spread
    # evenly over this part of 0 to 1. 1: evenly over all of it; 0: however they lie, at the most rollouts.
    sequential_spread: float = 0.5
    # Rollouts drawn before it is looked again whether to stop; stopping=exact draws fewer where fewer may decide.
    rollouts_per_round: int = 4
    # all: every step; first_error: halve each solution until a step from which no rollout is right follows one from
    # which some is (OmegaPRM). Only for rules that ask whether the score is above 0: value, keep_if_agree.
    search: str = "all"
    # policy=tiny: prefixes continued at a time in one process: bounds the memory.
    batch_prefixes: int = 48
    # policy=tiny: processes that draw, each with a case of its own; null: one a core, at most 8.
    num_processes: int | None = None

    def __post_init__(self) -> None:
        check_choice("monte_carlo.policy", self.policy, POLICIES)
        check_choice("monte_carlo.continuation", self.continuation, ("continue_final_message", "prompt"))
        check_choice("monte_carlo.stopping", self.stopping, STOPPING)
        check_choice("monte_carlo.search", self.search, SEARCHES)
        for name in ("num_rollouts", "max_new_tokens", "rollouts_per_round", "batch_prefixes"):
            check_least(f"monte_carlo.{name}", getattr(self, name), 1)
        check_least("monte_carlo.num_processes", self.num_processes or 1, 1)
        if self.policy == "server" and self.num_processes is not None:
            raise InputError(
                f"monte_carlo.num_processes is {self.num_processes} with policy=server: they are the tiny policy's; "
                "policy_server.concurrency says how many requests are under way"
            )
        if self.policy == "tiny":
            check_unread("monte_carlo", self, ("continuation",), "only policy=server reads it (policy=tiny)")
        if not 0 < self.sequential_error < 0.5 or not 0 <= self.sequential_spread <= 1 or self.temperature <= 0:
            raise InputError(
                f"monte_carlo.sequential_error is {self.sequential_error}, sequential_spread {self.sequential_spread}, "
                f"temperature {self.temperature}; expected 0 < sequential_error < 0.5, 0 <= sequential_spread <= 1 and "
                "temperature > 0"
            )
        if self.stopping != "sequential":
            names = ("sequential_error", "sequential_spread")
            check_unread("monte_carlo", self, names, f"only stopping=sequential reads it (stopping={self.stopping})")


def check_search(settings: MonteCarloSettings, consensus: ConsensusSettings) -> None:
    """InputError where a search for the first error does not decide what the rule asks."""
    if settings.search == "first_error" and consensus.rule not in SCORE_ABOVE_ZERO:
        raise InputError(
            f"monte_carlo.search=first_error finds where the score falls to 0, which consensus.rule={consensus.rule} "
            f"does not ask; take consensus.rule={' or '.join(SCORE_ABOVE_ZERO)}, or monte_carlo.search=all"
        )


def check_fitted(settings: MonteCarloSettings, consensus: ConsensusSettings) -> None:
    """InputError where rollouts would be stopped for a rule that is not known before the experts have spoken."""
    if consensus.rule in FITTED_RULES and settings.stopping != "fixed":
        raise InputError(
            f"consensus.rule={consensus.rule} weighs the score of all planned rollouts, and is fitted when the experts "
            f"have spoken; monte_carlo.stopping={settings.stopping} cannot know when a label is decided; choose fixed"
        )


@dataclass
class SolutionSettings:
    """Candidate solutions for cases that have none."""

    # Solutions of each policy for a case.
    num: int = 8
    # The first of them takes the likeliest token each time.
    greedy: bool = False
    temperature: float = 0.7
    # Tokens of the longest solution; one that has not ended by then is not used.
    max_new_tokens: int = 512
    # Steps of a solution that is kept; others are drawn again.
    min_steps: int = 3
    max_steps: int = 9
    # Times that solutions are drawn for one that cannot be used; then the case has fewer, which is counted.
    max_rounds: int = 4

    def __post_init__(self) -> None:
        for name in ("num", "max_new_tokens", "min_steps", "max_rounds"):
            check_least(f"solutions.{name}", getattr(self, name), 1)
        if self.max_steps < self.min_steps or self.temperature <= 0:
            raise InputError(
                f"solutions.min_steps is {self.min_steps}, max_steps {self.max_steps}, temperature {self.temperature}; "
                "expected min_steps <= max_steps and temperature > 0"
            )


@dataclass
class ExpertSettings:
    """Who decides what the machines dispute, and how much of it."""

    # none: nobody yet, the queue is written; simulated: the phantom's expert; file: verdicts from `path`; auto:
    # simulated for the phantom, none for cases of your own.
    kind: str = "auto"
    # kind=file: JSON Lines of case_id, solution_id, step_id, verdict, expert_id; or Label Studio's export (.json).
    path: str | None = None
    # Most steps for experts, as a share of all steps.
    max_share: float = 0.3
    # Share of the steps that are drawn at random first, whatever the machines say: on them alone the machines are
    # measured against the experts, without bias, and what is said of them fits the ranking.
    pilot_share: float = 0.05
    # all: every step goes to the experts (an evaluation set). Up to max_share: disputed, what the rule leaves open;
    # ranked, the steps of the highest expected value, whether or not the machines agree on them.
    steps: str = "disputed"
    # Minutes that an expert spends on a step where a verdict does not say its seconds, and what an hour costs: lines of
    # the ledger.
    minutes_per_step: float = 1.0
    dollars_per_hour: float = 37.0
    # kind=simulated: how many they are; each step goes to one of them.
    num_experts: int = 1
    # kind=simulated: share of the steps that two of them read; where they differ, a third decides if there is one.
    double_share: float = 0.0
    # kind=simulated: chances of a right verdict and of "cannot tell", and the seed of its mistakes.
    accuracy: float = 0.98
    cannot_tell: float = 0.03
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("expert.kind", self.kind, EXPERTS)
        check_choice("expert.steps", self.steps, ("disputed", "ranked", "all"))
        if self.steps == "all":
            check_unread("expert", self, ("max_share",), "steps=all gives every step to the experts")
        if (self.kind == "file") != (self.path is not None):
            raise InputError(f"expert.kind={self.kind} and expert.path={self.path}: a path goes with kind=file only")
        check_least("expert.num_experts", self.num_experts, 1)
        check_least("expert.minutes_per_step", self.minutes_per_step, 0.0)
        check_least("expert.dollars_per_hour", self.dollars_per_hour, 0.0)
        if self.double_share and self.num_experts < 2:
            raise InputError(f"expert.double_share is {self.double_share} with one expert; expected num_experts >= 2")
        for name in ("max_share", "pilot_share", "accuracy", "cannot_tell", "double_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(f"expert.{name} is {getattr(self, name)}; expected a share in [0, 1]")


@dataclass
class StageSettings:
    """Which stage of an annotation project a run is, and the gates that it must pass before the next may begin.

    Presets: stage=prototype, pilot, full (conf/stage/). A gate that is null is not looked at.
    """

    # none: a run by itself; prototype, pilot, full.
    name: str = "none"
    # Folder of the run of the stage before, whose gates must be passed; needed by pilot and full.
    previous: str | None = None
    # Least number of cases, of modalities among them, and of experts who have spoken.
    min_cases: int | None = None
    min_modalities: int | None = None
    min_experts: int | None = None
    # Least Cohen's kappa of any two experts on the steps that both have read.
    min_kappa: float | None = None
    # Least accuracy of the labels: against the truth of a phantom, else of the machines' labels against the experts,
    # on the steps of the random pilot (expert.pilot_share) where both speak.
    min_label_accuracy: float | None = None
    # Least share of the steps of which the judge could be understood.
    min_judge_coverage: float | None = None
    # Least share of the rollouts whose answer could be read.
    min_readable_share: float | None = None
    # Most dollars per 10,000 cases, experts included.
    max_dollars_per_10000_cases: float | None = None

    def __post_init__(self) -> None:
        check_choice("stage.name", self.name, STAGES)
        is_first = self.name in ("none", "prototype")
        if is_first != (self.previous is None):
            before = STAGES[STAGES.index(self.name) - 1]
            raise InputError(
                f"stage={self.name} and stage.previous={self.previous}: "
                + ("nothing comes before it; leave it out" if is_first else f"name the folder of the {before} run")
            )
        for name in ("min_kappa", "min_label_accuracy", "min_judge_coverage", "min_readable_share"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise InputError(f"stage.{name} is {value}; expected null or a share in [0, 1]")
