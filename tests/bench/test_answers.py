"""Only the whole and right answer passes: whatever a proxy could lose, double or swap is seen."""

import pytest

from tests.bench.answers import FIRST, refusal, stream_fault, whole_fault
from tests.bench.upstream import _at_once, _whole

WHOLE = _whole(4).partition(b"\r\n\r\n")[2]


def events(tokens: int, include_usage: bool = True) -> list[bytes]:
    """The frames of a stream as the upstream sends them, without HTTP around."""
    body = _at_once(tokens, include_usage).partition(b"\r\n\r\n")[2]
    return [line for line in body.split(b"\n") if line.startswith(b"data:")]


def test_the_upstreams_own_answers_are_right() -> None:
    assert whole_fault(WHOLE, 4) is None
    assert stream_fault(b"\n\n".join(events(4)), 4) is None


def test_a_proxy_may_space_its_json_and_send_comments() -> None:
    spaced = [event.replace(b'":', b'": ') for event in events(4)]
    assert FIRST in spaced[1]
    assert stream_fault(b": ping\n\n" + b"\r\n\r\n".join(spaced), 4) is None


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (WHOLE.replace(b" t1", b""), "not the text of 4 tokens"),
        (WHOLE.replace(b'"length"', b'"stop"'), "finish_reason stop"),
        (WHOLE.replace(b'"completion_tokens":4', b'"completion_tokens":5'), "usage of 5 tokens"),
        (WHOLE.replace(b'"usage"', b'"used"'), "no usage"),
        (WHOLE[:-1], "not an answer"),
        (b'{"choices":[]}', "0 choices"),
    ],
)
def test_a_wrong_answer_is_named(body: bytes, fault: str) -> None:
    assert (whole_fault(body, 4) or "").startswith(fault)


def test_a_wrong_stream_is_named() -> None:
    role, *tokens, finish, usage, done = events(4)
    rest = [finish, usage, done]

    def fault(*frames: bytes) -> str | None:
        return stream_fault(b"\n\n".join(frames), 4)

    assert fault(role, *tokens[:-1], *rest) == "not the text of 4 tokens"
    assert fault(role, *tokens, tokens[-1], *rest) == "not the text of 4 tokens"
    assert fault(role, *reversed(tokens), *rest) == "not the text of 4 tokens"
    assert fault(role, *tokens, finish, usage) == "no [DONE]"
    assert fault(role, *tokens, finish, done) == "no usage"
    assert fault(role, *tokens, usage, done) == "finish_reason None"
    assert fault(role, *tokens, *rest, done) == "an event after [DONE]"
    assert fault(b'data: {"error": {"message": "broken"}}', *rest) == "an error in the stream"


def test_a_refusal_is_shown_with_its_words() -> None:
    assert refusal(429, b'{"error": {"message": "the queue is full"}}') == (
        "status 429 the queue is full"
    )
    assert refusal(502, b"<html>") == "status 502 <html>"
