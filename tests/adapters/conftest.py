"""Requests, and decoders fed with bytes cut in any way."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.dialect import AttemptContext, Dialect, WireHead
from adapters.normalise import Normaliser
from contracts.errors import GatewayError, UpstreamFault
from contracts.events import Event, Fault
from contracts.inference import InferRequest, Operation, RequestFacts

DATA = Path(__file__).parent / "data"


def _plain(event: Event) -> Any:
    """Comparable: two faults are equal if they say the same."""
    if not isinstance(event, Fault):
        return event
    error = event.error
    assert isinstance(error, GatewayError)
    kind = error.fault if isinstance(error, UpstreamFault) else None
    return ("fault", type(error).__name__, kind, error.code, error.status, error.message)


def _request(operation: Operation = "chat", **members: Any) -> InferRequest:
    members.setdefault("model", "m")
    if operation == "chat":
        members.setdefault("messages", [{"role": "user", "content": "hi"}])
    return InferRequest(
        request_id="req-1",
        operation=operation,
        members={name: msgspec.Raw(msgspec.json.encode(v)) for name, v in members.items()},
        facts=RequestFacts(
            operation=operation,
            model=members["model"],
            max_tokens=members.get("max_tokens"),
            n=members.get("n", 1),
            prompt_tokens=7,
        ),
    )


def _decode(
    dialect: Dialect,
    chunks: Iterable[bytes],
    operation: Operation = "chat",
    content_type: str = "text/event-stream",
    joins: bool = False,
) -> list[Event]:
    head = WireHead(status=200, headers={"content-type": content_type})
    attempt = AttemptContext(upstream_model="m", joins=joins)
    decoder = dialect.decoder(_request(operation), attempt, head)
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    return events + decoder.close()


def _normalise(
    events: Iterable[Event], choices: int = 1, close: bool = True, step: int | None = None
) -> list[Event]:
    """Well-formed events; `step` events in one push, all of them by default."""
    ids = iter(range(10_000))
    normaliser = Normaliser(
        choices=choices, prompt_tokens=7, new_id=lambda: f"made-{next(ids)}", where="pool p"
    )
    given = list(events)
    size = step or max(1, len(given))
    out: list[Event] = []
    for start in range(0, len(given), size):
        out += normaliser.push(given[start : start + size])
    return out + normaliser.close() if close else out


@pytest.fixture(scope="session")
def plain() -> Callable[[Iterable[Event]], list[Any]]:
    return lambda events: [_plain(event) for event in events]


@pytest.fixture(scope="session")
def make_request() -> Callable[..., InferRequest]:
    return _request


@pytest.fixture(scope="session")
def decode() -> Callable[..., list[Event]]:
    return _decode


@pytest.fixture(scope="session")
def normalise() -> Callable[..., list[Event]]:
    return _normalise


@pytest.fixture(scope="session")
def data() -> Path:
    return DATA
