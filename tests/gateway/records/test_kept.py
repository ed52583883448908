"""What a request and its answer leave for their record."""

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from contracts.events import Delta, End, Event, Finish, Opened, ToolCallDelta
from gateway.records import kept as module
from gateway.records.kept import AnsweredCall, AnsweredChoice, Kept, KeptAnswer, Room
from tests.fakes.closed import INFER

PIECES = st.lists(st.text(max_size=6), max_size=12)


def content(answer: KeptAnswer) -> str:
    told = answer.told()
    return "" if told is None else "".join(choice.content for choice in told.choices)


@given(pieces=PIECES, most=st.integers(0, 40))
def test_of_an_answer_the_beginning_is_kept_and_it_says_so(pieces: list[str], most: int) -> None:
    answer = KeptAnswer(Room(10**6), most=most)
    answer.add([Delta(content=piece) for piece in pieces])
    whole = "".join(pieces)
    assert whole.startswith(content(answer))
    assert len(content(answer)) <= most
    told = answer.told()
    assert (told is not None and told.truncated) == (content(answer) != whole)


@given(st.lists(PIECES, max_size=6), st.integers(0, 60))
@example([["a"], ["\N{GRINNING FACE}"]], 4)
def test_all_answers_together_hold_no_more_than_there_is_room(
    answers: list[list[str]], most: int
) -> None:
    room = Room(most)
    made = [KeptAnswer(room) for _ in answers]
    for answer, pieces in zip(made, answers, strict=True):
        answer.add([Delta(content=piece) for piece in pieces])
    texts = (content(answer).encode("utf-8", "surrogatepass") for answer in made)
    assert sum(map(len, texts)) <= most
    for answer in made:
        answer.free()
        answer.free()
    assert room.take(most)
    assert not room.take(1)


def test_how_it_ended_is_kept_where_the_text_is_not() -> None:
    answer = KeptAnswer(Room(2))
    answer.add([Delta(content="Hello"), Finish(reason="stop")])
    told = answer.told()
    assert told is not None
    assert told.truncated
    assert told.choices[0].finish_reason == "stop"


def test_every_kind_of_text_is_kept_in_its_place() -> None:
    answer = KeptAnswer(Room(10**6))
    events: list[Event] = [
        Opened(),
        Delta(reasoning="Hm"),
        Delta(choice=1, refusal="No"),
        Delta(tool_calls=(ToolCallDelta(index=1, id="b", name="two"),)),
        Delta(tool_calls=(ToolCallDelta(index=0, id="a", name="one", arguments="{}"),)),
        Finish(reason="tool_calls"),
        End(),
    ]
    answer.add(events)
    told = answer.told()
    assert told is not None
    assert told.choices == (
        AnsweredChoice(
            index=0,
            reasoning="Hm",
            tool_calls=(
                AnsweredCall(id="a", name="one", arguments="{}"),
                AnsweredCall(id="b", name="two"),
            ),
            finish_reason="tool_calls",
        ),
        AnsweredChoice(index=1, refusal="No"),
    )


def test_another_attempt_begins_anew() -> None:
    answer = KeptAnswer(Room(5))
    answer.add([Delta(content="Hello"), Delta(content="!")])
    answer.begin()
    assert answer.told() is None
    answer.add([Delta(content="Again")])
    told = answer.told()
    assert told is not None
    assert (told.choices[0].content, told.truncated) == ("Again", False)


def test_a_request_that_is_too_large_is_not_kept_and_takes_no_room() -> None:
    room = Room(10 * module.REQUEST_BYTES)
    large = {"prompt": msgspec.Raw(b'"' + b"a" * module.REQUEST_BYTES + b'"')}
    kept = Kept(msgspec.structs.replace(INFER, members=large, native={"anthropic": large}), room)
    assert (kept.members, kept.native, kept.size) == (None, {}, 0)
    assert kept.missing == "too_large"
    small = Kept(INFER, room)
    assert small.members == INFER.members
    small.free()
    small.free()
    assert room.take(10 * module.REQUEST_BYTES)
