"""What can be named, and where a doubt leaves it open."""

from pathlib import Path

from tests.support.configured import ONE_POOL, load_text, problems


def test_a_route_may_name_what_a_pool_may_yet_list(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, ONE_POOL + "routes: {x: [unknown]}\n")
    assert loaded.catalog.discovering
    assert loaded.catalog.routes == {"x": ("unknown",)}


def test_with_an_unread_pool_to_spare_a_route_may_still_be_discovered(tmp_path: Path) -> None:
    pools = "pools: [{id: a, engine: openai}, {id: b, engine: openai}]\n"
    text = f"{pools}models: [{{name: m, pool: c}}]\nroutes: {{m: [x]}}"
    assert [problem.split(": ")[1] for problem in problems(tmp_path, text)] == ["models[0].pool"]


def test_a_trusted_proxy_may_name_any_caller(tmp_path: Path) -> None:
    assert load_text(tmp_path, "auth: {trust_proxy_auth: true}\n").catalog.open_keys
