"""Another attempt at a broken stream: what the client has is never said twice and never contradicted."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from contracts.events import Delta, End, Event, Finish, Opened, ToolCallDelta, Usage, UsageReport
from policies.resume import Diverged, Replay, Sent

pytestmark = pytest.mark.req("RUN-5", "RUN-7")

words = st.text(alphabet="ab é", min_size=0, max_size=8)


def sent(*events: Event) -> Sent:
    noted = Sent()
    noted.note(events)
    return noted


def content(events: list[Event]) -> str:
    return "".join(e.content for e in events if isinstance(e, Delta))


def cut(text: str, at: list[int]) -> list[Event]:
    """`text` as deltas, cut at these places."""
    places = sorted({0, len(text), *(place % (len(text) + 1) for place in at)})
    return [Delta(content=text[a:b]) for a, b in itertools.pairwise(places)]


@given(whole=words, broke_at=st.integers(0, 8), cuts=st.lists(st.integers(0, 20), max_size=6))
def test_the_same_text_again_is_passed_on_from_where_it_broke(
    whole: str, broke_at: int, cuts: list[int]
) -> None:
    had = whole[:broke_at]
    replay = Replay(sent(Delta(content=had)))
    passed = [e for piece in cut(whole, cuts) for e in replay.pass_on([piece])]
    assert had + content(passed) == whole
    assert replay.caught_up
    assert all(not isinstance(e, Delta) or e.content for e in passed), "an empty piece says nothing"


@given(
    had=words.filter(bool),
    other=words,
    cuts=st.lists(st.integers(0, 20), max_size=6),
)
def test_text_that_differs_is_never_passed_on(had: str, other: str, cuts: list[int]) -> None:
    replay = Replay(sent(Delta(content=had)))
    passed: list[Event] = []
    try:
        for piece in cut(other, cuts):
            passed += replay.pass_on([piece])
        passed += replay.pass_on([Finish(reason="stop")])
    except Diverged:
        assert not other.startswith(had)
        assert content(passed) == ""
    else:
        assert other.startswith(had)
        assert had + content(passed) == other


def test_an_answer_that_ends_before_what_was_sent_has_diverged() -> None:
    replay = Replay(sent(Delta(content="Hello")))
    assert replay.pass_on([Delta(content="Hel")]) == []
    with pytest.raises(Diverged, match="ended before"):
        replay.pass_on([Finish(reason="stop")])


def test_head_is_dropped_and_usage_and_end_are_passed_on() -> None:
    replay = Replay(sent(Delta(content="Hi")))
    usage = UsageReport(usage=Usage(prompt_tokens=1, completion_tokens=2))
    told = [Opened(), Delta(content="Hi"), Finish(reason="stop"), usage, End()]
    assert replay.pass_on(told) == [Finish(reason="stop"), usage, End()]


def test_a_tool_call_keeps_the_id_that_the_client_has() -> None:
    first = ToolCallDelta(index=0, id="call_a", name="look", arguments='{"x"')
    replay = Replay(sent(Delta(tool_calls=(first,))))
    again = ToolCallDelta(index=0, id="call_b", name="look", arguments="{")
    assert replay.pass_on([Delta(tool_calls=(again,))]) == []
    (passed,) = replay.pass_on([Delta(tool_calls=(ToolCallDelta(index=0, arguments='"x":1}'),))])
    assert passed == Delta(tool_calls=(ToolCallDelta(index=0, arguments=":1}"),))
    second = ToolCallDelta(index=1, id="call_c", name="look", arguments="")
    assert replay.pass_on([Delta(tool_calls=(second,))]) == [Delta(tool_calls=(second,))]


@pytest.mark.parametrize(
    "again",
    [
        ToolCallDelta(index=0, id="b", name="other", arguments=""),
        ToolCallDelta(index=0, id="b", name="looking", arguments=""),
        ToolCallDelta(index=0, id="b", name="look", arguments="[1"),
    ],
)
def test_another_tool_or_other_arguments_have_diverged(again: ToolCallDelta) -> None:
    first = ToolCallDelta(index=0, id="a", name="look", arguments='{"x"')
    with pytest.raises(Diverged):
        Replay(sent(Delta(tool_calls=(first,)))).pass_on([Delta(tool_calls=(again,))])


def test_more_of_one_kind_before_all_of_the_other_has_diverged() -> None:
    had = sent(Delta(reasoning="so"), Delta(content="Hi"))
    with pytest.raises(Diverged, match="before"):
        Replay(had).pass_on([Delta(reasoning="so long")])
    replay = Replay(had)
    assert replay.pass_on([Delta(reasoning="so"), Delta(content="Hi")]) == []
    assert replay.pass_on([Delta(content="!")]) == [Delta(content="!")]


@pytest.mark.parametrize(
    "delta",
    [
        Delta(choice=1, content="a"),
        Delta(content="a", logprobs=Raw(b"{}")),
        Delta(content="a", extra={"audio": Raw(b"1")}),
    ],
)
def test_what_cannot_be_compared_is_not_resumed(delta: Delta) -> None:
    assert not sent(delta).comparable
    with pytest.raises(Diverged):
        Replay(sent(Delta(content="ab"))).pass_on([delta])


def test_only_plain_text_can_be_continued_from() -> None:
    plain = sent(Delta(content="Hel"), Delta(content="lo"))
    assert (plain.only_text, plain.content, plain.deltas) == (True, "Hello", 2)
    assert not sent(Delta(reasoning="hm"), Delta(content="Hi")).only_text
    call = ToolCallDelta(index=0, id="a", name="look")
    assert not sent(Delta(tool_calls=(call,))).only_text
