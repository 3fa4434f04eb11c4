"""What an attacker, or a hostile record, would try."""

import re
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from review_project import PASSWORD, Client, Served, drawn_records, review_config, served, write_data

from medprm.cases.schema import Image
from medprm.errors import InputError
from medprm.review import security
from medprm.review.settings import AccountSettings, AddressSettings

SCRIPT = "<script>window.stolen = 1</script><img src=x onerror='window.stolen = 1'>"
PRIVATE = ("/", "/work/review", "/progress", "/accounts", "/account", "/scored", "/scored/1", "/export/experts.jsonl")


def raw(served: Served, request: str) -> bytes:
    """The answer to these bytes: a client would tidy them up."""
    host = urlsplit(served.url)
    with socket.create_connection((host.hostname, host.port), timeout=60) as plain:
        plain.sendall(request.encode())
        answer = b""
        while chunk := plain.recv(65536):
            answer += chunk
    return answer


@pytest.mark.parametrize("path", PRIVATE)
def test_pages_need_a_login(path: str, shared: Served) -> None:
    answer = Client(shared.url).get(path)
    assert answer.status_code == 303 and answer.headers["location"] == "/login"


@pytest.mark.parametrize("path", ["/api/next/review", "/api/turn/1/verdict", "/api/turn/1/undo", "/api/turn/1/finish"])
def test_requests_need_a_login(path: str, shared: Served) -> None:
    assert Client(shared.url).post(path, {}).status_code in (401, 422)
    assert Client(shared.url).get("/api/pixels/0").status_code == 401


@pytest.mark.parametrize(
    "path",
    [
        *("/api/pixels/../../etc/passwd", "/api/pixels/%2e%2e%2f%2e%2e%2fetc%2fpasswd", "/api/pixels/0/../../x"),
        *("/api/pixels/-1", "/api/pixels/999", "/api/pixels/0%00", "/api/pixels/images%2F0.dcm"),
        *("/static/../app.py", "/static/%2e%2e%2fapp.py", "/static/..%5capp.py", "/static//etc/passwd"),
        *("/export/../review.sqlite", "/export/%2e%2e%2freview.sqlite", "/export/review.sqlite"),
        *("/scored/0", "/scored/99", "/scored/..", "/work/../accounts", "/work/delete"),
    ],
)
def test_nothing_outside_can_be_named(path: str, shared: Served) -> None:
    cookie = f"medprm_session={shared.client('root').http.cookies['medprm_session']}"
    host = urlsplit(shared.url).netloc
    answer = raw(shared, f"GET {path} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n")
    assert re.match(rb"HTTP/1.1 (404|422|400) ", answer), answer[:200]
    assert b"root:" not in answer and b"SQLite" not in answer


def test_a_record_cannot_name_a_file_outside(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="relative to the data root"):
        Image(path="../../etc/passwd")
    path = write_data(tmp_path / "data", drawn_records(1), size=32)
    (tmp_path / "data" / "images" / "0.dcm").unlink()
    (tmp_path / "data" / "images" / "0.dcm").symlink_to("/etc/passwd")
    with served(review_config(path, tmp_path / "review")) as server:
        answer = server.client("ana").get("/api/pixels/0")
        assert answer.status_code == 422 and "passwd" not in answer.text


def test_texts_of_records_are_never_markup(tmp_path: Path) -> None:
    """In pages they are escaped; in JSON they are values, which the page sets as text (tests marked browser)."""
    path = write_data(tmp_path / "data", drawn_records(1, text=SCRIPT), size=32)
    with served(review_config(path, tmp_path / "review", run_name=SCRIPT)) as server:
        root = server.client("root")
        answer = root.post("/api/next/review")
        assert answer.headers["content-type"] == "application/json" and SCRIPT in answer.json()["case"]["question"]
        for page in ("/", "/work/review", "/accounts", "/progress"):
            text = root.get(page).text
            assert SCRIPT not in text and "&lt;script&gt;" in text
        policy = root.get("/").headers["content-security-policy"]
        assert "script-src 'self'" in policy and "unsafe" not in policy


@pytest.mark.parametrize("token", ["", "wrong", None])
def test_forged_requests_are_refused(token: str | None, server: Served) -> None:
    ana, root = server.client("ana"), server.client("root")
    turn = ana.next()["turn"]["id"]
    headers = {} if token is None else {"X-CSRF-Token": token}
    said = {"step_id": 0, "verdict": "correct", "seconds": 1.0, "client_id": "a-client-id"}
    for path, body in ((f"/api/turn/{turn}/verdict", said), ("/api/next/review", {}), (f"/api/turn/{turn}/undo", {})):
        assert ana.http.post(path, json=body, headers=headers).status_code == 403
    form = {"name": "eve", "password": PASSWORD, "role": "admin"} | ({} if token is None else {"csrf": token})
    assert root.http.post("/accounts", data=form).status_code in (403, 422)
    assert root.http.post("/logout", data={} if token is None else {"csrf": token}).status_code in (403, 422)
    assert "eve" not in root.get("/accounts").text


def test_a_token_of_another_session_is_worth_nothing(shared: Served) -> None:
    ana, ben = shared.client("ana"), shared.client("ben")
    assert ana.http.post("/api/next/review", json={}, headers={"X-CSRF-Token": ben.csrf}).status_code == 403


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}]
)
def test_requests_from_other_sites_are_refused(headers: dict, shared: Served) -> None:
    ana = shared.client("ana")
    assert ana.post("/api/next/review", headers=headers).status_code == 403
    assert ana.post("/api/next/review", headers={"Origin": shared.url}).status_code == 200


def test_other_hosts_are_refused(shared: Served) -> None:
    assert Client(shared.url).get("/login", headers={"Host": "evil.example"}).status_code == 400


@pytest.mark.parametrize("host", ["[::1", "[x]", "]", "", "a@[::1", "\u2100.example"])
def test_malformed_hosts_are_refused(host: str, shared: Served) -> None:
    assert raw(shared, f"GET /login HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("origin", ["http://[x", "http://[::1", "//]", "\u2100://x"])
def test_malformed_origins_are_refused(origin: str, shared: Served) -> None:
    head = f"Host: {urlsplit(shared.url).netloc}\r\nOrigin: {origin}\r\nContent-Length: 0\r\nConnection: close"
    assert raw(shared, f"POST /login HTTP/1.1\r\n{head}\r\n\r\n").startswith(b"HTTP/1.1 403 ")


def test_a_body_that_never_ends_is_given_up(shared: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security, "MOST_BODY_SECONDS", 0.3)
    head = f"Host: {urlsplit(shared.url).netloc}\r\nContent-Length: 100"
    # The connection ends, too: `raw` reads to its end.
    assert raw(shared, f"POST /login HTTP/1.1\r\n{head}\r\n\r\nname=a").startswith(b"HTTP/1.1 408 ")


def test_a_session_is_not_fixed_from_outside(shared: Served) -> None:
    victim = Client(shared.url)
    victim.http.cookies.set("medprm_session", "planted-by-an-attacker", domain=urlsplit(shared.url).hostname)
    assert victim.log_in("ana").status_code == 303
    tokens = [cookie.value for cookie in victim.http.cookies.jar if cookie.name == "medprm_session"]
    assert "planted-by-an-attacker" not in tokens[-1:]
    attacker = Client(shared.url)
    attacker.http.cookies.set("medprm_session", "planted-by-an-attacker")
    assert attacker.get("/").status_code == 303
    # Each login makes a token of its own, and logging out ends it at the shared.
    again = shared.client("ana")
    assert again.http.cookies["medprm_session"] not in tokens
    kept = again.http.cookies["medprm_session"]
    assert again.form("/logout").status_code == 303
    attacker.http.cookies.clear()
    attacker.http.cookies.set("medprm_session", kept)
    assert attacker.get("/").status_code == 303


def test_cookies_are_out_of_reach_of_scripts_and_other_sites(shared: Served) -> None:
    client = Client(shared.url)
    answer = client.log_in("ana")
    cookie = next(one for one in answer.headers.get_list("set-cookie") if one.startswith("medprm_session"))
    assert "HttpOnly" in cookie and "samesite=strict" in cookie.lower()


def test_cookies_travel_by_https_alone_where_there_is_https(data: Path, tmp_path: Path) -> None:
    address = AddressSettings(behind_https_proxy=True)
    with served(review_config(data, tmp_path / "review", address=address)) as server:
        answer = Client(server.url).get("/login")
        assert "Secure" in answer.headers["set-cookie"] and "strict-transport-security" in answer.headers
        assert server.project.cookie.startswith("__Host-")


def test_guessing_passwords_is_stopped(data: Path, tmp_path: Path) -> None:
    config = review_config(data, tmp_path / "review", accounts={"max_failures": 3, "max_failures_of_address": 6})
    with served(config) as server:
        eve = Client(server.url)
        codes = [eve.log_in("ana", f"guess number {k}").status_code for k in range(5)]
        assert codes == [401, 401, 401, 429, 429]
        refused = eve.log_in("ana", PASSWORD)  # the right one does not help while the name is closed
        assert refused.status_code == 429 and int(refused.headers["retry-after"]) > 0
        assert eve.log_in("ben").status_code == 303
        codes = [Client(server.url).log_in(f"nobody {k}", "a guess that is wrong").status_code for k in range(5)]
        assert codes == [401, 401, 401, 429, 429]  # six from this address, under whatever name


def failed_login(served: Served, forwarded_for: str) -> int:
    """A wrong password, as a proxy passes it on. By hand: the cookie is for HTTPS, which ends at the proxy."""
    headers = {"X-Forwarded-For": forwarded_for}
    page = httpx.get(f"{served.url}/login", headers=headers, trust_env=False)
    token = page.cookies["medprm_login"]
    form = {"name": f"nobody {time.monotonic_ns()}", "password": "a guess that is wrong", "login_token": token}
    headers["Cookie"] = f"medprm_login={token}"
    return httpx.post(f"{served.url}/login", data=form, headers=headers, trust_env=False).status_code


@pytest.mark.parametrize(
    ("host", "trusted", "last"),
    [
        ("0.0.0.0", ["127.0.0.1"], 401),
        ("0.0.0.0", ["127.0.0.0/8"], 401),
        ("127.0.0.1", [], 401),  # only this machine can call, so the proxy is here
        ("0.0.0.0", ["10.0.0.7"], 429),
        ("0.0.0.0", [], 429),  # whoever says so is not believed
    ],
)
def test_failed_logins_behind_a_proxy(host: str, trusted: list[str], last: int, data: Path, tmp_path: Path) -> None:
    address = AddressSettings(host=host, behind_https_proxy=True, trusted_proxies=trusted)
    limits = {"max_failures": 3, "max_failures_of_address": 3}
    with served(review_config(data, tmp_path / "review", address=address, accounts=limits)) as server:
        assert [failed_login(server, "192.0.2.1") for _ in range(4)] == [401, 401, 401, 429]
        assert failed_login(server, "192.0.2.2") == last


def test_names_are_not_told_by_words(shared: Served) -> None:
    eve = Client(shared.url)
    pages = [eve.log_in(name, "a guess that is wrong") for name in ("ana", "nobody")]
    texts = [re.sub(r'value="[^"]*"', "", page.text) for page in pages]
    assert texts[0] == texts[1] and {page.status_code for page in pages} == {401}


@pytest.mark.parametrize(
    ("name", "path"),
    [
        *(("ana", path) for path in ("/progress", "/accounts", "/export/experts.csv", "/scored", "/work/adjudicate")),
        *(("judith", path) for path in ("/accounts", "/export/experts.csv", "/export/audit.jsonl")),
    ],
)
def test_roles_are_not_exceeded(name: str, path: str, shared: Served) -> None:
    assert shared.client(name).get(path).status_code == 403


def test_nobody_makes_themselves_admin(server: Served) -> None:
    ana, judith = server.client("ana"), server.client("judith")
    for client in (ana, judith):
        answer = client.form("/accounts", name="eve", password=PASSWORD, role="admin")
        assert answer.status_code == 403
        assert client.form("/accounts/1", is_active="false").status_code == 403
    assert ana.form("/splits/1", decision="accept").status_code == 403
    assert ana.post("/api/next/adjudicate").status_code == 403
    assert server.client("root").form("/accounts", name="x", password=PASSWORD, role="owner").status_code == 422


def test_nobody_writes_into_the_task_of_another(server: Served) -> None:
    ana, ben = server.client("ana"), server.client("ben")
    turn = ana.next()["turn"]["id"]
    for answer in (ben.say(turn, 0), ben.post(f"/api/turn/{turn}/undo"), ben.post(f"/api/turn/{turn}/finish")):
        assert answer.status_code == 409
    ana.say(turn, 0, client_id="known-to-ana")
    stolen = ben.say(ben.next()["turn"]["id"], 0, client_id="known-to-ana")
    assert stolen.status_code == 422


def test_a_closed_account_is_out_at_once(server: Served) -> None:
    ana, root = server.client("ana"), server.client("root")
    number = next(user.id for user in server.project.accounts.users() if user.name == "ana")
    assert root.form(f"/accounts/{number}", is_active="false").status_code == 303
    assert ana.get("/").status_code == 303
    assert Client(server.url).log_in("ana").status_code == 401


def test_bodies_are_bounded(server: Served) -> None:
    ana = server.client("ana")
    turn = ana.next()["turn"]["id"]
    big = b'{"note": "' + b"x" * 10**6 + b'"}'
    headers = {"X-CSRF-Token": ana.csrf, "Content-Type": "application/json"}
    assert ana.http.post(f"/api/turn/{turn}/verdict", content=big, headers=headers).status_code == 413

    def unannounced():
        for _ in range(100):
            yield b"x" * 10_000

    assert ana.http.post(f"/api/turn/{turn}/verdict", content=unannounced(), headers=headers).status_code == 413
    assert Client(server.url).http.post("/login", data={"name": "x" * 10**6}).status_code == 413


def test_no_id_of_a_patient_or_file_is_in_an_address_or_an_error(shared: Served) -> None:
    ana = shared.client("ana")
    view = ana.next()
    assert "patient-" not in str(view) and ".dcm" not in str(view)
    answer = ana.post("/api/turn/1/verdict", {"step_id": "Mr Smith", "verdict": "correct"})
    assert answer.status_code == 422 and "Smith" not in answer.text


def test_passwords_are_hashed(server: Served, tmp_path: Path) -> None:
    row = server.project.accounts.database.row("SELECT password_hash FROM users WHERE name = 'ana'")
    assert row is not None and row["password_hash"].startswith("$argon2id$")
    client = server.client("ana")
    for file in (tmp_path / "review").iterdir():
        content = file.read_bytes()
        assert PASSWORD.encode() not in content
        assert client.http.cookies["medprm_session"].encode() not in content


def test_passwords_are_changed_with_the_old_one_only(server: Served) -> None:
    ana, other = server.client("ana"), server.client("ana")
    assert ana.form("/account", old="not the old one", new="another long password").status_code == 422
    assert ana.form("/account", old=PASSWORD, new="short").status_code == 422
    assert ana.form("/account", old=PASSWORD, new="another long password").status_code == 303
    assert other.get("/").status_code == 303  # all sessions ended
    assert Client(server.url).log_in("ana").status_code == 401
    assert Client(server.url).log_in("ana", "another long password").status_code == 303


def test_guessing_the_old_password_is_stopped(data: Path, tmp_path: Path) -> None:
    with served(review_config(data, tmp_path / "review", accounts={"max_failures": 3})) as server:
        ana = server.client("ana")
        new = "another long password"
        codes = [ana.form("/account", old=f"guess {k}", new=new).status_code for k in range(4)]
        assert codes == [422, 422, 422, 429]
        refused = ana.form("/account", old=PASSWORD, new=new)  # the right one does not help for a while
        assert refused.status_code == 429 and int(refused.headers["retry-after"]) > 0
        assert Client(server.url).log_in("ana").status_code == 429  # nor at the login: the attempts count together
        kinds = [row["kind"] for row in server.project.accounts.database.rows("SELECT kind FROM events")]
        assert kinds.count("password_change_failed") == 3


def test_other_machines_are_let_in_over_https_only() -> None:
    with pytest.raises(InputError, match="passwords would travel readable"):
        AddressSettings(host="0.0.0.0")
    AddressSettings(host="0.0.0.0", behind_https_proxy=True)
    AddressSettings(host="127.0.0.1")
    with pytest.raises(InputError, match="no effect without"):
        AddressSettings(trusted_proxies=["10.0.0.7"])
    with pytest.raises(InputError, match="an address or a network"):
        AddressSettings(behind_https_proxy=True, trusted_proxies=["*"])
    with pytest.raises(InputError, match="go together"):
        AddressSettings(certificate="cert.pem")
    with pytest.raises(InputError, match="max_failures"):
        AccountSettings(max_failures=0)
