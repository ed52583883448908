import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.openai_wire import (
    NULL,
    DeltaPiece,
    ErrorPiece,
    extra_members,
    has_items,
    is_present,
    read_chunk,
    read_error,
)

pytestmark = pytest.mark.req("RUN-6")


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"error":{"message":"m","type":"t","param":"p","code":"c"}}', ("m", "t", "p", "c")),
        (b'{"error":{"message":"m","type":"t","param":null,"code":400}}', ("m", "t", None, 400)),
        (b'{"error":"text"}', ("text", None, None, None)),
        (b'{"error":true,"message":"m"}', ("m", None, None, None)),
        (b'{"error":{"code":"only_a_code"}}', (None, None, None, "only_a_code")),
        (b'{"error":{"error":{"message":"inner"}}}', ("inner", None, None, None)),
        (b'{"detail":"Not Found"}', ("Not Found", None, None, None)),
        (
            b'{"detail":[{"msg":"field required"},{"msg":"b"}]}',
            ("field required", None, None, None),
        ),
        (b'{"message":"plain"}', ("plain", None, None, None)),
        (b'[{"error":{"message":"listed","code":429}}]', ("listed", None, None, 429)),
        (b'"just a text"', ("just a text", None, None, None)),
        (
            b'{"error":{"message":["odd"],"type":5,"param":{},"code":[1]},"detail":"d"}',
            ("d", None, None, None),
        ),
    ],
)
def test_an_error_is_found_in_any_of_its_shapes(body, found):
    message, kind, param, code = found
    assert read_error(body) == ErrorPiece(message=message, type=kind, param=param, code=code)


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b'""', b"null", b"5", b"{", b"\xff", b'{"error":null}', b'{"error":{}}'],
)
def test_where_there_is_no_error_none_is_found(body):
    assert read_error(body) is None


@given(st.binary(max_size=40))
def test_reading_an_error_never_raises(body):
    read_error(body)


@pytest.mark.parametrize("depth", [900, 50_000])
def test_depth_is_no_danger(depth):
    read_error(b'{"error":' * depth + b"1" + b"}" * depth)
    assert read_chunk(b"[" * depth) is None


def test_every_raw_member_may_be_any_value():
    # `Raw | None` would take nothing but null here, and so break every stream with logprobs.
    for value in (b"null", b"{}", b"[1]", b'"x"', b"1.0", b'{"a":{"b":[]}}'):
        chunk = read_chunk(
            b'{"error":%b,"detail":%b,"choices":[{"logprobs":%b,"delta":{"audio":%b,"annotations":%b,'
            b'"images":%b,"reasoning_details":%b,"function_call":%b}}]}' % ((value,) * 8)
        )
        assert chunk is not None
        (choice,) = chunk.choices
        for raw in (chunk.error, chunk.detail, choice.logprobs, choice.delta.audio):
            assert bytes(raw) == value


@pytest.mark.parametrize(
    ("raw", "present", "items"),
    [
        (NULL, False, False),
        (msgspec.Raw(b"null"), False, False),
        (msgspec.Raw(b"{}"), True, False),
        (msgspec.Raw(b"[]"), True, False),
        (msgspec.Raw(b'""'), True, False),
        (msgspec.Raw(b"0"), True, True),
        (msgspec.Raw(b'{"a":null}'), True, True),
    ],
)
def test_present_is_not_null_and_items_is_not_empty(raw, present, items):
    assert (is_present(raw), has_items(raw)) == (present, items)


def test_only_extra_members_with_something_in_them_are_told():
    assert extra_members(DeltaPiece()) is None
    assert extra_members(DeltaPiece(audio=msgspec.Raw(b"null"), images=msgspec.Raw(b"[]"))) is None
    piece = DeltaPiece(audio=msgspec.Raw(b'{"id":1}'), images=msgspec.Raw(b"[]"))
    assert extra_members(piece) == {"audio": msgspec.Raw(b'{"id":1}')}
