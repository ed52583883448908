"""The places of many entries at one moment."""

from collections.abc import Callable

import pytest

from gateway.pools import Pool
from gateway.tasks.places import PlacesAtOnce
from tests.fakes.scripted import ScriptedTransport, answer

MakePool = Callable[..., Pool]
pytestmark = pytest.mark.req("ADM-1", "RUN-4")


async def test_they_are_those_that_each_would_be_told_and_each_pool_is_asked_once(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools = [
        make_pool(name, ScriptedTransport(answer()), slots=1, max_tasks=3)
        for name in ("one", "other")
    ]
    entries = [pool.enter(0, patient=True) for pool in pools for _ in range(5)]
    one_by_one = [entry.place() for entry in entries]
    asked: list[str] = []
    places = Pool.places
    monkeypatch.setattr(Pool, "places", lambda pool: asked.append(pool.id) or places(pool))
    place_of = PlacesAtOnce()
    assert list(map(place_of, entries)) == one_by_one
    assert one_by_one[-2] is not None
    assert one_by_one[-1] is None, "refused: there were three before it"
    assert asked == ["one", "other"]
