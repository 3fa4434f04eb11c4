"""Who annotates: evidence, judges, policies, as the settings name them, behind one guard and one journal.

In: AnnotateConfig, where the cases are, an open journal. Out: `Annotators`, and the makers of solutions.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from medprm.annotation.answer_judge import ServerAnswerJudge
from medprm.annotation.judging import Judge
from medprm.annotation.retrieval import EvidenceFinder, open_evidence
from medprm.annotation.rollouts import Drawing, Policy, drawing_of
from medprm.annotation.rule_judge import RuleJudge
from medprm.annotation.server_judge import ServerJudge
from medprm.annotation.solutions import Maker, solution_drawing
from medprm.cases.answers import AnswerMatcher
from medprm.cases.folder import open_data
from medprm.cases.schema import CaseSolutions
from medprm.clients.journal import Journal
from medprm.clients.openai_http import secret_key
from medprm.commands.annotate_shards import budget_of_shard
from medprm.commands.answer_matcher import make_matcher
from medprm.commands.phantom import ensure_phantom
from medprm.commands.policies import Workshop, is_any_outside, local_policy, server_policy
from medprm.config import AnnotateConfig
from medprm.errors import InputError
from medprm.run import num_cores_of_a_process

FOUND_FILE = "retrieved.sqlite"
PHANTOM_SOURCE = "phantom"  # metadata.source of its cases


class Source(NamedTuple):
    """Where the cases are, where their images start, where the passages are, and the truth if it is a phantom's."""

    cases: Path
    image_root: Path
    collections: Mapping[str, str]
    truth: Path | None


class Annotators(NamedTuple):
    """Who labels."""

    evidence: EvidenceFinder
    judge: Judge
    policy: Policy
    answers: AnswerMatcher


def open_source(config: AnnotateConfig) -> Source:
    """The file that was named, or the phantom's unlabelled candidates."""
    given = dict(config.retrieval.collections)
    if config.cases is not None:
        path = Path(config.cases)
        return Source(path, Path(config.image_root or path.parent), given, None)
    if config.data.path is not None:
        data = open_data(config.data.path)
        return Source(data.file("train"), data.image_root, given, None)
    folder = ensure_phantom(Path(config.output_dir).parent, config.data.phantom, config.data.annotators)
    collections = given or {"guidelines": str(folder / "guidelines.jsonl")}
    return Source(folder / "candidates.jsonl", folder, collections, folder / "truth.jsonl")


def is_paid(config: AnnotateConfig) -> bool:
    """Whether a server stands outside this site."""
    servers = [config.judge_server, config.policy_server, *config.solution_servers.values()]
    return is_any_outside(servers, config.guard)


def check_keys(config: AnnotateConfig) -> None:
    """InputError where the key of a server is not in the environment: before anything is drawn or a folder is made."""
    for server in (config.judge_server, config.policy_server, *config.solution_servers.values()):
        if server.base_urls:
            secret_key(server.api_key_env)


def check_annotators(cases: Sequence[CaseSolutions], source: Source, config: AnnotateConfig) -> None:
    """InputError where cases of your own meet a judge or a policy that knows the phantom only, and needs them.

    A case is the phantom's by its `metadata.source`.
    """
    own = (item.case for item in cases if item.case.metadata.source != PHANTOM_SOURCE)
    if config.is_phantom or (first := next(own, None)) is None:
        return
    place = f"{source.cases}: case {first.case_id} of source {first.metadata.source!r}"
    is_labelled = "machines" in config.stages
    if config.judge.kind == "rule" and is_labelled and config.consensus.rule != "value":
        raise InputError(
            f"{place}: judge.kind=rule reads the phantom's sentences only; set judge=server "
            "judge_server.base_urls=[http://HOST:PORT/v1] judge_server.model=NAME (or consensus.rule=value)"
        )
    has_rollouts = is_labelled and config.consensus.rule != "judge"
    has_drawn = not config.solution_servers and any(not item.solutions for item in cases)
    if config.monte_carlo.policy == "tiny" and (has_rollouts or has_drawn):
        raise InputError(
            f"{place}: monte_carlo.policy=tiny has learnt the phantom only; set policy=server (or vllm) "
            "policy_server.base_urls=[http://HOST:PORT/v1] policy_server.model=NAME"
            + (" (or consensus.rule=judge)" if not has_drawn else " (or solution_servers)" if not has_rollouts else "")
        )


def workshop_of(
    config: AnnotateConfig, source: Source, folder: Path, journal: Journal, opened: ExitStack
) -> Workshop[AnnotateConfig]:
    """What the annotators of a run are made with; judge and policies are shown images of the same size."""
    limits = (config.judge.max_image_pixels, budget_of_shard(config))
    return Workshop(config, folder, source.image_root, *limits, journal, opened)


def make_annotators(shop: Workshop[AnnotateConfig], source: Source) -> Annotators:
    """Index, judges and policy."""
    judge, answers = make_judges(shop)
    evidence = make_evidence(shop.config, source, shop.folder)
    shop.opened.callback(evidence.close)
    return Annotators(evidence, judge, make_policy(shop, drawing_of(shop.config.monte_carlo)), answers)


def make_evidence(config: AnnotateConfig, source: Source, folder: Path) -> EvidenceFinder:
    """Indexes are shared by the runs beside this one; what was found is the run's own."""
    indexes = Path(config.output_dir).parent / "indexes"
    found_file = folder / FOUND_FILE
    return open_evidence(config.retrieval, source.collections, indexes, found_file, config.judge.show_answer)


def make_judges(shop: Workshop[AnnotateConfig]) -> tuple[Judge, AnswerMatcher]:
    """The judge of steps, and whoever compares answers; a server serves both within the limits of one client."""
    config = shop.config
    if config.judge.kind == "rule":
        answers = make_matcher(config.answers, shop.folder, shop.opened)
        return RuleJudge(config.judge.unseen), answers  # type: ignore[arg-type]
    client = shop.client(config.judge_server)
    by_judge = ServerAnswerJudge(client, config.judge) if config.answers.open == "judge" else None
    answers = make_matcher(config.answers, shop.folder, shop.opened, by_judge)
    return ServerJudge(client, config.judge, shop.images), answers


def make_policy(shop: Workshop[AnnotateConfig], drawing: Drawing) -> Policy:
    """The Monte Carlo policy, drawing as it is told."""
    config = shop.config
    if config.monte_carlo.policy == "server":
        return server_policy(shop, config.policy_server, drawing)
    return local_policy(shop, drawing, num_sampling_processes(config))


def make_makers(shop: Workshop[AnnotateConfig]) -> list[Maker]:
    """Who makes solutions: the servers that are named for it, else the Monte Carlo policy."""
    config = shop.config
    drawings = [solution_drawing(config.solutions, config.monte_carlo, is_greedy) for is_greedy in (False, True)]

    def maker(policy_of: Callable[[Drawing], Policy]) -> Maker:
        return Maker(policy_of(drawings[0]), policy_of(drawings[1]) if config.solutions.greedy else None)

    if not config.solution_servers:
        return [maker(lambda drawing: make_policy(shop, drawing))]
    return [
        maker(lambda drawing, server=server: server_policy(shop, server, drawing))  # type: ignore[misc]
        for server in config.solution_servers.values()
    ]


def num_sampling_processes(config: AnnotateConfig) -> int:
    """Processes that hold the tiny policy."""
    return config.monte_carlo.num_processes or min(8, num_cores_of_a_process())


def num_at_a_time(config: AnnotateConfig) -> int:
    """Cases that are worth having under way together."""
    if config.monte_carlo.policy == "server":
        sampling = config.policy_server.concurrency
    else:
        sampling = num_sampling_processes(config)
    servers = [config.judge_server.concurrency] if config.judge.kind == "server" else []
    servers += [one.concurrency for one in config.solution_servers.values()]
    return max(sampling, *servers) if servers else sampling
