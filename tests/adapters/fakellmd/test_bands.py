"""The queues: what they hold, for whom there is room, and that nothing is lost when they change."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.fakellmd.bands import Band, Bands
from adapters.fakellmd.epp_settings import Band as BandSettings
from adapters.fakellmd.epp_settings import BandPolicy, EppSettings
from adapters.fakellmd.ordering import Ask, Item

pytestmark = pytest.mark.req("INT-9")


def item(order: int, flow: str = "a", body_bytes: int = 10, priority: int = 0) -> Item:
    ask = Ask(call=order, priority=priority, flow=flow, body_bytes=body_bytes, received_s=0.0)
    return Item(ask, float(order), order, ttl_s=100.0 - 2 * order)


def test_a_flow_is_there_as_long_as_it_holds_something() -> None:
    band = Band(0, BandPolicy())
    for order, flow in ((1, "a"), (2, "b"), (3, "a")):
        band.push(item(order, flow))
    assert (band.requests, band.bytes, sorted(band.flows)) == (3, 30, ["a", "b"])
    assert band.head("a")[1].order == 1
    assert [band.pop("a").order, band.pop("a").order] == [1, 3]
    assert list(band.flows) == ["b"]
    assert (band.requests, band.bytes) == (1, 10)
    with pytest.raises(KeyError):
        band.pop("a")


def test_a_band_is_full_by_requests_or_by_bytes_and_zero_is_no_bound() -> None:
    band = Band(0, BandPolicy(max_requests=2, max_bytes=25))
    band.push(item(1))
    assert band.has_room(15)
    assert not band.has_room(16)
    band.push(item(2))
    assert not band.has_room(0)
    band.reconfigure(BandPolicy(max_requests=0, max_bytes=0))
    assert band.has_room(10**12)


def test_sweeping_takes_what_is_over_and_keeps_the_order_of_the_rest() -> None:
    band = Band(0, BandPolicy())
    for order in range(1, 9):
        band.push(item(order, "ab"[order % 2]))
    swept = band.sweep(lambda item: item.order in (1, 2, 3, 5, 7))
    assert [item.order for item in swept] == [1, 2, 3, 5, 7]
    assert list(band.flows) == ["a"]
    assert [band.pop("a").order for _ in range(3)] == [4, 6, 8]
    assert (band.requests, band.bytes) == (0, 0)


def test_another_ordering_is_in_force_at_once() -> None:
    band = Band(0, BandPolicy())
    for order in (1, 2, 3):
        band.push(item(order))
    band.reconfigure(BandPolicy(ordering="edf"))  # the later it came, the sooner it expires
    assert [band.pop("a").order for _ in range(3)] == [3, 2, 1]


def test_bands_come_highest_first_and_a_bound_may_span_them_all() -> None:
    settings = EppSettings(objectives={"hi": 5, "lo": -5}, max_requests=2, max_bytes=25)
    bands = Bands(settings)
    assert bands.priorities == [5, 0, -5]
    assert len(bands) == 3
    bands[5].push(item(1, priority=5))
    assert bands.has_room(-5, 15)
    assert not bands.has_room(-5, 16)
    bands[0].push(item(2))
    assert bands.requests == 2
    assert not bands.has_room(-5, 0)


def test_a_band_that_nobody_names_any_more_stays_until_it_is_empty() -> None:
    bands = Bands(EppSettings(objectives={"hi": 5, "lo": -5}))
    bands[5].push(item(1, priority=5))
    bands.reconfigure(EppSettings(priority_bands=(BandSettings(priority=7),)))
    assert bands.priorities == [7, 5, 0]
    bands[5].pop("a")
    bands.reconfigure(EppSettings())
    assert bands.priorities == [0]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5), st.booleans()), max_size=30))
def test_what_a_band_says_it_holds_is_what_is_in_it(steps: list[tuple[str, int, bool]]) -> None:
    band = Band(0, BandPolicy())
    inside: list[Item] = []
    for order, (flow, body_bytes, push) in enumerate(steps):
        if push or flow not in band.flows:
            inside.append(item(order, flow, body_bytes))
            band.push(inside[-1])
        else:
            inside.remove(band.pop(flow))
        assert band.requests == len(inside)
        assert band.bytes == sum(item.ask.body_bytes for item in inside)
        assert set(band.flows) == {item.ask.flow for item in inside}
