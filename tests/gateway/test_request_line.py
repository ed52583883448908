"""A request's line in the log."""

import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.log_lines import Event, JsonLines, Readable
from gateway.request_line import RequestLine, milliseconds
from tests.support.log_records import SECRET, record, redact

NAMES = RequestLine.__struct_fields__
VALUES = st.sampled_from([None, 0, 0.0, False, "", "text", SECRET, "\ud800", ["ok"], (), 1.5])


@pytest.mark.req("OPS-1", "SEC-3")
@given(
    st.lists(VALUES, min_size=len(NAMES), max_size=len(NAMES)), st.sampled_from([None, 3, "hub"])
)
def test_it_is_written_as_any_other_event(values: list[object], process: str | int | None) -> None:
    """What is None is not said, and all else is, an empty text as well; in the order of its fields."""
    line = RequestLine(*values)  # type: ignore[arg-type]
    said = record(**dict(zip(NAMES, values, strict=True)))
    event = Event(logging.INFO, "request", line, said.created)
    for form in (JsonLines(redact, process), Readable(redact, colour=False, process=process)):
        assert form.format(event) == form.format(said)


def test_other_handlers_than_ours_see_all_of_its_fields() -> None:
    shown = Event(logging.INFO, "request", RequestLine(status=200, stream=False), 1.0).record()
    assert shown.__dict__["fields"] == dict.fromkeys(NAMES) | {"status": 200, "stream": False}


@given(st.none() | st.floats(0, 1e5))
def test_milliseconds_are_to_the_nearest_microsecond(seconds: float | None) -> None:
    told = milliseconds(seconds)
    if seconds is None:
        assert told is None
    else:
        assert told is not None
        assert abs(told - seconds * 1000) <= 0.0005 + 1e-9 * seconds
        assert len(json.dumps(told).partition(".")[2]) <= 3
