"""The rows of a record, and a record as one line."""

import msgspec
import pytest

from gateway.records.rows import AttemptRow, ExecutionRow, decode_line, encode_line
from gateway.records.schema import attempts, executions
from tests.fakes.closed import closed, kept, recorded


def test_rows_have_the_columns_of_their_tables_in_their_order() -> None:
    assert list(ExecutionRow.__struct_fields__) == [c.name for c in executions.c]
    assert list(AttemptRow.__struct_fields__) == [c.name for c in attempts.c]


def test_a_line_gives_back_what_was_written() -> None:
    row = recorded(closed(kept=kept()))
    line = encode_line(row)
    assert b"\n" not in line
    assert decode_line(line) == row


@pytest.mark.parametrize("line", [b"", b"[", b"{}", b"[{}]", b'[{"execution_id": "e"}, []]'])
def test_a_broken_line_is_told(line: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_line(line)
