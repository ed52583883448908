"""Tasks over the wire, for tests with real servers: submit, and read event by event."""

import http.client
import json
from collections.abc import Iterator
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from tests.support.setpoint_server import Gateway
from tests.support.wire import TIMEOUT_S, get, post


class TaskEvent(NamedTuple):
    id: int
    name: str
    data: dict[str, Any]


class TaskReader:
    """One stream of a task's events."""

    def __init__(self, gateway: Gateway, task_id: str, *, after: int | None = None) -> None:
        parts = urlsplit(f"{gateway.v1}/tasks/{task_id}/stream")
        self._connection = http.client.HTTPConnection(
            parts.hostname or "", parts.port, timeout=TIMEOUT_S
        )
        headers = {} if after is None else {"Last-Event-ID": str(after)}
        self._connection.request("GET", parts.path, headers=headers)
        self._response = self._connection.getresponse()
        assert self._response.status == 200, self._response.read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._response.close()
        self._connection.close()

    def __iter__(self) -> Iterator[TaskEvent]:
        fields: dict[str, str] = {}
        for line in self._response:
            text = line.decode().rstrip("\r\n")
            if text.startswith(":"):
                continue
            if text:
                name, _, value = text.partition(": ")
                fields[name] = value
            elif fields:
                yield TaskEvent(int(fields["id"]), fields["event"], json.loads(fields["data"]))
                fields = {}

    def tokens(self, count: int) -> list[TaskEvent]:
        """The next `count` tokens."""
        found: list[TaskEvent] = []
        for event in self:
            if event.name == "token":
                found.append(event)
            if len(found) == count:
                break
        return found


def submit(gateway: Gateway, **members: object) -> str:
    """The id of a task that must be taken."""
    answer = post(f"{gateway.v1}/tasks", members)
    assert answer.status == 202, answer
    return str(answer.json()["task_id"])


def look(gateway: Gateway, task_id: str) -> Any:
    answer = get(f"{gateway.v1}/tasks/{task_id}")
    assert answer.status == 200, answer
    return answer.json()


def cancel(gateway: Gateway, task_id: str) -> str:
    answer = post(f"{gateway.v1}/tasks/{task_id}/cancel", {})
    assert answer.status == 200, answer
    return str(answer.json()["state"])


def whole(gateway: Gateway, task_id: str) -> list[TaskEvent]:
    """All of its events, to the end."""
    with TaskReader(gateway, task_id) as reader:
        return list(reader)
