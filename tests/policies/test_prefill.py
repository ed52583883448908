"""Time to the first token by prompt length: what the fit finds, covers, forgets, and says of slowness."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.prefill import MIN_SAMPLES, RATIOS, PrefillModel

pytestmark = pytest.mark.req("INT-4", "ADM-2")

PROMPTS = (20, 100, 350, 500, 700, 1200, 3000)
GOLDEN, SILVER = 0.6180339887498949, 0.4142135623730951
# Quantiles of a normal distribution at 1/16, 3/16, ... 15/16: noise without chance.
NORMAL = (-1.534, -0.887, -0.489, -0.157, 0.157, 0.489, 0.887, 1.534)


def noise(nth: int, spread: float) -> float:
    """Around 1, with about this standard deviation, evenly filled and not by chance."""
    return 1.0 + spread * NORMAL[int(nth * GOLDEN % 1.0 * 8)]


def prompt(nth: int) -> int:
    return PROMPTS[int(nth * SILVER % 1.0 * len(PROMPTS))]


def taught(
    law: Callable[[int], float],
    samples: int = 200,
    spread: float = 0.0,
    model: PrefillModel | None = None,
) -> PrefillModel:
    model = model or PrefillModel()
    for nth in range(samples):
        tokens = prompt(nth)
        model.learn(tokens, law(tokens) * noise(nth, spread))
    return model


def line(c0: float, c1: float) -> Callable[[int], float]:
    return lambda tokens: c0 + c1 * tokens


def predicted(model: PrefillModel, tokens: int) -> float:
    found = model.predict(tokens)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("c0", "c1"), [(0.03, 250e-6), (0.5, 1e-5), (0.0, 1e-3), (0.2, 0.0), (0.001, 2e-6)]
)
def test_a_linear_law_is_recovered(c0: float, c1: float) -> None:
    law = line(c0, c1)
    model = taught(law)
    for tokens in (0, *PROMPTS, 10_000):
        assert predicted(model, tokens) == pytest.approx(law(tokens), rel=0.02, abs=1e-4)


@pytest.mark.parametrize("spread", [0.05, 0.2])
def test_of_noisy_samples_the_prediction_covers_about_nineteen_in_twenty(spread: float) -> None:
    law = line(0.03, 250e-6)
    model = taught(law, 200, spread)
    covered = total = 0
    for nth in range(200, 1200):
        tokens = prompt(nth)
        ttft_s = law(tokens) * noise(nth, spread)
        covered += ttft_s <= predicted(model, tokens)
        total += 1
        model.learn(tokens, ttft_s)
    assert 0.91 <= covered / total <= 0.99
    assert predicted(model, 500) <= law(500) * (1 + 2.5 * spread), "and not by being far too high"


@given(asked=st.lists(st.booleans(), min_size=40, max_size=300))
def test_who_asks_more_often_hears_the_same(asked: list[bool]) -> None:
    """Samples are reckoned with when somebody asks, each in its turn, and so is the margin found."""
    now_and_then, always = PrefillModel(), PrefillModel()
    law = line(0.03, 250e-6)
    for nth, asks in enumerate(asked):
        for model in (now_and_then, always):
            model.learn(prompt(nth), law(prompt(nth)) * noise(nth, 0.2))
        said = always.predict(500), always.slowdown, always.samples
        if asks:
            assert (now_and_then.predict(500), now_and_then.slowdown, now_and_then.samples) == said


def test_long_prompts_do_not_spoil_what_is_said_of_short_ones() -> None:
    """Ten that take half as long again: a second and a half more than expected, each."""
    law = line(0.03, 1e-3)
    model = taught(law, 400)
    for _ in range(10):
        model.learn(3000, 1.5 * law(3000))
    assert 0.9 * law(20) <= predicted(model, 20) <= 1.7 * law(20)


def test_no_time_is_below_nothing_however_steep_the_law_is() -> None:
    model = taught(lambda tokens: max(tokens - 300, 0) * 1e-3, 200)
    assert 0 <= predicted(model, 0) <= predicted(model, 1) <= predicted(model, 1200)


def test_too_few_samples_are_no_prediction() -> None:
    model = PrefillModel()
    for _ in range(MIN_SAMPLES - 1):
        model.learn(100, 0.1)
        assert model.predict(100) is None
    model.learn(100, 0.1)
    assert model.predict(100) is not None


def test_prompts_all_alike_are_predicted_by_their_mean() -> None:
    model = PrefillModel()
    for _ in range(60):
        model.learn(400, 0.2)
    assert predicted(model, 400) == pytest.approx(0.2)
    assert predicted(model, 4000) == pytest.approx(0.2), "nothing is known of the slope"


@pytest.mark.parametrize("factor", [2.0, 0.4])
def test_a_drift_is_followed(factor: float) -> None:
    law = line(0.03, 250e-6)
    model = taught(law, 300, 0.05)
    taught(line(0.03 * factor, 250e-6 * factor), 300, 0.05, model)
    for tokens in PROMPTS:
        assert predicted(model, tokens) == pytest.approx(factor * law(tokens), rel=0.15)


def test_right_after_a_change_the_margin_makes_up_for_the_old_fit() -> None:
    law = line(0.03, 250e-6)
    model = taught(law, 300, 0.05)
    taught(line(0.06, 500e-6), 24, 0.0, model)
    for tokens in PROMPTS:
        assert predicted(model, tokens) >= 2 * law(tokens) * 0.95


def test_what_is_longer_for_no_reason_is_no_shorter_for_longer_prompts() -> None:
    model = taught(lambda tokens: 1.0 - 1e-4 * tokens, 100)
    assert predicted(model, 100) <= predicted(model, 5000)


@given(
    samples=st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 4)), min_size=MIN_SAMPLES, max_size=80
    )
)
def test_whatever_it_learns_a_prediction_is_a_time_and_longer_prompts_take_no_less(
    samples: list[tuple[int, int]],
) -> None:
    model = PrefillModel()
    for hundreds, quarters in samples:
        model.learn(hundreds * 100, quarters / 4)
    times = [predicted(model, tokens) for tokens in (0, 1, 100, 1000, 100_000)]
    assert all(math.isfinite(time_s) and time_s >= 0 for time_s in times)
    assert times == sorted(times)
    assert math.isfinite(model.slowdown)
    assert len(model._ratios) <= RATIOS


def test_slowdown_is_how_many_times_its_best_a_first_token_takes_now() -> None:
    model = PrefillModel()
    assert model.slowdown == 1
    taught(line(0.03, 250e-6), MIN_SAMPLES - 1, model=model)
    assert model.slowdown == 1, "not known yet"
    taught(line(0.03, 250e-6), 100, model=model)
    assert model.slowdown == pytest.approx(1, rel=0.01)
    taught(line(0.12, 1e-3), 400, model=model)
    assert model.slowdown == pytest.approx(4, rel=0.25)


def test_slowdown_is_that_of_a_typical_prompt() -> None:
    model = taught(line(0.1, 1e-3), 100)
    taught(line(0.1, 4e-3), 400, model=model)
    assert model.slowdown > 2


def test_a_quicker_engine_is_the_best_from_then_on() -> None:
    model = taught(line(0.06, 500e-6), 100)
    taught(line(0.03, 250e-6), 400, model=model)
    assert model.slowdown == pytest.approx(1, rel=0.01)
    taught(line(0.06, 500e-6), 300, model=model)
    assert model.slowdown == pytest.approx(2, rel=0.2)


def test_an_engine_that_is_slow_for_good_is_not_called_slow_for_ever() -> None:
    model = taught(line(0.03, 250e-6), 100)
    taught(line(0.12, 1e-3), 6000, model=model)
    assert model.slowdown < 1.1
