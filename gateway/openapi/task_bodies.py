"""What may be handed in as a task: requests of OpenAI's with the members of a task beside them."""

from typing import Any

from contracts.openai_api import ChatRequest, CompletionRequest
from gateway.openapi.references import Object

TASK_BODIES = ("ChatTask", "CompletionTask")


def task_bodies(components: dict[str, Any]) -> Object:
    """What may be handed in: OpenAI's requests with the members of a task beside them, the model left
    out where only one is served, and one answer each."""
    own = components["TaskRequest"]["properties"]
    bodies: Object = {}
    pairs = ((ChatRequest, "messages", "prompt"), (CompletionRequest, "prompt", "messages"))
    for name, (kind, member, other) in zip(TASK_BODIES, pairs, strict=True):
        asked = components[kind.__name__]["properties"]
        properties = {k: v for k, v in asked.items() if k not in ("stream", "stream_options")}
        properties |= {**own, "n": {"enum": [1, None]}, other: {"type": "null"}}
        properties["model"] = {"anyOf": [properties["model"], {"type": "null"}]}
        if member == "prompt":
            # Token ids: the engine looks at each of them, and here only at what the list begins with.
            first: Object = {"type": ["null", "boolean", "number", "object"]}
            tokens: Object = {"type": "array", "prefixItems": [first]}
            single: Object = {"type": "array", "maxItems": 1}
            properties["prompt"] = {"anyOf": [{"type": "string"}, tokens, single]}
        bodies[name] = {
            "type": "object",
            "description": f"A task, by {member}.",
            "properties": properties,
            "required": [member],
            "additionalProperties": True,
        }
    return bodies
