"""Several engines on one clock."""

import msgspec
import pytest

from adapters.fakellmd.model import Done, Job
from adapters.fakellmd.settings import Latency, LlmdSettings, ServedModel
from gateway.simulation.engines import Engines

pytestmark = pytest.mark.req("INT-12")
A, B = ("sim", "a"), ("sim", "b")


def settings(name: str, gap_s: float = 1.0, **more: object) -> LlmdSettings:
    latency = Latency(
        prefill_overhead_s=0.0,
        prefill_time_per_token_s=0.0,
        prefill_time_std_dev_s=0.0,
        inter_token_latency_s=gap_s,
        inter_token_latency_std_dev_s=0.0,
        time_factor_under_load=1.0,
    )
    base = LlmdSettings(models=(ServedModel(name=name),), latency=latency, max_num_seqs=1)
    return msgspec.structs.replace(base, **more)


def job(number: int, tokens: int = 3) -> Job:
    return Job(id=number, prompt_tokens=1, output_tokens=tokens, every_token=False)


def done(engines: Engines, now_s: float) -> list[int]:
    return [event.job_id for event in engines.advance(now_s) if isinstance(event, Done)]


def test_each_lane_has_its_own_engine() -> None:
    engines = Engines({A: settings("a"), B: settings("b", 2.0)})
    assert engines.submit(0.0, A, job(1)) == "running"
    assert engines.submit(0.0, B, job(2)) == "running"
    assert engines.submit(0.0, A, job(3)) == "waiting"
    assert done(engines, 3.0) == [1]
    assert engines.progress(B, 2, 3.0) == (2, 2.0)
    assert done(engines, 10.0) == [3, 2]


def test_events_of_all_lanes_come_in_the_order_of_time() -> None:
    engines = Engines({A: settings("a", 3.0), B: settings("b", 1.0)})
    engines.submit(0.0, A, job(1))
    engines.submit(0.0, B, job(2))
    events = engines.advance(10.0)
    assert [event.at_s for event in events] == sorted(event.at_s for event in events)
    assert [event.job_id for event in events if isinstance(event, Done)] == [2, 1]


def test_at_one_time_the_first_lane_comes_first() -> None:
    engines = Engines({A: settings("a"), B: settings("b")})
    engines.submit(0.0, B, job(2))
    engines.submit(0.0, A, job(1))
    assert done(engines, 2.0) == [1, 2]


@pytest.mark.parametrize("lanes", [1, 2])
def test_the_next_event_is_the_earliest_of_all(lanes: int) -> None:
    told = {A: settings("a", 3.0), B: settings("b", 1.0)}
    engines = Engines(dict(list(told.items())[:lanes]))
    assert engines.next_event_s() is None
    engines.submit(5.0, A, job(1))
    engines.advance(5.0)
    assert engines.next_event_s() == 11.0
    if lanes == 2:
        engines.submit(5.0, B, job(2))
        engines.advance(5.0)
        assert engines.next_event_s() == 7.0


def test_an_engines_own_queue_is_never_full() -> None:
    engines = Engines({A: settings("a", max_waiting_queue_length=1)})
    admitted = [engines.submit(0.0, A, job(number)) for number in range(50)]
    assert admitted == ["running", *["waiting"] * 49]


def test_a_pool_has_as_many_endpoints_as_its_best_furnished_model_replicas() -> None:
    engines = Engines({A: settings("a", replicas=2), B: settings("b", replicas=3)})
    assert engines.endpoints("sim") == 3
    assert engines.endpoints("elsewhere") == 1
