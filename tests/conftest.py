"""Real servers for whoever asks: each is started once, on a free port, and ended by its pid.

    llama          llama.cpp with 4 slots            embedded   a gateway without any backend configured
    llama_alone    llama.cpp with 1 slot             guarded    the same, with tokens
    through_llama, through_llama_alone, through_llmd            a gateway in front of each
    llmd           `setpoint llmd` in a process of its own

A test that breaks a server makes its own, with `make_llama`, `make_gateway`, `make_llmd`.
"""

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import settings

from tests.support.llama_server import MODEL, LlamaServer
from tests.support.processes import Server
from tests.support.setpoint_server import (
    OPERATOR_TOKEN,
    WEB_TOKEN,
    Gateway,
    Llmd,
    Served,
    in_front_of,
)

# looptime asks for "the" event loop before every test, and asyncio makes one, never closed, if none
# was ever set: that is the first synchronous test of a run. Having set none counts as having set.
asyncio.set_event_loop(None)

# No example fails for being slow on a busy machine. `deep` looks twenty times as long for what
# `fast` did not find: make test ARGS="--hypothesis-profile=deep". In CI the examples are always
# the same, so that a run says something about the change and not about its luck.
settings.register_profile("fast", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.register_profile("deep", deadline=None, max_examples=2000)
settings.load_profile("fast")

S = TypeVar("S", bound=Server)


def _running(server: S) -> Iterator[S]:
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the servers of the session keep what they wrote."""
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def llama(servers: Path) -> Iterator[LlamaServer]:
    yield from _running(LlamaServer(servers, slots=4, name="llama"))


@pytest.fixture(scope="session")
def llama_alone(servers: Path) -> Iterator[LlamaServer]:
    yield from _running(LlamaServer(servers, slots=1, name="llama-alone"))


@pytest.fixture(scope="session")
def llmd(servers: Path) -> Iterator[Llmd]:
    yield from _running(Llmd(servers))


@pytest.fixture(scope="session")
def through_llama(servers: Path, llama: LlamaServer) -> Iterator[Gateway]:
    config = in_front_of("llamacpp", llama)
    yield from _running(Gateway(servers, config, name="gateway-llama"))


@pytest.fixture(scope="session")
def through_llama_alone(servers: Path, llama_alone: LlamaServer) -> Iterator[Gateway]:
    config = in_front_of("llamacpp", llama_alone)
    yield from _running(Gateway(servers, config, name="gateway-llama-alone"))


@pytest.fixture(scope="session")
def through_llmd(servers: Path, llmd: Llmd) -> Iterator[Gateway]:
    yield from _running(Gateway(servers, in_front_of("llmd", llmd), name="gateway-llmd"))


@pytest.fixture(scope="session")
def embedded(servers: Path) -> Iterator[Gateway]:
    yield from _running(Gateway(servers, "", name="gateway-embedded"))


@pytest.fixture(scope="session")
def guarded(servers: Path) -> Iterator[Gateway]:
    config = f"auth:\n  token: {OPERATOR_TOKEN}\n  keys: [{{name: web, token: {WEB_TOKEN}}}]"
    yield from _running(Gateway(servers, config, name="gateway-guarded"))


@pytest.fixture(params=["embedded", "llamacpp"])
def served(request: pytest.FixtureRequest) -> Served:
    """The same promises with the simulated llm-d and with a real llama.cpp server behind them."""
    if request.param == "embedded":
        return Served(request.getfixturevalue("embedded"), "assistant", "embedded")
    return Served(request.getfixturevalue("through_llama"), MODEL, "llamacpp")


class _Makers:
    """Servers of one test, stopped after it in the opposite order."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: list[Server] = []

    def started(self, make: Callable[[Path, str], S], kind: str) -> S:
        server = make(self._folder, f"{kind}-{len(self._made)}")
        self._made.append(server)
        server.start()
        return server

    def stop(self) -> None:
        for server in reversed(self._made):
            server.stop()


@pytest.fixture
def makers(tmp_path: Path) -> Iterator[_Makers]:
    makers = _Makers(tmp_path)
    yield makers
    makers.stop()


@pytest.fixture
def make_gateway(makers: _Makers) -> Callable[..., Gateway]:
    """`make_gateway(config)` starts one for this test only; `self_test=True`: one that tests its pools."""
    return lambda config, *, self_test=False: makers.started(
        lambda f, name: Gateway(f, config, name=name, self_test=self_test), "gateway"
    )


@pytest.fixture
def make_llmd(makers: _Makers) -> Callable[..., Llmd]:
    """`make_llmd("--replicas", "2")` starts one for this test only."""
    return lambda *arguments: makers.started(lambda f, name: Llmd(f, *arguments, name=name), "llmd")


@pytest.fixture
def make_llama(makers: _Makers) -> Callable[..., LlamaServer]:
    """`make_llama(slots, "--flag", ...)` starts one for this test only."""
    return lambda slots, *extra: makers.started(
        lambda f, name: LlamaServer(f, *extra, slots=slots, name=name), "llama"
    )
