"""The tree of errors: three facts a leaf, and the object that clients see."""

import math
from collections.abc import Iterator
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import (
    REPEATABLE,
    RETRIABLE,
    RETRY_AFTER_MAX_S,
    BudgetExceeded,
    ClientFault,
    FaultClass,
    GatewayError,
    InvalidField,
    NobodyListens,
    QueueFull,
    Shed,
    StreamBroken,
    UpstreamFault,
    UpstreamTimeout,
)

pytestmark = pytest.mark.req("RUN-6")
FAMILIES = (ClientFault, Shed, UpstreamFault)


def leaves(root: type[GatewayError]) -> Iterator[type[GatewayError]]:
    for kind in root.__subclasses__():
        if kind.__module__ == GatewayError.__module__:
            yield kind
            yield from leaves(kind)


TREE = sorted(leaves(GatewayError), key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", TREE)
def test_a_leaf_keeps_to_its_family(kind: type[GatewayError]) -> None:
    (family,) = [family for family in FAMILIES if issubclass(kind, family)]
    if family is ClientFault:
        assert 400 <= kind.status < 500
        assert kind.status != 429
        assert (kind.retriable, kind.source) == (False, "gateway")
    elif family is Shed:
        assert kind.status in ((502,) if kind is NobodyListens else (429, 503))
        assert (kind.retriable, kind.source) == (True, "gateway")
    else:
        assert kind.status in (502, 504)
        assert kind.source == "engine"


@pytest.mark.parametrize("kind", TREE)
def test_the_type_goes_with_the_status(kind: type[GatewayError]) -> None:
    """Clients that look at `type` and clients that look at the status learn the same."""
    expected = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    if kind.status in expected:
        assert kind.kind == expected[kind.status]
    elif kind.status < 500:
        assert kind.kind == "invalid_request_error"
    else:
        assert kind.kind == ("overloaded_error" if kind.status == 503 else "server_error")


@pytest.mark.parametrize("kind", TREE)
def test_a_code_is_a_word_that_programs_can_compare(kind: type[GatewayError]) -> None:
    assert kind.code.isascii()
    assert kind.code.replace("_", "").isalpha()
    assert kind.code.islower()
    # A code means one status, whoever uses it.
    assert len({other.status for other in TREE if other.code == kind.code}) == 1


@pytest.mark.req("ADM-2")
def test_who_declined_says_so_in_the_object() -> None:
    error = QueueFull("full", retry_after_s=1.5).envelope("req_1").error
    assert (error.type, error.code, error.source) == ("rate_limit_error", "queue_full", "gateway")
    assert (error.policy_label, error.retriable, error.retry_after_ms) == ("queue_full", True, 1500)
    assert error.request_id == "req_1"
    named = QueueFull("full", policy_label="nightly").envelope().error
    assert named.policy_label == "nightly"


def test_what_is_unknown_is_left_out_but_openais_four_are_always_there() -> None:
    body = msgspec.json.decode(InvalidField("wrong", param="n").encode())
    assert body == {
        "error": {
            "message": "wrong",
            "type": "invalid_request_error",
            "param": "n",
            "code": "invalid_value",
            "source": "gateway",
        }
    }
    bare = msgspec.json.decode(GatewayError("internal error").encode())["error"]
    assert (bare["param"], bare["type"]) == (None, "server_error")


@given(retry_after_s=st.floats(0, allow_nan=False))
def test_no_client_is_told_to_wait_longer_than_its_sdk_would(retry_after_s: float) -> None:
    shown_ms = QueueFull("full", retry_after_s=retry_after_s).envelope().error.retry_after_ms
    assert shown_ms is not None
    assert 0 <= shown_ms <= RETRY_AFTER_MAX_S * 1000
    if math.isfinite(retry_after_s) and retry_after_s <= RETRY_AFTER_MAX_S:
        assert shown_ms == pytest.approx(retry_after_s * 1000, abs=0.5)


@pytest.mark.req("ADM-6")
def test_who_is_told_not_to_repeat_by_itself_hears_how_long_it_really_is() -> None:
    error = BudgetExceeded("used up", retry_after_s=40_000.0)
    assert error.told_retry_after_s == RETRY_AFTER_MAX_S
    error.retriable = False
    assert error.told_retry_after_s == 40_000.0
    shown = error.envelope().error
    assert (shown.retriable, shown.retry_after_ms) == (False, 40_000_000)


@pytest.mark.parametrize("fault", get_args(FaultClass))
def test_a_fault_is_repeated_for_its_class_and_not_for_its_status(fault: FaultClass) -> None:
    for status in (400, 429, 500, 503):
        error = UpstreamFault("no", fault=fault, status=status)
        assert error.retriable == error.envelope().error.retriable == (fault in RETRIABLE)


def test_a_client_may_repeat_more_than_the_gateway_does_by_itself() -> None:
    """It knows what it has had of a broken stream, and can wait until an objective can be met again."""
    assert {"stream_broken", "slo_shed"} == RETRIABLE - REPEATABLE
    assert StreamBroken("cut", fault="stream_broken").retriable


def test_an_engine_that_asks_not_to_be_repeated_for_hours_is_told_of_as_it_is() -> None:
    error = UpstreamFault("used up", fault="quota", status=429, retry_after_s=40_000.0)
    shown = error.envelope().error
    assert (shown.retriable, shown.retry_after_ms) == (False, 40_000_000)


def test_a_fault_speaks_with_its_engines_words_and_leaves_the_tree_as_it_was() -> None:
    fault = UpstreamFault("no", status=418, code="teapot", type="TeapotError", param="leaf")
    shown = fault.envelope().error
    assert (shown.type, shown.code, shown.param) == ("TeapotError", "teapot", "leaf")
    assert (shown.source, shown.retriable, shown.policy_label) == ("engine", True, None)
    assert fault.status == 418
    again = UpstreamFault("no")
    assert (again.status, again.code, again.kind) == (502, "upstream_error", "server_error")
    assert UpstreamTimeout("late", fault="timeout").status == 504
