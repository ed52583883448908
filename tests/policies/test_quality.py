"""The quality floor (INT-11): what may be in a route, for every intent and catalogue."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.catalog import Catalog, ModelCard
from contracts.policy import Intent
from contracts.quantities import Share
from policies.quality import Choice, below_floor, idle_fallbacks, route, why_below, worthy

PLAIN = Intent(name="plain")
GOOD = Intent(name="good", quality_floor=Share(0.6))
BEST = Intent(name="best", quality_floor=Share(0.85))


def test_a_route_is_the_model_then_its_fallbacks_that_hold(catalog: Catalog) -> None:
    assert route(Choice("big"), "big", PLAIN, catalog) == (
        "big", "small", "tiny", "near", "unrated",
    )  # fmt: skip
    assert route(Choice("big"), "big", GOOD, catalog) == ("big", "small", "near")
    assert route(Choice("small"), "small", PLAIN, catalog) == ("small",)


def test_a_chosen_model_below_the_floor_is_not_replaced_in_silence(catalog: Catalog) -> None:
    assert route(Choice("small"), "small", BEST, catalog) == ()
    falling = Catalog(models=catalog.models, routes={"small": ("small", "big")})
    assert route(Choice("small"), "small", BEST, falling) == ()


def test_a_pool_is_led_by_the_first_of_the_route_that_lives_there(catalog: Catalog) -> None:
    assert route(Choice("big", "local"), "big", GOOD, catalog) == ("near",)
    assert route(Choice("big", "cluster"), "big", GOOD, catalog) == ("big", "small")
    assert route(Choice("small", "local"), "small", PLAIN, catalog) == ()


def test_an_unrated_model_is_the_clients_own_to_choose(catalog: Catalog) -> None:
    assert route(Choice("unrated"), "unrated", GOOD, catalog) == ("unrated",)
    assert route(Choice("unrated"), "big", GOOD, catalog) == ()
    assert route(Choice("tiny"), "tiny", GOOD, catalog) == ()  # rated, and below


def test_a_name_that_is_only_a_route_leads_to_its_models(catalog: Catalog) -> None:
    alias = Catalog(models=catalog.models, routes={"best": ("near", "big")})
    assert route(Choice("best"), "best", GOOD, alias) == ("near", "big")
    assert route(Choice("nobody"), "nobody", PLAIN, catalog) == ()


def test_the_worthy_are_listed_in_order(catalog: Catalog) -> None:
    assert worthy(GOOD, catalog) == ["big", "near", "small"]
    exactly = Intent(name="exactly", quality_floor=Share(0.7))
    assert worthy(exactly, catalog) == ["big", "near", "small"]  # small has just that
    assert worthy(PLAIN, catalog) == ["big", "near", "small", "tiny", "unrated"]


@pytest.mark.parametrize(
    ("model", "why"),
    [
        ("tiny", "tiny has quality 0.3; the floor of intent good is 0.6"),
        ("unrated", "unrated is unrated; the floor of intent good is 0.6"),
    ],
)
def test_the_reason_has_both_numbers(catalog: Catalog, model: str, why: str) -> None:
    assert why_below(catalog.models[model], GOOD) == why


def test_a_fallback_below_every_floor_is_idle(catalog: Catalog) -> None:
    assert list(idle_fallbacks([PLAIN], catalog)) == []  # no floor, nothing is below it
    names = {
        catalog.routes[route][index]
        for route, index in idle_fallbacks([PLAIN, GOOD, BEST], catalog)
    }
    assert names == {"tiny", "unrated"}
    own = Catalog(models=catalog.models, routes={"unrated": ("unrated", "big")})
    assert list(idle_fallbacks([GOOD], own)) == []  # the client's own to choose


NAMES = st.sampled_from(["m0", "m1", "m2", "m3"])
QUALITY = st.one_of(st.none(), st.integers(0, 4).map(lambda n: n / 4))


@st.composite
def catalogs(draw: st.DrawFn) -> Catalog:
    cards = {
        name: ModelCard(
            name=name, pool=draw(st.sampled_from("pq")), upstream=name, quality=draw(QUALITY)
        )
        for name in draw(st.sets(NAMES))
    }
    routes = draw(st.dictionaries(NAMES, st.lists(NAMES, max_size=4).map(tuple)))
    return Catalog(models=cards, routes=routes)


@pytest.mark.req("INT-11")
@given(
    catalog=catalogs(),
    choice=st.builds(Choice, NAMES, st.one_of(st.none(), st.sampled_from("pq"))),
    asked=NAMES,
    floor=QUALITY,
)
def test_no_route_leads_below_the_floor(
    catalog: Catalog, choice: Choice, asked: str, floor: float | None
) -> None:
    intent = Intent(name="i", quality_floor=None if floor is None else Share(floor))
    found = route(choice, asked, intent, catalog)
    assert len(set(found)) == len(found)
    for name in found:
        card = catalog.models[name]
        assert choice.pool in (None, card.pool)
        assert name in (choice.model, *catalog.routes.get(choice.model, ()))
        assert not below_floor(card, intent) or (name == asked and card.quality is None)
    if found and choice.pool is None and choice.model in catalog.models:
        assert found[0] == choice.model


@pytest.mark.req("INT-11")
@given(catalog=catalogs(), choice=st.builds(Choice, NAMES), low=QUALITY, high=QUALITY)
def test_a_higher_floor_never_widens_a_route(
    catalog: Catalog, choice: Choice, low: float | None, high: float | None
) -> None:
    floors = sorted(-1.0 if floor is None else floor for floor in (low, high))
    lower, higher = (
        Intent(name="i", quality_floor=None if floor < 0 else Share(floor)) for floor in floors
    )
    assert set(route(choice, choice.model, higher, catalog)) <= set(
        route(choice, choice.model, lower, catalog)
    )
    assert set(worthy(higher, catalog)) <= set(worthy(lower, catalog))
