"""Connecting: every way it fails is ConnectFailed, says why, and shows no address."""

import asyncio
import socket
import ssl

import pytest

HI = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"

# Of the name "localhost" alone, made for these tests, good for a hundred years.
KEY = """-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgFrvEav7ZeGiRUsKg
+OTQ8XIV7Ae9Rapl29LbjLrXLZ6hRANCAAQD5dNScg+zS1ceuqP33KR8tsLHQptz
QmeQ3Zmf+JNXzsEtKDwfLoaQU2zUZ3DItUamcZXFVR0Frd+dzOAPT4AH
-----END PRIVATE KEY-----
"""
CERTIFICATE = """-----BEGIN CERTIFICATE-----
MIIBlTCCATugAwIBAgIUZOsKV9Uib016HmAY0S5ExomkbKUwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMTA5NDY0M1oYDzIxMjYxMDI4
MDk0NjQzWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAQD5dNScg+zS1ceuqP33KR8tsLHQptzQmeQ3Zmf+JNXzsEtKDwfLoaQ
U2zUZ3DItUamcZXFVR0Frd+dzOAPT4AHo2kwZzAdBgNVHQ4EFgQUJdKt8o/qzTWi
vD0yXdvUqM4KAzcwHwYDVR0jBBgwFoAUJdKt8o/qzTWivD0yXdvUqM4KAzcwDwYD
VR0TAQH/BAUwAwEB/zAUBgNVHREEDTALgglsb2NhbGhvc3QwCgYIKoZIzj0EAwID
SAAwRQIgUdel+IQsUO/QMzxMButl5LK3dsCIvZZPDezBn89nKU4CIQC/tydbTDAS
BY16vkcnPRcCs9ypdUWn7OuKeLMeCm7VfA==
-----END CERTIFICATE-----
"""


@pytest.fixture
def server_tls(tmp_path):
    pem = tmp_path / "localhost.pem"
    pem.write_text(KEY + CERTIFICATE)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


@pytest.fixture
def client_tls():
    return ssl.create_default_context(cadata=CERTIFICATE)


async def answer(peer):
    await peer.request()
    await peer.send(HI)
    await peer.gone()


async def silent(peer):
    await peer.gone()


async def failure(transport, sink, request):
    transport.start(request, sink)
    assert await sink.ending() == "ConnectFailed"
    error = sink.error
    assert error.fault == "unavailable"
    assert error.retriable
    assert error.where == "pool local, endpoint 1"
    assert transport.connections == 0
    for secret in ("127.0.0.1", "localhost", "::1", str(transport._target.port)):
        assert secret not in error.message
    return error.message


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@pytest.mark.req("RUN-6", "SEC-3")
async def test_a_refused_connection(connect, sink, request_of):
    transport = connect(f"http://127.0.0.1:{free_port()}")
    why = await failure(transport, sink, request_of())
    assert why == "pool local, endpoint 1: it refused the connection"


@pytest.mark.req("RUN-6", "SEC-3")
@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 64 + ".invalid"])
async def test_a_name_that_does_not_resolve(connect, sink, request_of, host):
    transport = connect(f"http://{host}:8080")
    why = await failure(transport, sink, request_of())
    assert why == "pool local, endpoint 1: its name could not be resolved"


@pytest.mark.req("RUN-5")
async def test_a_peer_that_never_completes_the_connection(server, connect, sink, request_of):
    """A TLS handshake without an answer: the connect timeout covers it."""
    url = (await server.listen(silent)).replace("http:", "https:")
    transport = connect(url, connect_timeout_s=0.05)
    why = await failure(transport, sink, request_of())
    assert why == "pool local, endpoint 1: no connection within 0.05 s"
    await server.finished()


@pytest.mark.req("RUN-5")
async def test_a_cancelled_dial_closes_its_socket(server, connect, sink, request_of, settled):
    greeted = asyncio.Event()

    async def play(peer):
        await peer.first_byte()
        greeted.set()
        await peer.gone()

    url = (await server.listen(play)).replace("http:", "https:")
    transport = connect(url, connect_timeout_s=60)
    exchange = transport.start(request_of(), sink)
    async with asyncio.timeout(10):
        await greeted.wait()
    exchange.cancel()
    assert transport.connections == 0
    await server.finished()
    await settled()
    assert sink.endings == []


async def test_closing_ends_dials_too(server, connect, sink, request_of, settled):
    url = (await server.listen(silent)).replace("http:", "https:")
    transport = connect(url, connect_timeout_s=60)
    transport.start(request_of(), sink)
    await settled()
    async with asyncio.timeout(10):
        await transport.aclose()
    assert await sink.ending() == "UpstreamFault"
    assert sink.error.fault == "unavailable"


@pytest.mark.parametrize(
    ("listening", "named"),
    [("127.0.0.1", "127.0.0.1"), ("127.0.0.1", "localhost"), ("::1", "[::1]")],
)
async def test_either_family_is_reached(server, connect, sink, request_of, listening, named):
    """ "localhost" too, where it means both families and only one of them listens."""
    if listening == "::1" and not ipv6_works():
        pytest.skip("this machine has no IPv6 loopback")
    await server.listen(answer, host=listening)
    connect(f"http://{named}:{server.port}").start(request_of(), sink)
    assert await sink.ending() == "end"


def ipv6_works():
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


async def test_tls_carries_requests_and_is_used_again(
    server, connect, new_sink, request_of, server_tls, client_tls
):
    async def play(peer):
        for _ in range(2):
            await peer.request()
            await peer.send(HI)
        await peer.gone()

    await server.listen(play, ssl=server_tls)
    transport = connect(f"https://localhost:{server.port}", ssl=client_tls)
    for _ in range(2):
        sink = new_sink()
        transport.start(request_of(), sink)
        assert await sink.ending() == "end"
        assert sink.data == b"hi"
    assert server.accepted == 1


@pytest.mark.req("RUN-6", "SEC-3")
@pytest.mark.parametrize(
    ("host", "trusted", "why"),
    [
        ("localhost", False, "its certificate is self-signed"),
        ("127.0.0.1", True, "its certificate is for another address"),
    ],
)
async def test_a_certificate_that_does_not_hold(
    server, connect, sink, request_of, server_tls, client_tls, host, trusted, why
):
    # The server's half of a failed handshake is not what is looked at here.
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    await server.listen(answer, ssl=server_tls)
    url = f"https://{host}:{server.port}"
    transport = connect(url, ssl=client_tls) if trusted else connect(url)
    assert await failure(transport, sink, request_of()) == f"pool local, endpoint 1: {why}"


@pytest.mark.req("RUN-6")
async def test_a_peer_that_speaks_no_tls(server, connect, sink, request_of):
    async def play(peer):
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.gone()

    url = (await server.listen(play)).replace("http:", "https:")
    why = await failure(connect(url), sink, request_of())
    assert why.startswith("pool local, endpoint 1: the TLS handshake failed (")
