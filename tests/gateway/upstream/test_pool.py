"""The connections of one endpoint: which is used again, how many there are, how they all end."""

import asyncio

import pytest

from contracts.errors import StreamBroken, UpstreamFault

HI = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


# -- start ------------------------------------------------------------------------------


async def test_nothing_is_called_from_within_start(server, connect, sink, request_of, playing):
    transport = connect(await server.listen(playing([HI], [HI])), max_connections=1)
    transport.start(request_of(), sink)
    refused = type(sink)()
    transport.start(request_of(), refused)
    assert (sink.endings, refused.endings) == ([], [])
    assert await refused.ending() == "UpstreamFault"
    await sink.ending()
    again = type(sink)()
    transport.start(request_of(), again)
    assert again.endings == []
    assert await again.ending() == "end"


async def test_a_request_that_http_cannot_carry_is_our_bug(connect, sink, request_of):
    with pytest.raises(ValueError, match="x-a"):
        connect("http://127.0.0.1:1").start(request_of(b"", ("x-a", "a\r\nb")), sink)


async def test_a_late_cancel_leaves_the_next_exchange_alone(
    server, connect, new_sink, request_of, playing
):
    transport = connect(await server.listen(playing([HI], [HI])))
    first, second = new_sink(), new_sink()
    done = transport.start(request_of(), first)
    await first.ending()
    transport.start(request_of(), second)
    done.cancel()
    done.pause()
    assert await second.ending() == "end"


async def test_a_refused_start_can_be_cancelled(
    server, connect, new_sink, request_of, settled, playing
):
    transport = connect(await server.listen(playing([HI])), max_connections=1)
    first, second = new_sink(), new_sink()
    transport.start(request_of(), first)
    transport.start(request_of(), second).cancel()
    await first.ending()
    assert second.endings == []


# -- keep-alive -------------------------------------------------------------------------


async def test_a_connection_is_used_again(server, connect, new_sink, request_of, playing):
    transport = connect(await server.listen(playing([HI], [CHUNKED + LAST], [HI])))
    for _ in range(3):
        sink = new_sink()
        transport.start(request_of(), sink)
        assert await sink.ending() == "end"
        assert (transport.connections, transport.idle_connections) == (1, 1)
    assert server.accepted == 1


async def test_the_end_of_one_exchange_may_start_the_next(
    server, connect, new_sink, request_of, playing
):
    transport = connect(await server.listen(playing([HI], [HI])), max_connections=1)
    second = new_sink()

    class Chaining(new_sink):
        def on_end(self):
            super().on_end()
            transport.start(request_of(), second)

    transport.start(request_of(), Chaining())
    assert await second.ending() == "end"
    assert server.accepted == 1


async def test_the_connection_used_last_is_used_first(server, connect, new_sink, request_of):
    served = []

    def numbered(number):
        async def play(peer):
            for _ in range(2):
                request = await peer.request()
                served.append((request[-1:], number))
                if request.endswith(b"b"):
                    await first.ending()
                await peer.send(HI)
            await peer.gone()

        return play

    transport = connect(await server.listen(numbered(0), numbered(1)))
    first, second, third = new_sink(), new_sink(), new_sink()
    transport.start(request_of(b"a"), first)
    transport.start(request_of(b"b"), second)
    await second.ending()
    assert transport.idle_connections == 2
    transport.start(request_of(b"c"), third)
    await third.ending()
    assert dict(served)[b"c"] == dict(served)[b"b"]


@pytest.mark.req("SEC-5")
@pytest.mark.parametrize("when", ["while idle", "not read yet"])
async def test_an_answer_that_nobody_asked_for_never_meets_a_request(
    server, connect, new_sink, request_of, settled, when, playing
):
    """Response smuggling: it waits on an idle connection for the next request."""

    async def smuggle(peer):
        await peer.request()
        await peer.send(HI)
        await first.ending()
        peer.send_unnoticed(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
        if when == "while idle":
            await settled()
            assert transport.connections == 0
        transport.start(request_of(), second)
        await peer.gone()

    transport = connect(await server.listen(smuggle, playing([HI])))
    first, second = new_sink(), new_sink()
    transport.start(request_of(), first)
    assert await second.ending() == "end"
    assert second.data == b"hi"
    assert server.accepted == 2


async def test_idle_connections_expire(server, connect, sink, request_of):
    closed = asyncio.Event()

    async def play(peer):
        await peer.request()
        await peer.send(HI)
        assert await peer.gone() == b""
        closed.set()

    transport = connect(await server.listen(play), idle_timeout_s=0.05)
    transport.start(request_of(), sink)
    await sink.ending()
    async with asyncio.timeout(10):
        await closed.wait()
    assert (transport.connections, transport.idle_connections) == (0, 0)


async def test_each_idle_connection_expires_in_its_turn(
    server, connect, new_sink, request_of, playing
):
    """The later one is not forgotten when the sweep finds the earlier one alone expired."""
    transport = connect(await server.listen(playing([HI]), playing([HI])), idle_timeout_s=0.05)
    first, second = new_sink(), new_sink()
    transport.start(request_of(), first)
    transport.start(request_of(), second)
    await first.ending()
    await second.ending()
    connections = list(transport._idle)
    assert len(connections) == 2
    transport._idle[connections[1]] += 0.02
    async with asyncio.timeout(10):
        for connection in connections:
            await connection.wait_closed()
    assert transport.connections == 0
    await server.finished()


async def test_an_idle_connection_that_the_peer_closes_is_forgotten(
    server, connect, sink, request_of
):
    idle = asyncio.Event()

    async def play(peer):
        await peer.request()
        await peer.send(HI)
        await idle.wait()
        await peer.close()

    transport = connect(await server.listen(play))
    transport.start(request_of(), sink)
    await sink.ending()
    (connection,) = transport._idle
    idle.set()
    async with asyncio.timeout(10):
        await connection.wait_closed()
    assert (transport.connections, transport.idle_connections) == (0, 0)


@pytest.mark.req("RUN-5")
async def test_a_peer_that_closed_already_is_not_even_asked(
    server, connect, new_sink, request_of, settled, playing
):
    """llama-server promises keep-alive after a stream and closes at once."""
    transport = connect(await server.listen(playing([HI], then="close"), playing([HI])))
    first, second = new_sink(), new_sink()
    transport.start(request_of(), first)
    await first.ending()
    await server.finished()
    transport.start(request_of(), second)
    assert await second.ending() == "end"
    assert server.accepted == 2


# -- limits and closing -----------------------------------------------------------------


@pytest.mark.req("SEC-5")
async def test_sockets_are_bounded_and_nothing_waits_for_one(server, connect, new_sink, request_of):
    go = asyncio.Event()

    async def play(peer):
        await peer.request()
        await go.wait()
        await peer.send(HI)
        await peer.gone()

    transport = connect(await server.listen(play, play), max_connections=2)
    sinks = [new_sink() for _ in range(5)]
    for sink in sinks:
        transport.start(request_of(), sink)
    for sink in sinks[2:]:
        assert await sink.ending() == "UpstreamFault"
        assert (sink.error.fault, sink.error.retriable) == ("overload", True)
    go.set()
    for sink in sinks[:2]:
        assert await sink.ending() == "end"
    assert server.accepted == 2


@pytest.mark.parametrize("answer", [[], [b"HTTP/1.1 200 OK\r\n\r\n"]], ids=["waiting", "begun"])
async def test_closing_ends_what_still_runs(server, connect, new_sink, request_of, answer, playing):
    transport = connect(await server.listen(playing([HI]), playing(answer)))
    idle, running, late = new_sink(), new_sink(), new_sink()
    transport.start(request_of(), idle)
    transport.start(request_of(), running)
    await idle.ending()
    if answer:
        await running.until(lambda s: s.head)
    (connection,) = transport._connections - set(transport._idle)
    await transport.aclose()
    assert transport.connections == 0
    assert isinstance(running.error, StreamBroken if answer else UpstreamFault)
    assert running.error.fault == ("stream_broken" if answer else "unavailable")
    with pytest.raises(StopIteration):  # there was nothing left to wait for
        connection.wait_closed().send(None)
    transport.start(request_of(), late)
    assert late.endings == []
    assert await late.ending() == "UpstreamFault"
    assert server.accepted <= 2
