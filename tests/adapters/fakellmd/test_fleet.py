"""Several replicas: who gets a job, and that nothing is told twice or out of order."""

from collections.abc import Callable

import pytest

from adapters.fakellmd.fleet import Fleet, Placement
from adapters.fakellmd.model import Done, Job, Lost
from adapters.fakellmd.settings import LlmdSettings, ServedModel

pytestmark = pytest.mark.req("INT-9")
Build = Callable[..., LlmdSettings]


def job(number: int, tokens: int = 2) -> Job:
    return Job(id=number, prompt_tokens=4, output_tokens=tokens)


def test_the_least_loaded_replica_wins_and_ties_go_to_the_lower_number(exact: Build) -> None:
    fleet = Fleet(exact(replicas=3))
    placed = [fleet.submit(0.0, "m", job(number)).replica for number in range(7)]
    assert placed == [0, 1, 2, 0, 1, 2, 0]
    fleet.cancel(1, 0.0)
    assert fleet.submit(0.0, "m", job(8)).replica == 1


def test_load_is_judged_by_now_not_by_the_last_look(exact: Build) -> None:
    fleet = Fleet(exact(replicas=2))
    fleet.submit(0.0, "m", job(1, 100))
    fleet.submit(0.0, "m", job(2, 1))
    assert fleet.submit(1.0, "m", job(3)) == Placement(1, "running")


def test_events_of_all_replicas_come_in_time_order(exact: Build) -> None:
    fleet = Fleet(exact(replicas=2, max_num_seqs=2))
    for number in range(9):
        fleet.submit(number / 8, "m", job(number, 1 + number % 3))
    times = [event.at_s for event in fleet.advance(99.0)]
    assert times == sorted(times)
    assert fleet.next_event_s() is None


def test_a_job_ends_where_it_was_placed(exact: Build) -> None:
    models = (ServedModel(name="m"), ServedModel(name="other"))
    fleet = Fleet(exact(models=models))
    fleet.submit(0.0, "other", job(1))
    with pytest.raises(ValueError, match="live"):
        fleet.submit(0.0, "m", job(1))
    assert [e.job_id for e in fleet.advance(9.0) if isinstance(e, Done)] == [1]
    assert not fleet.cancel(1, 9.0)
    with pytest.raises(KeyError):
        fleet.submit(9.0, "nobody", job(2))


def test_lost_replicas_get_nothing(exact: Build) -> None:
    fleet = Fleet(exact(replicas=2))
    fleet.submit(0.0, "m", job(1))
    fleet.engines["m"][0].fail(0.25)
    assert Lost(1, 0.25) in fleet.advance(0.25)
    assert [fleet.submit(0.5, "m", job(n)).replica for n in (2, 3)] == [1, 1]
    fleet.engines["m"][1].fail(0.5)
    assert fleet.submit(0.5, "m", job(4)) == Placement(None, "down")


def test_pods_that_are_listed_as_down_are_lost_until_they_are_listed_no_more(exact: Build) -> None:
    fleet = Fleet(exact(replicas=3, pods_down={"m": (0,)}))
    placed = [fleet.submit(0.0, "m", job(number, 100)).replica for number in range(3)]
    assert placed == [1, 2, 1]
    fleet.reconfigure(0.25, exact(replicas=3, pods_down={"m": (0, 2)}))
    assert [e for e in fleet.advance(0.25) if isinstance(e, Lost)] == [Lost(1, 0.25)]
    fleet.reconfigure(0.5, exact(replicas=3))
    assert fleet.submit(0.5, "m", job(7)).replica == 0
    fleet.engines["m"][1].fail(0.5)  # by hand: other settings do not bring it back
    fleet.reconfigure(0.75, exact(replicas=3, max_num_seqs=9))
    assert [engine.alive for engine in fleet.engines["m"]] == [True, False, True]
