"""Secrets do not show: not in reprs, not in logs, not through timing."""

import json
import pickle
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.secrets import MASK, Redactor, SecretValue

TOKENS = st.text(alphabet=st.characters(codec="ascii", exclude_characters="*"), min_size=4)


@pytest.mark.req("SEC-3")
def test_a_secret_shows_only_when_it_is_revealed() -> None:
    secret = SecretValue("hunter22")
    assert secret.reveal() == "hunter22"
    for shown in (str(secret), repr(secret), f"{secret}", f"{secret!r}", repr([secret])):
        assert "hunter22" not in shown
        assert MASK in shown
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        msgspec.json.encode(secret)


@pytest.mark.req("SEC-2")
@given(text=st.text(), candidate=st.text() | st.binary())
def test_a_secret_matches_itself_and_nothing_else(text: str, candidate: str | bytes) -> None:
    secret = SecretValue(text)
    assert secret.matches(text)
    assert secret.matches(text.encode("utf-8", "surrogatepass"))
    raw = candidate.encode("utf-8", "surrogatepass") if isinstance(candidate, str) else candidate
    assert secret.matches(candidate) == (raw == text.encode("utf-8", "surrogatepass"))


@pytest.mark.req("SEC-2")
def test_undecodable_header_bytes_never_match() -> None:
    assert not SecretValue("x").matches("\udcff")


def test_equal_secrets_are_equal() -> None:
    assert SecretValue("a") == SecretValue("a")
    assert SecretValue("a") != SecretValue("b")
    assert SecretValue("a") != "a"
    assert len({SecretValue("a"), SecretValue("a")}) == 1


@pytest.mark.req("SEC-3")
@given(
    tokens=st.lists(TOKENS, min_size=1, max_size=4),
    before=st.text(alphabet="{}:/ \n"),
    after=st.text(alphabet="{}:/ \n"),
)
def test_a_known_secret_is_taken_out_of_any_text(
    tokens: list[str], before: str, after: str
) -> None:
    redactor = Redactor(map(SecretValue, tokens))
    for token in tokens:
        for spelling in (token, json.dumps(token)[1:-1], quote(token, safe="")):
            cleaned = redactor.redact(f"{before}{spelling}{after}")
            assert spelling not in cleaned
            assert MASK in cleaned


@pytest.mark.req("SEC-3")
@given(tokens=st.lists(TOKENS, max_size=3), text=st.text())
def test_redacting_twice_changes_nothing(tokens: list[str], text: str) -> None:
    redactor = Redactor(map(SecretValue, tokens))
    once = redactor.redact(text)
    assert redactor.redact(once) == once


@pytest.mark.req("SEC-3")
@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Authorization: Bearer abc.def-ghi", "Authorization: Bearer ***"),
        ('{"authorization": "bearer abc"}', '{"authorization": "bearer ***"}'),
        ("Basic dXNlcjpwdw==, next", "Basic ***, next"),
        ("key sk-proj-abcdefgh12345 was", "key sk-*** was"),
        ("hf_abcdefghijkl", "hf-***"),
        ("BEARER a bAsIc b", "BEARER *** bAsIc ***"),
        ("rk-abcdefgh1,pk_abcdefgh1,gsk_abcdefgh1", "rk-***,pk-***,gsk-***"),
        ("xai-abcdefgh1 openai-abcdefgh1", "xai-*** openai-abcdefgh1"),
        ("to https://user:pw@host:1/x?y=1", "to https://***@host:1/x?y=1"),
        ("GET /v1?api_key=abc&x=1", "GET /v1?api_key=***&x=1"),
        ("GET /v1?a=1&key=abc", "GET /v1?a=1&key=***"),
        ("/v1?Api-Key=a&ACCESS_TOKEN=b&x=1", "/v1?Api-Key=***&ACCESS_TOKEN=***&x=1"),
        (r'{"said": "no\nBearer\tabc\n"}', r'{"said": "no\nBearer\t***"}'),
        (r'{"said": "{\"key\":\\nsk-abcdefgh\"}"}', r'{"said": "{\"key\":\\nsk-***\"}"}'),
    ],
)
def test_what_looks_like_a_secret_is_taken_out(text: str, cleaned: str) -> None:
    assert Redactor().redact(text) == cleaned


PARTS = st.sampled_from(
    [
        "Bearer",
        "basic",
        "sk-",
        "gsk_",
        "abcdefgh12",
        " ",
        "\n",
        "\x1f",
        "\u2003",
        "\\",
        '"',
        "t",
        "://",
        "u:p",
        "@",
        "?",
        "&",
        "key",
        "=",
        "***",
    ]
)
AWKWARD = st.text(alphabet='\\"nab\n\x1f\u00e9\U0001f600u0e9 ', min_size=4, max_size=9)


@pytest.mark.req("SEC-3")
@given(secret=AWKWARD, parts=st.lists(PARTS | AWKWARD, max_size=9), depth=st.integers(0, 3))
def test_json_that_stays_as_it_is_holds_no_text_that_would_not(
    secret: str, parts: list[str], depth: int
) -> None:
    redactor = Redactor([SecretValue(secret)])
    text = "".join(parts)
    for _ in range(depth):
        text = msgspec.json.encode(text).decode()
    encoded = msgspec.json.encode(text).decode()
    if redactor.redact(text) != text:
        assert redactor.redact(encoded) != encoded


@pytest.mark.req("SEC-3")
@given(secret=AWKWARD, texts=st.lists(st.lists(PARTS | AWKWARD, max_size=6).map("".join)))
def test_lines_that_stay_as_they_are_together_do_so_each_by_itself(
    secret: str, texts: list[str]
) -> None:
    redact = Redactor([SecretValue(secret)]).redact
    together = "\n".join(texts)
    if redact(together) == together:
        assert [redact(text) for text in texts] == texts


@pytest.mark.req("SEC-3")
@given(secret=AWKWARD, depth=st.integers(0, 4))
def test_a_secret_is_found_however_often_it_was_encoded(secret: str, depth: int) -> None:
    redactor = Redactor([SecretValue(secret)])
    for encode in (json.dumps, lambda text: msgspec.json.encode(text).decode()):
        text = secret
        for _ in range(depth):
            text = encode(text)[1:-1]
        assert redactor.redact(f"a {text} z") == "a *** z"


@pytest.mark.req("SEC-5")
@pytest.mark.parametrize("secret", ['"\\ab', '\\"ab', "\nabc", "\\\\\nx", "\\ab\\"])
@pytest.mark.parametrize(
    "part", ["\\", "\\n", '"', "Bearer\\n", "Bearer ", " ", "://", "sk-", "?key="]
)
def test_a_hostile_text_takes_linear_time(secret: str, part: str) -> None:
    """Ends at all: in quadratic time each of these would take minutes."""
    Redactor([SecretValue(secret)]).redact("Bearer" + part * (100_000 // len(part)))


@pytest.mark.req("SEC-3")
def test_ordinary_text_stays_as_it_is() -> None:
    text = "max_tokens=5 http://host:80/a@b mailto a@b.c task-12345678 desk-lamp-assembly"
    assert Redactor([SecretValue("abc")]).redact(text) == text


@pytest.mark.req("SEC-3")
def test_a_secret_that_begins_another_leaves_no_rest_behind() -> None:
    redactor = Redactor([SecretValue("abcd"), SecretValue("abcdefgh")])
    assert redactor.redact("abcdefgh abcd") == "*** ***"
