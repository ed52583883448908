"""A body's way to an InferRequest: what is checked, what is left alone, and how errors read."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import ClientFault, InvalidField, InvalidJson
from contracts.inference import InferRequest, Operation
from gateway.intake import read_request

MESSAGES = b'"messages":[{"role":"user","content":"Hi there"}]'


def read(body: bytes, operation: Operation = "chat") -> InferRequest:
    return read_request(body, operation, request_id="r", key="web", headers={"a": "b"})


def test_the_facts_that_rules_ask_about() -> None:
    facts = read(
        b'{"model":"m",%b,"max_tokens":9,"max_completion_tokens":7,"n":2,"tools":[{},{}],"user":"u",'
        b'"stream":true,"stream_options":{"include_usage":true}}' % MESSAGES
    ).facts
    assert (facts.model, facts.stream, facts.max_tokens, facts.messages) == ("m", True, 9, 1)
    assert (facts.n, facts.tools, facts.user, facts.key) == (2, 2, "u", "web")
    assert facts.headers == {"a": "b"}
    assert facts.prompt_tokens == (len(MESSAGES) - len('"messages":')) // 4


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("completion", b'{"model":"m","prompt":["a","b"],"max_tokens":3}'),
        ("embedding", b'{"model":"m","input":"a"}'),
    ],
)
def test_the_other_operations(operation: Operation, body: bytes) -> None:
    infer = read(body, operation)
    assert infer.operation == operation
    assert infer.facts.prompt_tokens >= 1
    assert not infer.facts.stream


@pytest.mark.req("RUN-6")
@pytest.mark.parametrize(
    ("tail", "param", "words"),
    [
        (b'"temperature":"1"', "temperature", "expected `float | null`, got `str`"),
        (b'"temperature":3', "temperature", "<= 2"),
        (b'"max_tokens":0', "max_tokens", ">= 1"),
        (b'"max_tokens":5.5', "max_tokens", "got `float`"),
        (b'"stream":"yes"', "stream", "got `str`"),
        (b'"n":129', "n", "<= 128"),
        (b'"tools":[{},1]', "tools[1]", "expected `object`, got `int`"),
        (b'"messages":[]', "messages", "length >= 1"),
        (b'"messages":[{"role":"user"},{"role":"me"}]', "messages[1].role", "developer"),
        (b'"messages":[{"content":"x"}]', "messages[0].role", "is required"),
        (b'"stream_options":{"include_usage":true}', "stream_options", "only allowed when"),
        (b'"model":null', "model", "got `null`"),
        (b'"model":""', "model", "length >= 1"),
    ],
)
def test_a_wrong_field_is_named_by_its_path(tail: bytes, param: str, words: str) -> None:
    with pytest.raises(InvalidField) as caught:
        read(b'{"model":"m",%b,%b}' % (MESSAGES, tail))
    assert caught.value.param == param
    assert words in caught.value.message


@pytest.mark.req("OPS-3")
@pytest.mark.parametrize(
    ("spelled", "number"), [(b"1000.0", 1000), (b"1e3", 1000), (b"1.28E2", 128)]
)
def test_a_whole_number_is_one_however_it_is_spelled(spelled: bytes, number: int) -> None:
    """As JSON Schema has it, and as engines take it; the engine gets it as one."""
    infer = read(
        b'{"model":"m",%b,"max_tokens":%b,"seed":-%b,"x":1e3}' % (MESSAGES, spelled, spelled)
    )
    assert infer.facts.max_tokens == number
    assert bytes(infer.members["max_tokens"]) == b"%d" % number
    assert bytes(infer.members["seed"]) == b"-%d" % number
    assert bytes(infer.members["x"]) == b"1e3"
    embed = read(b'{"model":"m","input":"a","dimensions":%b}' % spelled, "embedding")
    assert bytes(embed.members["dimensions"]) == b"%d" % number


@pytest.mark.parametrize(
    ("tail", "param", "words"),
    [
        (b'"n":129.0', "n", "<= 128"),
        (b'"n":1.0,"max_tokens":1.5', "max_tokens", "got `float`"),
        (b'"seed":1e300', "seed", "got `float`"),
        (b'"n":1.0,"user":5', "user", "got `int`"),
    ],
)
def test_what_is_not_whole_or_not_in_bounds_stays_wrong(
    tail: bytes, param: str, words: str
) -> None:
    with pytest.raises(InvalidField, match=words) as caught:
        read(b'{"model":"m",%b,%b}' % (MESSAGES, tail))
    assert caught.value.param == param


@pytest.mark.parametrize(("body", "param"), [(b"{}", "model"), (b'{"model":"m"}', "messages")])
def test_a_missing_field_is_named(body: bytes, param: str) -> None:
    with pytest.raises(InvalidField) as caught:
        read(body)
    assert (caught.value.param, caught.value.message) == (param, f"{param} is required")


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"", "line 1, column 1"),
        (b'{"model": "m",\n "x": tru}', "line 2, column"),
        (b'{"model": "m",\n\n  ,}', "line 3, column 3"),
        (b'{"a": 1', "line 1, column 8"),
        (b'{"a": "\xff"}', "line 1, column 8"),
        (b'{\n"a": "caf\xe9"}', "line 2, column 10"),
        (b'{"a": 1} 2', "trailing characters at line 1, column"),
    ],
)
def test_wrong_json_is_found_by_line_and_column(body: bytes, place: str) -> None:
    with pytest.raises(InvalidJson) as caught:
        read(body)
    assert place in caught.value.message


@pytest.mark.parametrize(
    "body", [b"[" * 200_000, b'{"x":' * 100_000, b'{"model":"m","messages":' + b"[" * 200_000]
)
def test_depth_does_not_end_the_process(body: bytes) -> None:
    with pytest.raises(ClientFault):
        read(body)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_client_fault(body: bytes) -> None:
    with pytest.raises(ClientFault):
        read(body)


spellings = st.sampled_from(
    [
        b"1",
        b"1.0",
        b"1e2",
        b"-0.0",
        b"1E400",
        b"12345678901234567890123",
        b'"\\u00e9\\/"',
        b"[ 1 ,2]",
    ]
)


@given(st.dictionaries(st.sampled_from(["top_k", "x", "logit_bias", "metadata"]), spellings))
def test_members_that_are_not_looked_at_keep_their_bytes(extra: dict[str, bytes]) -> None:
    tail = b"".join(b',"%b":%b' % (name.encode(), raw) for name, raw in extra.items())
    infer = read(b'{"model":"m",%b%b}' % (MESSAGES, tail))
    assert {name: bytes(infer.members[name]) for name in extra} == extra


def test_the_last_of_two_members_counts_for_judging_and_for_sending() -> None:
    infer = read(b'{"model":"a","mod\\u0065l":"b",%b}' % MESSAGES)
    assert infer.facts.model == msgspec.json.decode(infer.members["model"]) == "b"


@pytest.mark.parametrize(
    ("limits", "most"),
    [
        ({}, None),
        ({"max_tokens": None}, None),
        ({"max_tokens": 5}, 5),
        ({"max_tokens": 1, "max_completion_tokens": 900}, 900),
        ({"max_tokens": 1, "n_predict": 900}, 900),
        ({"max_tokens": 1, "n_predict": -1}, None),
        ({"max_tokens": 1, "n_predict": "many"}, None),
    ],
)
def test_a_requests_limit_is_the_most_that_any_backend_would_read_from_it(
    limits: dict[str, object], most: int | None
) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], **limits}
    infer = read_request(msgspec.json.encode(body), "chat", request_id="r", key="", headers={})
    assert infer.facts.max_tokens == most


@pytest.mark.req("ADM-7")
@pytest.mark.parametrize(
    ("header", "tail", "session"),
    [
        (None, b"", ""),
        ("chat-1", b"", "chat-1"),
        (" ", b',"prompt_cache_key":"k"', "k"),
        ("chat-1", b',"prompt_cache_key":"k"', "chat-1"),
        (None, b',"prompt_cache_key":"k"', "k"),
        (None, b',"prompt_cache_key":["k"]', ""),  # no text: the backend may have its own opinion
        (None, b',"prompt_cache_key":null', ""),
        ("x" * 200, b"", "x" * 128),
    ],
)
def test_a_session_is_what_the_header_names_or_openais_cache_key(
    header: str | None, tail: bytes, session: str
) -> None:
    headers = {} if header is None else {"x-session-id": header}
    body = b'{"model":"m",%b%b}' % (MESSAGES, tail)
    infer = read_request(body, "chat", request_id="r", key="web", headers=headers)
    assert infer.facts.session == session
    assert (b"prompt_cache_key" in tail) == ("prompt_cache_key" in infer.members)  # travels on


@pytest.mark.req("ADM-7")
def test_an_embedding_is_of_no_session() -> None:
    body = b'{"model":"m","input":"a","prompt_cache_key":"k"}'
    headers = {"x-session-id": "chat-1"}
    infer = read_request(body, "embedding", request_id="r", key="web", headers=headers)
    assert infer.facts.session == ""
