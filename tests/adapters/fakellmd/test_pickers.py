"""A picker for each model: nothing of one is felt by another, and without queues nothing is due."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from adapters.fakellmd.endpoint_picker import Forward
from adapters.fakellmd.epp_drops import Outcome
from adapters.fakellmd.epp_settings import EppSettings, Saturation
from adapters.fakellmd.fleet import Fleet
from adapters.fakellmd.inflight import Call
from adapters.fakellmd.model import Job
from adapters.fakellmd.pickers import Pickers
from adapters.fakellmd.settings import LlmdSettings, ServedModel

pytestmark = pytest.mark.req("INT-9")
Build = Callable[..., LlmdSettings]
MakeCall = Callable[..., Call]


class Silent:
    def queue_left(self, call: Call, outcome: Outcome, waited_s: float) -> None:
        pass


class Scene:
    def __init__(self, settings: LlmdSettings) -> None:
        self.settings = settings
        self.fleet = Fleet(settings)
        self.pickers = Pickers(self.fleet, settings, Silent(), started_s=0.0)


@pytest.fixture
def scene_of(exact: Build) -> Callable[..., Scene]:
    def build(**epp: Any) -> Scene:
        models = (ServedModel(name="a"), ServedModel(name="b"))
        return Scene(exact(models=models, epp=EppSettings(**epp)))

    return build


Make = Callable[..., Scene]
ONE_AT_ONCE = Saturation(detector="concurrency", max_concurrency=1)


def test_a_full_pool_does_not_hold_up_another(scene_of: Make, make_call: MakeCall) -> None:
    pickers = scene_of(flow_control=True, saturation=ONE_AT_ONCE).pickers
    for number, model in ((1, "a"), (2, "a"), (3, "b")):
        effects = pickers.arrive(0.0, make_call(number, target=model))
        assert [effect.call for effect in effects] == ([] if number == 2 else [number])
        for effect in effects:
            pickers.placed(make_call(effect.call, target=model), 0)
    pickers.release(0.5, make_call(3, target="b"))
    assert pickers.wake(0.5) == []
    pickers.release(0.5, make_call(1, target="a"))
    assert pickers.next_event_s() == 0.5
    (forward,) = pickers.wake(0.5)
    assert isinstance(forward, Forward)
    assert forward.call == 2
    with pytest.raises(KeyError):
        pickers.arrive(0.0, make_call(4, target="nobody"))


def test_without_flow_control_nothing_is_ever_due(scene_of: Make, make_call: MakeCall) -> None:
    pickers = scene_of().pickers
    for number in range(20):
        assert len(pickers.arrive(0.0, make_call(number, target="a"))) == 1
    pickers.poke(0.0)
    assert pickers.next_event_s() is None
    assert pickers.wake(9.0) == []


def test_flow_control_can_be_turned_on_while_calls_are_under_way(
    scene_of: Make, make_call: MakeCall
) -> None:
    scene = scene_of(saturation=ONE_AT_ONCE)
    first = make_call(1, target="a")
    scene.pickers.arrive(0.0, first)
    scene.pickers.placed(first, 0)
    on = msgspec.structs.replace(scene.settings.epp, flow_control=True)
    settings = msgspec.structs.replace(scene.settings, epp=on)
    assert scene.pickers.configure(0.5, settings) == []
    assert scene.pickers.arrive(0.5, make_call(2, target="a")) == []
    scene.pickers.completed(0.7, first, 9)
    scene.pickers.release(0.7, first)
    assert [effect.call for effect in scene.pickers.wake(0.7)] == [2]
    assert scene.pickers.shutdown(0.8) == []


def test_a_look_before_a_change_is_what_a_scrape_sees(scene_of: Make) -> None:
    scene = scene_of(flow_control=True, scrape_interval_s=0.5)
    pool = scene.pickers.pools["a"]
    scene.pickers.look(0.7)  # the scrape at 0.5
    scene.fleet.submit(0.7, "a", Job(id=1, prompt_tokens=1, output_tokens=99))
    assert pool.scheduler.scrapes.read(0.9)[0].running == 0
    scene.pickers.look(1.1)
    assert pool.scheduler.scrapes.read(1.1)[0].running == 1
