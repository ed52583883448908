"""What a rule may set in a body."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.params import FORBIDDEN, MAX_BYTES, encode_param

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.parametrize("name", sorted(FORBIDDEN))
def test_what_the_gateway_answers_for_cannot_be_a_param(name: str) -> None:
    with pytest.raises(ValueError, match="may not be set") as caught:
        encode_param(name, 1)
    assert FORBIDDEN[name] in str(caught.value)


@given(value=JSON)
def test_a_param_is_the_json_of_its_value(value: Any) -> None:
    assert msgspec.json.decode(encode_param("stop", value)) == value


@pytest.mark.req("SEC-5")
def test_a_param_has_a_largest_size() -> None:
    fits = "x" * (MAX_BYTES - 2)
    assert len(bytes(encode_param("stop", fits))) == MAX_BYTES
    with pytest.raises(ValueError, match=f"'stop' has {MAX_BYTES + 1} bytes.*{MAX_BYTES}"):
        encode_param("stop", fits + "x")


@pytest.mark.parametrize("value", [object(), [object()], {1.5: object()}, "\ud800"])
def test_what_is_no_json_is_refused_by_name(value: Any) -> None:
    with pytest.raises(ValueError, match="'stop' cannot be written as JSON"):
        encode_param("stop", value)


def test_what_nests_for_ever_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(ValueError, match="cannot be written"):
        encode_param("stop", value)
