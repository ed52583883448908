"""What a body of a submission means, and what is wrong with it."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis.strategies import binary

from contracts.config import TaskSettings
from contracts.errors import ClientFault, InvalidField, InvalidJson
from gateway.tasks.order import TaskOrder, idempotency_key, read_order

pytestmark = pytest.mark.req("ADM-1")
CHAT = {"messages": [{"role": "user", "content": "hi"}]}


def read(
    body: bytes | dict[str, Any], *, models: list[str] | None = None, operator: bool = False
) -> TaskOrder:
    return read_order(
        body if isinstance(body, bytes) else msgspec.json.encode(body),
        request_id="req_1",
        key="ada",
        operator=operator,
        headers={"x-a": "b"},
        models=models or ["only"],
        settings=TaskSettings(),
        accepted_unix_s=0.0,
    )


def test_a_chat_with_all_that_a_task_adds() -> None:
    body = {**CHAT, "priority": -5, "session_id": "s", "ttl": "10m", "seed": 3, "stream": True}
    order = read(body, operator=True)
    facts = order.infer.facts
    assert order.infer.operation == "chat"
    assert order.ttl_s == 600
    assert (facts.task, facts.asked_priority, facts.may_raise) == (True, -5, True)
    assert (facts.wait_s, facts.session, facts.stream, facts.key) == (600, "s", False, "ada")
    assert set(order.infer.members) == {"messages", "seed", "model"}
    assert order.body == msgspec.json.encode(body)


def test_what_is_left_out_has_its_default() -> None:
    order = read({"prompt": "a", "messages": None, "ttl": None, "model": None})
    assert order.infer.operation == "completion"
    assert order.infer.facts.model == "only"
    assert order.infer.facts.asked_priority is None
    assert order.ttl_s == 3600
    assert set(order.infer.members) == {"prompt", "model"}


@pytest.mark.parametrize("ttl", [90, 90.0, "90s", "1.5m"])
def test_a_time_in_seconds_or_words(ttl: object) -> None:
    assert read({**CHAT, "ttl": ttl}).ttl_s == 90


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        ({}, "messages", "required"),
        ({**CHAT, "prompt": "x"}, "prompt", "not both"),
        ({**CHAT, "n": 2}, "n", "one answer"),
        ({"prompt": ["a", "b"]}, "prompt", "single"),
        ({"prompt": [[1], [2]]}, "prompt", "single"),
        ({**CHAT, "ttl": -1}, "ttl", ">"),
        ({**CHAT, "ttl": "0s"}, "ttl", "more than zero"),
        ({**CHAT, "ttl": "2d"}, "ttl", "at most"),
        ({**CHAT, "ttl": "soon"}, "ttl", "duration"),
        ({**CHAT, "ttl": True}, "ttl", "expected"),
        ({**CHAT, "priority": 1.5}, "priority", "int"),
        ({**CHAT, "session_id": "x" * 200}, "session_id", "length"),
        ({**CHAT, "temperature": 9}, "temperature", "<="),
        ({"messages": [{"role": "nobody"}]}, "messages[0].role", "role"),
    ],
)
def test_what_is_wrong_is_named(body: dict[str, Any], param: str, says: str) -> None:
    with pytest.raises(InvalidField) as caught:
        read(body)
    assert caught.value.param == param
    assert says in caught.value.message


def test_a_model_must_be_named_where_there_is_a_choice() -> None:
    with pytest.raises(InvalidField, match=r"a, b") as caught:
        read(CHAT, models=["b", "a"])
    assert caught.value.param == "model"


def test_a_single_prompt_may_stand_in_a_list_and_may_be_tokens() -> None:
    for prompt in (["a"], [1, 2, 3], [[1, 2]]):
        read({"prompt": prompt})


def test_broken_json_is_told_where_it_breaks() -> None:
    with pytest.raises(InvalidJson, match="line 2"):
        read(b'{"prompt": "a",\n x}')


@given(binary(max_size=60))
def test_whatever_is_sent_is_an_order_or_the_clients_fault(body: bytes) -> None:
    try:
        read(body)
    except ClientFault as exc:
        assert exc.status == 400  # noqa: PT017 (either outcome is fine)


def test_a_key_that_cannot_be_kept_is_refused() -> None:
    assert idempotency_key({}) is None
    assert idempotency_key({"idempotency-key": "k"}) == "k"
    for key in ("", "a b", "ä", "x" * 256):
        with pytest.raises(InvalidField, match="Idempotency-Key"):
            idempotency_key({"idempotency-key": key})
