"""Calls in pieces: begun once named, over once complete, however the engine mixes them."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import UpstreamFault
from contracts.events import ToolCallDelta
from gateway.answers import PIECE_BYTES
from gateway.inbound import tool_calls
from gateway.inbound.tool_calls import ToolCalls

pytestmark = pytest.mark.req("RUN-3")


def is_object(text: str) -> bool:
    try:
        msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except msgspec.MsgspecError:
        return False
    return True


def piece(index: int, arguments: str = "", **members: str) -> ToolCallDelta:
    return ToolCallDelta(index=index, arguments=arguments, **members)


def test_a_call_is_not_told_before_it_has_a_name() -> None:
    calls = ToolCalls(max_bytes=1000)
    assert calls.add(piece(0, '{"a"', id="c")) == (None, "")
    call, told = calls.add(piece(0, ":1", name="f"))
    assert call is not None
    assert (call.id, call.name, told) == ("c", "f", '{"a":1')
    call.place = 0
    assert calls.add(piece(0, "}"))[1] == "}"
    assert call.arguments == '{"a":1}'


def test_a_call_is_over_once_its_arguments_are_an_object() -> None:
    calls = ToolCalls(max_bytes=1000)
    for index, arguments in enumerate(('{"a":1', "{}", "[]")):
        call, _ = calls.add(piece(index, arguments, id="c", name="f"))
        assert call is not None
        call.place = index
    assert [call.place for call in calls.end_complete()] == [1]
    assert calls.end_complete() == []
    assert calls.add(piece(1, " ")) == (None, "")
    assert [call.place for call in calls.end_all()] == [0, 2]


@pytest.mark.parametrize("arguments", ["", "x"])
def test_what_is_kept_is_bounded_however_small_its_pieces(arguments: str) -> None:
    calls = ToolCalls(max_bytes=10 * (PIECE_BYTES + 2))
    for index in range(10):
        calls.add(piece(index, arguments, name="f"))
    with pytest.raises(UpstreamFault) as caught:
        calls.add(piece(10, arguments, name="f"))
    assert caught.value.code == "answer_too_large"


@pytest.mark.parametrize(
    "arguments",
    [r'{"a":"}\"{","b":[{}]}', r'{"a":"\\"}', ' {"a":{"b":{}}} ', "{a}", "[{}]", "{]}{}"],
)
@pytest.mark.parametrize("size", [1, 2, 3])
def test_wherever_arguments_are_cut_they_are_over_once_they_are_an_object(
    arguments: str, size: int
) -> None:
    calls, said = ToolCalls(max_bytes=10_000), ""
    for at in range(0, len(arguments), size):
        said += arguments[at : at + size]
        call, _ = calls.add(piece(0, arguments[at : at + size], id="c", name="f"))
        if call is None:  # it is over, and white space follows
            break
        call.place = 0
        assert bool(calls.end_complete()) is is_object(said)
    assert (call is None or call.ended) is is_object(arguments)


def test_arguments_are_looked_at_once_however_often_it_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decoded: list[str] = []
    monkeypatch.setattr(tool_calls, "_read_object", decoded.append)
    calls = ToolCalls(max_bytes=100_000)
    for index in range(20):
        for arguments in ("{", '"a"', ":1", "}"):
            call, _ = calls.add(piece(index, arguments, id="c", name="f"))
            assert call is not None
            call.place = index
            calls.end_complete()
    assert decoded == ['{"a":1}'] * 20


def test_arguments_nested_too_deeply_are_no_object() -> None:
    calls = ToolCalls(max_bytes=1_000_000)
    call, _ = calls.add(piece(0, '{"a":' * 5000 + "1" + "}" * 5000, id="c", name="f"))
    assert call is not None
    call.place = 0
    assert calls.end_complete() == []
    assert calls.end_all() == [call]


ARGUMENTS = st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)


@given(data=st.data(), wanted=st.lists(ARGUMENTS, min_size=1, max_size=3))
def test_mixed_pieces_are_put_together(data: st.DataObject, wanted: list[dict[str, int]]) -> None:
    texts = [msgspec.json.encode(arguments).decode() for arguments in wanted]
    left = dict(enumerate(texts))
    calls, told = ToolCalls(max_bytes=100_000), dict.fromkeys(left, "")
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
    assert calls.end_complete() == []
    assert all(call.ended for call in found.values())
