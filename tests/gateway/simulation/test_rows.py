"""The rows of `--requests`."""

import csv
import io

import pytest

from gateway.simulation.outcome import Outcome
from gateway.simulation.rows import COLUMNS, write_rows

pytestmark = pytest.mark.req("INT-12")


def written(*outcomes: Outcome) -> str:
    out = io.StringIO(newline="")
    write_rows(outcomes, out)
    return out.getvalue()


def served() -> Outcome:
    outcome = Outcome(12.3456789, "a,b", 100)
    outcome.intent, outcome.model, outcome.fate = "chat", "big", "served"
    outcome.output_tokens, outcome.queued_s, outcome.finish_reason = 7, 0.0, "stop"
    outcome.ttft_s, outcome.tpot_s, outcome.e2e_s = 0.1, 0.02, 0.22
    outcome.cost_usd = 0.000123456
    return outcome


def test_the_columns_are_those_that_were_promised() -> None:
    assert ",".join(COLUMNS) == (
        "arrival_s,intent,tenant,model,fate,input_tokens,output_tokens,queued_s,ttft_s,tpot_s,e2e_s,"
        "finish_reason,cost_usd"
    )
    assert written() == ",".join(COLUMNS) + "\n"


def test_a_served_request_has_all_of_them() -> None:
    assert written(served()).splitlines()[1] == (
        '12.345679,chat,"a,b",big,served,100,7,0.000000,0.100000,0.020000,0.220000,stop,0.00012346'
    )


def test_what_does_not_apply_is_empty() -> None:
    refused = Outcome(1.0, "", 5)
    refused.fate, refused.finish_reason = "refused", "deadline"
    (row,) = csv.DictReader(io.StringIO(written(refused)))
    given = {name: value for name, value in row.items() if value}
    assert given == {
        "arrival_s": "1.000000",
        "fate": "refused",
        "input_tokens": "5",
        "finish_reason": "deadline",
    }


def test_rows_come_in_the_order_of_the_outcomes_and_read_back() -> None:
    first, second = served(), Outcome(13.0, "x\ny", 1)
    rows = list(csv.DictReader(io.StringIO(written(first, second))))
    assert [row["tenant"] for row in rows] == ["a,b", "x\ny"]
