"""ENG-2: work goes to ready engines only, and a dead one is noticed, told and forgiven."""

from collections.abc import Callable

import openai
import pytest

from tests.support.llama_server import MODEL, LlamaServer
from tests.support.processes import eventually
from tests.support.setpoint_server import Gateway
from tests.support.wire import Streamed, get, post

pytestmark = [pytest.mark.real, pytest.mark.req("ENG-2", "RUN-6")]


def ask(**more: object) -> dict[str, object]:
    return {"model": MODEL, "messages": [{"role": "user", "content": "Hello."}], **more}


def test_a_killed_llama_ends_the_stream_in_an_error_and_serves_again_after_its_restart(
    make_llama: Callable[[int], LlamaServer], make_gateway: Callable[[str], Gateway]
) -> None:
    llama = make_llama(1)
    gateway = make_gateway(
        f"pools: [{{id: local, engine: llamacpp, endpoint: '{llama.url}', probe_interval: 200ms}}]"
    )
    url = f"{gateway.v1}/chat/completions"
    with openai.OpenAI(base_url=gateway.v1, api_key="unused", max_retries=0, timeout=60) as client:
        stream = client.chat.completions.create(
            **ask(stream=True, max_tokens=2000), extra_body={"ignore_eos": True}
        )
        with stream:
            chunks = iter(stream)
            for _ in range(3):
                next(chunks)
            llama.kill()
            with pytest.raises(openai.APIError) as caught:
                list(chunks)
    assert not isinstance(caught.value, openai.APIConnectionError), "cut off without a word"
    assert caught.value.code == "upstream_stream_broken"

    eventually(lambda: get(f"{gateway.url}/readyz").status == 503, "it is not ready")
    refused = post(url, ask())
    assert refused.status == 502
    assert refused.json()["error"]["code"] == "upstream_unreachable"
    assert "endpoint 1" in refused.json()["error"]["message"]
    assert int(refused.headers["retry-after"]) >= 1
    told = [
        str(caught.value.body),
        refused.body.decode(),
        get(f"{gateway.url}/readyz").body.decode(),
    ]
    assert not any(secret in text for text in told for secret in ("127.0.0.1", str(llama.port)))
    assert get(f"{gateway.url}/livez").status == 200
    assert gateway.metrics().total("setpoint_endpoint_ready") == 0
    assert gateway.logged("endpoint_not_ready", pool_id="local")

    llama.start()
    eventually(gateway.ready, "it is ready again")
    assert post(url, ask(max_tokens=4)).status == 200
    assert len(gateway.log("endpoint_ready", pool_id="local")) == 2


def test_a_llama_that_dies_unnoticed_is_a_failed_attempt_without_its_address(
    make_llama: Callable[[int], LlamaServer], make_gateway: Callable[[str], Gateway]
) -> None:
    """The request that comes before the next probe does."""
    llama = make_llama(1)
    gateway = make_gateway(
        f"pools: [{{id: local, engine: llamacpp, endpoint: '{llama.url}', probe_interval: 1h}}]"
    )
    llama.kill()
    answer = post(f"{gateway.v1}/chat/completions", ask())

    assert answer.status == 502
    assert "pool local, endpoint 1" in answer.json()["error"]["message"]
    assert "127.0.0.1" not in answer.body.decode()
    assert str(llama.port) not in answer.body.decode()
    line = gateway.logged("request", request_id=answer.headers["x-request-id"])
    assert set(line["attempts"]) == {"upstream_unreachable"}


def test_a_llama_that_was_killed_frees_the_place_in_the_gateway(
    make_llama: Callable[[int], LlamaServer], make_gateway: Callable[[str], Gateway]
) -> None:
    llama = make_llama(1)
    gateway = make_gateway(f"adapter: {{engine: llamacpp, endpoint: {llama.url}}}")
    client = Streamed(
        f"{gateway.v1}/chat/completions", ask(stream=True, max_tokens=2000, ignore_eos=True)
    )
    assert client.chunks(2)
    llama.kill()
    last = list(client.frames())[-1]
    client.close()

    assert b"upstream_stream_broken" in last
    eventually(
        lambda: gateway.metrics().total("setpoint_pool_inflight_requests") == 0,
        "nothing is in flight",
    )


@pytest.mark.req("RUN-5")
@pytest.mark.parametrize("stream", [True, False])
def test_a_llama_that_falls_silent_is_given_up_after_the_idle_timeout(
    make_llama: Callable[[int], LlamaServer],
    make_gateway: Callable[[str], Gateway],
    stream: bool,
) -> None:
    """As it does when it is told to end in the middle of a stream: no word, no close."""
    llama = make_llama(1)
    gateway = make_gateway(
        f"pools: [{{id: local, engine: llamacpp, endpoint: '{llama.url}', timeouts: {{idle: 1s}}}}]"
    )
    body = ask(stream=stream, max_tokens=2000, ignore_eos=True)
    client = Streamed(f"{gateway.v1}/chat/completions", body)
    if stream:
        assert client.chunks(2)
    else:
        eventually(llama.busy, "it works")
    llama.freeze()
    said = list(client.frames())[-1] if stream else client.response.read()
    status = client.response.status
    client.close()

    assert b"upstream_idle_timeout" in said
    assert status == (200 if stream else 504)
    line = gateway.logged("request", status=status)
    assert line["attempts"][-1] == "upstream_idle_timeout"
