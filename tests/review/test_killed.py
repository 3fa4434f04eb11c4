"""Killed in the middle of writing, again and again: every verdict that was acknowledged is there."""

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from review_project import Client, drawn_records, opened, review_config, write_data

NUM_KILLS = 20


def start(path: Path, folder: Path, port: int) -> subprocess.Popen:
    program = Path(__file__).with_name("serve_review.py")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, program.parents[1:3]))}
    process = subprocess.Popen([sys.executable, str(program), str(path), str(folder), str(port)], env=environment)
    for _ in range(600):
        try:
            httpx.get(f"http://127.0.0.1:{port}/login", trust_env=False)
            return process
        except httpx.TransportError:
            assert process.poll() is None, "the server ended"
            time.sleep(0.05)
    raise AssertionError("the server did not start")


def write(client: Client, step: int, acknowledged: dict[int, str], stop: threading.Event) -> None:
    """Change one step of one task as fast as the server answers; what it acknowledged last is kept."""
    turn = client.next()["turn"]["id"]
    number = 0
    while not stop.is_set():
        number += 1
        note = f"note {number} of {os.urandom(4).hex()}"
        try:
            if client.say(turn, step, note=note, client_id=f"{turn}-{os.urandom(8).hex()}").status_code == 200:
                acknowledged[turn] = note
        except httpx.TransportError:
            return


@pytest.mark.slow
def test_sigkill_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    path, folder = write_data(tmp_path / "data", drawn_records(4), size=16), tmp_path / "review"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    names, last, num_acknowledged = ("ana", "ben", "judith"), {}, 0
    rng = random.Random(0)
    for kill in range(NUM_KILLS):
        process = start(path, folder, port)
        clients = [Client(f"http://127.0.0.1:{port}") for _ in names]
        for client, name in zip(clients, names, strict=True):
            assert client.log_in(name).status_code == 303
            view = client.next()
            state = view["steps"][kill % 4]["state"]
            if view["turn"]["id"] in last and (kill % 4) in last[view["turn"]["id"]]:
                assert state["note"] == last[view["turn"]["id"]][kill % 4]
        acknowledged: dict[int, str] = {}
        stop = threading.Event()
        threads = [threading.Thread(target=write, args=(client, kill % 4, acknowledged, stop)) for client in clients]
        for thread in threads:
            thread.start()
        begun = time.monotonic()
        while len(acknowledged) < len(names) and time.monotonic() - begun < 30:
            time.sleep(0.01)
        time.sleep(rng.random() * 0.5)
        process.send_signal(signal.SIGKILL)
        process.wait()
        stop.set()
        for thread in threads:
            thread.join(40)
        project = opened(review_config(path, folder, rules={"overlap": 1.0}))
        database = project.assignment.database
        assert len(acknowledged) == len(names), "nothing was written before the kill"
        for turn, note in acknowledged.items():
            events = [row["data"] for row in database.rows("SELECT data FROM events WHERE turn_id = ?", turn)]
            assert any(note in one for one in events), f"kill {kill}: {note!r} was acknowledged, and is lost"
            row = database.row("SELECT note FROM verdicts WHERE turn_id = ? AND step_id = ?", turn, kill % 4)
            # One more may have been written whose answer the kill cut off.
            assert row is not None and any(row["note"] in one for one in events[-2:])
            last.setdefault(turn, {})[kill % 4] = row["note"]
        num_acknowledged += len(acknowledged)
        assert database.rows("PRAGMA integrity_check")[0][0] == "ok"
        database.close()
    print(f"{NUM_KILLS} kills, the last answers of {num_acknowledged} writers all there")
