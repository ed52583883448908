"""What is known of a request when its head is complete."""

import asyncio
import re
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import EMPTY_PAYLOAD
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser

from gateway.http_request import HttpRequest

pytestmark = pytest.mark.req("RUN-1")


def read(
    head: str = "", *, target: str = "/v1/a", version: str = "1.1", **connection: Any
) -> HttpRequest:
    loop = asyncio.get_running_loop()
    parser = HttpRequestParser(BaseProtocol(loop), loop, 2**16)
    asked = f"POST {target} HTTP/{version}\r\nHost: a\r\n{head}\r\n"
    ((message, _),), *_ = parser.feed_data(asked.encode())
    on = cast(Any, SimpleNamespace(transport=None, **connection))
    return HttpRequest(message, EMPTY_PAYLOAD, on)


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


async def test_a_connection_that_is_none_any_more_is_a_client_that_has_left() -> None:
    assert read().gone
