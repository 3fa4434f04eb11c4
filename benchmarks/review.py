"""Many reviewers against one process of the review application: no verdict lost, nobody given the task of another.

    python benchmarks/review.py load --reviewers 30 --seconds 300 --overlap 0.2
    python benchmarks/review.py images --reviewers 30 --seconds 60 --side 2048

`load`: sessions that take tasks, judge every step with a pause between answers, read pages, and finish, while an admin
looks at the page of progress. `images`: the
same sessions ask for films alone, as fast as they are answered. Server and reviewers are processes of this machine.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import re
import socket
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from review_project import PASSWORD, drawn_records, opened, review_config, write_data

NUM_STEPS = 6
WATCH_PAUSE_SECONDS = 2.0  # of who reads the page of progress; the page itself waits for 10


def serve(path: Path, folder: Path, num_reviewers: int, overlap: float, port: int) -> None:
    import uvicorn

    from medprm.commands.review import server_options
    from medprm.review.app import make_app

    users = {f"reader{k}": ("reviewer", ["radiology"]) for k in range(num_reviewers)} | {"root": ("admin", [])}
    project = opened(review_config(path, folder, rules={"overlap": overlap}), users)
    uvicorn.run(make_app(project), host="127.0.0.1", port=port, **server_options(project.address))


class Reviewer:
    """One session; every request's time is kept, and every verdict that was acknowledged."""

    def __init__(self, url: str, name: str, seed: int) -> None:
        self.http = httpx.AsyncClient(base_url=url, timeout=60, trust_env=False)
        self.name = name
        self.rng = np.random.default_rng(seed)
        self.times: list[tuple[str, float]] = []
        self.acknowledged: dict[tuple[int, int], str] = {}
        self.tasks: list[int] = []
        self.headers: dict[str, str] = {}

    async def ask(self, kind: str, method: str, path: str, **more: Any) -> httpx.Response:
        begun = time.perf_counter()
        answer = await self.http.request(method, path, headers=self.headers, **more)
        self.times.append((kind, time.perf_counter() - begun))
        assert answer.status_code in (200, 303), f"{path}: {answer.status_code} {answer.text[:200]}"
        return answer

    async def log_in(self) -> None:
        found = re.search(r'name="login_token" value="([^"]+)"', (await self.http.get("/login")).text)
        assert found
        form = {"name": self.name, "password": PASSWORD, "login_token": found[1]}
        assert (await self.http.post("/login", data=form)).status_code == 303
        token = re.search(r'name="csrf" content="([^"]+)"', (await self.http.get("/")).text)
        assert token
        self.headers = {"X-CSRF-Token": token[1]}

    async def review(self, until: float, pause: float) -> None:
        while time.monotonic() < until:
            await self.ask("page", "GET", "/work/review")
            view = (await self.ask("next", "POST", "/api/next/review", json={})).json()
            if view["turn"] is None:
                return
            turn, task = view["turn"]["id"], view["turn"]["task"]
            self.tasks.append(task)
            for step in view["steps"]:
                await asyncio.sleep(self.rng.exponential(pause))
                verdict = str(self.rng.choice(["correct", "incorrect", "neutral", "unknown"]))
                client_id = f"{self.name}-{turn}-{step['step_id']}-{self.rng.integers(2**40)}"
                said = {"step_id": step["step_id"], "verdict": verdict, "seconds": 1.0, "client_id": client_id}
                await self.ask("verdict", "POST", f"/api/turn/{turn}/verdict", json=said)
                self.acknowledged[turn, step["step_id"]] = verdict
            await self.ask("finish", "POST", f"/api/turn/{turn}/finish", json={})
            await self.ask("page", "GET", "/")

    async def watch(self, until: float) -> None:
        while time.monotonic() < until:
            await self.ask("progress", "GET", "/progress")
            await asyncio.sleep(WATCH_PAUSE_SECONDS)

    async def look(self, until: float, num_images: int) -> None:
        while time.monotonic() < until:
            await self.ask("image", "GET", f"/api/pixels/{self.rng.integers(num_images)}")


async def run_reviewers(url: str, arguments: argparse.Namespace, num_images: int) -> list[Reviewer]:
    reviewers = [Reviewer(url, f"reader{k}", k) for k in range(arguments.reviewers)]
    watcher = Reviewer(url, "root", arguments.reviewers)
    for one in (*reviewers, watcher):
        await one.log_in()
    until = time.monotonic() + arguments.seconds
    if arguments.kind == "load":
        await asyncio.gather(watcher.watch(until), *(one.review(until, arguments.pause) for one in reviewers))
    else:
        await asyncio.gather(*(one.look(until, num_images) for one in reviewers))
    return [*reviewers, watcher]


def check(path: Path, folder: Path, overlap: float, reviewers: list[Reviewer]) -> dict[str, int]:
    """What the database holds, against what was acknowledged."""
    project = opened(review_config(path, folder, rules={"overlap": overlap}), {})
    database = project.assignment.database
    kept = {(row["turn_id"], row["step_id"]): row["verdict"] for row in database.rows("SELECT * FROM verdicts")}
    said = {key: verdict for one in reviewers for key, verdict in one.acknowledged.items()}
    lost = sum(kept.get(key) != verdict for key, verdict in said.items())
    times_taken = Counter(task for one in reviewers for task in set(one.tasks))
    database.close()
    num_wanted = {task.number: task.num_wanted for task in project.assignment.material.tasks}
    return {
        "verdicts": len(said),
        "lost": lost,
        "read_twice": sum(count == 2 for count in times_taken.values()),
        "taken_too_often": sum(count > num_wanted[task] for task, count in times_taken.items()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("load", "images"))
    parser.add_argument("--reviewers", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--pause", type=float, default=2.0, help="mean seconds between two answers of a reviewer")
    parser.add_argument("--side", type=int, default=512, help="of the films, in pixels")
    parser.add_argument("--overlap", type=float, default=0.2, help="share of the solutions that two reviewers read")
    parser.add_argument("--tasks", type=int, default=3000)
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    arguments = parser.parse_args()
    num_images = 8
    with tempfile.TemporaryDirectory() as scratch:
        records = [
            one.model_copy(
                update={"image": one.image and one.image.model_copy(update={"path": f"images/{k % num_images}.dcm"})}
            )
            for k, one in enumerate(drawn_records(arguments.tasks, NUM_STEPS))
        ]
        path, folder = write_data(Path(scratch) / "data", records, arguments.side), Path(scratch) / "review"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        server = multiprocessing.get_context("spawn").Process(
            target=serve, args=(path, folder, arguments.reviewers, arguments.overlap, port), daemon=True
        )
        server.start()
        url = f"http://127.0.0.1:{port}"
        while True:
            try:
                httpx.get(f"{url}/login", trust_env=False)
                break
            except httpx.TransportError:
                assert server.is_alive(), "the server ended"
                time.sleep(0.2)
        begun = time.monotonic()
        reviewers = asyncio.run(run_reviewers(url, arguments, num_images))
        seconds = time.monotonic() - begun
        server.terminate()
        server.join()
        figures: dict[str, Any] = {
            "reviewers": arguments.reviewers,
            "seconds": round(seconds, 1),
            "cores": os.cpu_count(),
        }
        if arguments.kind == "load":
            figures |= {"overlap": arguments.overlap} | check(path, folder, arguments.overlap, reviewers)
    times: dict[str, list[float]] = {}
    for one in reviewers:
        for kind, took in one.times:
            times.setdefault(kind, []).append(1000 * took)
    times["all"] = [took for one in times.values() for took in one]
    for kind, one in times.items():
        p50, p95, p99 = np.percentile(one, [50, 95, 99])
        figures[kind] = {"n": len(one), "median_ms": round(p50, 1), "p95_ms": round(p95, 1), "p99_ms": round(p99, 1)}
    text = json.dumps(figures, indent=1)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
