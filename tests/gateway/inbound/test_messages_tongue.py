"""Anthropic's language at the door: what is read decides how it is answered."""

import json

import pytest

from contracts.errors import QueueFull
from contracts.events import Delta, End, Event, Finish
from gateway.answers import Identity
from gateway.inbound.messages_tongue import MessagesTongue

pytestmark = pytest.mark.req("RUN-1", "RUN-6")

BODY = b'{"model":"m","max_tokens":5,"stop_sequences":["END"],"messages":[{"role":"user","content":"Hi"}]}'


def test_the_answer_knows_the_question() -> None:
    asked = MessagesTongue().read(BODY, request_id="r", key="", headers={})
    identity = Identity(operation="chat", id="chatcmpl-1", created_s=0, model="m")
    fold = asked.voice.folding(identity, max_bytes=1000)
    events: list[Event] = [Delta(content="a"), Finish(reason="stop", stop_sequence="END"), End()]
    fold.add(events)
    told = json.loads(fold.body())
    assert (told["stop_reason"], told["stop_sequence"]) == ("stop_sequence", "END")
    start = asked.voice.writer(identity, cost=lambda usage: None, max_bytes=100).write(events[:1])
    prompt_tokens = asked.infer.facts.prompt_tokens
    assert b'"usage":{"input_tokens":%d,' % prompt_tokens in start


def test_errors_are_anthropics() -> None:
    told = json.loads(MessagesTongue().error(QueueFull("full"), "req_1"))
    assert (told["type"], told["error"]["type"]) == ("error", "rate_limit_error")
