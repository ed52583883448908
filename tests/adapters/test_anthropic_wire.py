import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.anthropic_wire import read_anthropic_error, read_event, read_message

pytestmark = pytest.mark.req("RUN-3")


def test_unknown_members_and_nulls_are_passed_over() -> None:
    event = read_event(
        b'{"type":"content_block_delta","index":3,"delta":{"type":"text_delta","text":"a","new":{}},"usage":null}'
    )
    assert event is not None
    assert (event.type, event.index) == ("content_block_delta", 3)
    assert event.delta is not None
    assert event.delta.text == "a"


def test_bytes_that_are_no_utf8_become_replacement_characters() -> None:
    event = read_event(b'{"type":"content_block_delta","delta":{"text":"a\xff"}}')
    assert event is not None
    assert event.delta is not None
    assert event.delta.text == "a\ufffd"


@pytest.mark.parametrize("raw", [b"", b"[]", b"5", b"{", b'{"index":"x"}', b'{"delta":[]}'])
def test_what_is_no_event_is_none(raw: bytes) -> None:
    assert read_event(raw) is None


def test_depth_is_no_danger() -> None:
    deep = b'{"type":"x","content_block":{"type":"tool_use","input":{"a":' + b"[" * 100_000
    assert read_event(deep) is None
    assert read_message(deep) is None
    assert read_anthropic_error(deep) is None


@given(raw=st.binary(max_size=80))
def test_reading_never_raises(raw: bytes) -> None:
    read_event(raw)
    read_message(raw)
    read_anthropic_error(raw)
