"""A review project of drawn DICOM films on a real server in this process, and clients that log in to it."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import pydicom
import uvicorn
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from medprm.cases.jsonl import write_records
from medprm.cases.schema import (
    ClinicalContext,
    Document,
    Evidence,
    GoldStandard,
    Image,
    JudgeVerdict,
    Metadata,
    MonteCarlo,
    Record,
    Sources,
    Step,
)
from medprm.commands.review import open_project, server_options
from medprm.config import ReviewConfig
from medprm.evaluation.scored import ScoredSolution
from medprm.review.app import make_app
from medprm.review.project import Project
from medprm.review.settings import AccountSettings, ProtocolSettings, ReviewDataSettings, RuleSettings

PASSWORD = "a long enough password"
CATEGORIES = ("observation", "analysis", "integration", "diagnosis")
USERS = {
    "ana": ("reviewer", ["radiology"]),
    "ben": ("reviewer", ["radiology"]),
    "judith": ("adjudicator", ["radiology"]),
    "root": ("admin", []),
}


def write_ct(path: Path, size: int = 256, slope: float = 1.0, seed: int = 0, **tags: Any) -> None:
    """A CT slice of 16 bits: a table of Hounsfield units from air to bone, with noise."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 3000, size * size).reshape(size, size) + rng.normal(0, 20, (size, size))
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.Modality, dataset.PatientID, dataset.PatientName = "CT", "P1", "Drawn"
    dataset.Rows, dataset.Columns = size, size
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.RescaleSlope, dataset.RescaleIntercept = slope, -1024
    dataset.WindowCenter, dataset.WindowWidth = 40, 400
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelData = np.clip(ramp, 0, 65535).astype("<u2").tobytes()
    for name, value in tags.items():
        setattr(dataset, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)


def drawn_records(num_cases: int, num_steps: int = 4, text: str = "", **case: Any) -> list[Record]:
    """Cases with an image each; every step is disputed: the judge says right, the rollouts wrong."""
    quote = f"silhouette sign stands for consolidation{text}"
    passage = f"A {quote} beside the heart. It is seen in pneumonia."
    return [
        Record(
            case_id=f"case-{number}",
            patient_id=f"patient-{number}",
            image=Image(path=f"images/{number}.dcm", view="axial"),
            clinical_context=ClinicalContext(age=61, sex="F", symptoms=("cough", "fever"), note=text or None),
            question=f"Case {number}: what is the most likely diagnosis?{text}",
            options=("pneumonia", "effusion"),
            documents=(Document(document_id="d1", source=f"guideline{text}", title=f"Signs{text}", text=passage),),
            gold_standard=GoldStandard(answer="pneumonia", diagnosis="pneumonia of the left lung"),
            solution_id=f"case-{number}-0",
            answer="pneumonia",
            is_correct=True,
            solution_steps=tuple(
                Step(
                    step_id=step,
                    category=CATEGORIES[step % 4],
                    content=f"Step {step} of case {number}: the left heart border is lost.{text}",
                    label="unknown",
                    sources=Sources(
                        judge=(
                            JudgeVerdict(
                                verdict="correct",
                                model="judge",
                                reason=f"The passage names the sign.{text}",
                                citations=(Evidence(source=f"guideline{text}", quote=quote, document_id="d1"),),
                            ),
                        ),
                        monte_carlo=(MonteCarlo(num_correct=3, num_wrong=12, num_unparsed=1, num_planned=16),),
                    ),
                )
                for step in range(num_steps)
            ),
            **({"modality": "ct_scan", "metadata": Metadata(source="drawn")} | case),
        )
        for number in range(num_cases)
    ]


def drawn_scores(records: list[Record], text: str = "") -> list[ScoredSolution]:
    """Four candidates a case, right and wrong by turns, with steps of every label."""
    return [
        ScoredSolution(
            case_id=one.case_id,
            patient_id=one.patient_id,
            group_id=one.group_id,
            split="test",
            solution_id=f"{one.solution_id}{copy}",
            generator=None,
            answer=("pneumonia", "effusion")[copy % 2] + text,
            is_correct=copy % 2 == 0,
            step_scores=[(0.9, 0.2, 0.6, 0.45)[(k + copy) % 4] for k in range(4)],
            labels=["correct", "incorrect", "neutral", "unknown"],
            categories=[step.category for step in one.solution_steps],
            step_texts=[step.content for step in one.solution_steps],
        )
        for one in records
        for copy in range(4)
    ]


def write_data(folder: Path, records: list[Record], size: int = 256) -> Path:
    """labelled.jsonl with its images."""
    for number, record in enumerate(records):
        for image in record.all_images:
            if not (folder / image.path).exists():
                write_ct(folder / image.path, size, seed=number)
    write_records(folder / "labelled.jsonl", records)
    return folder / "labelled.jsonl"


def review_config(path: Path, output: Path, **changes: Any) -> ReviewConfig:
    rules = RuleSettings(**({"overlap": 0.0} | changes.pop("rules", {})))
    data = ReviewDataSettings(path=str(path), **changes.pop("data", {}))
    protocol = ProtocolSettings(**changes.pop("protocol", {}))
    accounts = AccountSettings(**changes.pop("accounts", {}))
    return ReviewConfig(output_dir=str(output), data=data, rules=rules, protocol=protocol, accounts=accounts, **changes)


def opened(config: ReviewConfig, users: dict[str, tuple[str, list[str]]] | None = None) -> Project:
    """The project with accounts that all have the same password."""
    project = open_project(config)
    known = {user.name for user in project.accounts.users()}
    for name, (role, specialties) in (USERS if users is None else users).items():
        if name not in known:
            project.accounts.add(name, PASSWORD, role, specialties)
    return project


class Served(NamedTuple):
    """A running server."""

    url: str
    project: Project

    def client(self, name: str | None = None) -> "Client":
        client = Client(self.url)
        if name is not None:
            assert client.log_in(name).status_code == 303
        return client


@contextmanager
def served(config: ReviewConfig, users: dict[str, tuple[str, list[str]]] | None = None) -> Iterator[Served]:
    """The application on a free port of this machine."""
    project = opened(config, users)
    options = server_options(config.address)
    server = uvicorn.Server(uvicorn.Config(make_app(project), host="127.0.0.1", port=0, **options))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield Served(f"http://127.0.0.1:{port}", project)
    finally:
        server.should_exit = True
        thread.join(10)
        project.assignment.database.close()


class Client:
    """A browser without a screen: cookies, and the token of its session."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, timeout=30, trust_env=False)
        self.csrf = ""

    def log_in(self, name: str, password: str = PASSWORD) -> httpx.Response:
        token = re.search(r'name="login_token" value="([^"]+)"', self.http.get("/login").text)
        assert token
        form = {"name": name, "password": password, "login_token": token[1]}
        answer = self.http.post("/login", data=form)
        if answer.status_code == 303:
            found = re.search(r'name="csrf" content="([^"]+)"', self.http.get("/").text)
            assert found
            self.csrf = found[1]
        return answer

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.http.get(path, **more)

    def post(self, path: str, json: Any = None, **more: Any) -> httpx.Response:
        headers = {"X-CSRF-Token": self.csrf} | more.pop("headers", {})
        return self.http.post(path, json={} if json is None else json, headers=headers, **more)

    def form(self, path: str, **fields: Any) -> httpx.Response:
        return self.http.post(path, data={"csrf": self.csrf} | fields)

    def next(self, kind: str = "review") -> dict[str, Any]:
        answer = self.post(f"/api/next/{kind}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def say(self, turn: int, step: int, verdict: str | None = "correct", **more: Any) -> httpx.Response:
        client_id = more.pop("client_id", f"id-{turn}-{step}-{time.monotonic_ns()}")
        said = {"step_id": step, "verdict": verdict, "seconds": 2.5, "client_id": client_id} | more
        return self.post(f"/api/turn/{turn}/verdict", said)

    def judge(self, kind: str = "review", verdict: Any = "correct", **more: Any) -> dict[str, Any] | None:
        """Take the next task, judge every asked step (`verdict` may be a function of the step's id), finish it."""
        view = self.next(kind)
        if view["turn"] is None:
            return None
        for step in view["steps"]:
            if step["is_asked"]:
                word = verdict(step["step_id"]) if callable(verdict) else verdict
                answer = self.say(view["turn"]["id"], step["step_id"], word, **more)
                assert answer.status_code == 200, answer.text
        done = self.post(f"/api/turn/{view['turn']['id']}/finish")
        assert done.status_code == 200, done.text
        return view | {"gold": done.json()["gold"]}
