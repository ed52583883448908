import pytest

from adapters.anthropic_thinking import MIN_BUDGET_TOKENS, budget, effort_word, generation

pytestmark = pytest.mark.req("RUN-2")


@pytest.mark.parametrize(
    ("model", "how"),
    [
        ("claude-2.1", "none"),
        ("claude-instant-1.2", "none"),
        ("claude-3-haiku-20240307", "none"),
        ("claude-3-5-sonnet-20241022", "none"),
        ("claude-3-5-haiku-latest", "none"),
        ("claude-3-7-sonnet-20250219", "budget"),
        ("claude-sonnet-4-0", "budget"),
        ("claude-sonnet-4-20250514", "budget"),
        ("claude-4-opus-20250514", "budget"),
        ("claude-opus-4@20250514", "budget"),
        ("anthropic.claude-opus-4-1-20250805-v1:0", "budget"),
        ("claude-opus-4-5-20251101", "budget"),
        ("claude-haiku-4-5", "budget"),
        ("claude-opus-4-6", "adaptive"),
        ("claude-sonnet-4.6", "adaptive"),
        ("claude-opus-4-10", "adaptive"),
        ("claude-sonnet-5", "adaptive"),
        ("claude-opus-5-20260901", "adaptive"),
        ("claude-next", "adaptive"),
        ("someone-elses", "adaptive"),
    ],
)
def test_a_models_name_tells_how_it_thinks(model: str, how: str) -> None:
    assert generation(model) == how


@pytest.mark.parametrize("effort", ["minimal", "low", "medium", "high", "xhigh", "max"])
@pytest.mark.parametrize("limit", [1, 2047, 2048, 5000, 200_000])
def test_a_budget_leaves_at_least_as_much_for_the_answer(effort: str, limit: int) -> None:
    told = budget(effort, limit)  # type: ignore[arg-type]
    if limit < 2 * MIN_BUDGET_TOKENS:
        assert told is None
    else:
        assert told is not None
        assert MIN_BUDGET_TOKENS <= told["budget_tokens"] <= limit // 2


def test_more_effort_is_never_a_smaller_budget() -> None:
    efforts = ["minimal", "low", "medium", "high", "xhigh", "max"]
    tokens = [budget(effort, 100_000)["budget_tokens"] for effort in efforts]  # type: ignore[arg-type,index]
    assert tokens == sorted(tokens)


def test_there_is_nothing_below_low() -> None:
    assert [effort_word(effort) for effort in ("minimal", "low", "max")] == ["low", "low", "max"]
