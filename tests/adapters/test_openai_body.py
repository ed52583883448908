import json
import string

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.openai_body import capped, compose

MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])

pytestmark = pytest.mark.req("RUN-1")

# JSON as texts, not as values: the spelling is what must survive.
digits = st.text(string.digits, min_size=1, max_size=40).map(lambda d: d.lstrip("0") or "0")
numbers = st.one_of(
    st.sampled_from(["-0", "1.0", "1e2", "1E+2", "0.10", "-0.0", "1e400", "9" * 60, "1.50e-03"]),
    st.builds(
        "{}{}{}{}".format,
        st.sampled_from(["", "-"]),
        digits,
        st.sampled_from(["", ".0", ".500", ".123456789012345678901234567890"]),
        st.sampled_from(["", "e1", "E-07", "e+3"]),
    ),
)
escapes = st.sampled_from([r"\u00e9", r"\/", r"\n", r"\"", r"\\", r"\ud83d\ude00", r"\u0000"])
letters = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\'), max_size=6
)
strings = st.lists(st.one_of(escapes, letters), max_size=4).map(lambda p: '"' + "".join(p) + '"')
scalars = st.one_of(numbers, strings, st.sampled_from(["true", "false", "null"]))
blanks = st.sampled_from(["", " ", "\n\t", "  "])


def arrays(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(blanks, st.lists(values, max_size=3)).map(
        lambda t: "[" + t[0] + ("," + t[0]).join(t[1]) + "]"
    )


def objects(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.builds("{}{}:{}{}".format, strings, blanks, blanks, values)
    return st.tuples(blanks, st.lists(pairs, max_size=3)).map(
        lambda t: "{" + t[0] + ("," + t[0]).join(t[1]) + "}"
    )


values = st.recursive(scalars, lambda inner: arrays(inner) | objects(inner), max_leaves=8)
names = st.sampled_from(["model", "max_tokens", "x", "é", "a b", "\\u0078", 'quo\\"te', ""])
bodies = st.lists(st.tuples(names, values), max_size=8)
replacements = st.dictionaries(st.sampled_from(["model", "stream", "x", "new"]), values, max_size=3)


def written(pairs: list[tuple[str, str]]) -> bytes:
    return ("{" + ", ".join(f'"{n}" : {v}' for n, v in pairs) + "}").encode()


@given(pairs=bodies, replace=replacements)
def test_untouched_fields_survive_byte_for_byte(pairs, replace):
    members = MEMBERS.decode(written(pairs))
    wanted = {
        json.loads(f'"{name}"'): value.encode() for name, value in pairs
    }  # the last one counts
    raw = {name: msgspec.Raw(value.encode()) for name, value in replace.items()}

    body = compose(members, raw)

    found = MEMBERS.decode(body)
    assert list(found) == [*members, *(name for name in replace if name not in members)]
    for name, value in found.items():
        expected = replace[name].encode() if name in replace else wanted[name]
        assert bytes(value) == expected
    json.loads(body)


@given(pairs=bodies)
def test_a_body_without_changes_keeps_every_value_and_its_place(pairs):
    members = MEMBERS.decode(written(pairs))
    assert MEMBERS.decode(compose(members, {})) == members


def test_odd_spellings_are_not_respelled():
    body = b'{"a":1.0,"b":1e2,"c":-0,"d":123456789012345678901234567890,"e":"\\u00e9\\/","f":[ 1 ]}'
    assert compose(MEMBERS.decode(body), {}) == body


def test_a_name_that_occurs_twice_is_sent_once_with_the_value_that_was_judged():
    body = compose(MEMBERS.decode(b'{"model":"a","x":1,"model":"b"}'), {})
    assert body == b'{"model":"b","x":1}'


def test_a_replaced_member_stays_where_it_was_and_a_new_one_comes_last():
    members = MEMBERS.decode(b'{"x":1,"model":"a","y":2}')
    assert compose(members, {"model": "b", "stream": True}) == (
        b'{"x":1,"model":"b","y":2,"stream":true}'
    )
    assert compose({}, {}) == b"{}"


# -- capped -----------------------------------------------------------------------------

NAMES = ("max_tokens", "max_completion_tokens", "n_predict")


def limits(body: bytes, cap: int) -> dict[str, int]:
    return capped(MEMBERS.decode(body), cap, "max_completion_tokens", NAMES)


@pytest.mark.parametrize(
    ("body", "changes"),
    [
        (b"{}", {"max_completion_tokens": 100}),
        (b'{"max_tokens":null}', {"max_completion_tokens": 100}),
        (b'{"max_tokens":99}', {}),
        (b'{"max_tokens":100}', {}),
        (b'{"max_tokens":101}', {"max_tokens": 100}),
        (b'{"max_completion_tokens":500}', {"max_completion_tokens": 100}),
        (b'{"max_tokens":5,"max_completion_tokens":500}', {"max_completion_tokens": 100}),
        (b'{"max_tokens":500,"max_completion_tokens":5}', {"max_tokens": 100}),
        (b'{"max_tokens":5,"n_predict":-1}', {"n_predict": 100}),
        (b'{"n_predict":50}', {}),
        (b'{"max_tokens":0}', {"max_tokens": 100}),
        (b'{"max_completion_tokens":"many"}', {"max_completion_tokens": 100}),
        (b'{"max_tokens":1e99}', {"max_tokens": 100}),
        (b'{"max_tokens":99999999999999999999999}', {"max_tokens": 100}),
        (b'{"max_tokens":[1]}', {"max_tokens": 100}),
    ],
)
def test_no_limit_is_above_the_cap_and_a_lower_one_stays(body, changes):
    assert limits(body, 100) == changes


@given(st.dictionaries(st.sampled_from([*NAMES, "other"]), values, max_size=4), st.integers(1, 999))
def test_after_capping_a_limit_exists_and_none_is_above_the_cap(asked, cap):
    members = {name: msgspec.Raw(value.encode()) for name, value in asked.items()}
    body = json.loads(compose(members, capped(members, cap, "max_tokens", NAMES)))
    found = [body[name] for name in NAMES if body.get(name) is not None]
    assert found
    assert all(isinstance(limit, int) and 0 < limit <= cap for limit in found)
