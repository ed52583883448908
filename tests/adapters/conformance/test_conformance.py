"""Every dialect carries every scenario, at any chunking, and fails in the same words.

A new dialect is a row in `rows.py`. What only one backend does is in that dialect's own tests.
"""

import asyncio
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.dialect import AttemptContext, WireHead
from adapters.registry import DIALECTS, dialect_for
from contracts.config import Unsupported
from contracts.errors import (
    REPEATABLE,
    RETRIABLE,
    FaultClass,
    UnsupportedParameter,
    UpstreamFault,
)
from contracts.events import Delta, Event, Usage
from contracts.inference import InferRequest
from contracts.prompt_template import TEMPLATES
from gateway.intake import read_request
from gateway.upstream.pool import HttpTransport
from tests.adapters.conformance.rows import ROWS, Row
from tests.adapters.conformance.scenarios import SCENARIOS, USER, Scenario
from tests.adapters.conformance.told import Told, told
from tests.fakes.answers import Answer, Refusal
from tests.fakes.scripted_engine import Call, ScriptedEngine

DATA = Path(__file__).parent.parent / "data"
pytestmark = pytest.mark.req("RUN-1", "RUN-2", "RUN-3", "RUN-6")

PARAMETERS: dict[str, Any] = {
    "seed": 4711,
    "frequency_penalty": 0.53,
    "presence_penalty": 0.47,
    "logit_bias": {"77": 5},
    "logprobs": True,
    "top_logprobs": 3,
    "response_format": {"type": "json_object"},
    "store": True,
    "verbosity": "low",
    "prediction": {"type": "content", "content": "abc"},
    "prompt_cache_key": "cache-7",
    "an_unknown_one": "what-7",
}
"""What clients ask for and not every backend can do."""
SHOWN: dict[FaultClass, tuple[int, str | None]] = {
    "client": (400, None),
    "auth": (502, "upstream_auth"),
    "not_found": (502, "upstream_not_found"),
    "context_length": (400, "context_length_exceeded"),
    "content": (400, None),
    "rate_limit": (429, None),
    "quota": (429, None),
    "overload": (503, None),
    "unavailable": (503, None),
    "timeout": (504, "upstream_timeout"),
    "upstream_bug": (502, None),
}
"""Status and code that a client gets to see, whichever backend it was; None: it has words of its own."""
NEEDED: tuple[FaultClass, ...] = ("client", "auth", "context_length")
"""Every row must say how its backend tells these; and one that is worth repeating."""


def cases() -> list[Any]:
    return [
        pytest.param(row, scenario, id=f"{row.engine}-{name}")
        for row in ROWS.values()
        for name, scenario in SCENARIOS.items()
        if not scenario.needs & row.lacks
    ]


def each_row() -> list[Any]:
    return [pytest.param(row, id=row.engine) for row in ROWS.values()]


def request(**members: Any) -> InferRequest:
    body = msgspec.json.encode({"model": "m", "messages": USER, **members})
    return read_request(body, "chat", request_id="req-1", key="", headers={})


def context(unsupported: Unsupported = "refuse") -> AttemptContext:
    template = TEMPLATES["chatml"]  # for the one that has to be told
    return AttemptContext(
        upstream_model="real", api_key="k", unsupported=unsupported, template=template
    )


def wanted(row: Row, answer: Answer) -> Told:
    """What must arrive of `answer`."""
    kept = {
        name: None if name in row.uncounted else getattr(answer.usage, name)
        for name in ("cached_tokens", "reasoning_tokens")
    }
    return Told(
        reasoning="".join(answer.reasoning),
        text="".join(answer.text),
        refusal=answer.refusal,
        calls=[
            (call.id if row.names_calls else f"made-{number}", call.name, call.whole)
            for number, call in enumerate(answer.calls)
        ],
        finish=answer.finish,
        usage=msgspec.structs.replace(answer.usage, **kept) if row.counts else counted(answer),
        whole=True,
    )


def counted(answer: Answer) -> Usage:
    """The gateway's own count: the prompt of `carry`, and a token a piece of text."""
    return Usage(prompt_tokens=7, completion_tokens=len(answer.text), estimated=True)


def pieces(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(p % (len(data) + 1) for p in places), len(data)]
    return [data[start:stop] for start, stop in pairwise(edges)]


def by_size(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


class Carry:
    """A dialect's decoder and the normaliser behind it, as an attempt runs them."""

    def __init__(self, decode: Callable[..., list[Event]], normalise: Callable[..., list[Event]]):
        self._decode, self._normalise = decode, normalise

    def __call__(self, row: Row, chunks: list[bytes], content_type: str | None = None) -> Told:
        kind = content_type or row.content_type
        events = self._decode(dialect_for(row.engine), chunks, content_type=kind)
        return _without_zeros(told(self._normalise(events)))


def _read_calls(said: Told) -> list[tuple[str, str, Any]]:
    return [(i, name, msgspec.json.decode(given)) for i, name, given in said.calls]


def _without_zeros(said: Told) -> Told:
    """Some backends say 0 where others say nothing."""
    if said.usage is not None:
        said.usage = msgspec.structs.replace(
            said.usage,
            cached_tokens=said.usage.cached_tokens or None,
            cache_write_tokens=said.usage.cache_write_tokens or None,
        )
    return said


@pytest.fixture(scope="session")
def carry(decode: Callable[..., list[Event]], normalise: Callable[..., list[Event]]) -> Carry:
    return Carry(decode, normalise)


# -- what is said ---------------------------------------------------------------------------


def test_every_dialect_that_ships_has_a_row() -> None:
    assert set(ROWS) == set(DIALECTS) - {"embedded"}  # llm-d's dialect


@pytest.mark.parametrize(("row", "scenario"), cases())
@pytest.mark.parametrize("size", [1, 5, 1_000_000])
def test_an_answer_arrives_as_it_was_said(
    carry: Carry, row: Row, scenario: Scenario, size: int
) -> None:
    assert carry(row, by_size(row.says(scenario.answer), size)) == wanted(row, scenario.answer)


@pytest.mark.parametrize("row", each_row())
@given(name=st.sampled_from(sorted(SCENARIOS)), places=st.lists(st.integers(0, 5000), max_size=8))
def test_cutting_an_answer_anywhere_changes_nothing(
    carry: Carry, row: Row, name: str, places: list[int]
) -> None:
    scenario = SCENARIOS[name]
    if not scenario.needs & row.lacks:
        said = carry(row, pieces(row.says(scenario.answer), places))
        assert said == wanted(row, scenario.answer)


@pytest.mark.parametrize(("row", "scenario"), cases())
def test_an_answer_in_one_document_says_the_same(
    carry: Carry, row: Row, scenario: Scenario
) -> None:
    said = carry(row, [row.says_at_once(scenario.answer)], "application/json")
    expected = wanted(row, scenario.answer)
    assert _read_calls(said) == _read_calls(expected)  # arguments may be an object on the wire
    said.calls = expected.calls = []
    if not row.counts:  # to whoever counts pieces, one document is one token
        said.usage = expected.usage = None
    assert said == expected


@pytest.mark.parametrize("row", each_row())
@given(name=st.sampled_from(sorted(SCENARIOS)), at=st.integers(0, 5000))
def test_an_answer_cut_short_is_a_fault_and_never_a_short_success(
    carry: Carry, row: Row, name: str, at: int
) -> None:
    if SCENARIOS[name].needs & row.lacks:
        return
    whole = wanted(row, SCENARIOS[name].answer)
    body = row.says(SCENARIOS[name].answer)
    said = carry(row, [body[: at % len(body)]])
    if row.ends_with_body and said.fault is None:
        assert whole.text.startswith(said.text)  # a transport that is cut says so: its own tests
    elif said.fault is None:
        assert (said.text, said.calls, said.finish) == (whole.text, whole.calls, whole.finish)
    else:
        assert said.fault == "stream_broken"
        assert whole.text.startswith(said.text)


@pytest.mark.parametrize("row", each_row())
def test_no_answer_at_all_is_a_fault(carry: Carry, row: Row) -> None:
    assert carry(row, []).fault == "stream_broken"


# -- recorded ---------------------------------------------------------------------------------


def recorded() -> list[Any]:
    return [
        pytest.param(row, path, id=f"{row.engine}-{path.stem}")
        for row in ROWS.values()
        for pattern in row.recordings
        for path in sorted(DATA.glob(pattern))
    ]


RECORDED = [(case.values[0], case.values[1]) for case in recorded()]


def as_recorded(row: Row, path: Path, said: Told) -> None:
    if path.stem in row.broken_recordings:
        assert said.fault is not None
        return
    wanted = row.said(path.read_bytes())
    counts = wanted.usage
    wanted.usage, usage = None, said.usage
    said.usage = None
    assert said == wanted
    if counts is not None:
        assert usage is not None
        assert usage.prompt_tokens == counts.prompt_tokens
        assert usage.completion_tokens == counts.completion_tokens


@pytest.mark.parametrize(("row", "path"), recorded())
def test_a_recording_says_what_its_provider_said(carry: Carry, row: Row, path: Path) -> None:
    as_recorded(row, path, carry(row, [path.read_bytes()]))


@given(
    case=st.sampled_from(RECORDED),
    places=st.lists(st.integers(0, 100_000), max_size=6),
)
def test_cutting_a_recording_anywhere_changes_nothing(
    carry: Carry, case: tuple[Row, Path], places: list[int]
) -> None:
    row, path = case
    as_recorded(row, path, carry(row, pieces(path.read_bytes(), places)))


def test_every_row_has_recordings() -> None:
    recorded = [row for row, _ in RECORDED]
    without = [row.engine for row in ROWS.values() if row not in recorded and not row.unrecorded]
    assert without == []


# -- what is asked ----------------------------------------------------------------------------


@pytest.mark.parametrize(("row", "scenario"), cases())
def test_a_backend_is_asked_what_its_client_asked(row: Row, scenario: Scenario) -> None:
    wire = dialect_for(row.engine).request(request(**scenario.asked), context())
    wanted = scenario.understood
    if wanted.max_tokens is None:
        wanted = msgspec.structs.replace(wanted, max_tokens=row.own_limit)
    if row.stopped_here:
        wanted = msgspec.structs.replace(wanted, stop=())
    assert row.understands(wire) == wanted
    assert wire.dropped == ()


def found(body: Any, value: Any) -> bool:
    """Whether `value` stands anywhere in `body`."""
    if body == value and isinstance(body, bool) == isinstance(value, bool):
        return True
    if isinstance(body, dict):
        return any(found(v, value) for v in body.values())
    return isinstance(body, list) and any(found(v, value) for v in body)


@pytest.mark.parametrize("row", each_row())
@pytest.mark.parametrize("name", PARAMETERS)
def test_what_a_backend_cannot_do_is_refused_by_name_and_the_rest_reaches_it(
    row: Row, name: str
) -> None:
    dialect, infer = dialect_for(row.engine), request(**{name: PARAMETERS[name]})
    if name in row.refuses:
        with pytest.raises(UnsupportedParameter) as raised:
            dialect.request(infer, context())
        assert raised.value.param == name
        assert (raised.value.status, raised.value.code) == (400, "unsupported_parameter")
    else:
        wire = dialect.request(infer, context())
        value = row.spells.get(name, PARAMETERS[name])
        assert found(msgspec.json.decode(wire.body), value)


@pytest.mark.parametrize("row", each_row())
def test_where_the_pool_says_drop_it_is_left_out_with_a_word(row: Row) -> None:
    dialect = dialect_for(row.engine)
    wire = dialect.request(request(**PARAMETERS), context("drop"))
    assert set(wire.dropped) == row.refuses
    plain = dialect.request(request(), context())
    kept = {n: v for n, v in PARAMETERS.items() if n not in row.refuses}
    if not kept:
        assert msgspec.json.decode(wire.body) == msgspec.json.decode(plain.body)


@pytest.mark.parametrize("row", each_row())
def test_requests_and_probes_carry_the_same_credentials_and_nothing_of_the_client(
    row: Row,
) -> None:
    dialect = dialect_for(row.engine)
    wire = dialect.request(request(), context())
    access = dialect.access("k")
    assert set(access) <= set(wire.headers)
    assert any("k" in value.split() for _, value in access)
    assert not any("k" in value.split() for _, value in dialect.access(None))


# -- what fails -------------------------------------------------------------------------------


def refusals() -> list[Any]:
    return [
        pytest.param(row, fault, refusal, id=f"{row.engine}-{fault}")
        for row in ROWS.values()
        for fault, refusal in row.refusals.items()
    ]


@pytest.mark.parametrize(("row", "fault", "refusal"), refusals())
def test_an_error_before_the_stream_means_the_same_from_every_backend(
    row: Row, fault: FaultClass, refusal: Refusal
) -> None:
    head = WireHead(
        status=refusal.status, headers={"content-type": refusal.kind, **refusal.headers}
    )
    error = dialect_for(row.engine).fault(head, refusal.body)
    status, code = SHOWN[fault]
    own = fault in ("client", "overload") and refusal.status in (422, 429)
    assert (error.fault, error.status) == (fault, refusal.status if own else status)
    assert code is None or error.code == code
    assert error.retriable == (fault in RETRIABLE)
    assert error.upstream_status == refusal.status
    asked_s = refusal.headers.get("retry-after")
    assert error.retry_after_s == (None if asked_s is None else float(asked_s))
    if fault == "auth":
        assert "sk-ant" not in error.message


@pytest.mark.parametrize("row", each_row())
def test_every_row_tells_the_errors_that_matter(row: Row) -> None:
    assert set(NEEDED) <= set(row.refusals)
    assert REPEATABLE & set(row.refusals)


@pytest.mark.parametrize("row", each_row())
@pytest.mark.parametrize("body", [b"", b"<html>bad gateway</html>", b"\xff", b'{"error":', b"[]"])
def test_an_error_that_nobody_can_read_counts_by_its_status(row: Row, body: bytes) -> None:
    error = dialect_for(row.engine).fault(WireHead(status=502, headers={}), body)
    assert (error.fault, error.status) == ("unavailable", 503)


@pytest.mark.parametrize("row", each_row())
@pytest.mark.parametrize("size", [1, 7, 1_000_000])
def test_an_error_inside_the_stream_comes_after_what_was_said(
    carry: Carry, row: Row, size: int
) -> None:
    answer = SCENARIOS["text"].answer
    said = carry(row, by_size(row.breaks(answer), size))
    assert (said.text, said.fault, said.whole) == ("".join(answer.text), row.broken, False)


@pytest.mark.parametrize("row", each_row())
@given(junk=st.lists(st.binary(max_size=80), max_size=6))
def test_no_bytes_make_a_decoder_raise(carry: Carry, row: Row, junk: list[bytes]) -> None:
    assert carry(row, junk).whole is False
    framed = [b"data: " + piece.replace(b"\n", b" ") + b"\n\n" for piece in junk]
    carry(row, framed)


# -- cancel -----------------------------------------------------------------------------------


class Watching:
    """A sink that decodes, and notes what comes after its exchange was cancelled."""

    def __init__(self, row: Row) -> None:
        self._dialect = dialect_for(row.engine)
        self._decoder: Any = None
        self.content = asyncio.Event()
        self.events: list[Event] = []
        self.cancelled = False
        self.late = 0

    def on_head(self, head: WireHead) -> None:
        self._decoder = self._dialect.decoder(request(), AttemptContext(upstream_model="m"), head)

    def on_data(self, data: bytes) -> None:
        self.late += self.cancelled
        self.events += self._decoder.feed(data)
        if any(isinstance(event, Delta) for event in self.events):
            self.content.set()

    def on_end(self) -> None:
        self.late += 1

    def on_error(self, error: UpstreamFault) -> None:
        self.late += 1


@pytest.mark.req("RUN-5")
@pytest.mark.parametrize("row", each_row())
async def test_a_cancel_reaches_the_backend_and_nothing_comes_after_it(row: Row) -> None:
    engine = ScriptedEngine()
    await engine.start()
    stream = row.says(Answer(text=("word ",) * 200))

    async def endless(call: Call) -> None:
        await call.head(kind=row.content_type)
        await call.send(stream[: len(stream) // 2])
        await asyncio.Event().wait()

    engine.plays(endless)
    transport = HttpTransport(engine.url, connect_timeout_s=5.0, max_connections=1, where="test")
    sink = Watching(row)
    try:
        wire = dialect_for(row.engine).request(request(), context())
        async with asyncio.timeout(10):
            exchange = transport.start(wire, sink)
            await sink.content.wait()
            exchange.cancel()
            sink.cancelled = True
            await engine.left.wait()
        assert sink.late == 0
    finally:
        await transport.aclose()
        await engine.aclose()


# -- probes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("row", each_row())
def test_a_healthy_endpoint_is_ready_and_tells_its_models(row: Row) -> None:
    dialect = dialect_for(row.engine)
    assert set(row.models) <= set(dialect.probes())
    ok = WireHead(status=200, headers={"content-type": "application/json"})
    state = dialect.state({path: (ok, body) for path, body in row.models.items()})
    assert (state.live, state.ready, state.models) == (True, True, ("a", "b"))


@pytest.mark.parametrize("row", each_row())
@pytest.mark.parametrize("status", [401, 404, 500, 503])
def test_an_endpoint_that_refuses_its_probes_is_not_ready(row: Row, status: int) -> None:
    dialect = dialect_for(row.engine)
    head = WireHead(status=status, headers={})
    state = dialect.state(dict.fromkeys(dialect.probes(), (head, b"")))
    # An imitator of a provider's may have no list of models, and serve those that are configured.
    unlisted = status == 404 and row.engine in ("openai", "anthropic", "gemini")
    assert (state.live, state.ready, state.unlisted) == (True, unlisted, unlisted)
    assert state.why
    assert not dialect.state({}).live
