"""What was answered then and now, side by side."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.inference import RoutingPlan, Target
from gateway.records.comparison import Facts, changed, compared, table
from gateway.records.kept import Answer, AnsweredCall, AnsweredChoice

pytestmark = pytest.mark.req("RUN-9")
TEXT = st.text(alphabet="ab \n", max_size=12)


def answer(content: str = "", *, truncated: bool = False, **members: object) -> Answer:
    choice = msgspec.convert({"index": 0, "content": content, **members}, AnsweredChoice)
    return Answer(choices=(choice,), truncated=truncated)


@given(TEXT, TEXT)
def test_texts_differ_if_and_only_if_they_are_not_the_same(then: str, now: str) -> None:
    assert (compared(answer(then), answer(now)) == []) == (then == now)


@given(TEXT, TEXT)
def test_of_an_answer_that_was_cut_only_the_beginning_is_compared(kept: str, rest: str) -> None:
    assert compared(answer(kept, truncated=True), answer(kept + rest)) == []
    assert compared(answer(f"{kept}x", truncated=True), answer(f"{kept}y")) != []


def test_the_difference_is_shown_line_by_line() -> None:
    then, now = answer("one\ntwo\nthree\nfour"), answer("one\n2\nthree\nfour")
    assert compared(then, now) == [
        *("--- then", "+++ now", "@@ -1,3 +1,3 @@", " one", "-two", "+2", " three")
    ]


def test_an_answer_where_there_was_none_is_a_difference() -> None:
    assert compared(None, answer("one"))[-1] == "+one"
    assert compared(answer("one"), None)[-1] == "-one"
    assert compared(None, None) == []


def test_reasoning_refusals_and_tool_calls_count() -> None:
    plain = answer("x")
    for other in (answer("x", reasoning="y"), answer("x", refusal="y")):
        assert compared(plain, other) != []
    calls = [
        answer("", tool_calls=[{"id": identifier, "name": "f", "arguments": arguments}])
        for identifier, arguments in (("a", "{}"), ("b", "{}"), ("a", "[]"))
    ]
    assert compared(calls[0], calls[1]) == []  # ids are made anew
    assert compared(calls[0], calls[2])[-1] == "+f([])"


def test_a_cut_tool_call_is_compared_as_far_as_it_goes() -> None:
    long = AnsweredCall(id="b", name="f", arguments='{"a": 1}')
    cut = AnsweredCall(id="a", name="f", arguments='{"a"')
    then = Answer(choices=(AnsweredChoice(index=0, tool_calls=(cut,)),), truncated=True)
    now = Answer(choices=(AnsweredChoice(index=0, tool_calls=(long,)), AnsweredChoice(index=1)))
    assert compared(then, now) == []


def test_what_a_model_says_does_not_speak_to_the_terminal() -> None:
    assert compared(answer("a"), answer("\x1b[31m"))[-1] == r"+\x1b[31m"


FACTS = Facts(
    served_by="assistant",
    attempts=("a/1 overload", "a/2 ok"),
    engine="vllm 0.11",
    queue_s=0.5,
    ttft_s=0.25,
    tpot_s=None,
    e2e_s=2.0,
    prompt_tokens=9,
    completion_tokens=None,
    outcome="completed",
)


def test_facts_stand_beside_each_other() -> None:
    lines = table(FACTS, msgspec.structs.replace(FACTS, ttft_s=0.125, outcome="failed"))
    assert [line.split() for line in lines] == [
        ["then", "now"],
        ["outcome", "completed", "failed"],
        ["served", "by", "assistant", "assistant"],
        ["attempts", "a/1", "overload,", "a/2", "ok", "a/1", "overload,", "a/2", "ok"],
        ["engine", "vllm", "0.11", "vllm", "0.11"],
        ["tokens", "9+-", "9+-"],
        ["queue", "500.0", "ms", "500.0", "ms"],
        ["ttft", "250.0", "ms", "125.0", "ms"],
        ["tpot", "-", "-"],
        ["e2e", "2000.0", "ms", "2000.0", "ms"],
    ]


def test_a_plan_that_changed_is_told_member_by_member() -> None:
    target = Target(model="a", pool="p", upstream="a")
    then = RoutingPlan(targets=(target,), overrides={"seed": msgspec.Raw(b"1")})
    now = RoutingPlan(
        targets=(msgspec.structs.replace(target, pool="q"),),
        overrides={"seed": msgspec.Raw(b"2"), "stop": msgspec.Raw(b'["x"]')},
    )
    assert changed(then, then) == []
    assert changed(then, now, [("intent", "a -> b")]) == [
        "intent: a -> b",
        "overrides.seed: 1 -> 2",
        "overrides.stop[1]: - -> x",
        "targets[1].pool: p -> q",
    ]
    assert "targets[1].pool: - -> q" in changed(None, now)
