"""Load on any OpenAI-compatible base URL: streamed chats, with TTFT and TPOT as rows of their own.

    locust -f tests/load/locustfile.py --headless --host http://127.0.0.1:8080 --users 8 --run-time 30s

Environment: MODEL (default: the first that `/v1/models` lists), TOKEN, MAX_TOKENS (default 64).
Needs nothing but locust, so it also runs in locust's own image. A closed loop: each user has one
request under way, so `--users` bounds the load, and a 429 is waited out as its Retry-After asks.

The rows: the HTTP one is the whole exchange (e2e); TTFT counts from sending to the first chunk that
bears content, not to the response's head; TPOT is (e2e - TTFT) / (output_tokens - 1), its tokens as
the server's `usage` counts them, because a chunk is not a token. All in milliseconds.
"""

import json
import os
import time
from collections.abc import Iterable, Iterator
from typing import Any

from locust import HttpUser, constant, events, task
from locust.exception import StopUser

PATH = "/v1/chat/completions"
CONNECT_TIMEOUT_S, IDLE_TIMEOUT_S, TOTAL_TIMEOUT_S = 5, 60, 300
MAX_RETRY_AFTER_S = 5.0
MAX_TOKENS = int(os.environ.get("MAX_TOKENS") or 64)
PROMPTS = (
    "Say hello.",
    "Explain in two sentences why a queue needs a bound.",
    "List five ways to make a slow service fail faster, one line each.",
)


class BrokenStream(Exception):
    """A stream that was answered with 200 and did not end as it should."""


class Reading:
    """One stream, as far as it has been read. Times on the clock of `time.perf_counter`."""

    def __init__(self) -> None:
        self.first_content_at: float | None = None
        self.output_tokens: int | None = None
        self.finished = False
        self.done = False

    def take(self, data: bytes, now: float) -> None:
        """One event's data. Raises BrokenStream for an error event."""
        if data == b"[DONE]":
            self.done = True
            return
        event = json.loads(data)
        if "error" in event:
            raise BrokenStream(f"error event: {event['error'].get('message')}")
        if usage := event.get("usage"):
            self.output_tokens = usage.get("completion_tokens")
        for choice in event.get("choices", ()):
            if self.first_content_at is None and _bears_content(choice.get("delta", {})):
                self.first_content_at = now
            self.finished = self.finished or choice.get("finish_reason") is not None


def _bears_content(delta: dict[str, Any]) -> bool:
    return any(
        delta.get(field) for field in ("content", "reasoning", "reasoning_content", "tool_calls")
    )


def event_data(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The data of each event. OpenAI's streams put an event on one line."""
    for line in lines:
        if line.startswith(b"data:"):
            yield line[5:].strip()


class Chat(HttpUser):
    """Someone who asks, reads to the end, and asks again."""

    wait_time = constant(0)

    def on_start(self) -> None:
        if token := os.environ.get("TOKEN"):
            self.client.headers["authorization"] = f"Bearer {token}"
        self.model = os.environ.get("MODEL") or self._first_model()
        self.asked = 0

    def _first_model(self) -> str:
        with self.client.get("/v1/models", catch_response=True) as answer:
            try:
                return str(answer.json()["data"][0]["id"])
            except (ValueError, LookupError, TypeError) as exc:
                answer.failure(f"no model to ask, status {answer.status_code}: set MODEL")
                raise StopUser from exc

    @task
    def ask(self) -> None:
        """One chat, read to its end."""
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": PROMPTS[self.asked % len(PROMPTS)]}],
            "max_tokens": MAX_TOKENS,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        self.asked += 1
        began = time.perf_counter()
        with self.client.post(
            PATH,
            json=body,
            stream=True,
            catch_response=True,
            timeout=(CONNECT_TIMEOUT_S, IDLE_TIMEOUT_S),
        ) as answer:
            if answer.status_code != 200:
                answer.failure(f"status {answer.status_code}")
                if answer.status_code in (429, 503):
                    time.sleep(_retry_after_s(answer.headers.get("retry-after")))
                return
            try:
                reading = _read(answer.iter_lines(chunk_size=None), began)
            except Exception as exc:  # whatever it is, it is what the server did to a client
                answer.failure(f"{type(exc).__name__}: {exc}")
                return
            ended = time.perf_counter()
            # Locust itself measures a streamed answer up to its head only.
            answer.request_meta["response_time"] = (ended - began) * 1000
            answer.success()
        self._report(reading, began, ended)

    def _report(self, reading: Reading, began: float, ended: float) -> None:
        first = reading.first_content_at
        if first is None:  # an answer may be empty
            return
        _fire("TTFT", (first - began) * 1000)
        if reading.output_tokens is not None and reading.output_tokens >= 2:
            _fire("TPOT", (ended - first) * 1000 / (reading.output_tokens - 1))


def _read(lines: Iterable[bytes], began: float) -> Reading:
    """Read a whole stream. Raises BrokenStream unless it has a finish reason and `[DONE]`."""
    reading = Reading()
    for data in event_data(lines):
        now = time.perf_counter()
        if now - began > TOTAL_TIMEOUT_S:
            raise BrokenStream(f"not over after {TOTAL_TIMEOUT_S} s")
        reading.take(data, now)
    if not (reading.finished and reading.done):
        raise BrokenStream("ended without a finish reason and [DONE]")
    return reading


def _retry_after_s(header: str | None) -> float:
    try:
        return min(max(float(header or 1), 0.05), MAX_RETRY_AFTER_S)
    except ValueError:  # a date: rare, and not worth more than a pause
        return 1.0


def _fire(kind: str, milliseconds: float) -> None:
    events.request.fire(  # type: ignore[no-untyped-call]  # locust leaves its events untyped
        request_type=kind,
        name=PATH,
        response_time=milliseconds,
        response_length=0,
        exception=None,
        context={},
    )
