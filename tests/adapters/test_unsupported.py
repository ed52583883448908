import pytest

from adapters.unsupported import MAX_DROPPED, Cannot
from contracts.errors import UnsupportedParameter

pytestmark = pytest.mark.req("RUN-2")


def test_a_parameter_is_refused_by_name_and_told_why() -> None:
    with pytest.raises(UnsupportedParameter) as raised:
        Cannot("mine", "refuse").parameter("seed", "it has no dice")
    error = raised.value
    assert (error.param, error.code, error.status) == ("seed", "unsupported_parameter", 400)
    assert error.message == "seed is not supported by the engine mine: it has no dice"


def test_where_the_pool_says_drop_it_is_named_once_and_in_order() -> None:
    cannot = Cannot("mine", "drop")
    for name in ("seed", "logprobs", "seed"):
        cannot.parameter(name)
    assert cannot.dropped == ("seed", "logprobs")


@pytest.mark.parametrize("choice", ["refuse", "drop"])
def test_what_an_answer_consists_of_is_always_refused(choice) -> None:
    with pytest.raises(UnsupportedParameter):
        Cannot("mine", choice).refuse("n")


@pytest.mark.parametrize("name", ["a\r\nb: c", "", "é", "a,b", "x" * 65])
def test_a_name_that_cannot_stand_in_a_header_is_refused(name: str) -> None:
    with pytest.raises(UnsupportedParameter):
        Cannot("mine", "drop").parameter(name)


def test_the_list_of_dropped_names_has_a_bound() -> None:
    cannot = Cannot("mine", "drop")
    for number in range(MAX_DROPPED):
        cannot.parameter(f"p{number}")
    cannot.parameter("p0")  # already told
    with pytest.raises(UnsupportedParameter):
        cannot.parameter("one-more")
    assert len(cannot.dropped) == MAX_DROPPED
