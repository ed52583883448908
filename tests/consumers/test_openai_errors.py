"""Every refusal arrives in the application as the exception that OpenAI's own would be."""

from collections.abc import Callable
from pathlib import Path

import openai
import pytest

from tests.support.processes import eventually
from tests.support.setpoint_server import (
    OPERATOR_TOKEN,
    WEB_TOKEN,
    Gateway,
    Llmd,
    Served,
    in_front_of,
)
from tests.support.wire import Streamed

pytestmark = pytest.mark.req("OPS-4", "RUN-6")
Sdk = Callable[..., openai.OpenAI]
HELLO = [{"role": "user", "content": "Say hello."}]


def test_a_wrong_model_is_not_found_and_the_right_names_are_told(
    client: openai.OpenAI, served: Served
) -> None:
    wrong = served.model[:-1]
    for ask in (
        lambda: client.chat.completions.create(model=wrong, messages=HELLO),
        lambda: client.models.retrieve(wrong),
    ):
        with pytest.raises(openai.NotFoundError) as caught:
            ask()
        assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
        assert served.model in caught.value.message
        assert caught.value.request_id


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"stream": "yes"}, "stream"),
        ({"temperature": -1}, "temperature"),
    ],
)
def test_bad_input_names_the_field(
    client: openai.OpenAI, served: Served, wrong: dict[str, object], param: str
) -> None:
    ask = {"model": served.model, "messages": HELLO, "max_tokens": 4} | wrong
    with pytest.raises(openai.BadRequestError) as caught:
        client.post("/chat/completions", body=ask, cast_to=object)
    assert caught.value.type in ("invalid_request_error", "BadRequestError")
    assert param in f"{caught.value.param} {caught.value.message}"
    assert isinstance(caught.value.code, str)


@pytest.mark.req("RUN-6")
def test_a_prompt_beyond_the_context_is_a_bad_request(
    client: openai.OpenAI, served: Served
) -> None:
    long = [{"role": "user", "content": "word " * 40_000}]
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=served.model, messages=long)
    assert caught.value.code == "context_length_exceeded"


@pytest.mark.req("SEC-2")
def test_no_token_is_a_401_and_a_wrong_one_a_403(sdk: Sdk, guarded: Gateway) -> None:
    client = sdk(guarded, token="not-the-token")
    with pytest.raises(openai.AuthenticationError) as nobody:
        client.models.list(extra_headers={"Authorization": openai.Omit()})
    with pytest.raises(openai.PermissionDeniedError) as stranger:
        client.chat.completions.create(model="assistant", messages=HELLO)

    assert nobody.value.type == "authentication_error"
    assert "bearer" in nobody.value.response.headers["www-authenticate"].lower()
    assert stranger.value.type == "permission_error"
    assert "not-the-token" not in str(stranger.value.body) + guarded.stderr


@pytest.mark.req("SEC-2", "SEC-3")
@pytest.mark.parametrize("token", [OPERATOR_TOKEN, WEB_TOKEN])
def test_a_known_token_is_served_and_never_logged(sdk: Sdk, guarded: Gateway, token: str) -> None:
    client = sdk(guarded, token=token)
    answer = client.chat.completions.create(model="assistant", messages=HELLO, max_tokens=3)
    line = guarded.logged("request", request_id=answer._request_id)
    assert line["key"] == ("web" if token == WEB_TOKEN else "operator")
    assert token not in guarded.stderr + guarded.stdout


@pytest.mark.req("INT-3")
def test_a_refusal_by_policy_is_a_rate_limit_with_retry_after(
    sdk: Sdk, make_gateway: Callable[[str], Gateway], tmp_path: Path
) -> None:
    policies = tmp_path / "policies.yaml"
    policies.write_text(
        'rules:\n  - name: not now\n    when: request.headers["x-team"] == "nightly"\n'
        "    then: {reject: {retry_after: 7s, message: Come back later.}}\n"
    )
    gateway = make_gateway(f"policies: {policies}")
    completions = sdk(gateway).chat.completions
    with pytest.raises(openai.RateLimitError) as caught:
        completions.create(model="assistant", messages=HELLO, extra_headers={"x-team": "nightly"})
    assert completions.create(model="assistant", messages=HELLO, max_tokens=3)

    headers, body = caught.value.response.headers, caught.value.body
    assert int(headers["retry-after"]) == 7
    assert int(headers["retry-after-ms"]) == 7000
    assert isinstance(body, dict)
    assert body["policy_label"] == "not now"
    assert body["retriable"] is True
    assert body["retry_after_ms"] == 7000
    assert body["message"] == "Come back later."


def test_a_full_queue_is_a_rate_limit_with_retry_after(
    sdk: Sdk, make_gateway: Callable[[str], Gateway], make_llmd: Callable[..., Llmd]
) -> None:
    slow = make_llmd("--time-to-first-token", "60s", "--latency-calculator", "constant")
    gateway = make_gateway(
        f"pools: [{{id: p, engine: llmd, endpoint: '{slow.url}', max_inflight: 1, "
        "queue: {max_requests: 0}}]"
    )
    first = Streamed(
        f"{gateway.v1}/chat/completions", {"model": "sim-large", "messages": HELLO, "stream": True}
    )
    try:
        eventually(lambda: slow.running() == 1, "the only place is taken")
        with pytest.raises(openai.RateLimitError) as caught:
            sdk(gateway).chat.completions.create(model="sim-large", messages=HELLO)
    finally:
        first.close()

    assert caught.value.code == "queue_full"
    assert 1 <= int(caught.value.response.headers["retry-after"]) <= 120
    assert int(caught.value.response.headers["retry-after-ms"]) >= 1
    assert slow.running() + slow.waiting() <= 1, "the refused one never reached the engine"


@pytest.mark.req("RUN-6", "RUN-3")
def test_an_engine_that_dies_in_the_middle_is_an_error_in_the_stream(
    sdk: Sdk, make_gateway: Callable[[str], Gateway], make_llmd: Callable[..., Llmd]
) -> None:
    engine = make_llmd("--inter-token-latency", "50ms")
    gateway = make_gateway(in_front_of("llmd", engine))
    with sdk(gateway).chat.completions.create(
        model="sim-large",
        messages=HELLO,
        stream=True,
        max_tokens=1000,
        extra_body={"ignore_eos": True},
    ) as stream:
        chunks = iter(stream)
        for _ in range(3):
            next(chunks)
        engine.kill()
        with pytest.raises(openai.APIError) as caught:
            list(chunks)

    assert not isinstance(caught.value, openai.APIConnectionError), "a silent end, not an event"
    assert caught.value.code == "upstream_stream_broken"
    assert engine.url.removeprefix("http://") not in str(caught.value.body)
    line = gateway.logged("request", attempts=["upstream_stream_broken"])
    assert line["served_by"] == "sim-large"
