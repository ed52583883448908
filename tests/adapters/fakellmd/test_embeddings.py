"""Vectors: of length one, repeatable, and the same in both encodings."""

import base64
import math
import struct

import pytest

from adapters.fakellmd.embeddings import as_base64, embed

pytestmark = pytest.mark.req("INT-9")


@pytest.mark.parametrize("dimensions", [1, 7, 384])
def test_a_vector_has_length_one_and_the_dimensions_asked_for(dimensions: int) -> None:
    vector = embed("hello", "m", dimensions)
    assert len(vector) == dimensions
    assert math.hypot(*vector) == pytest.approx(1.0)


def test_a_vector_depends_on_text_and_model() -> None:
    assert embed("a", "m", 8) == embed("a", "m", 8)
    assert embed("a", "m", 8) != embed("b", "m", 8)
    assert embed("a", "m", 8) != embed("a", "n", 8)


def test_base64_carries_the_same_numbers() -> None:
    vector = embed("a", "m", 8)
    assert list(struct.unpack("<8f", base64.b64decode(as_base64(vector)))) == vector
