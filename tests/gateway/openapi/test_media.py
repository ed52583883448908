"""Bodies and events."""

import msgspec
import pytest

from gateway.openapi.media import event_schema, event_stream, json_content, named_event_schema


class Kind(msgspec.Struct):
    pass


KIND = {"$ref": "#/components/schemas/Kind"}


def test_a_body_is_one_kind_or_any_of_some() -> None:
    assert json_content(Kind) == {"application/json": {"schema": KIND}}
    assert json_content(Kind, Kind) == {"application/json": {"schema": {"anyOf": [KIND, KIND]}}}


@pytest.mark.req("RUN-3")
def test_the_data_of_an_event_is_json_in_a_text() -> None:
    event = event_schema(Kind)
    assert event["properties"]["data"]["contentSchema"] == KIND
    assert event["required"] == ["data"]
    assert event_stream(event) == {"text/event-stream": {"schema": event}}
    assert event_stream(event, event)["text/event-stream"]["schema"] == {"anyOf": [event, event]}


@pytest.mark.req("RUN-3")
def test_an_event_is_named_by_hand_with_an_id_or_after_its_type_without_one() -> None:
    by_hand = event_schema(Kind, named="end")
    assert by_hand["properties"]["event"] == {"const": "end"}
    assert by_hand["required"] == ["data", "event", "id"]
    after_its_type = named_event_schema(Kind)
    assert after_its_type["properties"]["event"] == {"type": "string"}
    assert after_its_type["required"] == ["data", "event"]
