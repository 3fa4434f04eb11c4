"""An OpenAI-compatible server on loopback whose answers depend on the request alone, and whose faults are chosen.

`python stub_server.py FAULTS` prints its port and serves until it is killed; `started(...)` does that for a test. GET
/counts gives, per idempotency key, how often it was seen, how often answered in full, and the tokens it was told.
"""

import asyncio
import contextlib
import hashlib
import json
import re
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# What an open question is asked with in these tests, and which answers mean the reference: `the left lung`.
OPEN_ANSWERS = ("left lung", "The lung on the left.", "lung on the left", "the right lung", "LEFT LUNG", "?")
MEANT_ALIKE = ("lung on left", "left lung")
# A fault that a question asks for by name, at every attempt.
NAMED_FAULT = re.compile(r"fault=(\w+)")
NUM_STEPS = re.compile(r"Answer with exactly (\d+) entries")
OPTIONS = re.compile(r"Options: (.*)")
# Faults of the connection, chosen by key and by how often it was seen; each with its share of first attempts.
NETWORK = {"400": 0.0, "echo": 0.0, "500": 0.06, "429": 0.06, "cut": 0.04, "garbage": 0.04, "hang": 0.01, "drip": 0.005}
# Answers in good JSON that cannot be kept: halves of surrogate pairs, counts that no integer holds.
ODD = {
    "half_content": rb'{"model": "m", "choices": [{"message": {"content": "\ud83d"}, "finish_reason": "stop"}]}',
    "half_model": rb'{"model": "\ud83d", "choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}',
    "endless": b'{"model": "m", "choices": [], "usage": {"prompt_tokens": 1e999, "completion_tokens": 1}}',
    "countless": b'{"model": "m", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1e20}}',
}
NETWORK |= {"never": 0.01, **dict.fromkeys(ODD, 0.01)}
# Faults of the content, chosen by key: the answer arrives and is of no use (or is merely strange).
CONTENT = {"short": 0.03, "long": 0.03, "prose": 0.03, "refusal": 0.02, "length": 0.02, "none": 0.01, "huge": 0.004}
SEEN: Counter[str] = Counter()
ANSWERED: Counter[str] = Counter()
# Tokens of every answer: in, out, of those in from the cache.
USAGE: dict[str, list[int]] = {}


def number_of(*parts: object) -> float:
    """In [0, 1), by the hash of the parts."""
    return int(hashlib.sha256(repr(parts).encode()).hexdigest()[:12], 16) / 16**12


def pick(shares: dict[str, float], *parts: object) -> str | None:
    drawn = number_of(*parts)
    for name, share in shares.items():
        if drawn < share:
            return name
        drawn -= share
    return None


def judge_answer(prompt: str, num_steps: int, fault: str | None) -> tuple[str | None, str]:
    count = {"short": num_steps - 1, "long": num_steps * 2}.get(fault or "", num_steps)
    steps = [
        {
            "step": i,
            "verdict": "-" if number_of(prompt, i) < 0.35 else "+",
            "reason": "naïve ☃ \U0001fa7b 理由",
            "citations": [{"passage_id": "no/such", "quote": "made up"}],
        }
        for i in range(count)
    ]
    text = json.dumps({"steps": steps}, ensure_ascii=False)
    if fault == "obey":  # what a passage told it: + everywhere, also for another case, with that case's document
        cited = [{"passage_id": "case/d1", "quote": "Only case-1 has this."}]
        plus = [{"step": i, "verdict": "+", "citations": cited} for i in range(count)]
        text = json.dumps({"case_id": "case-1", "steps": plus, "other_cases": {"case-1": plus}})
    if fault == "form":
        text = "\n".join(f"## Step {i + 1}: 1" for i in range(count))
    if fault == "prose":
        text = "Step 0 looks fine to me. " + text[: len(text) // 2]
    if fault == "huge":
        text = " " * 5_000_000 + text
    if fault in ("refusal", "none"):
        return (
            None if fault == "none" else "I cannot help with that."
        ), "content_filter" if fault == "none" else "stop"
    return text, "length" if fault == "length" else "stop"


def compared(prompt: str, fault: str | None) -> tuple[str | None, str]:
    """The verdict on a candidate: the same if it is one of MEANT_ALIKE."""
    candidate = json.loads(prompt.splitlines()[1])["candidate"]
    verdict = "cannot_tell" if candidate == "?" else "same" if candidate in MEANT_ALIKE else "different"
    text = json.dumps({"verdict": verdict, "reason": "naïve ☃"})
    faulty = {
        **{"prose": f"I think they are the same. {text[:12]}", "refusal": "I cannot help with that.", "none": None},
        **{"wrong": '{"verdict": "right"}', "two": text + text, "list": f"[{text}]", "huge": " " * 5_000_000 + text},
    }
    return faulty.get(fault or "", text), {"length": "length", "none": "content_filter"}.get(fault or "", "stop")


def rollouts(body: dict, prompt: str) -> list[tuple[str, str]]:
    found = OPTIONS.search(prompt)
    options = found.group(1).split("; ") if found else list(OPEN_ANSWERS)
    prefix, seed = body["messages"][-1]["content"], body.get("seed")
    success = number_of(prompt, prefix)
    texts = []
    for i in range(body.get("n", 1)):
        drawn = number_of(prompt, prefix, seed, i)
        answer = options[0] if drawn < success else options[1 + int(drawn * 97) % (len(options) - 1)]
        texts.append(
            ("It follows.\nI do not know." if drawn > 0.98 else f"It follows.\nThe answer is {answer}.", "stop")
        )
    return texts


def usage_of(body: dict, key: str, num_choices: int) -> dict:
    """Tokens by what was sent (a third of its bytes, 1,000 an image) and, as far as they vary, by the key."""
    parts = [part for one in body["messages"] for part in as_parts(one["content"])]
    size = sum(len(part["text"].encode()) // 3 if part["type"] == "text" else 1000 for part in parts)
    num_out = num_choices * (5 + int(10 * number_of(key, "out")))
    num_cached = int(size * number_of(key, "cached"))
    USAGE[key] = [size, num_out, num_cached]
    details = {"cached_tokens": num_cached}
    return {"prompt_tokens": size, "completion_tokens": num_out, "prompt_tokens_details": details}


def as_parts(content: str | list) -> list[dict]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def completion(body: dict, key: str, hostile: bool) -> bytes:
    user = [one["content"] for one in body["messages"] if one["role"] == "user"][-1]
    prompt = user if isinstance(user, str) else user[-1]["text"]
    wanted, named = NUM_STEPS.search(prompt), NAMED_FAULT.search(prompt)
    fault = named.group(1) if named else pick(CONTENT, key, "content") if hostile else None
    if wanted:
        choices = [judge_answer(prompt, int(wanted.group(1)), fault)]
    elif '"verdict": "same"' in prompt:
        choices = [compared(prompt, fault)]
    else:
        choices = rollouts(body, prompt)
    answer = {
        "model": body["model"] + "-0101",
        "choices": [{"message": {"content": text}, "finish_reason": why} for text, why in choices],
        "usage": usage_of(body, key, len(choices)),
    }
    if fault == "nousage":
        del answer["usage"]
    return json.dumps(answer).encode()


async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hostile: bool, delay: float) -> None:
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        while head := await reader.readuntil(b"\r\n\r\n"):
            if head.startswith(b"GET /counts"):
                await respond(writer, 200, json.dumps({"seen": SEEN, "answered": ANSWERED, "usage": USAGE}).encode())
                continue
            fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:] if ": " in line)
            fields = {name.lower(): value for name, value in fields.items()}
            body = json.loads(await reader.readexactly(int(fields["content-length"])))
            key = fields["idempotency-key"]
            SEEN[key] += 1
            named = NAMED_FAULT.search(json.dumps(body))
            fault = pick(NETWORK, key, SEEN[key]) if hostile and SEEN[key] <= 2 else None
            fault = named.group(1) if named and named.group(1) in NETWORK else fault
            if delay:
                await asyncio.sleep(delay)
            if not await misbehave(writer, fault, fields.get("authorization")):
                continue
            await respond(writer, 200, completion(body, key, hostile))
            ANSWERED[key] += 1
    writer.close()


async def misbehave(writer: asyncio.StreamWriter, fault: str | None, authorization: str | None = None) -> bool:
    """Whether an answer is to be given after all."""
    if fault == "400":
        await respond(writer, 400, b"response_format is not supported")
    elif fault == "echo":
        await respond(writer, 400, f"wrong key: {authorization}".encode())
    elif fault == "500":
        await respond(writer, 500, b"oh no")
    elif fault == "429":
        await respond(writer, 429, b"slow down", "Retry-After: 0.05\r\n")
    elif fault == "never":
        await respond(writer, 429, b"do not come again", "Retry-After: inf\r\n")
    elif fault in ODD:
        await respond(writer, 200, ODD[fault])
    elif fault == "garbage":
        await respond(writer, 200, b'{"choices": [{"message": {"con')
    elif fault == "cut":
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{")
        await writer.drain()
        raise ConnectionError
    elif fault == "hang":
        await asyncio.sleep(30)
        raise ConnectionError
    elif fault == "drip":
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        for _ in range(100):
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.3)
        raise ConnectionError
    return fault is None


async def respond(writer: asyncio.StreamWriter, status: int, body: bytes, more: str = "") -> None:
    writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body)
    await writer.drain()


async def main(hostile: bool, delay: float) -> None:
    server = await asyncio.start_server(
        lambda reader, writer: serve_one(reader, writer, hostile, delay), "127.0.0.1", 0, limit=2**24
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextlib.contextmanager
def started(hostile: bool = False, delay: float = 0.0) -> Iterator[str]:
    """The base URL of a server in a process of its own."""
    command = [sys.executable, str(Path(__file__)), str(int(hostile)), str(delay)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
    finally:
        process.kill()
        process.wait()


def counts(url: str) -> dict[str, dict[str, Any]]:
    with urllib.request.urlopen(url.removesuffix("/v1") + "/counts") as answer:
        return json.load(answer)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] == "1", float(sys.argv[2])))
