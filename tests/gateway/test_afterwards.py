"""What waits for the end of the event loop's round: in its order, once, and soon."""

import asyncio
import logging

import pytest

from gateway.afterwards import MOST, Afterwards
from gateway.turns import HELD_BYTES
from tests.cost.in_memory import Client, MemoryLoop, opening, request, run, until, whole_answer

pytestmark = pytest.mark.req("OPS-4")


# -- by itself --------------------------------------------------------------------------


async def test_what_the_only_request_writes_goes_out_at_once() -> None:
    afterwards, done = Afterwards(), list[str]()
    afterwards.under_way = 1
    afterwards.write(lambda: done.append("written"))
    assert done == ["written"]


async def test_writes_of_several_requests_go_out_together_and_books_are_kept_after_them() -> None:
    afterwards, done = Afterwards(), list[str]()
    afterwards.under_way = 2
    afterwards.book(lambda: done.append("first booked"))
    afterwards.write(lambda: done.append("one written"))
    afterwards.write(lambda: done.append("two written"))
    afterwards.book(lambda: done.append("second booked"))
    assert done == []
    await asyncio.sleep(0)
    assert done == ["one written", "two written", "first booked", "second booked"]
    await asyncio.sleep(0)
    assert len(done) == 4


async def test_books_wait_for_their_answer_also_where_it_is_the_only_one() -> None:
    afterwards, done = Afterwards(), list[str]()
    afterwards.under_way = 1
    afterwards.book(lambda: done.append("booked"))
    afterwards.write(lambda: done.append("written"))
    await asyncio.sleep(0)
    assert done == ["written", "booked"]


@pytest.mark.parametrize("kind", ["write", "book"])
async def test_only_so_many_wait(kind: str) -> None:
    afterwards, done = Afterwards(), list[int]()
    afterwards.under_way = 1000
    for number in range(MOST + 3):
        getattr(afterwards, kind)(lambda number=number: done.append(number))
        assert number - len(done) < MOST
    assert done == list(range(MOST))
    await asyncio.sleep(0)
    assert done == list(range(MOST + 3))


async def test_one_that_fails_takes_none_of_the_others_with_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    afterwards, done = Afterwards(), list[str]()

    def fails() -> None:
        raise ValueError("a bug")

    with caplog.at_level(logging.ERROR, "setpoint"):
        afterwards.book(fails)
        afterwards.book(lambda: done.append("booked"))
        await asyncio.sleep(0)
    assert done == ["booked"]
    assert [record.message for record in caplog.records] == ["bug"]


async def test_what_comes_of_an_action_is_done_as_well() -> None:
    afterwards, done = Afterwards(), list[str]()
    afterwards.book(lambda: afterwards.book(lambda: done.append("booked")))
    afterwards.flush()
    assert done == ["booked"]


# -- in a gateway -----------------------------------------------------------------------


class Two:
    """Two clients whose requests are under way, each with its backend."""

    def __init__(self, loop: MemoryLoop, clients: list[Client]) -> None:
        self.loop, self.clients = loop, clients

    @property
    def written(self) -> list[int]:
        """How many writes each client has seen."""
        return [len(client.transport.written) for client in self.clients]

    def answer(self, tokens: int = 2) -> None:
        for backend in self.loop.backends:
            backend.receive(whole_answer(tokens))

    async def wake(self) -> None:
        """Until the first handler has gone on, and not a step further."""
        afterwards = self.afterwards
        await until(lambda: any(self.written) or bool(afterwards._writes))

    @property
    def afterwards(self) -> Afterwards:
        assert self.loop.gateway is not None
        return self.loop.gateway.afterwards


async def two(loop: MemoryLoop) -> Two:
    clients = [Client(loop), Client(loop)]
    for client in clients:
        client.send(request(stream=False))
    await until(lambda: [len(b.written) for b in loop.backends] == [1, 1])
    return Two(loop, clients)


def test_answers_that_are_there_at_once_go_out_at_the_end_of_the_round_and_each_is_whole() -> None:
    async def scene(loop: MemoryLoop) -> None:
        pair = await two(loop)
        pair.answer()
        await pair.wake()
        assert pair.written == [0, 1]  # the last one waits for nobody
        await until(lambda: pair.written == [1, 1])
        for client in pair.clients:
            assert (await client.answer()).count(b" token token") == 1

    run(scene)


def test_an_answer_is_out_before_its_request_is_counted_and_then_soon() -> None:
    async def scene(loop: MemoryLoop) -> None:
        loop.on_request = lambda backend: loop.call_soon(backend.receive, whole_answer(2))
        client = Client(loop)
        assert loop.gateway is not None
        afterwards = loop.gateway.afterwards
        uncounted: list[int] = []
        client.transport._on_write = lambda data: uncounted.append(len(afterwards._books))
        client.send(request(stream=False))
        await until(lambda: bool(uncounted))
        assert uncounted == [1]
        await until(lambda: not afterwards._books)

    run(scene)


@pytest.mark.req("OPS-6")
def test_an_answer_that_waits_goes_out_before_its_connection_is_closed() -> None:
    async def scene(loop: MemoryLoop) -> None:
        pair = await two(loop)
        pair.answer()
        await pair.wake()
        pair.clients[0].protocol.force_close()  # type: ignore[attr-defined]
        assert pair.clients[0].transport.is_closing()
        assert b" token token" in pair.clients[0].transport.written[0]

    run(scene)


def test_an_answer_to_a_client_that_has_left_is_dropped_and_the_other_goes_out() -> None:
    async def scene(loop: MemoryLoop) -> None:
        pair = await two(loop)
        pair.answer()
        await pair.wake()
        pair.clients[0].transport.abort()
        await until(lambda: not pair.afterwards._writes)
        assert pair.written == [0, 1]

    run(scene)


def test_the_next_request_of_a_connection_is_answered_behind_the_one_that_waits() -> None:
    async def scene(loop: MemoryLoop) -> None:
        pair = await two(loop)
        pair.answer()
        await pair.wake()
        client = pair.clients[0]
        loop.on_request = lambda backend: loop.call_soon(backend.receive, opening())
        client.send(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
        got = await client.answer(b'"status":"ok"')
        assert got.index(b" token token") < got.index(b'"status":"ok"')

    run(scene)


def test_pipelined_answers_and_long_ones_do_not_wait() -> None:
    async def scene(loop: MemoryLoop) -> None:
        pair = await two(loop)
        pair.clients[0].send(request(stream=False))
        loop.backends[0].receive(whole_answer(2))  # another one waits behind it
        await until(lambda: bool(pair.clients[0].transport.written))
        loop.backends[1].receive(whole_answer(HELD_BYTES // 6 + 1))
        connection = pair.clients[1].protocol
        while not pair.clients[1].transport.written:
            assert not connection._unsent  # type: ignore[attr-defined]
            await asyncio.sleep(0)

    run(scene)
