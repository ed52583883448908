"""Stop sequences that the gateway carries out: what goes on, what is held back, and when it is over."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.stop_sequences import MAX_STOPS, StoppingDecoder, StopText, stops_of
from contracts.errors import InvalidField, StreamBroken
from contracts.events import Delta, End, Event, Fault, Finish, ToolCallDelta, Usage, UsageReport

pytestmark = pytest.mark.req("RUN-2", "RUN-3")
LETTERS = st.text("ab", max_size=12)
STOPS = st.lists(st.text("ab", min_size=1, max_size=4), max_size=3)


def up_to_stop(text: str, stops: list[str]) -> str:
    """By looking at every character, as slowly as it can be done."""
    for end in range(len(text) + 1):
        found = [stop for stop in stops if text[:end].endswith(stop)]
        if found:
            return text[: end - max(map(len, found))]
    return text


@given(text=LETTERS, stops=STOPS, places=st.lists(st.integers(0, 12), max_size=6))
def test_text_ends_before_the_first_complete_stop_in_whatever_pieces_it_comes(
    text: str, stops: list[str], places: list[int]
) -> None:
    edges = [0, *sorted(min(place, len(text)) for place in places), len(text)]
    finder = StopText(stops)
    said = "".join(finder.push(text[a:b]) for a, b in pairwise(edges))
    said += finder.rest()
    assert said == up_to_stop(text, stops)
    assert finder.stopped == any(stop in text for stop in stops)


@given(text=LETTERS, stops=STOPS)
def test_no_more_is_held_back_than_could_still_become_a_stop(text: str, stops: list[str]) -> None:
    finder = StopText(stops)
    said = finder.push(text)
    held = finder.rest()
    if not finder.stopped:
        assert said + held == text
        assert not held or any(stop.startswith(held) and stop != held for stop in stops)


class Scripted:
    """A decoder that says a list of events for each piece, and another when it is closed."""

    def __init__(self, *fed: list[Event], closed: list[Event] | None = None) -> None:
        self._fed, self._closed = list(fed), closed or []

    def feed(self, data: bytes) -> list[Event]:
        return self._fed.pop(0)

    def close(self) -> list[Event]:
        return self._closed


def passed(inner: Scripted, pieces: int, *, engine_stops: bool) -> list[Event]:
    decoder = StoppingDecoder(inner, ["END"], engine_stops=engine_stops)
    out = [event for _ in range(pieces) for event in decoder.feed(b"")]
    return out + decoder.close()


def text(*contents: str) -> list[list[Event]]:
    return [[Delta(content=content)] for content in contents]


USAGE = UsageReport(usage=Usage(prompt_tokens=1, completion_tokens=2))


def test_where_the_engine_does_not_know_it_the_answer_is_over_there() -> None:
    inner = Scripted(*text("up to E", "ND and", " on"), closed=[Finish(reason="length"), End()])
    assert passed(inner, 3, engine_stops=False) == [
        Delta(content="up to "),
        Finish(reason="stop", stop_sequence="END"),
        End(),
    ]


def test_where_it_does_its_usage_is_waited_for() -> None:
    inner = Scripted(*text("up to E", "ND"), closed=[Finish(reason="stop_sequence"), USAGE, End()])
    assert passed(inner, 2, engine_stops=True) == [
        Delta(content="up to "),
        Finish(reason="stop", stop_sequence="END"),
        USAGE,
        End(),
    ]


@pytest.mark.parametrize(
    "last", [Finish(reason="length"), End(), Fault(error=StreamBroken("broken"))]
)
def test_what_became_no_stop_is_said_before_the_end(last: Event) -> None:
    inner = Scripted(*text("up to EN"), closed=[last])
    assert passed(inner, 1, engine_stops=False) == [
        Delta(content="up to "),
        Delta(content="EN"),
        last,
    ]


def test_what_is_held_back_comes_before_a_call() -> None:
    call = Delta(tool_calls=(ToolCallDelta(index=0, name="f"),))
    inner = Scripted(*text("E"), [call])
    assert passed(inner, 2, engine_stops=False) == [Delta(content="E"), call]


def test_probabilities_of_a_piece_that_is_held_back_are_not_lost() -> None:
    told = msgspec.Raw(b'{"content":[1]}')
    inner = Scripted([Delta(content="E", logprobs=told)])
    assert passed(inner, 1, engine_stops=False) == [Delta(content="", logprobs=told)]


@pytest.mark.parametrize(
    ("stop", "stops"),
    [('"END"', ["END"]), ('["a","b"]', ["a", "b"]), ('""', []), ("null", []), ("[]", [])],
)
def test_a_client_may_name_one_or_several(stop: str, stops: list[str]) -> None:
    assert stops_of({"stop": msgspec.Raw(stop.encode())}) == stops
    assert stops_of({}) == []


@pytest.mark.parametrize("stop", [b"5", msgspec.json.encode(["x"] * (MAX_STOPS + 1))])
def test_nonsense_and_too_many_are_refused_by_name(stop: bytes) -> None:
    with pytest.raises(InvalidField) as raised:
        stops_of({"stop": msgspec.Raw(stop)})
    assert raised.value.param == "stop"
