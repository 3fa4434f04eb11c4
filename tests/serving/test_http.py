"""The HTTP service, driven by a real client over loopback: the library's scores under load, clear refusals."""

import base64
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from medprm.cases.schema import Case, CaseSolutions
from medprm.clients.guard import Guard, GuardRefusal
from medprm.clients.scoring_http import ScoringClient
from medprm.clients.settings import GuardSettings, SourcePolicy
from medprm.commands.entry import run_verb
from medprm.errors import InputError
from medprm.scoring.scorer import StepScorer
from medprm.serving.settings import ServingSettings

# Measured: 2e-7, sums in float32 in another order.
TOLERANCE = 1e-5
ROOT = Path(__file__).parents[2]
TEXT_CASE = {"case_id": "c1", "modality": "text", "question": "What is seen?"}
BODY: dict[str, Any] = {"case": TEXT_CASE, "solutions": [["fever", "the answer is effusion"], "clear\nheart enlarged"]}


def client(url: str, token: str | None = None) -> ScoringClient:
    return ScoringClient(url, Guard(GuardSettings()), token)


def text_case(**changes: Any) -> dict[str, Any]:
    return BODY | {"case": TEXT_CASE | changes}


def test_fifty_clients_at_once_get_the_scores_of_the_library(
    serve: Any, scorer: StepScorer, cases: list[CaseSolutions], image_folder: Path
) -> None:
    expected = [scorer.score(item.case, item.solutions, image_folder) for item in cases]
    url = serve(data_root=str(image_folder), max_batch_cases=8)
    with ThreadPoolExecutor(50) as pool:
        answers = list(
            pool.map(
                lambda number: client(url).score(
                    cases[number % 12].case, [one.step_texts for one in cases[number % 12].solutions]
                ),
                range(200),
            )
        )
    assert len(answers) == 200, "no request is lost"
    for number, answer in enumerate(answers):
        for one, other in zip(answer, expected[number % 12], strict=True):
            assert one == pytest.approx(other, abs=TOLERANCE)
    health = httpx.get(f"{url}/health").json()
    assert health["num_cases_scored"] == 200
    assert health["num_batches"] < 150, "requests that came together were scored together"


def test_files_that_are_sent_score_as_files_in_the_data_root(
    serve: Any, scorer: StepScorer, cases: list[CaseSolutions], image_folder: Path
) -> None:
    item = cases[1]
    expected = scorer.score(item.case, item.solutions, image_folder)
    file = (image_folder / item.case.images[0].path).read_bytes()
    url = serve()
    before = set(Path(tempfile.gettempdir()).glob("medprm-serving-*/*"))
    answer = client(url).score(item.case, [one.step_texts for one in item.solutions], [file])
    for one, other in zip(answer, expected, strict=True):
        assert one == pytest.approx(other, abs=TOLERANCE)
    assert set(Path(tempfile.gettempdir()).glob("medprm-serving-*/*")) <= before, "sent files are deleted"


def test_a_file_that_its_decoder_cannot_bear_costs_that_request_alone(
    serve: Any, cases: list[CaseSolutions], image_folder: Path
) -> None:
    """It is decoded in another process, whose memory is limited; this one could hold it."""
    url = serve(image_memory_mib=64)
    large = io.BytesIO()
    Image.new("RGB", (7000, 7000)).save(large, "PNG")
    answer = httpx.post(
        f"{url}/score", json=BODY | {"images": [base64.b64encode(large.getvalue()).decode()]}, timeout=120
    )
    assert answer.status_code == 422
    assert re.search(r"^images\[0\]: does not fit into memory.*\(the limit is 64 MiB\)$", answer.json()["error"])
    file = (image_folder / cases[1].case.images[0].path).read_bytes()
    assert client(url).score(cases[1].case, [["fever"]], [file]), "and the next one is decoded"


def test_scores_aggregates_and_the_ranking_agree(serve: Any) -> None:
    url = serve()
    scored = httpx.post(f"{url}/score", json=BODY | {"aggregation": "product"}).json()
    assert scored["aggregation"] == "product"
    for one in scored["solutions"]:
        assert one["score"] == one["aggregates"]["product"]
        assert one["aggregates"]["min"] == min(one["step_scores"])
    assert [len(one["step_scores"]) for one in scored["solutions"]] == [2, 2], "a text is split into steps"
    ranked = httpx.post(f"{url}/rank", json=BODY | {"aggregation": "product"}).json()
    best = max(range(2), key=lambda number: scored["solutions"][number]["score"])
    assert ranked["best"] == ranked["ranking"][0]["solution"] == best
    assert ranked["ranking"][0]["score"] >= ranked["ranking"][1]["score"]


PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 40).decode()
BAD = {
    "no JSON": (b"{", 400, "broken JSON"),
    "a key twice": (b'{"case": {}, "case": {}}', 422, "duplicate key"),
    "not UTF-8": (b"\xff", 400, "not UTF-8"),
    "NaN": (b'{"case": NaN}', 422, "NaN is not JSON"),
    "a list": (b"[]", 422, "expected one JSON object"),
    "an unknown field": (BODY | {"scores": 1}, 422, "no such field; expected case, solutions"),
    "no solution": (BODY | {"solutions": []}, 422, "solutions"),
    "a blank step": (BODY | {"solutions": [["x", " "]]}, 422, r"solutions\[0\]\[1\]"),
    "a number for a step": (BODY | {"solutions": [[1]]}, 422, "valid string"),
    "a blank text": (BODY | {"solutions": ["\n \n"]}, 422, "blank|0 steps"),
    "another aggregation": (BODY | {"aggregation": "median"}, 422, "'mean', 'min'"),
    "a case without a question": (BODY | {"case": {"case_id": "c1", "modality": "text"}}, 422, "'question' is missing"),
    "a step in the case": (text_case(solution_steps=[]), 422, "a field of solutions"),
    "an unknown field of a case": (text_case(questoin="?"), 422, "did you mean 'question'"),
    "a path without a data root": (text_case(images=[{"path": "a.png"}]), 422, "no data root"),
    "a path out of the root": (text_case(images=[{"path": "../../etc/passwd"}]), 422, r"without '\.\.'"),
    "no base64": (BODY | {"images": ["§"]}, 422, r"images\[0\] of case c1 is not base64"),
    "a damaged picture": (BODY | {"images": [PNG]}, 422, r"^images\[0\]: "),
    "an empty picture": (BODY | {"images": [""]}, 422, r"^images\[0\]: "),
    "too many solutions": (BODY | {"solutions": [["x"]] * 129}, 422, "at most 128"),
    "too many images": (BODY | {"images": ["QUJD"] * 33}, 422, "33 images; expected at most 32"),
    "too many paths": (
        text_case(images=[{"path": f"{n}.png"} for n in range(33)]),
        422,
        "33 images; .* serving.max_images",
    ),
    "too many steps": (BODY | {"solutions": [["x"] * 257]}, 422, "1 to 256"),
    "more than the model reads": (BODY | {"solutions": [["fever " * 5000]]}, 422, "tokens"),
}


def test_bad_requests_get_one_clear_line(serve: Any) -> None:
    url = serve()
    for name, (body, status, message) in BAD.items():
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = httpx.post(f"{url}/score", content=content, headers={"Content-Type": "application/json"}, timeout=60)
        said = answer.json()["error"]
        assert answer.status_code == status, f"{name}: {said}"
        assert re.search(message, said), f"{name}: {said}"
        assert "\n" not in said
        assert tempfile.gettempdir() not in said, f"{name}: {said}"
    assert httpx.post(f"{url}/score", json=BODY).status_code == 200, "and the service goes on"


def test_what_is_no_request_of_ours_is_refused(serve: Any) -> None:
    url = serve(max_body_mib=1)
    assert httpx.post(f"{url}/score", content=b"{}", headers={"Content-Type": "text/plain"}).status_code == 415
    assert httpx.post(f"{url}/score", json=BODY, headers={"Host": "attacker.example"}).status_code == 400
    assert httpx.post(f"{url}/score", json=BODY | {"images": ["A" * 2**21]}).status_code == 413
    chunked = (b"x" * 2**16 for _ in range(64))  # without Content-Length
    headers = {"Content-Type": "application/json"}
    assert httpx.post(f"{url}/score", content=chunked, headers=headers).status_code == 413
    assert httpx.get(f"{url}/score").status_code == 405
    missing = httpx.get(f"{url}/nothing")
    assert missing.status_code == 404
    assert "POST /score" in missing.json()["error"]


def test_requests_at_once_have_a_budget(serve: Any) -> None:
    with pytest.raises(InputError, match=r"serving\.max_bodies_mib .* is 8; expected 64 or more"):
        ServingSettings(max_bodies_mib=8)
    url = serve(max_body_mib=1, max_bodies_mib=1)
    large = json.dumps(BODY).encode() + b" " * (600 * 2**10)
    headers = {"Content-Type": "application/json"}
    has_begun, may_end = threading.Event(), threading.Event()

    def slowly() -> Iterator[bytes]:
        yield large
        has_begun.set()
        assert may_end.wait(60)
        yield b" "

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(lambda: httpx.post(f"{url}/score", content=slowly(), headers=headers, timeout=60))
        assert has_begun.wait(60)
        deadline = time.monotonic() + 30
        while (second := httpx.post(f"{url}/rank", content=large, headers=headers, timeout=60)).status_code == 200:
            assert time.monotonic() < deadline, "the first one was never counted"
        assert second.status_code == 503 and second.headers["Retry-After"]
        assert re.search(r"hold [01]\.\d MiB of serving\.max_bodies_mib=1", second.json()["error"])
        assert httpx.post(f"{url}/score", json=BODY).status_code == 200, "a small one has room beside it"
        may_end.set()
        assert first.result(60).status_code == 200
    for content in (large, large[1:], large):  # also one that is refused gives its room back
        assert httpx.post(f"{url}/score", content=content, headers=headers).status_code in (200, 400)


def test_a_token_is_asked_for(serve: Any) -> None:
    url = serve(token="a long enough token")
    assert httpx.post(f"{url}/score", json=BODY).status_code == 401
    wrong = {"Authorization": "Bearer a long enough tokem"}
    assert httpx.post(f"{url}/score", json=BODY, headers=wrong).status_code == 401
    right = {"Authorization": "Bearer a long enough token"}
    assert httpx.post(f"{url}/score", json=BODY, headers=right).status_code == 200
    assert httpx.get(f"{url}/health").status_code == 200
    case = Case.model_validate(TEXT_CASE)
    assert client(url, "a long enough token").score(case, [["fever"]])
    with pytest.raises(InputError, match="401"):
        client(url).score(case, [["fever"]])


def test_other_machines_need_a_token_and_a_name() -> None:
    for given in ({}, {"token_env": "T"}, {"allowed_hosts": ["node"]}):
        with pytest.raises(InputError, match=r"serving\.token_env=NAME"):
            ServingSettings(host="0.0.0.0", **given)
    assert ServingSettings(host="0.0.0.0", token_env="T", allowed_hosts=["node"])
    for given in ({"port": 70000}, {"max_batch_cases": 0}, {"max_wait_ms": -1}):
        with pytest.raises(InputError, match=r"serving\."):
            ServingSettings(**given)


def test_behind_a_proxy_the_guard_sees_the_client(serve: Any) -> None:
    for given in ({}, {"token_env": "T", "host": "0.0.0.0", "allowed_hosts": ["node"]}):
        with pytest.raises(InputError, match=r"serving\.behind_proxy=true"):
            ServingSettings(behind_proxy=True, **given)
    token = "a long enough token"
    url = serve(token=token, behind_proxy=True, token_env="T")

    def status(*forwarded: str) -> int:
        headers = [("Authorization", f"Bearer {token}"), *(("X-Forwarded-For", one) for one in forwarded)]
        return httpx.post(f"{url}/score", json=BODY, headers=headers).status_code

    assert status() == 400, "the proxy does not say who asks"
    assert status("10.0.0.7") == 403, "no source of these settings may go there"
    assert status("127.0.0.1") == status("10.0.0.7, ::1") == 200
    assert status("127.0.0.1, 10.0.0.7") == status("127.0.0.1", "10.0.0.7") == 403, "the first one is a claim"
    assert status("somebody") == status("127.0.0.1,") == 400
    assert httpx.post(f"{url}/score", json=BODY, headers={"X-Forwarded-For": "127.0.0.1"}).status_code == 401
    assert httpx.get(f"{url}/health").status_code == 200


def test_a_proxy_that_nobody_told_of_is_refused(serve: Any) -> None:
    """To this service all its clients would be 127.0.0.1, and the guard off."""
    url = serve()
    for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"):
        answer = httpx.post(f"{url}/score", json=BODY, headers={name: "10.0.0.7"})
        assert answer.status_code == 400
        assert "serving.behind_proxy=true" in answer.json()["error"]


def test_the_guard_stands_before_the_client() -> None:
    """A source that is not named does not go to another host, and nothing is sent."""
    with pytest.raises(GuardRefusal, match="zone machine"):
        client("http://node.example:8765").score(Case.model_validate(TEXT_CASE), [["fever"]])


PERSON = "the patient's name is Jane Doe"
MARKS = {"source": "ward", "phi_removed": True, "irb_approved": True}


@pytest.mark.parametrize(
    "changes",
    [
        {"question": f"{PERSON}. What is seen?"},
        {"options": ["effusion", PERSON]},
        {"clinical_context": {"note": PERSON}},
        {"clinical_context": {"laboratory": {"MRN 00482913": "4.5"}}},
        {"documents": [{"document_id": "MRN 00482913", "text": "Fever."}]},
        {"documents": [{"document_id": "d", "title": PERSON, "text": "Fever."}]},
        {"image": {"path": "p17/1.dcm"}, "patient_id": "p17"},
    ],
)
def test_every_text_of_a_case_passes_the_guard(changes: dict[str, Any]) -> None:
    guard = Guard(GuardSettings(sources={"ward": SourcePolicy(zone="outside")}))
    case = Case.model_validate_json(json.dumps(TEXT_CASE | {"metadata": MARKS} | changes))
    with pytest.raises(GuardRefusal, match="what looks like|the patient_id"):
        ScoringClient("https://outside.example", guard).score(case, [["fever"]])


def test_only_what_a_prompt_is_made_of_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = []
    monkeypatch.setattr(ScoringClient, "_post", lambda self, case_id, body: sent.append(body) or {"solutions": []})
    names = {"case_id": "SMITH_JOHN", "patient_id": "p17", "extra": {"ward": 3}, "gold_standard": {"answer": "fever"}}
    marks = MARKS | {"specialty": "radiology", "licence": "CC0"}
    image = {"path": "a.png", "extra": {"device": "x"}}
    case = Case.model_validate(TEXT_CASE | names | {"metadata": marks, "image": image})
    client("http://127.0.0.1:1").score(case, [["fever"]])
    (body,) = sent
    assert body["case"] == {
        "case_id": "case", "metadata": MARKS, "modality": "text", "question": "What is seen?",
        "image": {"path": "a.png"},
    }  # fmt: skip


def test_the_page_and_the_description_ask_the_network_for_nothing(serve: Any) -> None:
    url = serve()
    page = httpx.get(url)
    assert page.status_code == 200
    assert "/rank" in page.text
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", page.text)
    assert "<script" not in page.text
    described = httpx.get(f"{url}/openapi.json").json()
    assert set(described["paths"]) == {"/score", "/rank", "/health"}
    references = set(re.findall(r'"\$ref": "#/components/schemas/(\w+)"', json.dumps(described)))
    assert references <= set(described["components"]["schemas"])


def test_the_command_serves_until_it_is_asked_to_stop(tmp_path: Path, trained: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "medprm.serving", f"checkpoint={trained / 'checkpoint'}", "serving.port=0"]
    with subprocess.Popen(
        [*command, "num_threads=1"], stderr=subprocess.PIPE, text=True, env=environment, cwd=ROOT
    ) as process:
        try:
            assert process.stderr is not None
            found = next((one[1] for line in process.stderr if (one := re.search(r"on (http://127\S+)", line))), None)
            assert found is not None
            answer = httpx.post(f"{found}/score", json=BODY, timeout=60)
            assert answer.status_code == 200
            assert answer.json()["checkpoint"] == "run"
            process.send_signal(signal.SIGTERM)
            process.wait(30)
        finally:
            process.kill()
    assert not list(tmp_path.glob("medprm-serving-*")), "nothing of a request stays behind"


def test_the_command_says_what_is_wrong_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["serving", *arguments])
        assert run_verb("serve", ROOT / "conf") == 2
        text = capsys.readouterr().err
        assert text.count("\n") == 1, text
        return text

    assert "give checkpoint=FOLDER" in said()
    assert "did you mean serving.port" in said("serving.prot=1")
    assert "openssl rand" in said("checkpoint=x", "serving.token_env=NOT_SET")
