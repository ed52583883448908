"""The words: repeatable, readable, and as long as they were asked to be."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.fakellmd.text import Order, Tool, prompt_tokens, write

pytestmark = pytest.mark.req("INT-9", "ENG-4")


def order(seed: int = 1, max_tokens: int = 1000, **members: Any) -> Order:
    return Order(seed=seed, max_tokens=max_tokens, natural_tokens=(24, 60), **members)


def test_the_same_order_gives_the_same_text_and_another_seed_another() -> None:
    texts = [["".join(write(order(seed)).pieces) for seed in range(50)] for _ in range(2)]
    assert texts[0] == texts[1]
    assert len(set(texts[0])) == 50


def test_it_reads_like_sentences() -> None:
    text = "".join(write(order()).pieces)
    assert text.startswith("The ")
    assert text.endswith(".")
    assert "  " not in text
    assert " ." not in text


def test_an_answer_that_fits_exactly_ends_by_itself() -> None:
    natural = write(order())
    assert write(order(max_tokens=len(natural.pieces))) == natural
    assert write(order(max_tokens=len(natural.pieces) - 1)).finish_reason == "length"


@given(seed=st.integers(0, 10**6), most=st.integers(1, 80))
def test_an_answer_is_cut_at_max_tokens_or_ends_by_itself(seed: int, most: int) -> None:
    natural = write(order(seed)).pieces
    assert 24 <= len(natural) <= 60
    assert natural[-1] == ""
    script = write(order(seed, most))
    assert script.pieces == natural[:most]
    assert script.finish_reason == ("length" if most < len(natural) else "stop")


def test_ignore_eos_writes_to_the_limit_and_min_tokens_past_the_natural_end() -> None:
    assert len(write(order(max_tokens=777, ignore_eos=True)).pieces) == 777
    assert len(write(order(min_tokens=300)).pieces) >= 300


@given(seed=st.integers(0, 10**6), stop=st.sampled_from([" the", ".", "an", "e q", "zzz"]))
def test_the_text_ends_before_the_first_stop_string(seed: int, stop: str) -> None:
    whole = "".join(write(order(seed)).pieces)
    script = write(order(seed, stop=(stop, "@@")))
    text = "".join(script.pieces)
    assert text == whole.partition(stop)[0]
    assert script.stop_reason == (stop if stop in whole else None)
    assert script.finish_reason == "stop"


@pytest.mark.parametrize("parameters", [{}, {"enum": [1]}, {"type": "string"}, None])
def test_a_tool_is_called_with_an_object_whatever_its_schema_allows(parameters: object) -> None:
    for seed in range(8):
        script = write(order(seed=seed, tool=Tool("f", parameters)))
        assert isinstance(msgspec.json.decode("".join(script.pieces)), dict)


def test_a_tool_call_is_json_for_its_parameters() -> None:
    parameters = {
        "type": "object",
        "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
        "required": ["city"],
    }
    script = write(order(tool=Tool("get_weather", parameters)))
    assert script.tool_name == "get_weather"
    assert script.finish_reason == "tool_calls"
    assert msgspec.json.decode("".join(script.pieces))["city"] in ("Paris", "Rome")
    assert len(script.pieces) > 3
    assert write(order(max_tokens=1, tool=Tool("f"))).finish_reason == "length"


def test_a_schema_makes_json() -> None:
    script = write(order(schema={"type": "object", "properties": {"n": {"type": "integer"}}}))
    assert isinstance(msgspec.json.decode("".join(script.pieces))["n"], int)


def test_four_bytes_are_a_token() -> None:
    assert [prompt_tokens(text) for text in ("", "a", "abcd", "abcde", "é" * 4)] == [1, 1, 1, 2, 2]
