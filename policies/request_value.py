"""What a rule reads of a request's own fields, with the rules so far taken into account. Pure.

Must stay true: every field has a value for every request; an absent text is "", an absent number 0.
"""

from typing import TYPE_CHECKING, Any

from contracts.inference import RequestFacts

if TYPE_CHECKING:  # a shape has policies, and those an index of what their rules read
    from policies.effects import Shape

_INT64_MAX = 2**63 - 1
"""CEL's integers. A client's number beyond that compares like the largest."""


def request_value(name: str, facts: RequestFacts, shape: "Shape") -> Any:
    """The field of that name in conditions: `request.model`. Headers are not one."""
    match name:
        case "model":
            return shape.model
        case "max_tokens":
            return min(shape.max_tokens or 0, _INT64_MAX)
        case "intent":
            return shape.intent.name
        case "priority":
            return shape.priority
    value = getattr(facts, name)
    return _INT64_MAX if type(value) is int and value > _INT64_MAX else value
