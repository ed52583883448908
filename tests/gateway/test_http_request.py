"""What is known of a request when its head is complete."""

import asyncio
import re
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser

from gateway.http_request import HttpRequest

pytestmark = pytest.mark.req("RUN-1")


def read(
    head: str = "",
    *,
    target: str = "/v1/a",
    version: str = "1.1",
    body: str = "",
    held_up: bool = False,
) -> HttpRequest:
    loop = asyncio.get_running_loop()
    parser = HttpRequestParser(BaseProtocol(loop), loop, 2**16)
    asked = f"POST {target} HTTP/{version}\r\nHost: a\r\n{head}\r\n{body}"
    ((message, content),), *_ = parser.feed_data(asked.encode())
    on = cast(Any, SimpleNamespace(transport=None, held_up=held_up))
    return HttpRequest(message, content, on)


async def test_its_path_is_without_what_is_asked_there() -> None:
    assert read(target="/v1/messages?beta=true").path == "/v1/messages"


@pytest.mark.req("OPS-1")
async def test_it_has_its_clients_id_if_that_is_fit_for_a_line() -> None:
    assert read("X-Request-Id: mine\r\n").request_id == "mine"
    for unfit in ("", " ", "a b", "ä", "a" * 129):
        assert re.fullmatch("req_[0-9a-f]{24}", read(f"X-Request-Id: {unfit}\r\n").request_id)


@pytest.mark.parametrize(
    ("head", "version", "stays", "awaits"),
    [
        ("", "1.1", True, False),
        ("Connection: close\r\n", "1.1", False, False),
        ("", "1.0", False, False),
        ("Connection: keep-alive\r\n", "1.0", True, False),
        ("Expect: 100-continue\r\n", "1.1", True, True),
        ("Expect: 100-continue\r\n", "1.0", False, False),
    ],
)
async def test_what_its_head_says_of_the_connection(
    head: str, version: str, stays: bool, awaits: bool
) -> None:
    made = read(head, version=version)
    assert (made.keep_alive, made.awaits_word) == (stays, awaits)


CHUNKED = "Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize(
    ("head", "body", "whole"),
    [
        ("", "", b""),
        ("Content-Length: 0\r\n", "", b""),
        ("Content-Length: 5\r\n", "01234", b"01234"),
        ("Content-Length: 5\r\n", "0123", None),
        (CHUNKED, "2\r\n01\r\n3\r\n234\r\n0\r\n\r\n", b"01234"),
        (CHUNKED, "2\r\n01\r\n3\r\n234\r\n", None),
    ],
)
async def test_a_body_that_came_with_its_head_is_taken_once(
    head: str, body: str, whole: bytes | None
) -> None:
    made, same = read(head, body=body), read(head, body=body)
    assert made.take_whole() == whole
    if whole is not None:
        assert same.content.read_nowait() == whole
        assert made.content.is_eof()
        assert not made.take_whole()  # it is not kept for as long as the answer takes


async def test_a_body_that_was_held_up_or_is_broken_is_read_as_it_comes() -> None:
    held_up = read("Content-Length: 5\r\n", body="01234", held_up=True)
    assert held_up.take_whole() is None
    assert await held_up.content.read() == b"01234"
    broken = read("Content-Length: 5\r\n", body="01234")
    broken.content.set_exception(ValueError("it is"))
    assert broken.take_whole() is None
    with pytest.raises(ValueError, match="it is"):
        await broken.content.read()


async def test_a_connection_that_is_none_any_more_is_a_client_that_has_left() -> None:
    assert read().gone
