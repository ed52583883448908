"""One socket, on asyncio and on uvloop, against a server that plays exact bytes."""

import asyncio
import socket

import pytest

from gateway.afterwards import Afterwards

HI = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


# -- one exchange -----------------------------------------------------------------------


async def test_a_request_arrives_whole_and_its_answer_comes_back(server, connect, sink, request_of):
    seen = []

    async def play(peer):
        seen.append(await peer.request())
        await peer.send(CHUNKED, b"2\r\nhe\r\n", b"3\r\nllo\r\n", LAST)
        await peer.gone()

    url = await server.listen(play)
    connect(url + "/base/").start(request_of(b"{}", ("x-a", "b")), sink)
    assert await sink.ending() == "end"
    assert (sink.head.status, sink.data) == (200, b"hello")
    assert seen == [
        f"POST /base/v1/x HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\n"
        "accept-encoding: identity\r\nx-a: b\r\ncontent-length: 2\r\n\r\n{}".encode()
    ]


async def test_a_large_body_arrives_whole(server, connect, sink, request_of):
    body = bytes(range(256)) * 20_000
    seen = []

    async def play(peer):
        seen.append(await peer.request())
        await peer.send(HI)

    connect(await server.listen(play)).start(request_of(body), sink)
    assert await sink.ending() == "end"
    assert seen[0].endswith(b"\r\n\r\n" + body)


async def test_head_and_body_are_one_write_on_a_socket_without_delay(
    server, connect, sink, request_of, playing
):
    transport = connect(await server.listen(playing([HI])))
    transport.start(request_of(), sink)
    (connection,) = transport._connections
    writes = []
    made = connection.connection_made

    def connection_made(under):
        made(under)
        sock = under.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        connection._transport = Spy(under)

    class Spy:
        def __init__(self, under):
            self._under = under

        def write(self, data):
            writes.append(data)
            self._under.write(data)

        def __getattr__(self, name):
            return getattr(self._under, name)

    connection.connection_made = connection_made
    await sink.ending()
    assert len(writes) == 1
    assert writes[0].endswith(b'\r\n\r\n{"a":1}')


async def test_a_body_may_end_with_the_connection(server, connect, sink, request_of, playing):
    url = await server.listen(playing([b"HTTP/1.0 200 OK\r\n\r\n", b"hel", b"lo"], then="close"))
    connect(url).start(request_of(), sink)
    assert await sink.ending() == "end"
    assert sink.data == b"hello"


@pytest.mark.req("RUN-6")
@pytest.mark.parametrize("then", ["close", "reset"])
@pytest.mark.parametrize(
    "pieces",
    [
        [b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", b"hel"],
        [CHUNKED, b"5\r\nhel"],
        [CHUNKED, b"3\r\nhel\r\n"],
    ],
    ids=["length", "in a chunk", "between chunks"],
)
async def test_a_body_cut_short_is_a_broken_stream(server, connect, sink, request_of, pieces, then):
    async def play(peer):
        await peer.request()
        await peer.send(*pieces)
        await sink.until(lambda s: s.data == b"hel")
        await (peer.close() if then == "close" else peer.reset())

    transport = connect(await server.listen(play))
    transport.start(request_of(), sink)
    assert await sink.ending() == "StreamBroken"
    assert sink.error.fault == "stream_broken"
    assert transport.connections == 0


@pytest.mark.req("RUN-6")
async def test_a_reset_never_ends_a_body_well(server, connect, sink, request_of):
    async def play(peer):
        await peer.request()
        await peer.send(b"HTTP/1.0 200 OK\r\n\r\nhel")
        await sink.until(lambda s: s.data == b"hel")
        await peer.reset()

    connect(await server.listen(play)).start(request_of(), sink)
    assert await sink.ending() == "StreamBroken"


@pytest.mark.req("RUN-6")
@pytest.mark.parametrize("then", ["close", "reset"])
@pytest.mark.parametrize(
    "pieces", [[], [b"HTTP/1.1 200 OK\r\nconte"]], ids=["silent", "half a head"]
)
async def test_a_fresh_connection_without_an_answer_is_a_fault(
    server, connect, sink, request_of, pieces, then, playing
):
    transport = connect(await server.listen(playing(pieces, then=then)))
    transport.start(request_of(), sink)
    assert await sink.ending() == "UpstreamFault"
    assert sink.error.fault == "unavailable"
    assert server.accepted == 1


@pytest.mark.req("RUN-6")
async def test_garbage_is_a_fault_that_shows_nothing_of_it(
    server, connect, sink, request_of, playing
):
    transport = connect(await server.listen(playing([b"secret-banner 10.1.2.3\r\n"])))
    transport.start(request_of(), sink)
    assert await sink.ending() == "UpstreamFault"
    assert sink.error.fault == "upstream_bug"
    assert sink.error.message.startswith("pool local, endpoint 1 sent a response that is refused")
    assert "secret" not in sink.error.message
    assert transport.connections == 0
    await server.finished()


async def test_a_peer_that_speaks_first_is_refused(server, connect, sink, request_of):
    async def play(peer):
        await peer.send(b"220 mail.example ESMTP\r\n")
        await peer.gone()

    connect(await server.listen(play)).start(request_of(), sink)
    assert await sink.ending() == "UpstreamFault"
    assert sink.error.fault == "upstream_bug"


async def test_a_sink_that_raises_still_gets_its_one_ending(
    server, connect, new_sink, request_of, playing
):
    """A bug of ours: the loop logs it, the exchange ends, nothing leaks."""

    class Broken(new_sink):
        def on_data(self, data):
            raise ZeroDivisionError

    reported = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    broken = Broken()
    transport = connect(await server.listen(playing([HI])))
    transport.start(request_of(), broken)
    assert await broken.ending() == "StreamBroken"
    assert isinstance(reported[0]["exception"], ZeroDivisionError)
    assert transport.connections == 0


# -- used again, or not -----------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi",
        b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nhi",
        HI + b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
        HI + b"evil",
    ],
    ids=["connection: close", "HTTP/1.0", "a second answer", "bytes after the end"],
)
@pytest.mark.req("SEC-5")
async def test_this_connection_is_closed_and_never_used_again(
    server, connect, new_sink, request_of, answer, playing
):
    transport = connect(await server.listen(playing([answer]), playing([HI])))
    for _ in range(2):
        sink = new_sink()
        transport.start(request_of(), sink)
        assert await sink.ending() == "end"
        assert sink.data == b"hi"
    assert server.accepted == 2


@pytest.fixture
def busy():
    """Requests are written with others', at the end of the event loop's round."""
    afterwards = Afterwards()
    afterwards.under_way = 2
    return afterwards


async def used_once(transport, new_sink, request_of):
    """It has an idle connection."""
    sink = new_sink()
    transport.start(request_of(), sink)
    assert await sink.ending() == "end"
    assert transport.idle_connections == 1


async def test_a_request_that_waits_to_be_written_is_written_once(
    server, connect, new_sink, request_of, playing, busy
):
    transport = connect(await server.listen(playing([HI], [HI])), afterwards=busy)
    await used_once(transport, new_sink, request_of)
    sink = new_sink()
    transport.start(request_of(), sink)
    assert busy._writes
    assert await sink.ending() == "end"
    assert server.accepted == 1


async def test_a_request_that_is_cancelled_before_it_is_written_never_is(
    server, connect, new_sink, sink, request_of, busy
):
    seen = []

    async def play(peer):
        await peer.request()
        await peer.send(HI)
        seen.append(await peer.gone())

    transport = connect(await server.listen(play), afterwards=busy)
    await used_once(transport, new_sink, request_of)
    transport.start(request_of(), sink).cancel()
    busy.flush()
    await server.finished()
    assert seen == [b""]
    assert sink.endings == []


@pytest.mark.req("SEC-5")
@pytest.mark.parametrize("ends", ["speaks", "closes"])
async def test_a_peer_that_does_not_wait_for_the_request_is_not_believed(
    server, connect, new_sink, sink, request_of, playing, busy, ends
):
    """What it sends is no answer to what it has not been asked; and as nothing was asked, all can be."""
    peers = []

    async def play(peer):
        peers.append(peer)
        await peer.request()
        await peer.send(HI)
        assert await peer.gone() == b""

    transport = connect(await server.listen(play, playing([HI])), afterwards=busy)
    await used_once(transport, new_sink, request_of)
    transport.start(request_of(), sink)
    held, busy._writes[:] = busy._writes[:], []  # the event loop goes round and they wait still
    if ends == "speaks":
        peers[0].send_unnoticed(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
    else:
        await peers[0].close()
    await sink.until(lambda sink: server.accepted == 2 or sink.endings)
    for write in held:
        write()
    assert await sink.ending() == "end"
    assert sink.data == b"hi"
    assert server.accepted == 2


async def test_an_answer_before_the_request_was_read_spends_the_connection(
    server, connect, new_sink, request_of, playing
):
    async def play(peer):
        await peer.head()
        await peer.send(HI)
        await first.ending()
        await peer.gone()

    transport = connect(await server.listen(play, playing([HI])))
    first, second = new_sink(), new_sink()
    transport.start(request_of(b"x" * 30_000_000), first)
    assert await first.ending() == "end"
    assert transport.connections == 0
    transport.start(request_of(), second)
    assert await second.ending() == "end"


# -- the keep-alive lie -----------------------------------------------------------------


@pytest.mark.req("RUN-5")
@pytest.mark.parametrize("leave", ["close", "reset"])
async def test_what_a_reused_connection_swallowed_is_sent_again_once(
    server, connect, new_sink, request_of, leave
):
    seen = []

    async def swallow(peer):
        await peer.request()
        await peer.send(HI)
        seen.append(await peer.request())
        await (peer.close() if leave == "close" else peer.reset())

    async def serve(peer):
        seen.append(await peer.request())
        await peer.send(HI)
        await peer.gone()

    transport = connect(await server.listen(swallow, serve), max_connections=1)
    for _ in range(2):
        sink = new_sink()
        transport.start(request_of(), sink)
        assert await sink.ending() == "end"
    assert len(seen) == 2
    assert seen[0] == seen[1]
    assert transport.connections == 1


@pytest.mark.req("RUN-5")
async def test_it_is_not_sent_a_third_time(server, connect, new_sink, request_of, playing):
    swallow = playing([], then="close")
    transport = connect(await server.listen(playing([HI], [], then="close"), swallow))
    first, second = new_sink(), new_sink()
    transport.start(request_of(), first)
    await first.ending()
    transport.start(request_of(), second)
    assert await second.ending() == "UpstreamFault"
    assert second.error.fault == "unavailable"
    assert server.accepted == 2


@pytest.mark.req("RUN-5")
@pytest.mark.parametrize("part", [b"H", b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_after_one_byte_of_an_answer_it_is_never_sent_again(
    server, connect, new_sink, request_of, part, playing
):
    transport = connect(await server.listen(playing([HI], [part], then="close")))
    first, second = new_sink(), new_sink()
    transport.start(request_of(), first)
    await first.ending()
    transport.start(request_of(), second)
    assert await second.ending() == "UpstreamFault"
    assert server.accepted == 1


# -- cancel -----------------------------------------------------------------------------


@pytest.mark.req("RUN-5")
@pytest.mark.parametrize("moment", ["dialling", "before the head", "in the body", "on data"])
async def test_cancel_closes_the_socket_and_silences_the_sink(
    server, connect, sink, request_of, settled, moment
):
    asked = asyncio.Event()
    gone = asyncio.Event()

    async def play(peer):
        await peer.request()
        asked.set()
        if moment == "in the body":
            await peer.send(CHUNKED, b"1\r\na\r\n")
        if moment == "on data":  # the read that brings it brings the end as well
            await peer.send(CHUNKED + b"1\r\na\r\n1\r\nb\r\n" + LAST)
        await peer.gone()
        gone.set()

    transport = connect(await server.listen(play), max_connections=1)
    exchange = transport.start(request_of(), sink)
    sink.on_first_data = exchange.cancel if moment == "on data" else lambda: None
    if moment != "dialling":
        async with asyncio.timeout(10):
            await asked.wait()
    if moment in ("in the body", "on data"):
        await sink.until(lambda s: s.pieces)
    heard = len(sink.pieces)
    exchange.cancel()
    exchange.cancel()
    exchange.pause()
    exchange.resume()
    assert transport.connections == 0
    if moment != "dialling":
        async with asyncio.timeout(10):
            await gone.wait()
    await settled()
    assert (len(sink.pieces), sink.endings) == (heard, [])
    if moment == "on data":
        assert sink.pieces == [b"ab"]


# -- pause and resume -------------------------------------------------------------------


@pytest.mark.req("SEC-5")
@pytest.mark.parametrize("when", ["before the connection", "in the body"])
async def test_a_paused_exchange_reads_no_more_and_loses_nothing(
    server, connect, sink, request_of, settled, when
):
    size = 16 * 1024 * 1024
    sent = 0

    async def play(peer):
        nonlocal sent
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        while sent < size:
            await peer.send(b"x" * 65536)
            sent += 65536
        await peer.gone()

    transport = connect(await server.listen(play))
    exchange = transport.start(request_of(), sink)
    if when == "in the body":
        sink.on_first_data = exchange.pause
        await sink.until(lambda s: s.pieces)
    else:
        exchange.pause()
        exchange.pause()
    async with asyncio.timeout(10):
        before = -1
        while before != sent:  # the server is stuck once the kernel's buffers are full
            before = sent
            await asyncio.sleep(0.05)
    assert sent < size
    assert len(sink.data) <= 256 * 1024
    exchange.resume()
    exchange.resume()
    assert await sink.ending() == "end"
    assert len(sink.data) == size


async def test_a_pause_does_not_outlive_its_exchange(
    server, connect, new_sink, request_of, playing
):
    """Paused inside the read that ends it: the end comes, and the connection reads again."""
    transport = connect(await server.listen(playing([HI], [HI])))
    first, second = new_sink(), new_sink()
    exchange = transport.start(request_of(), first)
    first.on_first_data = exchange.pause
    assert await first.ending() == "end"
    transport.start(request_of(), second)
    assert await second.ending() == "end"
    assert server.accepted == 1


async def test_an_end_that_comes_during_a_pause_is_heard_after_it(
    server, connect, sink, request_of, settled
):
    async def play(peer):
        await peer.request()
        await peer.send(b"HTTP/1.0 200 OK\r\n\r\nhel")
        await sink.until(lambda s: s.pieces)
        await peer.send(b"lo")
        await peer.close()

    transport = connect(await server.listen(play))
    exchange = transport.start(request_of(), sink)
    sink.on_first_data = exchange.pause
    await sink.until(lambda s: s.pieces)
    await server.finished()
    await settled()
    assert (sink.data, sink.endings) == (b"hel", [])
    exchange.resume()
    assert await sink.ending() == "end"
    assert sink.data == b"hello"
