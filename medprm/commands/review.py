"""`python -m medprm.review`: serve the expert web application, or take verdicts in or out of it.

In: ReviewConfig. Out, in the review's folder: review.sqlite (verdicts, accounts, the log) and config.yaml. It stays
from start to start; with other data or rules it is refused.
"""

import json
import logging
import secrets
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
import yaml
from omegaconf import OmegaConf

from medprm.annotation.settings import ConsensusSettings, SimulatedSettings
from medprm.annotation.simulated import annotate_record
from medprm.cases.atomic import replaced_file
from medprm.cases.jsonl import read_records, write_records
from medprm.cases.phantom.build import build_phantom
from medprm.cases.phantom.settings import PhantomSettings
from medprm.cases.schema import Record
from medprm.config import ReviewConfig
from medprm.errors import InputError
from medprm.review.accounts import Accounts
from medprm.review.app import make_app
from medprm.review.assignment import Assignment
from medprm.review.database import Database
from medprm.review.exchange import EXPORTS, export_text, import_verdicts
from medprm.review.material import read_material
from medprm.review.pixels import Pixels
from medprm.review.project import Project
from medprm.review.settings import AddressSettings, check_file

logger = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS = 75  # longer than an expert thinks between two answers, most of the time
DEMO_PATIENTS, DEMO_CANDIDATES, DEMO_PIXELS = 12, 4, 512
DEMO_ACCOUNTS = (("ana", "reviewer"), ("ben", "reviewer"), ("judith", "adjudicator"))


def run(config: ReviewConfig) -> Path:
    """Serve until interrupted, or export or import and end; returns the review's folder."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    project = open_project(config)
    try:
        if config.verdicts is not None:
            path = check_file("verdicts", config.verdicts)
            assert path is not None
            num = import_verdicts(path, project.assignment, project.accounts)
            print(f"{num} verdicts taken in from {config.verdicts}")
        elif config.export is not None:
            write_exports(Path(config.export), project)
        else:
            serve(config, project)
    finally:
        project.assignment.database.close()
    return Path(config.output_dir)


def open_project(config: ReviewConfig) -> Project:
    """The project of the settings: its data, its database and its accounts."""
    folder = Path(config.output_dir)
    if config.data.path is None:
        config.data.path = str(ensure_demo(folder / "phantom"))
    material = read_material(config.data, config.rules, config.protocol)
    database = Database(folder)
    known = database.about("material")
    if known not in (None, material.digest):
        database.close()
        raise InputError(
            f"{folder} holds a review of other data or rules (data.path, queue, rules.steps, overlap, seed, protocol); "
            "give those, or run_name=NAME for a new review"
        )
    database.remember("material", material.digest)
    accounts = Accounts(database, config.accounts)
    make_first_accounts(accounts, config)
    return Project(
        assignment=Assignment(database, material, config.rules, config.protocol),
        accounts=accounts,
        pixels=Pixels(material),
        consensus=consensus_of(Path(config.data.path), config.consensus),
        address=config.address,
        title=config.run_name,
    )


def make_first_accounts(accounts: Accounts, config: ReviewConfig) -> None:
    """An admin at the very first start, the demo's experts, and new passwords where asked for; each is printed."""
    known = {user.name for user in accounts.users()}
    is_demo = config.accounts.demo
    wanted = [] if any(user.role == "admin" for user in accounts.users()) else [("admin", "admin")]
    wanted += [one for one in DEMO_ACCOUNTS if is_demo and one[0] not in known]
    for name, role in wanted:
        password = secrets.token_urlsafe(9)
        accounts.add(name, password, role, ["radiology", "pathology", "dermatology"] if is_demo else [])
        print(f"new account {name} ({role}), password {password}   (shown this once)")
    again = [name for name in ("admin", *(one[0] for one in DEMO_ACCOUNTS)) if is_demo and name in known]
    if config.accounts.reset and config.accounts.reset not in again:
        again.append(config.accounts.reset)
    for name in again:
        password = secrets.token_urlsafe(9)
        accounts.reset_password(name, password)
        print(f"account {name}, new password {password}   (shown this once)")


def serve(config: ReviewConfig, project: Project) -> None:
    """Until interrupted."""
    address = config.address
    scheme = "https" if address.certificate else "http"
    tasks = project.assignment.material.tasks
    print(
        f"{len(tasks)} solutions with {sum(len(task.asked) for task in tasks)} steps to judge; "
        f"{scheme}://{address.host}:{address.port}  (Ctrl-C ends it; everything said is kept in {config.output_dir})",
        flush=True,
    )
    if address.behind_https_proxy and not address.believed_proxies:
        logger.warning(
            "failed logins are counted by the address of the proxy, as one for everybody; set "
            "address.trusted_proxies=[ADDRESS OF THE PROXY]"
        )
    uvicorn.run(make_app(project), host=address.host, port=address.port, **server_options(address))


def server_options(address: AddressSettings) -> dict[str, Any]:
    """How uvicorn serves the application at an address."""
    return {
        "ssl_certfile": address.certificate,
        "ssl_keyfile": address.key,
        "proxy_headers": address.behind_https_proxy,
        "forwarded_allow_ips": address.believed_proxies,
        "server_header": False,
        "timeout_keep_alive": KEEP_ALIVE_SECONDS,
        "access_log": False,
        "log_level": "warning",
    }


def write_exports(folder: Path, project: Project) -> None:
    """Every export, as a file each."""
    for name in EXPORTS:
        text = export_text(name, project.assignment, project.consensus)
        with replaced_file(folder / name) as draft:
            draft.write_text(text, encoding="utf-8", newline="")
        print(folder / name)


def consensus_of(path: Path, given: ConsensusSettings) -> ConsensusSettings:
    """The rule by which the records' labels were made: that of the annotation run beside them, unless one is given."""
    saved = path.parent / "config.yaml"
    if given != ConsensusSettings() or not saved.is_file():
        return given
    values = yaml.safe_load(saved.read_text(encoding="utf-8")).get("consensus")
    if values is None:
        return given
    found = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(ConsensusSettings), values))
    assert isinstance(found, ConsensusSettings)
    return found


def ensure_demo(folder: Path) -> Path:
    """A phantom small enough to be drawn in seconds, labelled by simulated machines; not clinical data."""
    path = folder / "labelled.jsonl"
    if path.is_file():
        return path
    settings = PhantomSettings(
        num_train_patients=DEMO_PATIENTS,
        num_validation_patients=1,
        num_test_patients=1,
        num_train_candidates=DEMO_CANDIDATES,
        num_validation_candidates=1,
        num_test_candidates=1,
        image_size=DEMO_PIXELS,
    )
    if not (folder / "set").is_dir():
        build_phantom(folder / "set", settings)
    truths = [json.loads(line) for line in (folder / "set" / "truth.jsonl").read_text().splitlines()]
    by_solution = {one["solution_id"]: one for one in truths}
    rng = np.random.default_rng(0)
    simulated = SimulatedSettings(expert_cannot_tell=1.0)
    records = [
        without_experts(annotate_record(record, by_solution[record.solution_id], simulated, rng))
        for record in read_records(folder / "set" / "candidates.jsonl")
    ]
    (folder / "run.json").write_text(json.dumps({"cases": str(folder / "set" / "candidates.jsonl")}))
    write_records(path, records)
    return path


def without_experts(record: Record) -> Record:
    """The record as the machines left it: every simulated expert had said that they cannot tell."""
    steps = [
        step.model_copy(update={"sources": step.sources.model_copy(update={"expert": ()})}) if step.sources else step
        for step in record.solution_steps
    ]
    return record.model_copy(update={"solution_steps": tuple(steps)})
