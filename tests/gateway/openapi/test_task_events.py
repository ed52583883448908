"""The events of a task."""

import pytest

from gateway.openapi.task_events import TASK_EVENTS
from tests.support.described import DOCUMENT


@pytest.mark.req("ADM-4", "OPS-3")
def test_a_stream_of_a_task_has_these_events() -> None:
    answer = DOCUMENT["paths"]["/v1/tasks/{id}/stream"]["get"]["responses"]["200"]
    described = answer["content"]["text/event-stream"]["schema"]["anyOf"]
    assert {
        event["properties"]["event"]["const"]: event["properties"]["data"]["contentSchema"]
        for event in described
    } == {
        name: {"$ref": f"#/components/schemas/{kind.__name__}"}
        for name, kind in TASK_EVENTS.items()
    }
