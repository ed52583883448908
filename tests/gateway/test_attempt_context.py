"""What a dialect is told beside the request: from the plan, the endpoint, the catalogue and the clock."""

import pytest

from contracts.catalog import Catalog, ModelCard
from contracts.events import Delta
from contracts.inference import RoutingPlan, Target
from gateway.attempt_context import attempt_context, continuing
from gateway.pools import Pool
from policies.resume import Sent
from tests.fakes.scripted import ScriptedTransport, answer
from tests.gateway.conftest import MakePool
from tests.gateway.test_executor import request

pytestmark = [pytest.mark.looptime, pytest.mark.req("RUN-1", "RUN-2")]
TARGET = Target(model="m", pool="a", upstream="real")


async def pool_and_plan(make_pool: MakePool) -> tuple[Pool, RoutingPlan]:
    return make_pool("a", ScriptedTransport(answer())), RoutingPlan(targets=(TARGET,), max_tokens=9)


async def test_the_endpoints_context_goes_before_the_catalogues(make_pool: MakePool) -> None:
    pool, plan = await pool_and_plan(make_pool)
    (endpoint,) = pool.endpoints
    card = ModelCard(name="m", pool="a", upstream="real", context=100)
    catalog = Catalog(models={"m": card})
    told = attempt_context(plan, TARGET, pool, endpoint, catalog, 1.5, 0.25)
    assert (told.upstream_model, told.context, told.max_tokens) == ("real", 100, 9)
    assert (told.waited_s, told.prefill_s, told.continues) == (1.5, 0.25, False)
    endpoint.state = type(endpoint.state)(live=True, ready=True, why="ok", context=50)
    assert attempt_context(plan, TARGET, pool, endpoint, catalog, 0.0).context == 50
    assert attempt_context(plan, TARGET, pool, endpoint, Catalog(), 0.0).template is None


@pytest.mark.parametrize(
    ("asked", "sent", "rest"), [(20, 3, 6), (5, 3, 2), (5, 7, 1), (None, 3, 6)]
)
async def test_who_continues_has_what_is_left_of_the_lowest_limit(
    make_pool: MakePool, asked: int | None, sent: int, rest: int
) -> None:
    pool, plan = await pool_and_plan(make_pool)
    context = attempt_context(plan, TARGET, pool, pool.endpoints[0], Catalog(), 0.0)
    had = Sent()
    had.note([Delta(content="word ")] * sent)
    infer = request(max_tokens=asked) if asked else request()
    told = continuing(context, infer, had)
    assert (told.max_tokens, told.continues) == (rest, True)
