"""Models: where they live, and what is known of them."""

from pathlib import Path

import pytest

from tests.support.configured import ONE_POOL, load_text, problems


@pytest.mark.req("SEC-4")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            ONE_POOL + "models: [{name: m, pool: b}]",
            "2:26: models[0].pool: there is no pool 'b' (known: a)",
        ),
        (
            "models: [{name: m, pool: simm}]",
            "1:26: models[0].pool: there is no pool 'simm' (did you mean 'sim'?)",
        ),
        (
            ONE_POOL + "models: [{name: m, pool: a}, {name: m, pool: a}]",
            "2:37: models[1].name: 'm' is given twice",
        ),
    ],
)
def test_a_part_that_does_not_fit_is_named_at_its_place(
    tmp_path: Path, text: str, expected: str
) -> None:
    assert problems(tmp_path, text) == [expected]


@pytest.mark.req("RUN-7")
@pytest.mark.parametrize(
    ("engine", "said", "able"),
    [
        ("llamacpp", "", True),
        ("vllm", "", True),
        ("llmd", "", True),
        ("openai", "", False),
        ("anthropic", "", False),
        ("openai", ", prefill: true", True),
        ("llamacpp", ", prefill: false", False),
    ],
)
def test_who_continues_a_begun_answer_is_known_by_engine_or_said(
    tmp_path: Path, engine: str, said: str, able: bool
) -> None:
    loaded = load_text(
        tmp_path,
        f"pools: [{{id: a, engine: {engine}, endpoint: 'http://127.0.0.1:1'}}]\n"
        f"models: [{{name: m, pool: a{said}}}]",
    )
    assert loaded.catalog.models["m"].prefill is able


@pytest.mark.req("RUN-7")
def test_a_price_of_cached_prompts_may_be_known(tmp_path: Path) -> None:
    text = ONE_POOL + "models: [{name: m, pool: a, price: {input: 1, output: 2%s}}]"
    known = load_text(tmp_path, text % ", cached_input: 0.10 USD").catalog.models["m"]
    assert (known.input_price, known.output_price, known.cached_input_price) == (1.0, 2.0, 0.1)
    assert load_text(tmp_path, text % "").catalog.models["m"].cached_input_price is None
    known = load_text(tmp_path, text % ", cache_write: $1.25").catalog.models["m"]
    assert (known.cached_input_price, known.cache_write_price) == (None, 1.25)
