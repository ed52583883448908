"""The limit's law in a closed loop with the fake engine's own latency law."""

from collections import deque

import pytest

from adapters.fakellmd import law
from adapters.fakellmd.settings import Latency, LlmdSettings, ServedModel
from policies.limit import OPEN_S, LimitBounds, LimitReading, LimitState, step

pytestmark = pytest.mark.req("INT-4", "INT-5")

TICK_S = 0.25
BOUNDS = LimitBounds(floor=1.0, ceiling=512.0)

ENGINES = [
    # max_num_seqs, time_factor_under_load, inter_token_latency_s, objective: n* of 20 to 171
    (96, 3.0, 0.012, 0.025),
    (256, 4.0, 0.010, 0.030),
    (64, 2.0, 0.020, 0.035),
    (128, 6.0, 0.008, 0.030),
    (96, 3.0, 0.012, 0.020),
]
Engine = tuple[int, float, float, float]


def told(engine: Engine, slower: float = 1.0) -> LlmdSettings:
    sequences, factor, gap_s, _ = engine
    latency = Latency(inter_token_latency_s=gap_s * slower, time_factor_under_load=factor)
    return LlmdSettings(models=(ServedModel(name="m"),), max_num_seqs=sequences, latency=latency)


class Plant:
    """The fake's analytic law behind a limit. A place that is free is filled at once, as long as there is
    work; requests end one by one. TPOT is seen late, averaged over `lag_ticks`, and with noise that is the
    same in every run."""

    OUTPUT_TOKENS = 100

    def __init__(self, engine: Engine, lag_ticks: int = 4, noise: float = 0.04) -> None:
        self.engine, self.noise = engine, noise
        self.slower = 1.0
        self.demand = 10**6
        self.running = 0.0
        self.state = LimitState(limit=16.0)
        self.ticks = 0
        self.gaps: deque[float] = deque(maxlen=lag_ticks)
        self.limits: list[float] = []

    def _gap_s(self) -> float:
        settings = told(self.engine, self.slower)
        return law.gap_s(settings.latency, max(int(self.running), 1), settings.max_num_seqs)

    def tick(self, silent: bool = False) -> None:
        ended = self.running * TICK_S / (self.OUTPUT_TOKENS * self._gap_s())
        allowed = min(int(self.state.limit), self.demand)
        self.running = max(max(self.running - ended, 0.0), float(allowed))
        self.running = min(self.running, float(max(self.demand, 0)))
        self.gaps.append(self._gap_s())
        wobble = 1 + self.noise * (2 * (self.ticks * 0.6180339887498949 % 1.0) - 1)
        seen = LimitReading(
            tpot_s=None if silent else sum(self.gaps) / len(self.gaps) * wobble,
            tpot_objective_s=self.engine[3],
            binding=self.demand > self.state.limit,
            inflight=int(self.running),
        )
        self.state, _ = step(self.state, seen, BOUNDS, self.ticks * TICK_S)
        self.ticks += 1
        self.limits.append(self.state.limit)

    def run(self, seconds: float, silent: bool = False) -> "Plant":
        for _ in range(int(seconds / TICK_S)):
            self.tick(silent)
        return self

    @property
    def n_star(self) -> float:
        return law.optimal_concurrency(told(self.engine, self.slower), self.engine[3])

    def last(self, seconds: float) -> list[float]:
        return self.limits[-int(seconds / TICK_S) :]


def settled(plant: Plant, within: float = 0.1) -> bool:
    return all(abs(limit / plant.n_star - 1) <= within for limit in plant.last(20))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("lag_ticks", [1, 4, 8])
@pytest.mark.parametrize("start", [1.0, 16.0, 512.0])
def test_saturated_it_finds_the_optimum_from_below_and_from_above(
    engine: Engine, lag_ticks: int, start: float
) -> None:
    plant = Plant(engine, lag_ticks)
    plant.state = LimitState(limit=start)
    plant.run(60)
    assert settled(plant)


@pytest.mark.parametrize("engine", ENGINES[:2] + ENGINES[3:4])
@pytest.mark.parametrize("lag_ticks", [1, 8])
def test_it_finds_the_new_optimum_of_an_engine_that_slows_down_and_recovers(
    engine: Engine, lag_ticks: int
) -> None:
    plant = Plant(engine, lag_ticks)
    fast = plant.run(40).n_star
    plant.slower = 1.5
    plant.run(40)
    assert plant.n_star < 0.6 * fast
    assert settled(plant)
    plant.slower = 1.0
    plant.run(60)
    assert settled(plant)


@pytest.mark.parametrize("engine", ENGINES)
def test_however_flat_the_law_tokens_come_in_time_and_hardly_sooner(engine: Engine) -> None:
    """Where one more request costs little time, a percent of time is many requests: what is kept is the
    objective."""
    slow = (engine[0], engine[1], engine[3] * 0.8, engine[3])
    plant = Plant(slow).run(60)
    settings = told(slow)
    for limit in plant.last(20):
        gap_s = law.gap_s(settings.latency, int(limit), settings.max_num_seqs)
        assert 0.92 * engine[3] <= gap_s <= engine[3]


def test_a_step_of_demand_from_below_to_above_is_followed_without_a_great_overshoot() -> None:
    plant = Plant(ENGINES[0])
    plant.demand = 10
    plant.run(30)
    assert set(plant.last(25)) == {plant.last(1)[0]}, "it holds nothing back, so it does not move"
    plant.demand = 10**6
    plant.run(40)
    assert settled(plant)
    assert max(plant.limits) < 1.3 * plant.n_star


def test_a_ramp_of_slowness_is_followed() -> None:
    plant = Plant(ENGINES[0]).run(30)
    for tick in range(240):
        plant.slower = 1.0 + 0.5 * tick / 240
        plant.tick()
        assert plant.limits[-1] < 1.15 * plant.n_star
    plant.run(20)
    assert settled(plant)


def test_after_a_spike_it_is_back_within_seconds() -> None:
    plant = Plant(ENGINES[0]).run(40)
    plant.slower = 4.0
    plant.run(2)
    plant.slower = 1.0
    assert min(plant.last(2)) < 0.8 * plant.n_star
    plant.run(30)
    assert settled(plant)


def test_through_silence_it_stays_where_it_was() -> None:
    plant = Plant(ENGINES[0]).run(40)
    before = plant.state.limit
    plant.run(60, silent=True)
    assert set(plant.last(60)) == {before}
    plant.run(30)
    assert settled(plant)


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.2])
def test_noise_makes_it_cautious_and_not_restless(noise: float) -> None:
    plant = Plant(ENGINES[0], noise=noise).run(60)
    limits = plant.last(30)
    assert 0.75 * plant.n_star <= min(limits)
    assert max(limits) <= 1.05 * plant.n_star
    assert max(limits) / min(limits) < 1.25


def test_an_engine_that_cannot_meet_the_objective_is_opened_and_looked_at_again() -> None:
    plant = Plant((96, 3.0, 0.030, 0.025)).run(120)
    assert plant.n_star == 0
    assert plant.state.limit == BOUNDS.ceiling
    plant.slower = 0.4
    plant.run(OPEN_S + 60)
    assert settled(plant)
