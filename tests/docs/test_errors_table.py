"""The tables of docs/errors.md are what the code does, and leave nothing out that the code knows."""

import re
from typing import get_args

import pytest

from adapters import anthropic_faults, llmd, openai_faults
from adapters.registry import DIALECTS
from contracts.errors import FaultClass, UpstreamFault
from gateway.metrics import ATTEMPT_CODES
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


def test_every_word_of_our_own_for_a_failed_attempt_is_on_the_page() -> None:
    """Metrics and records tell them, so an operator looks for them."""
    text = PAGE.read_text("utf-8")
    ours = ATTEMPT_CODES | {kind.code for kind in (UpstreamFault, *UpstreamFault.__subclasses__())}
    assert [code for code in sorted(ours) if f"`{code}`" not in text] == []


def test_each_clock_is_told_of_by_its_own_code() -> None:
    rows = {row.split(" | ")[0]: row for row in others_table().splitlines()}
    for said, code in (
        ("| silence after content for `timeouts.idle`", "upstream_idle_timeout"),
        ("| an answer that takes longer than `timeouts.total`", "upstream_total_timeout"),
        ("| an answer slower than `timeouts.min_tokens_per_s`", "upstream_too_slow"),
    ):
        assert f"`{code}`" in rows[said]


def test_each_class_is_explained_on_the_page() -> None:
    explained = PAGE.read_text("utf-8").partition("## Error answers")[0]
    assert [word for word in get_args(FaultClass) if f"`{word}`" not in explained] == []
