"""What is in a body: JSON, or a stream of events."""

import msgspec

from gateway.openapi.references import Object, reference


def json_content(*kinds: type[msgspec.Struct]) -> Object:
    references = [reference(kind) for kind in kinds]
    schema = references[0] if len(references) == 1 else {"anyOf": references}
    return {"application/json": {"schema": schema}}


def event_stream(*kinds: Object) -> Object:
    """A stream of these events. Each is described by its fields, as OpenAPI 3.2 has it and tools for 3.1
    read it too: the `schema` of a stream is that of one event."""
    return {"text/event-stream": {"schema": kinds[0] if len(kinds) == 1 else {"anyOf": [*kinds]}}}


def event_schema(kind: type[msgspec.Struct], *, named: str | None = None) -> Object:
    """An event whose data is a `kind` as JSON; those with a name have an id as well."""
    data = {
        "type": "string",
        "contentMediaType": "application/json",
        "contentSchema": reference(kind),
    }
    fields: Object = {"data": data}
    if named is not None:
        fields |= {"event": {"const": named}, "id": {"type": "string", "pattern": "^[0-9]+$"}}
    return {"type": "object", "properties": fields, "required": [*fields]}


def named_event_schema(kind: type[msgspec.Struct]) -> Object:
    """An event whose name is the `type` of its data, and which has no id."""
    event = event_schema(kind)
    event["properties"]["event"] = {"type": "string"}
    return {**event, "required": ["data", "event"]}
