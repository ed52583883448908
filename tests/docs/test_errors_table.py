"""The tables of docs/errors.md are what the code does, and leave nothing out that the code knows."""

import re
from typing import get_args

import pytest

from adapters import anthropic_faults, llmd, openai_faults
from adapters.registry import DIALECTS
from contracts.errors import FaultClass
from tests.docs.errors_table import EXAMPLES, PAGE, classified, others_table, page

pytestmark = pytest.mark.req("RUN-6")


def test_the_page_is_what_happens() -> None:
    """`python -m tests.docs.errors_table --write` renews it."""
    text = PAGE.read_text("utf-8")
    assert text == page(text)


def test_every_class_has_an_example() -> None:
    found = {classified(example).fault for example in EXAMPLES}
    found |= {word for word in get_args(FaultClass) if f"| {word} |" in others_table()}
    assert found == set(get_args(FaultClass))


def test_every_engine_has_an_example() -> None:
    speaks_as_another = {"embedded"}
    assert {example.engine for example in EXAMPLES} == set(DIALECTS) - speaks_as_another


def test_every_word_that_a_dialect_knows_has_an_example() -> None:
    said = " ".join(example.says.lower() for example in EXAMPLES)
    words = (
        openai_faults.QUOTA_CODES
        | openai_faults.CONTENT_CODES
        | set(llmd._BY_REASON)
        | set(anthropic_faults._STATUS_OF)
    )
    assert [word for word in sorted(words) if not re.search(rf"\b{word}\b", said)] == []


def test_each_class_is_explained_on_the_page() -> None:
    explained = PAGE.read_text("utf-8").partition("## Error answers")[0]
    assert [word for word in get_args(FaultClass) if f"`{word}`" not in explained] == []
