"""Routes, and what they say besides their targets."""

from pathlib import Path

import pytest

from contracts.catalog import RouteOptions
from tests.support.configured import ONE_POOL, load_text, problems


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
        ("routes: {m: []}", "1:13: routes.m: an empty route"),
        ("routes: {m: {targets: []}}", "1:23: routes.m.targets: an empty route"),
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
    assert loaded.catalog.routes == {
        "a": ("assistant",),
        "b": ("assistant", "assistant-small"),
        "c": ("assistant",),
    }
    assert loaded.catalog.route_options == {
        "b": RouteOptions(resume="continue", hedge_after_s=2.0, hedge_budget=0.05),
        "c": RouteOptions(),
    }
