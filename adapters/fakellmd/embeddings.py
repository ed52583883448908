"""Deterministic unit vectors: one for each text, the same wherever it is asked. They carry no meaning."""

import base64
import hashlib
import math
import struct


def embed(text: str, model: str, dimensions: int) -> list[float]:
    """A vector of length 1; every number is a 32-bit float, as an engine's would be."""
    key = f"{model}\0{text}".encode(errors="replace")
    raw = hashlib.shake_128(key).digest(4 * dimensions)
    numbers = [number + 0.5 for number in struct.unpack(f"<{dimensions}i", raw)]
    norm = math.sqrt(math.fsum(number * number for number in numbers))
    packed = struct.pack(f"<{dimensions}f", *(number / norm for number in numbers))
    return list(struct.unpack(f"<{dimensions}f", packed))


def as_base64(vector: list[float]) -> str:
    """The `encoding_format: base64` of OpenAI: little-endian 32-bit floats."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")
