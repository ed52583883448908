"""A backend's JSON, read by a decoder of one type: what does not fit it is no answer, and never an exception. Pure."""

from collections.abc import Callable
from typing import TypeVar

import msgspec
from msgspec import Raw

from adapters.dialect import WireHead

Piece = TypeVar("Piece")


def as_utf8(data: bytes) -> bytes:
    """`data` with replacement characters for what is not UTF-8: some engines cut a character in two,
    and what is kept raw here goes on to clients."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace").encode()
    return data


def read_piece(decode: Callable[[bytes], Piece], data: bytes | Raw) -> Piece | None:
    """`data` decoded, or None where it is not valid. Bytes that are no UTF-8 are told by the sign for that."""
    try:
        return decode(as_utf8(bytes(data)))
    except (msgspec.MsgspecError, RecursionError):
        return None


def read_answer(
    decode: Callable[[bytes], Piece], answer: tuple[WireHead, bytes] | None
) -> Piece | None:
    """A probe's answer in the same way; None also where there was none, or none with status 200."""
    return read_piece(decode, answer[1]) if answer is not None and answer[0].status == 200 else None
