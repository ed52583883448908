"""Routes, and what they say besides their targets."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from contracts.catalog import RouteOptions
from tests.support.configured import ONE_POOL, load_text, problems

EMPTY = "an empty route (name the models to try, or leave the route out)"


@pytest.mark.req("SEC-4")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            ONE_POOL + "models: [{name: model, pool: a}]\nroutes: {x: [modle]}",
            "3:14: routes.x[0]: there is no model 'modle' (did you mean 'model'?)",
        ),
        (
            ONE_POOL + "models: [{name: m, pool: a}]\nroutes: {m: [m, m]}",
            "3:17: routes.m[1]: 'm' is tried twice",
        ),
        ("routes: {m: []}", f"1:13: routes.m: {EMPTY}"),
        ("routes: {m: {targets: []}}", f"1:23: routes.m.targets: {EMPTY}"),
        (
            'routes: {"a\\nb": [assistant]}',
            "1:9: routes: a route's name is no text of 1 to 256 printable characters",
        ),
        (
            ONE_POOL + "models: [{name: m, pool: a}]\nroutes: {m: {targets: [m, b]}}",
            "3:27: routes.m.targets[1]: there is no model 'b' (known: m)",
        ),
        (
            "routes: {m: {targets: [assistant], resume: maybe}}",
            "1:44: routes.m.resume: expected one of continue, off, replay",
        ),
        (
            "routes: {m: {targets: [assistant], hedge: {after: 0}}}",
            "1:51: routes.m.hedge.after: must be more than zero",
        ),
        (
            "routes: {m: {targets: [assistant], hedge: {after: 1s, budget: 2}}}",
            "1:63: routes.m.hedge.budget: expected a share such as 1% or 0.01, at most 100%, got 2",
        ),
        ("routes: {m: {resume: off}}", "1:13: routes.m: the field 'targets' is missing"),
        ("routes: {m: assistant}", "1:13: routes.m: expected a list or a mapping, got text"),
    ],
)
def test_a_part_that_does_not_fit_is_named_at_its_place(
    tmp_path: Path, text: str, expected: str
) -> None:
    assert problems(tmp_path, text) == [expected]


@pytest.mark.req("RUN-7")
def test_a_list_is_short_for_the_targets_of_a_route(tmp_path: Path) -> None:
    loaded = load_text(
        tmp_path,
        "routes: {a: [assistant], b: {targets: [assistant, assistant-small], resume: continue, "
        "hedge: {after: 2s, budget: 5%}}, c: {targets: [assistant]}}",
    )
    assert loaded.catalog.routes == {"a": ("a",), "b": ("b", "assistant-small"), "c": ("c",)}
    assert loaded.catalog.route_options == {
        "b": RouteOptions(resume="continue", hedge_after_s=2.0, hedge_budget=0.05),
        "c": RouteOptions(),
    }


@pytest.mark.req("RUN-7")
def test_a_route_is_a_name_that_policies_may_use(tmp_path: Path) -> None:
    models = load_text(tmp_path, "routes: {chat: [assistant-small]}").catalog.models
    assert models["chat"] == replace(models["assistant-small"], name="chat")
    open_yet = load_text(tmp_path, ONE_POOL + "routes: {chat: [listed-later]}").catalog
    assert (open_yet.models, open_yet.routes) == ({}, {"chat": ("listed-later",)})


def test_to_go_on_where_nobody_can_is_doubtful(tmp_path: Path) -> None:
    text = (
        "pools: [{id: o, engine: openai}, {id: l, engine: llamacpp, endpoint: 'http://127.0.0.1:1'}]\n"
        "models: [{name: a, pool: o}, {name: b, pool: l}]\n"
        "routes: {a: {targets: [%s], resume: continue}}"
    )
    (told,) = load_text(tmp_path, text % "a").warnings
    assert (told.path, told.position.line) == ("routes.a.resume", 3)
    assert "so it is done as replay (prefill: true" in str(told)
    assert not load_text(tmp_path, text % "a, b").warnings
    assert not load_text(tmp_path, (text % "a").replace("continue", "replay")).warnings
