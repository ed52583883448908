"""What a caller's budget costs a request that it lets pass: nothing is worked out twice, or for nobody."""

import pytest

from contracts.catalog import Catalog, ModelCard
from contracts.config import BudgetEntry
from contracts.decision import Decision, Shaping
from contracts.events import Usage
from contracts.inference import Constraints, InferRequest, RequestFacts, Target
from contracts.quantities import Money, Period
from gateway.budgets import BudgetHold, Budgets
from gateway.metrics import Metrics
from gateway.progress import Progress
from tests.cost.in_memory import counting

pytestmark = pytest.mark.req("OPS-4")

CALLS = 46
"""To reserve, to settle, and to tell how it stands, of three limits. Four of them put something at a list's end or cut
a float: they count as much as others, and take a third of what makes a tuple anew, or a whole number by `int`."""
A_TENTH_MORE = 1.1
MINUTE, DAY = Period.parse("1m"), Period.parse("day")
LIMITS = (
    BudgetEntry(requests=10_000, per=MINUTE),
    BudgetEntry(tokens=10_000_000, per=MINUTE),
    BudgetEntry(cost=Money(1000.0), per=DAY),
)
CARD = ModelCard(name="m", pool="p", upstream="u", input_price=1.0, output_price=4.0, context=8000)
CATALOG = Catalog(models={"m": CARD})


def test_a_request_within_its_budget_takes_few_calls() -> None:
    budgets = Budgets(
        (), LIMITS, metrics=Metrics("test"), clock=lambda: 1.0, wall_clock=lambda: 1.0
    )
    facts = RequestFacts(operation="chat", model="m", key="web", prompt_tokens=10, max_tokens=20)
    infer = InferRequest(request_id="r", operation="chat", members={}, facts=facts)
    decision = Decision(
        intent="", shaping=Shaping(model="m"), models=("m",), constraints=Constraints()
    )
    answered = Progress(
        accepted_s=0.0,
        target=Target(model="m", pool="p", upstream="u"),
        dispatched_s=0.0,
        first_token_s=0.1,
        usage=Usage(prompt_tokens=10, completion_tokens=5),
    )

    def ask() -> int:
        with counting() as calls:
            hold = budgets.reserve(infer, decision, CATALOG)
            assert isinstance(hold, BudgetHold)
            hold.close(200, None, answered, 5, 1.0)
            told = budgets.lines("web")
        assert told.count("\r\n") == 9
        return calls.total()

    ask()  # the first one makes what all others find
    assert ask() <= CALLS * A_TENTH_MORE
