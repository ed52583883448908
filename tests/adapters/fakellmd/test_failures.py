"""Errors on demand and by chance: vLLM's object, and the same failures for the same seed."""

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.fakellmd.failures import ApiError, asked_for, injected
from adapters.fakellmd.settings import FAILURE_TYPES, LlmdSettings

pytestmark = pytest.mark.req("INT-9", "RUN-6")
Build = Callable[..., LlmdSettings]


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "BadRequestError"), (404, "NotFoundError"), (503, "ServiceUnavailableError")],
)
def test_an_error_is_vllms_object(status: int, kind: str) -> None:
    body = msgspec.json.decode(ApiError(status, 'it is "wrong"\n', param="n").encode())
    error = {"message": 'it is "wrong"\n', "type": kind, "param": "n", "code": status}
    assert body == {"error": error}


def test_a_status_that_vllm_has_no_word_for_has_a_type_all_the_same() -> None:
    assert ApiError(418, "no").kind == "APIError"


@given(status=st.integers(400, 599), zeros=st.integers(0, 1))
def test_any_error_status_may_be_asked_for(status: int, zeros: int) -> None:
    error = asked_for("0" * zeros + str(status))
    assert error.status == status
    assert "X-Return-Error" in error.message


@example(header="04000")
@given(header=st.text() | st.integers().map(str) | st.from_regex(r"[0-9]{1,8}", fullmatch=True))
def test_a_header_that_is_no_error_status_is_the_clients_error(header: str) -> None:
    error = asked_for(header)
    assert 400 <= error.status <= 599
    wanted = header.isascii() and header.isdigit() and len(header) <= 4
    wanted = wanted and 400 <= int(header) <= 599
    if not wanted:
        assert (error.status, repr(header) in error.message) == (400, True)
    error.encode()


def test_digits_of_another_script_are_no_status() -> None:
    assert "must be a status" in asked_for("\u0665\u0660\u0663").message  # 503 in Arabic-Indic


def hits(settings: LlmdSettings, requests: int = 400) -> list[int | None]:
    found = [injected(settings, ordinal) for ordinal in range(1, requests + 1)]
    return [error.status if error is not None else None for error in found]


@pytest.mark.parametrize("rate", [0.0, 5.0, 50.0, 100.0])
def test_failures_come_at_their_rate(exact: Build, rate: float) -> None:
    failed = sum(status is not None for status in hits(exact(failure_injection_rate=rate)))
    assert failed == pytest.approx(4 * rate, abs=25 if 0 < rate < 100 else 0)


@given(seed=st.integers(0, 2**64), ordinal=st.integers(1, 2**40))
def test_a_failure_depends_on_seed_and_number_alone(seed: int, ordinal: int) -> None:
    settings = LlmdSettings(seed=seed, failure_injection_rate=50)
    first, again = injected(settings, ordinal), injected(settings, ordinal)
    assert (first is None) == (again is None)
    if first is not None and again is not None:
        assert first.encode() == again.encode()
        assert "{" not in first.message
        # Who fails at a rate fails at every higher one: a sweep adds failures and moves none.
        assert injected(msgspec.structs.replace(settings, failure_injection_rate=80), ordinal)


def test_another_seed_hits_other_requests(exact: Build) -> None:
    assert hits(exact(failure_injection_rate=50)) != hits(exact(failure_injection_rate=50, seed=1))


def test_only_the_chosen_kinds_are_injected_and_each_of_them_is(exact: Build) -> None:
    every = exact(failure_injection_rate=100)
    assert set(hits(every)) == {400, 401, 404, 429, 503}
    for kind in FAILURE_TYPES:
        assert len(set(hits(exact(failure_injection_rate=100, failure_types=(kind,))))) == 1


def test_a_context_failure_names_the_limit_in_force(exact: Build) -> None:
    settings = exact(
        failure_injection_rate=100, failure_types=("context_length",), max_model_len=77
    )
    error = injected(settings, 1)
    assert error is not None
    assert "maximum context length is 77 tokens" in error.message
