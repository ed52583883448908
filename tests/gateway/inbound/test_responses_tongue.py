"""OpenAI's Responses at the door: what is read decides how it is answered."""

import json

import pytest

from contracts.errors import QueueFull
from contracts.events import Delta, End, Finish
from gateway.answers import Identity
from gateway.inbound.responses_tongue import ResponsesTongue

pytestmark = pytest.mark.req("RUN-1", "RUN-6")


def test_the_answer_knows_the_question() -> None:
    body = b'{"model":"m","input":"Hi","metadata":{"a":"b"}}'
    asked = ResponsesTongue().read(body, request_id="r", key="", headers={})
    identity = Identity(operation="chat", id="chatcmpl-1", created_s=0, model="m")
    fold = asked.voice.folding(identity, max_bytes=1000)
    fold.add([Delta(content="a"), Finish(reason="stop"), End()])
    told = json.loads(fold.body())
    assert (told["metadata"], told["status"]) == ({"a": "b"}, "completed")
    writer = asked.voice.writer(identity, cost=lambda usage: None, max_bytes=100)
    assert b'"metadata":{"a":"b"}' in writer.write([Delta(content="a")])


def test_errors_are_openais() -> None:
    told = json.loads(ResponsesTongue().error(QueueFull("full"), "req_1"))
    assert told["error"]["code"] == "queue_full"
