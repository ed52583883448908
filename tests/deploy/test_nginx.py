"""`deploy/nginx/setpoint.conf` as a real nginx runs it, in front of a real gateway, and the variants of it
in docs/security.md: nobody chooses a name, and nothing is held back."""

import asyncio
import base64
import re
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.x509.oid import NameOID

from tests.fakes.edge import Answer, Edge, Line, chat_body, request, start_edge
from tests.fakes.scripted_engine import Call, ScriptedEngine
from tests.support.certificates import Authority
from tests.support.nginx_server import Nginx
from tests.support.wire import free_port

pytestmark = pytest.mark.req("SEC-2")

OPERATOR = "operator-token-1"
GATEWAY = f"""
auth: {{token: {OPERATOR}, trust_proxy_auth: true, trusted_proxies: [127.0.0.1]}}
pools: [{{id: main, engine: openai, endpoint: "%s", retries: 0}}]
models: [{{name: served, pool: main, upstream: real}}]
"""
RULES = """
intents:
  - {name: other, match: {default: true}}
rules:
  - {name: alice is short, when: request.key == "alice", then: {max_tokens: 3}}
"""
ALICE = "Basic " + base64.b64encode(b"alice:her password").decode()
MARKS = re.compile(
    r"^ *# -- who it is --\n(.*?)^ *# -- end of who it is --\n", re.DOTALL | re.MULTILINE
)
BLOCK = re.compile(r"^```nginx\n(.*?)^```", re.DOTALL | re.MULTILINE)


class Variant(msgspec.Struct):
    """What a section of docs/security.md puts in place of the password."""

    location: str
    server: str
    beside: str = ""

    def of(self, shipped: str) -> str:
        text, replaced = MARKS.subn(lambda _: self.location, shipped)
        assert replaced == 1
        head, brace, rest = text.partition("server {\n    listen")
        assert brace
        return f"{head}{self.beside}{brace}{rest}".replace(
            "    location / {", f"{self.server}\n    location / {{", 1
        )


def documented(root: Path, heading: str) -> list[str]:
    page = (root / "docs/security.md").read_text("utf-8")
    section = page.split(f"### {heading}\n", 1)[1].split("\n### ", 1)[0]
    return BLOCK.findall(section)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder = tmp_path_factory.mktemp("authority")
    authority = Authority(folder)
    authority.sign("tls", (NameOID.COMMON_NAME, "localhost"))
    authority.certificate.rename(folder / "clients-ca.crt")
    authority.certificate = folder / "clients-ca.crt"
    (folder / "htpasswd").write_text("alice:{PLAIN}her password\nbob:{PLAIN}his password\n")
    return authority


@pytest.fixture
async def engine() -> AsyncIterator[ScriptedEngine]:
    engine = ScriptedEngine()
    await engine.start()
    yield engine
    await engine.aclose()


@pytest.fixture
async def edge(tmp_path: Path, engine: ScriptedEngine) -> AsyncIterator[Edge]:
    edge = await start_edge(tmp_path, GATEWAY % engine.url, RULES)
    yield edge
    await edge.aclose()


class Proxied:
    """nginx, and connections to it."""

    def __init__(self, nginx: Nginx, authority: Authority) -> None:
        self._nginx = nginx
        self._authority = authority

    async def connect(self, client: tuple[Path, Path] | None = None) -> Line:
        context = ssl.create_default_context(cafile=self._authority.certificate)
        if client is not None:
            context.load_cert_chain(*client)
        opened = asyncio.open_connection("127.0.0.1", self._nginx.port, ssl=context)
        return Line(*await opened)

    async def ask(
        self,
        *headers: tuple[str, str],
        client: tuple[Path, Path] | None = None,
        path: str = "/v1/chat/completions",
    ) -> Answer:
        """A chat, or `GET path`. Headers are sent as they are spelled, as often as they stand here."""
        body = chat_body() if path == "/v1/chat/completions" else None
        plain = request("POST" if body else "GET", path, body)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers).encode()
        async with await self.connect(client) as line:
            line.send(plain.replace(b"host: setpoint\r\n", b"host: setpoint\r\n" + lines, 1))
            return await line.answer()


MakeProxied = Callable[..., Proxied]


@pytest.fixture
async def make_proxied(
    root: Path, tmp_path: Path, authority: Authority
) -> AsyncIterator[MakeProxied]:
    """`make_proxied(port)`: the file that ships, in front of what listens on `port`. Only ports and
    paths are others; `variant` is what the documentation says to change, `beside` a further server."""
    started: list[Nginx] = []

    def make(port: int, variant: Variant | None = None, beside: str = "") -> Proxied:
        text = (root / "deploy/nginx/setpoint.conf").read_text("utf-8")
        if variant is not None:
            text = variant.of(text)
        for written, here in (
            ("listen 443 ssl;", "listen LISTEN ssl;"),
            ("server 127.0.0.1:8080;", f"server 127.0.0.1:{port};"),
            ("/etc/nginx/setpoint/", f"{authority.certificate.parent}/"),
        ):
            assert written in text
            text = text.replace(written, here)
        nginx = Nginx(tmp_path, text + beside)
        started.append(nginx)
        nginx.start()
        return Proxied(nginx, authority)

    yield make
    for nginx in started:
        nginx.stop()


@pytest.fixture
async def proxied(make_proxied: MakeProxied, edge: Edge) -> Proxied:
    return make_proxied(edge.port)


def logged(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, Any]]:
    return [r.__dict__["fields"] for r in caplog.records if r.getMessage() == event]


# -- who it is ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "claims",
    [
        [],
        [("X-Forwarded-User", "mallory")],
        [("x-forwarded-user", "mallory"), ("X-FORWARDED-USER", "operator")],
        [("X_Forwarded_User", "mallory")],
        [("X-Forwarded-User", "")],
        [("x-api-key", "mallory")],
    ],
)
async def test_a_client_cannot_choose_its_own_name(
    proxied: Proxied, caplog: pytest.LogCaptureFixture, claims: list[tuple[str, str]]
) -> None:
    caplog.set_level("INFO")
    answer = await proxied.ask(*claims, ("Authorization", ALICE), *claims)
    assert answer.status == 200
    assert "alice is short" in answer.headers["x-setpoint-decision"]
    assert [line["key"] for line in logged(caplog, "request")] == ["alice"]


@pytest.mark.parametrize(
    "authorization", [None, "Basic YWxpY2U6d3Jvbmc=", "Basic b3BlcmF0b3I6", "Bearer alice"]
)
async def test_without_a_right_password_nothing_reaches_the_gateway(
    proxied: Proxied, engine: ScriptedEngine, edge: Edge, authorization: str | None
) -> None:
    headers = [("X-Forwarded-User", "alice")]
    if authorization is not None:
        headers.append(("Authorization", authorization))
    assert (await proxied.ask(*headers)).status == 401
    assert engine.asked == []
    assert await edge.counted("setpoint_open_connections") == 0


async def test_who_is_named_by_a_proxy_is_not_the_operator(proxied: Proxied) -> None:
    answer = await proxied.ask(("Authorization", ALICE), path="/v1/models")
    assert answer.status == 200
    async with await proxied.connect() as line:
        line.send(request("POST", "/admin/reload", b"", authorization=ALICE))
        refused = await line.answer()
    assert (refused.status, refused.error["code"]) == (403, "operator_only")


@pytest.mark.req("SEC-1")
async def test_past_the_proxy_the_header_says_nothing(
    edge: Edge, caplog: pytest.LogCaptureFixture
) -> None:
    """127.0.0.1 is the proxy's address here, and 127.0.0.2 anybody's."""
    for _ in range(2):
        stranger = asyncio.open_connection("127.0.0.1", edge.port, local_addr=("127.0.0.2", 0))
        async with Line(*await stranger) as line:
            line.send(request("GET", "/v1/models", x_forwarded_user="alice"))
            answer = await line.answer()
        assert (answer.status, answer.error["code"]) == (401, "missing_token")
    (told,) = logged(caplog, "proxy_header_ignored")
    assert (told["remote"], told["header"]) == ("127.0.0.2", "x-forwarded-user")
    assert "auth.trusted_proxies" in told["hint"]
    assert (await edge.ask("GET", "/v1/models", x_forwarded_user="alice")).status == 200


async def test_what_the_gateway_is_told_and_what_not(
    make_proxied: MakeProxied, engine: ScriptedEngine
) -> None:
    """With something in the gateway's place that keeps each header."""
    proxied = make_proxied(int(engine.address.rpartition(":")[2]))
    await proxied.ask(
        ("Authorization", ALICE),
        ("X-Forwarded-User", "mallory"),
        ("X-Forwarded-For", "10.0.0.1"),
        ("Last-Event-ID", "41"),
        ("X-Request-Id", "mine"),
    )
    (asked,) = engine.asked
    assert asked.headers["x-forwarded-user"] == "alice"
    assert asked.headers["x-forwarded-for"] == "127.0.0.1"
    assert asked.headers["last-event-id"] == "41"
    assert asked.headers["x-request-id"] == "mine"
    assert not {"authorization", "connection", "x_forwarded_user"} & set(asked.headers)


# -- nothing held back --------------------------------------------------------------------


@pytest.mark.parametrize("marked", [True, False])
async def test_each_event_arrives_before_the_next_is_sent(
    make_proxied: MakeProxied, edge: Edge, engine: ScriptedEngine, marked: bool
) -> None:
    """Not only because the gateway asks for it in each of its answers (`marked`)."""
    words = ("one", "two", "three")
    read = [asyncio.Event() for _ in words]

    async def waits_for_its_reader(call: Call) -> None:
        await call.head()
        for word, arrived in zip(words, read, strict=True):
            await call.piece(word)
            await arrived.wait()
        await call.finish()

    engine.plays(waits_for_its_reader)
    proxied = make_proxied(edge.port if marked else int(engine.address.rpartition(":")[2]))
    async with await proxied.connect() as line:
        body = chat_body(stream=True)
        line.send(request("POST", "/v1/chat/completions", body, authorization=ALICE))
        head = await line.head()
        assert head.headers["content-type"].startswith("text/event-stream")
        assert "content-encoding" not in head.headers
        for word, arrived in zip(words, read, strict=True):
            await line.until(word.encode())
            arrived.set()
        await line.until(b"data: [DONE]")


async def test_a_client_that_leaves_frees_the_engine(
    proxied: Proxied, engine: ScriptedEngine
) -> None:
    async def endless(call: Call) -> None:
        await call.head()
        while True:
            await call.piece("more")
            await asyncio.sleep(0.01)

    engine.plays(endless)
    async with await proxied.connect() as line:
        body = chat_body(stream=True)
        line.send(request("POST", "/v1/chat/completions", body, authorization=ALICE))
        await line.until(b'"content":"more"')
    async with asyncio.timeout(10):
        await engine.left.wait()


async def test_requests_share_a_connection_to_the_gateway(proxied: Proxied, edge: Edge) -> None:
    for _ in range(3):
        assert (await proxied.ask(("Authorization", ALICE))).status == 200
    assert await edge.counted("setpoint_open_connections") == 1


async def test_a_request_has_one_id_for_both_logs(proxied: Proxied) -> None:
    given = await proxied.ask(("Authorization", ALICE), ("X-Request-Id", "mine"))
    assert given.headers["x-request-id"] == "mine"
    made = await proxied.ask(("Authorization", ALICE))
    assert re.fullmatch(r"[0-9a-f]{32}", made.headers["x-request-id"])


async def test_a_reader_takes_up_where_it_was(proxied: Proxied) -> None:
    """That the gateway complains of this one shows that it arrives."""
    headers = [("Authorization", ALICE), ("Accept", "text/event-stream"), ("Last-Event-ID", "x")]
    answer = await proxied.ask(*headers, path="/v1/decisions")
    assert (answer.status, answer.error["param"]) == (400, "last-event-id")


async def test_a_prompt_may_be_as_large_as_the_gateway_allows(
    proxied: Proxied, root: Path, engine: ScriptedEngine
) -> None:
    text = (root / "deploy/nginx/setpoint.conf").read_text("utf-8")
    assert "client_max_body_size 32m;" in text
    body = chat_body(messages=[{"role": "user", "content": "x" * 3_000_000}])
    async with await proxied.connect() as line:
        line.send(request("POST", "/v1/chat/completions", body, authorization=ALICE))
        assert (await line.answer()).status == 200
    assert len(engine.asked[-1].body) > 3_000_000


# -- the variants of the documentation ----------------------------------------------------


@pytest.fixture
def by_certificate(root: Path) -> Variant:
    location, beside, server = documented(root, "nginx with client certificates")
    return Variant(location=location, server=server, beside=beside)


@pytest.mark.parametrize(
    ("subject", "name"),
    [
        ([(NameOID.COMMON_NAME, "alice")], "alice"),
        ([(NameOID.ORGANIZATION_NAME, "x,CN=mallory"), (NameOID.COMMON_NAME, "alice")], "alice"),
        ([(NameOID.COMMON_NAME, "alice"), (NameOID.ORGANIZATION_NAME, "x,CN=mallory")], "alice"),
        ([(NameOID.COMMON_NAME, "alice"), (NameOID.ORGANIZATION_NAME, "x\\,CN=mallory")], "alice"),
        ([(NameOID.COMMON_NAME, "alice,mallory")], None),
        ([(NameOID.COMMON_NAME, "alice\\,O=x")], None),
        ([(NameOID.ORGANIZATION_NAME, "alice")], None),
    ],
)
async def test_a_certificate_names_its_holder(
    make_proxied: MakeProxied,
    edge: Edge,
    authority: Authority,
    by_certificate: Variant,
    caplog: pytest.LogCaptureFixture,
    subject: list[tuple[Any, str]],
    name: str | None,
) -> None:
    caplog.set_level("INFO")
    proxied = make_proxied(edge.port, by_certificate)
    held = authority.sign("client", *subject)
    answer = await proxied.ask(("X-Forwarded-User", "mallory"), client=held)
    if name is None:
        assert (answer.status, answer.error["code"]) == (401, "missing_token")
    else:
        assert answer.status == 200
        assert [line["key"] for line in logged(caplog, "request")] == [name]


async def test_without_a_certificate_of_that_authority_nobody_comes_in(
    make_proxied: MakeProxied, edge: Edge, by_certificate: Variant, tmp_path: Path
) -> None:
    proxied = make_proxied(edge.port, by_certificate)
    foreign = Authority(tmp_path, "foreign").sign("foreign-client", (NameOID.COMMON_NAME, "alice"))
    for held in (None, foreign):
        answer = await proxied.ask(("X-Forwarded-User", "alice"), client=held)
        assert answer.status == 400
    assert await edge.counted("setpoint_open_connections") == 0


OAUTH2_PROXY = """
server {
    listen 127.0.0.1:PORT;
    location = /oauth2/auth {
        if ($http_cookie != "_oauth2_proxy=hers") { return 401; }
        add_header X-Auth-Request-Email alice@example.com always;
        return 202;
    }
}
"""
"""What oauth2-proxy answers to `auth_request`, with one session."""


async def test_single_sign_on_names_the_caller(
    root: Path, make_proxied: MakeProxied, edge: Edge, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    port = free_port()
    location, server = documented(root, "nginx with single sign-on (oauth2-proxy)")
    assert server.count("http://127.0.0.1:4180;") == 2
    server = server.replace("http://127.0.0.1:4180;", f"http://127.0.0.1:{port};")
    variant = Variant(location=location, server=server)
    proxied = make_proxied(edge.port, variant, OAUTH2_PROXY.replace("PORT", str(port)))
    claims = [("X-Forwarded-User", "mallory"), ("X-Auth-Request-Email", "mallory")]
    assert (await proxied.ask(*claims)).status == 401
    answer = await proxied.ask(*claims, ("Cookie", "_oauth2_proxy=hers"))
    assert answer.status == 200
    assert [line["key"] for line in logged(caplog, "request")] == ["alice@example.com"]


async def test_every_file_for_nginx_is_run_here(root: Path) -> None:
    assert [file.name for file in (root / "deploy/nginx").iterdir()] == ["setpoint.conf"]
