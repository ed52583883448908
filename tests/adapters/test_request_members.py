"""A request's members are all accounted for, but those that are decided here or ask for nothing."""

import msgspec
import pytest

from adapters.dialect import AttemptContext
from adapters.request_members import members_of, refuse_many
from adapters.unsupported import Cannot
from contracts.errors import UnsupportedParameter

pytestmark = pytest.mark.req("RUN-1", "RUN-2")


def test_what_a_policy_overrides_stands_in_place_of_the_clients_own(make_request) -> None:
    attempt = AttemptContext(
        upstream_model="m", overrides={"seed": msgspec.Raw(b"2"), "top_k": msgspec.Raw(b"3")}
    )
    members = members_of(make_request(seed=1), attempt)
    assert (members.read("seed", int), members.read("top_k", int)) == (2, 3)


def test_what_is_decided_here_and_what_asks_for_nothing_is_not_left(make_request) -> None:
    asked = make_request(
        stream=True, n=2, stream_options={}, logprobs=False, tools=[], frequency_penalty=0.0
    )
    members = members_of(asked, AttemptContext(upstream_model="m"))
    members.raw("messages")
    assert members.left() == []


def test_no_probabilities_beside_the_tokens_own_is_a_wish(make_request) -> None:
    members = members_of(make_request("completion", logprobs=0), AttemptContext(upstream_model="m"))
    assert members.left() == ["logprobs"]


def test_more_than_one_answer_is_refused_where_there_is_one(make_request) -> None:
    cannot = Cannot("an engine", "drop")
    refuse_many(make_request(n=1), cannot)
    with pytest.raises(UnsupportedParameter) as raised:
        refuse_many(make_request(n=2), cannot)
    assert raised.value.param == "n"
