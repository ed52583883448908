"""Another attempt at a broken stream: what the client has is never said twice and never contradicted."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw, json, structs

from contracts.errors import GatewayError, QueueFull, StreamBroken, UpstreamFault, UpstreamTimeout
from contracts.events import Delta, End, Event, Finish, Opened, ToolCallDelta, Usage, UsageReport
from contracts.inference import InferRequest, Operation, RequestFacts, Resume, RoutingPlan, Target
from policies.resume import (
    SENT_MAX_CHARS,
    Diverged,
    Replay,
    Sent,
    Way,
    continued,
    ways,
    worth_resuming,
)

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
    replay = Replay(sent(Delta(content=had)).channels())
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
    replay = Replay(sent(Delta(content=had)).channels())
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
    replay = Replay(sent(Delta(content="Hello")).channels())
    assert replay.pass_on([Delta(content="Hel")]) == []
    with pytest.raises(Diverged, match="ended before"):
        replay.pass_on([Finish(reason="stop")])


def test_head_is_dropped_and_usage_and_end_are_passed_on() -> None:
    replay = Replay(sent(Delta(content="Hi")).channels())
    usage = UsageReport(usage=Usage(prompt_tokens=1, completion_tokens=2))
    told = [Opened(), Delta(content="Hi"), Finish(reason="stop"), usage, End()]
    assert replay.pass_on(told) == [Finish(reason="stop"), usage, End()]


def test_a_tool_call_keeps_the_id_that_the_client_has() -> None:
    first = ToolCallDelta(index=0, id="call_a", name="look", arguments='{"x"')
    replay = Replay(sent(Delta(tool_calls=(first,))).channels())
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
        Replay(sent(Delta(tool_calls=(first,))).channels()).pass_on([Delta(tool_calls=(again,))])


def test_more_of_one_kind_before_all_of_the_other_has_diverged() -> None:
    had = sent(Delta(reasoning="so"), Delta(content="Hi"))
    with pytest.raises(Diverged, match="before"):
        Replay(had.channels()).pass_on([Delta(reasoning="so long")])
    replay = Replay(had.channels())
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
        Replay(sent(Delta(content="ab")).channels()).pass_on([delta])


def test_only_plain_text_can_be_continued_from() -> None:
    plain = sent(Delta(content="Hel"), Delta(content="lo"))
    assert (plain.only_text, plain.content, plain.deltas) == (True, "Hello", 2)
    assert not sent(Delta(reasoning="hm"), Delta(content="Hi")).only_text
    call = ToolCallDelta(index=0, id="a", name="look")
    assert not sent(Delta(tool_calls=(call,))).only_text


def plan(resume: Resume, *able: bool) -> RoutingPlan:
    targets = (Target(model=str(i), pool="p", upstream="u", prefill=a) for i, a in enumerate(able))
    return RoutingPlan(targets=tuple(targets), resume=resume)


def test_continuing_comes_before_saying_it_again_and_the_target_that_broke_before_others() -> None:
    told = [
        (w.position, w.continues)
        for w in ways(plan("continue", True, False, True), 1, stalled=False)
    ]
    assert told == [(2, True), (0, True), (1, False), (2, False), (0, False)]
    assert ways(plan("replay", True, True), 0, stalled=False) == [
        Way(position=0, continues=False),
        Way(position=1, continues=False),
    ]


def test_a_way_fits_what_was_sent() -> None:
    text, call = sent(Delta(content="Hi")), ToolCallDelta(index=0, id="a", name="look")
    calls = sent(Delta(content="Hi"), Delta(tool_calls=(call,)))
    go_on, again = Way(position=0, continues=True), Way(position=0, continues=False)
    assert (text.allows(go_on), text.allows(again)) == (True, True)
    assert (calls.allows(go_on), calls.allows(again)) == (False, True)
    assert not sent(Delta(choice=1, content="a")).allows(again)


def asked(operation: Operation, **members: object) -> InferRequest:
    return InferRequest(
        request_id="r",
        operation=operation,
        members={name: Raw(json.encode(value)) for name, value in members.items()},
        facts=RequestFacts(operation=operation, model="m"),
    )


def test_a_chat_is_continued_from_a_trailing_assistant_message() -> None:
    messages = [{"role": "user", "content": "x", "name": "é"}]
    infer = asked("chat", messages=messages, seed=1)
    changed = continued(infer, 'He said: "')
    assert changed is not None
    told = {name: json.decode(raw) for name, raw in changed.members.items()}
    begun = {"role": "assistant", "content": 'He said: "'}
    assert told == {"messages": [*messages, begun], "seed": 1}
    assert json.decode(infer.members["messages"]) == messages


def test_what_is_continued_is_not_what_the_client_wrote() -> None:
    infer = asked("chat", messages=[{"role": "user", "content": "x"}])
    native = {"anthropic": {"messages": infer.members["messages"]}}
    changed = continued(structs.replace(infer, native=native), "He")
    assert changed is not None
    assert changed.native == {}


def test_a_text_is_continued_at_its_end() -> None:
    changed = continued(asked("completion", prompt="Once"), " upon")
    assert changed is not None
    assert json.decode(changed.members["prompt"]) == "Once upon"
    assert continued(asked("completion", prompt=["Once"]), " upon") is None
    assert continued(asked("completion", prompt=[1, 2]), " upon") is None


@pytest.mark.parametrize(
    ("error", "worth"),
    [
        (StreamBroken("x", fault="stream_broken"), True),
        (UpstreamTimeout("x", fault="timeout"), True),
        (UpstreamFault("x", fault="overload"), True),
        (UpstreamFault("x", fault="content"), False),
        (UpstreamFault("x", fault="client"), False),
        (QueueFull("x"), False),
    ],
)
def test_only_what_another_attempt_could_do_better_is_worth_it(
    error: GatewayError, worth: bool
) -> None:
    assert worth_resuming(error) is worth


def test_a_target_that_stalled_is_asked_again_last() -> None:
    found = ways(plan("continue", True, True), 0, stalled=True)
    told = [(w.position, w.continues) for w in found]
    assert told == [(1, True), (0, True), (1, False), (0, False)]


def test_what_is_too_long_to_be_kept_is_not_kept() -> None:
    long = Sent()
    for _ in range(5):
        long.note([Delta(content="x" * (SENT_MAX_CHARS // 4))])
    assert not long.comparable
    assert long.content == ""
    assert long.deltas == 5, "they are counted all the same"
