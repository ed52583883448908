"""Whatever bytes a backend sends, reading them raises nothing."""

import msgspec
import pytest

from adapters.dialect import WireHead
from adapters.wire_json import as_utf8, read_answer, read_piece

pytestmark = pytest.mark.req("RUN-3")


class Piece(msgspec.Struct):
    a: str


_decode = msgspec.json.Decoder(Piece).decode


@pytest.mark.parametrize("data", [b'{"a":"x","b":1}', msgspec.Raw(b'{"a":"x"}')])
def test_what_fits_is_read(data: bytes | msgspec.Raw) -> None:
    assert read_piece(_decode, data) == Piece(a="x")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"a":1}', b"\xff", b"[" * 100_000])
def test_what_does_not_fit_is_none(data: bytes) -> None:
    assert read_piece(_decode, data) is None


def test_bytes_that_are_no_text_do_not_spoil_the_rest() -> None:
    assert read_piece(_decode, b'{"a":"x\xff"}') == Piece(a="x\ufffd")


@pytest.mark.parametrize(("status", "read"), [(200, Piece(a="x")), (404, None), (503, None)])
def test_of_a_probe_only_a_good_answer_is_read(status: int, read: Piece | None) -> None:
    assert read_answer(_decode, (WireHead(status=status, headers={}), b'{"a":"x"}')) == read
    assert read_answer(_decode, None) is None


def test_what_is_not_utf8_is_replaced_and_the_rest_stays() -> None:
    fine = "é😀".encode()
    assert as_utf8(fine) is fine
    assert as_utf8(b"a\xffb") == "a�b".encode()
