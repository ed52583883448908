"""A llama.cpp server that has gone to sleep is left alone until somebody asks it something."""

import time
from collections.abc import Callable

import pytest

from tests.support.llama_server import MODEL, LlamaServer
from tests.support.processes import eventually
from tests.support.setpoint_server import Gateway
from tests.support.wire import get, post

PROBE_S = 0.2


@pytest.mark.req("ENG-1", "ENG-2")
def test_probes_let_a_sleeping_server_sleep_and_a_request_wakes_it(
    make_llama: Callable[..., LlamaServer], make_gateway: Callable[[str], Gateway]
) -> None:
    llama = make_llama(1, "--sleep-idle-seconds", "1")
    gateway = make_gateway(
        f"pools: [{{id: nap, engine: llamacpp, endpoint: {llama.url}, probe_interval: {PROBE_S}s}}]"
    )
    eventually(lambda: llama.props()["is_sleeping"], "it falls asleep although it is probed")
    for _ in range(5):
        time.sleep(PROBE_S)  # a few probes more
        assert llama.props()["is_sleeping"], "a probe woke it"
    assert gateway.ready(), "a sleeping server can serve"
    why = get(f"{gateway.url}/readyz").json()["pools"]["nap"][0]["why"]
    assert "sleeping" in why
    answer = post(
        f"{gateway.v1}/chat/completions",
        {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2},
    )
    assert answer.status == 200
    assert answer.json()["usage"]["completion_tokens"] >= 1
