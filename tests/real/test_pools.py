"""ENG-2, ENG-3: a real llama.cpp server seen through the gateway: its health, its test, out and back."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.llama_server import MODEL, LlamaServer
from tests.support.processes import eventually
from tests.support.setpoint_server import Gateway, in_front_of
from tests.support.wire import Streamed, call, get, post

pytestmark = [pytest.mark.real, pytest.mark.req("ENG-2", "ENG-3")]


def ask(**more: object) -> dict[str, object]:
    return {"model": MODEL, "messages": [{"role": "user", "content": "Hello."}], **more}


def health(gateway: Gateway, what: str = "health") -> Any:
    method = "GET" if what == "health" else "POST"
    answer = call(method, f"{gateway.v1}/pools/default/{what}")
    assert answer.status == 200, answer
    return answer.json()


def test_health_tells_what_the_server_says_of_itself_and_that_it_passed(
    llama: LlamaServer, make_gateway: Callable[..., Gateway]
) -> None:
    gateway = make_gateway(in_front_of("llamacpp", llama), self_test=True)
    gateway.logged("self_test", outcome="passed", pool_id="default")
    props = llama.props()
    told = health(gateway)
    (endpoint,) = told["endpoints"]
    assert (told["state"], told["engine"], told["limit"]) == ("serving", "llamacpp", 4)
    assert endpoint["version"] == props["build_info"]
    assert endpoint["slots"] == props["total_slots"] == 4
    assert endpoint["context"] == props["default_generation_settings"]["n_ctx"]
    assert endpoint["model_digest"].startswith("told-sha256:")
    assert endpoint["models"] == [MODEL]
    assert endpoint["probe_ms"] > 0
    assert endpoint["self_test"]["ok"] is True
    assert endpoint["self_test"]["failed"] == []
    assert str(llama.port) not in str(told)
    eventually(lambda: not llama.busy(), "its slots are free after the test")


def test_a_self_test_is_no_traffic(
    make_llama: Callable[[int], LlamaServer], make_gateway: Callable[..., Gateway]
) -> None:
    llama = make_llama(1)
    gateway = make_gateway(in_front_of("llamacpp", llama), self_test=True)
    gateway.logged("self_test", outcome="passed")
    assert gateway.metrics().total("setpoint_requests_total") == 0
    assert gateway.metrics().total("setpoint_endpoint_self_test") == 1
    assert not gateway.log("request")


def test_a_stream_that_runs_ends_well_while_its_pool_is_drained_and_reloaded(
    make_llama: Callable[[int], LlamaServer], make_gateway: Callable[..., Gateway]
) -> None:
    llama = make_llama(2)
    gateway = make_gateway(in_front_of("llamacpp", llama), self_test=True)
    gateway.logged("self_test", outcome="passed")
    url = f"{gateway.v1}/chat/completions"
    stream = Streamed(url, ask(stream=True, max_tokens=400, ignore_eos=True))
    assert len(stream.chunks(3)) == 3

    left = health(gateway, "drain")
    assert (left["state"], left["inflight"]) == ("draining", 1)
    refused = post(url, ask())
    assert refused.status == 503
    assert refused.json()["error"]["code"] == "pool_draining"
    assert int(refused.headers["retry-after"]) >= 1
    assert get(f"{gateway.url}/readyz").status == 503

    waited: list[Any] = []
    waiting = threading.Thread(target=lambda: waited.append(health(gateway, "drain?wait=60s")))
    waiting.start()
    frames = list(stream.frames())
    assert frames[-1] == b"[DONE]"
    waiting.join(60)
    assert [answer["state"] for answer in waited] == ["drained"]
    assert health(gateway)["state"] == "drained"
    eventually(lambda: not llama.busy(), "nothing runs there")

    told = health(gateway, "reload")
    assert told["state"] == "serving"
    assert told["endpoints"][0]["self_test"]["outcome"] == "passed"
    assert post(url, ask(max_tokens=4)).status == 200
    gateway.logged("pool_reloaded", pool_id="default")
    assert len(gateway.log("pool_drained", pool_id="default")) == 1
