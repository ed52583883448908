"""Another engine in a pool: its lanes are steered as new ones, and what is promised or held stays."""

import pytest

from policies.admission import AdmissionQueue, AdmissionSettings
from policies.lines import Ticket
from policies.loop import Loop
from policies.steering import START_PER_ENDPOINT, PoolBounds
from tests.policies.scenarios import CATALOG, policy_set

pytestmark = pytest.mark.req("ENG-3", "INT-4")
POLICY = policy_set(
    "intents: [{name: i, match: {default: true}, objectives: {ttft_p95: 1s, tpot_p95: 40ms}}]"
)
LANE, OTHER = ("sim", "big"), ("other", "big")


def steered() -> tuple[Loop, dict[str, AdmissionQueue], float]:
    """Two pools whose streams have been far too slow for a while."""
    loop, now_s = Loop(POLICY, CATALOG, 0.0), 0.0
    queues = {}
    for pool in ("sim", "other"):
        told = AdmissionSettings(limit=200, max_waiting=500, timeout_s=60.0)
        queues[pool] = AdmissionQueue(told)
        loop.adopt(pool, queues[pool], PoolBounds(endpoints=1, ceiling=200.0))
        for request in range(30):
            queues[pool].offer(Ticket(request=request, lane="big"), now_s)
    for _ in range(60):
        now_s += 0.25
        for lane in (LANE, OTHER):
            loop.reach.went("i", lane, "big", 0, now_s)
            for _ in range(10):
                loop.signals.lane(lane).pace(now_s, 0.2)
        loop.tick(now_s)
    return loop, queues, now_s


def test_a_pools_limits_begin_anew_and_those_of_others_do_not() -> None:
    loop, queues, now_s = steered()
    low = queues["other"].lane("big").limit
    assert queues["sim"].lane("big").limit == low < START_PER_ENDPOINT
    loop.steering.caps[LANE] = 7.0
    trim = loop.steering.trim(LANE)

    loop.forget("sim", now_s)
    assert queues["sim"].lane("big").limit == START_PER_ENDPOINT
    assert loop.steering.limit_of(LANE) is None
    assert LANE not in loop.steering.reasons
    assert loop.steering.trim(LANE) is not trim
    assert loop.steering.caps[LANE] == 7.0, "an action that somebody holds"
    assert (queues["other"].lane("big").limit, loop.steering.limit_of(OTHER)) == (low, low)


def test_the_old_engines_pace_does_not_lower_the_new_ones_limit() -> None:
    loop, queues, now_s = steered()
    loop.forget("sim", now_s)
    for _ in range(8):
        now_s += 0.25
        for _ in range(10):
            loop.signals.lane(LANE).pace(now_s, 0.01)
        loop.reach.went("i", LANE, "big", 0, now_s)
        loop.tick(now_s)
    assert queues["sim"].lane("big").limit >= START_PER_ENDPOINT
    assert queues["other"].lane("big").limit < START_PER_ENDPOINT


def test_what_intents_were_given_is_not_forgotten() -> None:
    loop, _, now_s = steered()
    loop.signals.intent("i").ttft.add(now_s, 3.0)
    loop.forget("sim", now_s)
    (status,) = loop.statuses(now_s)
    assert next(o for o in status.objectives if o.objective == "ttft_p95").value is not None


def test_a_pool_that_nobody_steers_yet_is_no_trouble() -> None:
    loop = Loop(POLICY, CATALOG, 0.0)
    loop.forget("unknown", 0.0)
