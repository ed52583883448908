"""OpenAI's own words are passed through the door as they are."""

import json

import pytest

from contracts.errors import InvalidField, QueueFull
from contracts.events import Delta, End, Event, Finish, Usage, UsageReport
from gateway.answers import Identity
from gateway.openai_tongue import OpenAITongue

pytestmark = pytest.mark.req("RUN-1")

CHAT = b'{"model":"m","messages":[{"role":"user","content":"Hi"}],"stream":true,"stream_options":{"include_usage":true}}'
EVENTS: list[Event] = [
    Delta(content="a"),
    Finish(reason="stop"),
    UsageReport(usage=Usage(prompt_tokens=1, completion_tokens=1)),
    End(),
]


@pytest.mark.parametrize(("options", "shown"), [(b"true", True), (b"false", False)])
def test_usage_is_streamed_where_it_was_asked_for(options: bytes, shown: bool) -> None:
    body = CHAT.replace(b'"include_usage":true', b'"include_usage":' + options)
    asked = OpenAITongue("chat").read(body, request_id="r", key="", headers={})
    identity = Identity(operation="chat", id="chatcmpl-1", created_s=0, model="m")
    writer = asked.voice.writer(identity, cost=lambda usage: 0.5, max_bytes=1)
    assert (b'"cost":0.5' in writer.write(EVENTS)) is shown
    fold = asked.voice.folding(identity, max_bytes=1000)
    fold.add(EVENTS)
    assert json.loads(fold.body())["choices"][0]["message"]["content"] == "a"


def test_a_body_is_read_as_its_operation() -> None:
    with pytest.raises(InvalidField) as caught:
        OpenAITongue("embedding").read(CHAT, request_id="r", key="", headers={})
    assert caught.value.param == "input"


def test_errors_are_openais_object() -> None:
    told = json.loads(OpenAITongue("chat").error(QueueFull("full"), "req_1"))
    assert (told["error"]["code"], told["error"]["request_id"]) == ("queue_full", "req_1")
