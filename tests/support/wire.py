"""HTTP as bytes, without an SDK that would forgive: one request, its head, its body, its SSE frames.

A fresh connection a request, closed when the answer is read or dropped.
"""

import http.client
import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any, NamedTuple
from urllib.parse import urlsplit

TIMEOUT_S = 60.0


class Answer(NamedTuple):
    """`headers` by lower-case name."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def free_port() -> int:
    """A port that nothing listened on a moment ago."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def call(
    method: str,
    url: str,
    body: object = None,
    *,
    headers: dict[str, str] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Answer:
    """One exchange. `body` is sent as JSON, bytes as they are. Raises OSError, HTTPException."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
    with closing(connection):
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        connection.request(method, target, *_payload(body, headers))
        response = connection.getresponse()
        return Answer(response.status, _lower(response), response.read())


def get(url: str, *, headers: dict[str, str] | None = None, timeout_s: float = 10.0) -> Answer:
    return call("GET", url, headers=headers, timeout_s=timeout_s)


def post(url: str, body: object, *, headers: dict[str, str] | None = None) -> Answer:
    return call("POST", url, body, headers=headers)


def reachable(url: str, *, status: int = 200) -> bool:
    """Does `url` answer with `status`? False too while nobody listens."""
    try:
        return get(url, timeout_s=5.0).status == status
    except (OSError, http.client.HTTPException):
        return False


class Streamed:
    """A streamed answer that is being read. Leave early with `close`: the other side sees the client go."""

    def __init__(self, url: str, body: object, *, headers: dict[str, str] | None = None) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(
            parts.hostname or "", parts.port, timeout=TIMEOUT_S
        )
        self._connection.request("POST", parts.path, *_payload(body, headers))
        self._response: http.client.HTTPResponse | None = None

    @property
    def response(self) -> http.client.HTTPResponse:
        """The head; waits for it."""
        if self._response is None:
            self._response = self._connection.getresponse()
        return self._response

    def frames(self) -> Iterator[bytes]:
        """The `data:` of each event, comments left out, until the body ends."""
        for line in self.response:
            if line.startswith(b"data: "):
                yield line.removeprefix(b"data: ").rstrip(b"\n")

    def chunks(self, count: int) -> list[dict[str, Any]]:
        """The next `count` chunks that carry text."""
        found: list[dict[str, Any]] = []
        for frame in self.frames():
            chunk = json.loads(frame)
            if chunk["choices"] and text_of(chunk):
                found.append(chunk)
            if len(found) == count:
                break
        return found

    def close(self) -> float:
        """Hang up. Returns when, on the monotonic clock."""
        if self._response is not None:
            self._response.close()
        self._connection.close()
        return time.monotonic()


def text_of(chunk: dict[str, Any]) -> str:
    """The text that a chunk adds to its first choice."""
    if not chunk["choices"]:
        return ""
    choice = chunk["choices"][0]
    return str(choice.get("text") or choice.get("delta", {}).get("content") or "")


def sse(url: str, body: object, *, headers: dict[str, str] | None = None) -> bytes:
    """The whole body of a streamed answer, byte for byte."""
    answer = post(url, body, headers=headers)
    assert answer.status == 200, answer
    assert answer.headers["content-type"].startswith("text/event-stream")
    return answer.body


def events(body: bytes) -> list[bytes]:
    """What each event of `body` says. Fails on anything but `data:` events and comments."""
    said = []
    for block in body.split(b"\n\n"):
        lines = [line for line in block.split(b"\n") if line and not line.startswith(b":")]
        if lines:
            assert len(lines) == 1, block
            assert lines[0].startswith(b"data: "), block
            said.append(lines[0].removeprefix(b"data: "))
    assert body.endswith(b"\n\n")
    return said


def _payload(body: object, headers: dict[str, str] | None) -> tuple[bytes | None, dict[str, str]]:
    sent = {"Connection": "close", **(headers or {})}
    if body is None:
        return None, sent
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return data, {"Content-Type": "application/json", **sent}


def _lower(response: http.client.HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.getheaders()}
