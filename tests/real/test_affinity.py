"""Sessions over two real llama.cpp servers: each stays with the one that has read its beginning."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.llama_server import MODEL, LlamaServer
from tests.support.setpoint_server import Gateway
from tests.support.wire import post

pytestmark = [pytest.mark.real, pytest.mark.req("ADM-7", "ENG-6")]

RULES = "You are the assistant of a harbour office. Name the berth, the tide and the officer. " * 4


@pytest.fixture
def pair(make_llama: Callable[..., LlamaServer], make_gateway: Callable[[str], Gateway]) -> Gateway:
    """A gateway with one pool of two servers."""
    urls = ", ".join(make_llama(2, "-t", "1").url for _ in range(2))
    return make_gateway(f"pools: [{{id: local, engine: llamacpp, endpoints: [{urls}]}}]")


class Conversation:
    """Turns of one session; keeps how many tokens of each prompt were cached, and where it was served."""

    def __init__(self, gateway: Gateway, name: str, *, by_key: bool = False) -> None:
        self._gateway, self._name, self._by_key = gateway, name, by_key
        rules = {"role": "system", "content": f"{name}: {RULES}"}
        self._messages: list[dict[str, str]] = [rules]
        self.prompted: list[int] = []
        self.cached: list[int] = []
        self.replicas: list[str] = []

    def turn(self, words: str) -> None:
        self._messages.append({"role": "user", "content": words})
        body: dict[str, object] = {"model": MODEL, "messages": self._messages, "max_tokens": 8}
        headers = {} if self._by_key else {"x-session-id": self._name}
        if self._by_key:
            body["prompt_cache_key"] = self._name
        answer = post(f"{self._gateway.v1}/chat/completions", body, headers=headers)
        assert answer.status == 200, answer
        told = json.loads(answer.body)
        self._messages.append(
            {"role": "assistant", "content": told["choices"][0]["message"]["content"]}
        )
        self.prompted.append(told["usage"]["prompt_tokens"])
        self.cached.append(told["usage"]["prompt_tokens_details"]["cached_tokens"])
        line = self._gateway.logged("request", request_id=answer.headers["x-request-id"])
        self.replicas.append(line["replica_id"])


@pytest.mark.parametrize("by_key", [False, True])
def test_sessions_keep_their_endpoint_and_find_their_beginning_cached(
    pair: Gateway, by_key: bool
) -> None:
    """All first turns at once, so that both servers are used; then one turn after the other, when without
    sessions every request would go to the first server."""
    talks = [Conversation(pair, f"s{number}", by_key=by_key) for number in range(4)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda talk: talk.turn("Which berth is free?"), talks))
    homes = [talk.replicas[0] for talk in talks]
    assert sorted(homes) == ["local/1", "local/1", "local/2", "local/2"]

    for _ in range(2):
        for talk in talks:
            talk.turn("And which is the next one?")

    assert [talk.replicas for talk in talks] == [[home] * 3 for home in homes]
    for talk in talks:
        assert talk.cached[0] == 0
        for before, cached in zip(talk.prompted, talk.cached[1:], strict=False):
            assert cached >= before - 1  # the whole of the turn before it, but for its last token
