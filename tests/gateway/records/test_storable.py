"""Text as a record may hold it."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.records.storable import storable_json, storable_text
from gateway.secrets import Redactor, SecretValue

REDACT = Redactor([SecretValue("hunter22")]).redact


class Inner(msgspec.Struct):
    text: str
    raw: msgspec.Raw = msgspec.Raw(b"null")
    from_: str = msgspec.field(name="from", default="")


def test_what_is_fine_is_left_as_it_is() -> None:
    value = Inner("h\u00e9llo", msgspec.Raw(b'{"a":  1}'))
    assert storable_json(value, REDACT) == '{"text":"h\u00e9llo","raw":{"a":  1},"from":""}'


@pytest.mark.req("SEC-3")
@pytest.mark.parametrize(
    "value",
    [
        "hunter22",
        {"hunter22": [1, ("x hunter22",)]},
        Inner("", from_="Bearer hunter22"),
        Inner("", msgspec.Raw(b'{"k": "hunter\\u00322"}')),
        Inner("\udcff", msgspec.Raw(b'"hunter22"')),
    ],
)
def test_no_secret_gets_in_wherever_it_is(value: Any) -> None:
    told = storable_json(value, REDACT)
    assert "hunter22" not in json.dumps(json.loads(told))
    assert "***" in told


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
any_text = st.text(st.characters(categories=["L", "N", "P", "Z", "Cc", "Cs"]))


@given(value=json_values | st.builds(Inner, any_text) | st.dictionaries(any_text, any_text))
def test_whatever_it_is_both_databases_take_it(value: Any) -> None:
    told = storable_json(value, REDACT)
    told.encode()
    assert "\0" not in str(msgspec.json.decode(told))


@given(text=any_text)
def test_any_text_can_be_kept_and_keeping_it_again_changes_nothing(text: str) -> None:
    kept = storable_text(text, REDACT)
    assert "\0" not in kept
    assert kept.encode().decode() == kept
    assert storable_text(kept, REDACT) == kept
