"""Where a task's answer goes: state, log and result at once."""

from typing import Any, cast

import msgspec
import pytest

from contracts.events import Delta, End, Event, Finish, ToolCallDelta, Usage, UsageReport
from gateway.answers import Identity
from gateway.attempt import Attempt
from gateway.entry import Entry
from gateway.tasks.log import TaskLog, Token
from gateway.tasks.sink import TaskSink

pytestmark = pytest.mark.req("RUN-4", "ADM-3")
IDENTITY = Identity(operation="chat", id="chatcmpl-1", created_s=1, model="decided")


class FakeAttempt:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Scene:
    def __init__(self, max_result_bytes: int = 10_000) -> None:
        self.now_s = 0.0
        self.log = TaskLog(max_events=100, max_bytes=10_000)
        self.told: list[str] = []
        self.sink = TaskSink(
            IDENTITY,
            self.log,
            max_result_bytes=max_result_bytes,
            clock=lambda: self.now_s,
            on_entered=lambda entry: self.told.append("entered"),
            on_dispatched=lambda: self.told.append("dispatched"),
            on_change=lambda: self.told.append("change"),
        )

    def attach(self, model: str = "served") -> FakeAttempt:
        attempt = FakeAttempt()
        self.sink.attach(cast(Attempt, cast(Any, attempt)), model)
        return attempt

    def say(self, *events: Event) -> None:
        self.now_s += 1.0
        self.sink.events(list(events))

    @property
    def message(self) -> Any:
        result = self.sink.result()
        assert result is not None
        return result["choices"][0]["message"]


def test_text_goes_to_readers_and_everything_into_the_result() -> None:
    scene = Scene()
    scene.attach()
    scene.say(Delta(reasoning="hm"))
    scene.say(Delta(content="Hel"), Delta(content="lo"))
    call = ToolCallDelta(index=0, id="c1", name="f", arguments="{}")
    scene.say(Delta(tool_calls=(call,)))
    scene.say(Finish(reason="tool_calls"))
    scene.say(UsageReport(usage=Usage(prompt_tokens=3, completion_tokens=9)), End())
    assert [scene.log.next(i) for i in (1, 2, 3)] == [Token(2, "Hel"), Token(3, "lo"), None]
    assert scene.message["content"] == "Hello"
    assert scene.message["reasoning_content"] == "hm"
    assert scene.message["tool_calls"][0]["function"] == {"name": "f", "arguments": "{}"}
    result = scene.sink.result()
    assert result is not None
    assert result["model"] == "served"
    assert result["usage"]["completion_tokens"] == 9
    assert scene.sink.finish_reason == "tool_calls"
    assert (scene.sink.first_token_s, scene.sink.last_token_s) == (1.0, 3.0)


def test_a_result_can_be_asked_for_again_and_again_while_it_grows() -> None:
    scene = Scene()
    assert scene.sink.result() is None
    scene.attach()
    call = ToolCallDelta(index=0, id="c1", name="f", arguments='{"a":')
    scene.say(Delta(tool_calls=(call,)))
    assert scene.message["tool_calls"][0]["function"]["arguments"] == '{"a":'
    scene.say(Delta(tool_calls=(ToolCallDelta(index=0, arguments="1}"),)))
    for _ in range(2):
        assert scene.message["tool_calls"][0]["function"]["arguments"] == '{"a":1}'


def test_past_its_bound_the_beginning_of_the_result_is_kept_and_the_task_goes_on() -> None:
    scene = Scene(max_result_bytes=200)
    scene.attach()
    for piece in ("a" * 60, "b" * 60, "c"):
        scene.say(Delta(content=piece))
    scene.say(Finish(reason="stop"), End())
    assert scene.sink.truncated
    assert scene.message["content"] == "a" * 60
    assert scene.log.tokens == 3, "readers get all of it"
    result = scene.sink.result()
    assert result is not None
    assert result["choices"][0]["finish_reason"] == "stop"


def test_an_attempt_before_the_first_content_leaves_no_trace() -> None:
    scene = Scene()
    scene.attach("first")
    scene.attach("second")
    scene.say(Delta(content="x"))
    result = scene.sink.result()
    assert result is not None
    assert result["model"] == "second"


def test_one_that_goes_on_with_a_broken_stream_goes_on_with_its_result() -> None:
    scene = Scene()
    scene.attach()
    scene.say(Delta(content="Hel"))
    scene.attach()
    scene.say(Delta(content="lo"))
    assert scene.message["content"] == "Hello"
    assert scene.log.tokens == 2


@pytest.mark.parametrize("end", ["cancelled", "failed", "succeeded"])
def test_after_its_end_nothing_changes_it(end: Any) -> None:
    scene = Scene()
    scene.attach()
    scene.say(Delta(content="a"))
    assert scene.sink.step(end)
    before = (scene.sink.state, msgspec.json.encode(scene.sink.result()), scene.log.tokens)
    scene.told.clear()
    scene.say(Delta(content="late"), Finish(reason="stop"), End())
    late = scene.attach()
    scene.sink.entered(cast(Entry, cast(Any, None)))
    assert late.cancelled
    after = (scene.sink.state, msgspec.json.encode(scene.sink.result()), scene.log.tokens)
    assert after == before
    assert scene.told == []


def test_its_engine_can_be_stopped_at_any_time() -> None:
    scene = Scene()
    scene.sink.stop_engine()
    attempt = scene.attach()
    scene.sink.stop_engine()
    assert attempt.cancelled
