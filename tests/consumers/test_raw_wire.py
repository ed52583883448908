"""What goes over the wire, byte for byte, that SDKs would forgive."""

import json
import socket
from contextlib import closing
from typing import Any

import pytest

from tests.support.setpoint_server import Served
from tests.support.wire import events, post, sse, text_of

HELLO: list[dict[str, str]] = [{"role": "user", "content": "Say hello."}]


def ask(served: Served, **more: object) -> dict[str, object]:
    return {
        "model": served.model,
        "messages": HELLO,
        "max_tokens": 12,
        "temperature": 0,
        "stream": True,
        **more,
    }


def chunks_of(body: bytes) -> list[dict[str, Any]]:
    said = events(body)
    assert said[-1] == b"[DONE]"
    assert said.count(b"[DONE]") == 1
    return [json.loads(event) for event in said[:-1]]


@pytest.mark.req("RUN-3")
def test_a_stream_has_one_identity_one_role_one_finish_and_one_end(served: Served) -> None:
    chunks = chunks_of(sse(f"{served.gateway.v1}/chat/completions", ask(served)))

    assert len({(c["id"], c["created"], c["model"], c["object"]) for c in chunks}) == 1
    assert chunks[0]["model"] == served.model
    assert chunks[0]["object"] == "chat.completion.chunk"
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert all("role" not in delta for delta in deltas[1:])
    finishes = [chunk["choices"][0]["finish_reason"] for chunk in chunks]
    assert finishes[-1] in ("stop", "length")
    assert finishes[:-1] == [None] * (len(chunks) - 1)
    assert "".join(map(text_of, chunks))


@pytest.mark.req("RUN-3")
@pytest.mark.parametrize("options", [None, {}, {"include_usage": False}])
def test_usage_is_never_sent_unasked(served: Served, options: object) -> None:
    more = {} if options is None else {"stream_options": options}
    chunks = chunks_of(sse(f"{served.gateway.v1}/chat/completions", ask(served, **more)))

    assert not any("usage" in chunk for chunk in chunks)
    assert all(chunk["choices"] for chunk in chunks)


@pytest.mark.req("RUN-3")
@pytest.mark.parametrize("operation", ["chat/completions", "completions"])
def test_usage_asked_for_comes_once_before_the_end_and_is_null_until_then(
    served: Served, operation: str
) -> None:
    body = ask(served, stream_options={"include_usage": True})
    if operation == "completions":
        body["prompt"] = "One, two,"
        del body["messages"]
    *chunks, last = chunks_of(sse(f"{served.gateway.v1}/{operation}", body))

    assert last["choices"] == []
    usage = last["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert 0 < usage["completion_tokens"] <= 12
    assert usage["prompt_tokens"] > 0
    assert all(chunk["usage"] is None for chunk in chunks)


@pytest.mark.req("RUN-3")
def test_a_text_completion_streams_text_and_no_roles(served: Served) -> None:
    body = {"model": served.model, "prompt": "One, two,", "max_tokens": 8, "stream": True}
    chunks = chunks_of(sse(f"{served.gateway.v1}/completions", body))

    assert {chunk["object"] for chunk in chunks} == {"text_completion"}
    choices = [chunk["choices"][0] for chunk in chunks]
    assert all("delta" not in choice and isinstance(choice["text"], str) for choice in choices)
    assert [c["finish_reason"] for c in choices if c["finish_reason"]] in (["stop"], ["length"])


@pytest.mark.req("RUN-1")
@pytest.mark.parametrize("seed", [1, 2])
def test_a_folded_stream_says_what_the_stream_says(served: Served, seed: int) -> None:
    body = ask(served, temperature=0.9, seed=seed, cache_prompt=False)
    url = f"{served.gateway.v1}/chat/completions"
    streamed = chunks_of(sse(url, body))
    folded = post(url, body | {"stream": False}).json()

    choice = folded["choices"][0]
    assert choice["message"]["content"] == "".join(map(text_of, streamed))
    assert choice["finish_reason"] == streamed[-1]["choices"][0]["finish_reason"]
    assert folded["usage"]["completion_tokens"] > 0


@pytest.mark.req("RUN-3")
def test_two_choices_each_have_a_role_and_a_finish(served: Served) -> None:
    chunks = chunks_of(sse(f"{served.gateway.v1}/chat/completions", ask(served, n=2)))

    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    for index in (0, 1):
        mine = [choice for choice in choices if choice["index"] == index]
        assert mine[0]["delta"] == {"role": "assistant", "content": ""}
        assert [bool(choice["finish_reason"]) for choice in mine].count(True) == 1
        assert mine[-1]["finish_reason"]


@pytest.mark.req("RUN-1")
def test_fields_that_nobody_knows_are_accepted(served: Served) -> None:
    body = ask(served, stream=False, x_from_the_future={"deep": [1, None]}, top_k=5)
    assert post(f"{served.gateway.v1}/chat/completions", body).status == 200


@pytest.mark.req("RUN-3")
def test_each_frame_is_one_write_of_whole_events(served: Served) -> None:
    """An HTTP chunk is what one write made: none of them ends inside an event."""
    host, _, port = served.gateway.url.removeprefix("http://").partition(":")
    body = json.dumps(ask(served)).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with closing(socket.create_connection((host, int(port)), timeout=60)) as client:
        client.sendall(head.encode() + body)
        raw = b"".join(iter(lambda: client.recv(65536), b""))
    answer_head, _, rest = raw.partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in answer_head.lower()
    writes = []
    while True:
        size, _, rest = rest.partition(b"\r\n")
        if int(size, 16) == 0:
            break
        writes.append(rest[: int(size, 16)])
        rest = rest[int(size, 16) + 2 :]
    assert all(write.startswith(b"data: ") and write.endswith(b"\n\n") for write in writes)
    assert len(writes) > 3, "a stream that arrives all at once is none"


@pytest.mark.req("RUN-6")
def test_broken_json_is_a_400_that_says_where(served: Served) -> None:
    answer = post(f"{served.gateway.v1}/chat/completions", b'{"model": "x",\n "messages": [}')

    error = answer.json()["error"]
    assert answer.status == 400
    assert {"message", "type", "param", "code"} <= error.keys()
    assert error["code"] == "invalid_json"
    assert "line 2, column 15" in error["message"]
    assert error["request_id"] == answer.headers["x-request-id"]


@pytest.mark.req("RUN-6")
def test_the_clients_request_id_comes_back_and_is_logged(served: Served) -> None:
    url, mine = f"{served.gateway.v1}/chat/completions", f"my-id-{served.engine}"
    answer = post(url, ask(served, stream=False), headers={"x-request-id": mine})

    assert answer.headers["x-request-id"] == mine
    line = served.gateway.logged("request", request_id=mine)
    assert line["engine"] == served.engine
    assert line["tokens_out"] == answer.json()["usage"]["completion_tokens"]
