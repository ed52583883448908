"""Calls in pieces: begun once named, over once complete, however the engine mixes them."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import UpstreamFault
from contracts.events import ToolCallDelta
from gateway.inbound.tool_calls import ToolCalls

pytestmark = pytest.mark.req("RUN-3")


def piece(index: int, arguments: str = "", **members: str) -> ToolCallDelta:
    return ToolCallDelta(index=index, arguments=arguments, **members)


def test_a_call_is_not_told_before_it_has_a_name() -> None:
    calls = ToolCalls(max_bytes=100)
    assert calls.add(piece(0, '{"a"', id="c")) == (None, "")
    call, told = calls.add(piece(0, ":1", name="f"))
    assert call is not None
    assert (call.id, call.name, told) == ("c", "f", '{"a":1')
    call.place = 0
    assert calls.add(piece(0, "}"))[1] == "}"
    assert call.arguments == '{"a":1}'


def test_a_call_is_over_once_its_arguments_are_an_object() -> None:
    calls = ToolCalls(max_bytes=100)
    for index, arguments in enumerate(('{"a":1', "{}", "[]")):
        call, _ = calls.add(piece(index, arguments, id="c", name="f"))
        assert call is not None
        call.place = index
    assert [call.place for call in calls.end_complete()] == [1]
    assert calls.end_complete() == []
    assert calls.add(piece(1, " ")) == (None, "")
    assert [call.place for call in calls.end_all()] == [0, 2]


def test_what_is_kept_is_bounded() -> None:
    calls = ToolCalls(max_bytes=10)
    calls.add(piece(0, "12345", name="f"))
    with pytest.raises(UpstreamFault) as caught:
        calls.add(piece(0, "67890"))
    assert caught.value.code == "answer_too_large"


ARGUMENTS = st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)


@given(data=st.data(), wanted=st.lists(ARGUMENTS, min_size=1, max_size=3))
def test_mixed_pieces_are_put_together(data: st.DataObject, wanted: list[dict[str, int]]) -> None:
    texts = [msgspec.json.encode(arguments).decode() for arguments in wanted]
    left = dict(enumerate(texts))
    calls, told = ToolCalls(max_bytes=10_000), dict.fromkeys(left, "")
    found = {}
    while left:
        index = data.draw(st.sampled_from(sorted(left)))
        size = data.draw(st.integers(1, len(left[index])))
        call, text = calls.add(piece(index, left[index][:size], id=str(index), name="f"))
        assert call is not None
        call.place, found[index] = index, call
        told[index] += text
        left[index] = left[index][size:]
        if not left[index]:
            del left[index]
        calls.end_complete()
    assert [told[index] for index in sorted(told)] == texts
    assert all(call.complete for call in found.values())
