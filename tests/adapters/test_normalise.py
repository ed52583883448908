import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.normalise import MAX_TOOL_CALLS, Normaliser
from contracts.errors import StreamBroken, UpstreamFault
from contracts.events import (
    Delta,
    Document,
    End,
    Fault,
    Finish,
    Opened,
    ToolCallDelta,
    Usage,
    UsageReport,
)

pytestmark = pytest.mark.req("RUN-3")

USAGE = UsageReport(usage=Usage(prompt_tokens=3, completion_tokens=2))


def text(content: str, choice: int = 0) -> Delta:
    return Delta(content=content, choice=choice)


def call(
    index: int = -1, id: str | None = None, name: str | None = None, arguments: str = ""
) -> Delta:
    return Delta(tool_calls=(ToolCallDelta(index=index, id=id, name=name, arguments=arguments),))


def calls(events):
    """The tool calls as a client puts them together: (id, name, arguments) in the order of indexes."""
    found: dict[int, list[str]] = {}
    for event in events:
        for piece in getattr(event, "tool_calls", ()):
            if piece.index not in found:
                found[piece.index] = ["", "", ""]
            entry = found[piece.index]
            entry[0] += piece.id or ""
            entry[1] += piece.name or ""
            entry[2] += piece.arguments
    assert list(found) == list(range(len(found)))  # contiguous, in the order of their appearance
    return [tuple(entry) for entry in found.values()]


# -- the grammar, whatever comes in -----------------------------------------------------

pieces = st.builds(
    ToolCallDelta,
    index=st.integers(-1, 3),
    id=st.sampled_from([None, "", "a", "b", "c"]),
    name=st.sampled_from([None, "", "f", "g"]),
    arguments=st.sampled_from(["", "{", "}"]),
)
deltas = st.one_of(
    st.builds(Delta, choice=st.integers(-1, 3), content=st.sampled_from(["x", "yz"])),
    st.builds(Delta, choice=st.integers(0, 2), reasoning=st.just("hm")),
    st.builds(
        Delta,
        choice=st.integers(0, 2),
        tool_calls=st.lists(pieces, min_size=1, max_size=3).map(tuple),
    ),
)
reasons = st.sampled_from(
    ["stop", "length", "tool_calls", "eos_token", "max_tokens", "content_filter", "odd", "abort"]
)
events = st.one_of(
    deltas,
    deltas,
    st.builds(Finish, choice=st.integers(-1, 3), reason=reasons),
    st.builds(
        UsageReport,
        usage=st.builds(Usage, prompt_tokens=st.just(1), completion_tokens=st.integers(0, 9)),
    ),
    st.builds(Opened, system_fingerprint=st.sampled_from([None, "fp"])),
    st.just(End()),
    st.builds(Fault, error=st.just(UpstreamFault("x"))),
)
# Decoders stop at their terminal event; most streams here do so as well, to get far.
streams = st.lists(events.filter(lambda e: not isinstance(e, End | Fault)), max_size=25).flatmap(
    lambda body: st.lists(events, max_size=3).map(lambda tail: body + tail)
)


def check_grammar(out, choices):
    *body, last = out
    assert isinstance(last, End | Fault)
    assert not any(isinstance(event, End | Fault) for event in body)
    assert not any(isinstance(event, Opened) for event in body[1:])
    reports = [i for i, event in enumerate(body) if isinstance(event, UsageReport)]
    finishes = [event.choice for event in body if isinstance(event, Finish)]
    assert len(finishes) == len(set(finishes))
    assert set(finishes) <= set(range(choices))
    if isinstance(last, End):
        assert reports == [len(body) - 1]
        assert set(finishes) == set(range(choices))
    else:
        assert reports == []
    done: set[int] = set()
    tools: dict[int, int] = {}
    for event in body:
        if isinstance(event, Finish):
            done.add(event.choice)
        elif isinstance(event, Delta):
            assert event.choice not in done
            assert 0 <= event.choice < choices
            for piece in event.tool_calls:
                is_new = piece.index == tools.get(event.choice, 0)
                assert 0 <= piece.index <= tools.get(event.choice, 0)
                assert (piece.id is not None) == is_new  # the id comes once, with the first piece
                tools[event.choice] = max(tools.get(event.choice, 0), piece.index + 1)


@given(stream=streams, choices=st.integers(1, 3))
def test_any_sequence_of_events_becomes_a_well_formed_stream(normalise, stream, choices):
    check_grammar(normalise(stream, choices), choices)


@given(stream=streams, choices=st.integers(1, 3), step=st.integers(1, 4))
def test_how_many_events_come_at_once_changes_nothing(normalise, plain, stream, choices, step):
    copy = msgspec.structs.replace  # deltas are rewritten in place: one stream each
    again = [copy(event) for event in stream]
    assert plain(normalise(stream, choices)) == plain(normalise(again, choices, step=step))


def copies(stream):
    """Deltas and errors are written to in place: each reader has its own."""
    return [
        Fault(error=UpstreamFault("x")) if isinstance(e, Fault) else msgspec.structs.replace(e)
        for e in stream
    ]


@given(stream=streams, choices=st.integers(1, 3), step=st.integers(1, 4))
def test_what_it_knows_of_its_answer_is_what_it_has_said_of_it(stream, choices, step):
    normaliser, said = Normaliser(choices, 1, lambda: "id", "there"), []
    stream = copies(stream)
    for at in range(0, len(stream), step):
        said += normaliser.push(stream[at : at + step])
        assert normaliser.deltas == sum(e.pieces for e in said if isinstance(e, Delta))
        assert normaliser.finish_reasons == [e.reason for e in said if isinstance(e, Finish)]
        assert [normaliser.usage] * normaliser.over * (normaliser.fault is None) == [
            e.usage for e in said if isinstance(e, UsageReport)
        ]
        faults = [e.error for e in said if isinstance(e, Fault)]
        assert [normaliser.fault] * (normaliser.fault is not None) == faults
        assert all(error.where == "there" for error in faults)
    if not any(isinstance(e, UsageReport) for e in said):
        assert normaliser.usage is None


@given(stream=streams, choices=st.integers(1, 3))
def test_the_end_of_a_body_is_an_end(stream, choices):
    closed, told = (Normaliser(choices, 1, lambda: "id", "there") for _ in range(2))
    said = closed.push(copies(stream)), told.push(copies(stream))
    ends = closed.close(), told.push([End()])
    assert [*map(type, said[0] + ends[0])] == [*map(type, said[1] + ends[1])]


@given(stream=streams)
def test_nothing_comes_after_the_terminal_event(stream):
    normaliser = Normaliser(choices=1, prompt_tokens=1, new_id=lambda: "id", where="p")
    normaliser.push(stream)
    normaliser.close()
    assert normaliser.over
    assert normaliser.push([text("x"), Finish(reason="stop"), USAGE, End()]) == []
    assert normaliser.close() == []


# -- completeness -----------------------------------------------------------------------


@pytest.mark.parametrize("end", [[], [End()], [USAGE], [USAGE, End()]])
def test_a_stream_that_just_stops_is_a_fault_and_never_an_end(normalise, end):
    *_, last = normalise([Opened(), text("half a sen"), *end])
    assert isinstance(last, Fault)
    assert isinstance(last.error, StreamBroken)
    assert last.error.where == "pool p"


def test_an_empty_stream_is_a_fault(normalise):
    assert [type(event) for event in normalise([])] == [Fault]


def test_one_choice_of_two_is_not_complete(normalise):
    stream = [text("a"), text("b", 1), Finish(reason="stop"), USAGE, End()]
    assert isinstance(normalise(stream, choices=2)[-1], Fault)


def test_a_complete_stream_without_done_ends_at_once(normalise):
    out = normalise([text("hi"), Finish(reason="stop"), USAGE], close=False)
    assert out == [text("hi"), Finish(reason="stop"), USAGE, End()]


def test_without_done_and_without_usage_it_ends_with_the_body(normalise):
    stream = [text("a"), text("b"), Finish(reason="stop")]
    assert not any(isinstance(event, End) for event in normalise(stream, close=False))
    *_, report, last = normalise(stream)
    assert last == End()
    assert report.usage == Usage(prompt_tokens=7, completion_tokens=2, estimated=True)


def test_each_piece_of_what_came_as_one_is_counted(normalise):
    joined = Delta(content="abc", pieces=3)
    *_, report, _ = normalise([text("x"), joined, Finish(reason="stop")])
    assert report.usage.completion_tokens == 4


def test_usage_on_every_chunk_counts_with_its_last_value(normalise):
    def report(n: int) -> UsageReport:
        return UsageReport(usage=Usage(prompt_tokens=3, completion_tokens=n))

    out = normalise([text("a"), report(1), text("b"), report(2), Finish(reason="stop"), report(3)])
    assert out[-2:] == [report(3), End()]
    out = normalise([text("a"), report(1), Finish(reason="stop"), End()])
    assert out[-2:] == [report(1), End()]


def test_usage_from_before_the_finish_does_not_end_the_stream_early(normalise):
    stream = [text("a"), USAGE, Finish(reason="stop")]
    assert not any(isinstance(event, End) for event in normalise(stream, close=False))


def test_an_embedding_is_complete_without_a_finish(normalise):
    document = Document(members={"data": msgspec.Raw(b"[]")})
    assert normalise([document, document, USAGE, End()]) == [document, USAGE, End()]


def test_the_opening_comes_first_or_not_at_all(normalise):
    opened = Opened(system_fingerprint="fp")
    assert normalise([opened, opened, text("x")])[:2] == [opened, text("x")]
    assert normalise([text("x"), opened])[:1] == [text("x")]
    assert opened not in normalise([text("x"), opened])


def test_what_follows_a_choices_finish_is_not_sent(normalise):
    out = normalise([text("a"), Finish(reason="stop"), text("b"), Finish(reason="length"), End()])
    assert [e for e in out if isinstance(e, Delta | Finish)] == [text("a"), Finish(reason="stop")]


def test_a_choice_nobody_asked_for_is_not_sent(normalise):
    out = normalise(
        [text("a"), text("b", 1), Finish(reason="stop", choice=1), Finish(reason="stop")]
    )
    assert out[:2] == [text("a"), Finish(reason="stop")]


# -- finish reasons ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "with_calls", "told"),
    [
        ("stop", False, "stop"),
        ("stop", True, "tool_calls"),
        ("eos_token", True, "tool_calls"),
        ("length", True, "length"),
        ("max_tokens", True, "length"),
        ("content_filter", True, "content_filter"),
        ("tool_calls", True, "tool_calls"),
        ("tool_calls", False, "tool_calls"),
        ("eos_token", False, "stop"),
        ("stop_sequence", False, "stop"),
        ("end_turn", False, "stop"),
        ("function_call", False, "function_call"),
        ("something_new", False, "something_new"),
    ],
)
def test_a_call_overrides_only_stop_and_engines_spellings_do_not_leak(
    normalise, said, with_calls, told
):
    stream = [call(0, "a", "f", "{}") if with_calls else text("x"), Finish(reason=said), End()]
    assert Finish(reason=told) in normalise(stream)


def test_a_call_in_one_choice_does_not_change_another_ones_reason(normalise):
    stream = [
        call(0, "a", "f"),
        text("x", 1),
        Finish(reason="stop"),
        Finish(reason="stop", choice=1),
    ]
    assert [e.reason for e in normalise(stream, choices=2) if isinstance(e, Finish)] == [
        "tool_calls",
        "stop",
    ]


@pytest.mark.parametrize("reason", ["error", "abort", "incomplete_generation"])
def test_an_engine_that_finishes_with_a_failure_has_not_finished(normalise, reason):
    out = normalise([text("half"), Finish(reason=reason), USAGE, End()])
    assert [type(event) for event in out] == [Delta, Fault]


# -- tool calls -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "told"),
    [
        pytest.param(
            [call(1, "a", "f", "{"), call(1, arguments="}"), call(2, "b", "g", "[]")],
            [("a", "f", "{}"), ("b", "g", "[]")],
            id="indexes that start at 1",
        ),
        pytest.param(
            [
                call(0, "a", "f", "{"),
                call(0, arguments="}"),
                call(0, "b", "g"),
                call(0, arguments="1"),
            ],
            [("a", "f", "{}"), ("b", "g", "1")],
            id="always 0, with new ids",
        ),
        pytest.param(
            [call(-1, "a", "f", "{"), call(arguments="}"), call(-1, "b", "g"), call(arguments="1")],
            [("a", "f", "{}"), ("b", "g", "1")],
            id="no index",
        ),
        pytest.param(
            [
                call(0, "a", "f", "{"),
                call(0, "a", "f", "}"),
                call(1, "b", "g"),
                call(1, "b", "g", "1"),
            ],
            [("a", "f", "{}"), ("b", "g", "1")],
            id="id and name repeated in every chunk",
        ),
        pytest.param(
            [call(0, "a", "f"), call(1, "b", "g"), call(0, arguments="1"), call(1, arguments="2")],
            [("a", "f", "1"), ("b", "g", "2")],
            id="interleaved",
        ),
        pytest.param(
            [
                call(-1, "a", "f"),
                call(-1, "b", "g"),
                call(-1, "a", None, "1"),
                call(-1, "b", None, "2"),
            ],
            [("a", "f", "1"), ("b", "g", "2")],
            id="interleaved, no index",
        ),
        pytest.param(
            [
                call(0, "a", "f"),
                call(0, "b", "g"),
                call(0, "a", None, "1"),
                call(0, "b", None, "2"),
            ],
            [("a", "f", "1"), ("b", "g", "2")],
            id="interleaved, always 0",
        ),
        pytest.param(
            [call(0, None, "f", "{"), call(0, None, None, "}"), call(1, "", "g", "1")],
            [("made-0", "f", "{}"), ("made-1", "g", "1")],
            id="no ids",
        ),
        pytest.param(
            [call(name="f", arguments="{}"), call(name="g", arguments="[]")],
            [("made-0", "f", "{}"), ("made-1", "g", "[]")],
            id="neither index nor id",
        ),
        pytest.param(
            [call(0, None, "f", "{"), call(0, "late", None, "}")],
            [("made-0", "f", "{}")],
            id="an id that comes late",
        ),
        pytest.param(
            [call(0, "a", None), call(0, "a", "f", "{}")],
            [("a", "f", "{}")],
            id="a name that comes late",
        ),
        pytest.param(
            [call(0, "a", "f", "{"), call(0, None, "", "}")],
            [("a", "f", "{}")],
            id="an empty name in later pieces",
        ),
        pytest.param(
            [call(0, "same", "f", "1"), call(1, "same", "g", "2")],
            [("same", "f", "1"), ("same", "g", "2")],
            id="one id for two indexes",
        ),
        pytest.param(
            [call(5, "a", "f", "1"), call(2, "b", "g", "2"), call(5, arguments="3")],
            [("a", "f", "13"), ("b", "g", "2")],
            id="indexes in any order",
        ),
    ],
)
def test_tool_calls_count_from_zero_and_keep_their_pieces_together(normalise, stream, told):
    out = normalise([*stream, Finish(reason="tool_calls"), End()])
    assert calls(out) == told
    assert out[-1] == End()


def test_each_choice_counts_its_own_calls(normalise):
    stream = [
        Delta(choice=choice, tool_calls=(ToolCallDelta(index=4, id=f"c{choice}", name="f"),))
        for choice in (0, 1)
    ]
    indexes = [e.tool_calls[0].index for e in normalise(stream, choices=2) if isinstance(e, Delta)]
    assert indexes == [0, 0]


@pytest.mark.req("SEC-5")
def test_tool_calls_without_end_are_a_fault_and_not_a_silent_hole(normalise):
    allowed = [call(i, f"id{i}", "f") for i in range(MAX_TOOL_CALLS)]
    assert normalise([*allowed, Finish(reason="stop"), End()])[-1] == End()
    again = [call(i, f"id{i}", "f") for i in range(MAX_TOOL_CALLS + 1)]
    *deltas, last = normalise([*again, Finish(reason="stop"), End()])
    assert isinstance(last, Fault)
    assert len(deltas) == MAX_TOOL_CALLS


# -- a finish that its usage judges ---------------------------------------------------------


def judged(limit: int) -> Finish:
    return Finish(reason="stop", limit=limit)


@pytest.mark.parametrize(("limit", "reason"), [(2, "length"), (3, "stop")])
def test_a_finish_with_a_limit_is_told_when_the_usage_has_come(normalise, limit, reason):
    assert normalise([text("a"), judged(limit), USAGE, End()]) == [
        text("a"),
        Finish(reason=reason),
        USAGE,
        End(),
    ]


def test_until_then_its_choice_is_complete_all_the_same():
    normaliser = Normaliser(choices=1, prompt_tokens=1, new_id=lambda: "id", where="p")
    assert normaliser.push([text("a"), judged(1)]) == [text("a")]
    assert normaliser.complete
    told = normaliser.close()
    assert told[0] == Finish(reason="stop")
    assert told[1].usage.estimated


def test_one_that_called_a_tool_or_ended_otherwise_is_no_more_judged_than_that(normalise):
    out = normalise([call(0, "1", "f", "{}"), judged(9), USAGE])
    assert Finish(reason="tool_calls") in out
    out = normalise([text("a"), Finish(reason="content_filter", limit=1), USAGE])
    assert Finish(reason="content_filter") in out


def test_a_piece_of_a_call_that_says_nothing_is_no_token(normalise):
    begun = call(0, id="c", name="f")
    empty = [call(0, id="c", name="f") for _ in range(9)]
    more = Delta(content="a", tool_calls=call(0).tool_calls)
    end = (Finish(reason="stop"), End())
    out = normalise([begun, *empty, call(0, arguments="{}"), more, *end])
    assert calls(out) == [("c", "f", "{}")]
    assert [event.content for event in out if isinstance(event, Delta)] == ["", "", "a"]
    assert next(e for e in out if isinstance(e, UsageReport)).usage.completion_tokens == 3


def test_a_fault_after_the_finish_is_no_fault_of_an_answer_with_content(normalise):
    fault = Fault(error=UpstreamFault("x"))
    out = normalise([Delta(content="a"), Finish(reason="stop"), fault])
    assert [type(event) for event in out] == [Delta, Finish, UsageReport, End]
    assert out[2].usage.estimated
    empty = normalise([Finish(reason="stop"), fault])
    assert [type(event) for event in empty] == [Finish, Fault], "another attempt may say something"
    one_of_two = normalise([Delta(content="a"), Finish(reason="stop"), fault], choices=2)
    assert [type(event) for event in one_of_two] == [Delta, Finish, Fault]
