"""The headers of answers, and those by which an inference's answer tells how it came to be."""

from collections.abc import Iterable

from gateway.openapi.references import Object

_BUDGET_HEADERS: dict[str, tuple[str, str]] = {
    f"{name}-{unit}": (
        kind,
        f"{text} in the caller's budget of {words}, on every answer to one that has it.",
    )
    for unit, words, amount, names in (
        ("requests", "requests", "integer", "x-ratelimit"),
        ("tokens", "tokens", "integer", "x-ratelimit"),
        ("usd", "US dollars", "number", "x-setpoint-budget"),
    )
    for name, kind, text in (
        (f"{names}-limit", amount, "What may be used at most"),
        (f"{names}-remaining", amount, "What is left"),
        (f"{names}-reset", "string", "How long until all of it is free again (`6m0s`, `20ms`),"),
    )
} | {
    "x-setpoint-budget-unpriced-requests": (
        "integer",
        "Requests of this caller that a budget of money could not count: their models have no price.",
    ),
    "x-setpoint-budget-estimated-requests": (
        "integer",
        "Requests of this caller that its budgets count by an estimate: no engine told their usage.",
    ),
}
HEADERS: dict[str, tuple[str, str]] = {
    "x-request-id": (
        "string",
        "The request's own x-request-id (up to 128 visible ASCII characters), else a new one.",
    ),
    "request-id": ("string", "The same, where Anthropic's SDKs look for it."),
    "x-setpoint-tokens-estimated": (
        "string",
        "`false`: the backend's own tokenizer counted; `true`: the number follows from the size.",
    ),
    "x-setpoint-intent": ("string", "The intent that the request fell under, or `none`."),
    "x-setpoint-decision": ("string", "What was decided, by which rules, in one line."),
    "x-setpoint-model": ("string", "The model that answered, where one was asked."),
    "x-setpoint-dropped": (
        "string",
        "Parameters that the backend cannot do and that were left out, with commas; absent without any.",
    ),
    "x-setpoint-attempts": ("integer", "Attempts made at backends."),
    "x-setpoint-cost-usd": (
        "number",
        "What the answer cost, where its model has a price and its backend counted; absent where "
        "not. Of a stream, `usage.cost` tells it.",
    ),
    "x-setpoint-queue-ms": ("number", "Milliseconds spent waiting for a place in a pool."),
    "x-setpoint-overhead-ms": (
        "number",
        "Milliseconds of the gateway's own: no queue, no backend.",
    ),
    "openai-processing-ms": ("integer", "Milliseconds from receipt to this answer's head."),
    "Retry-After": ("integer", "Seconds after which a repetition may succeed."),
    "retry-after-ms": ("integer", "The same, more exactly, in milliseconds."),
    "x-should-retry": (
        "string",
        "`false`: not worth repeating, or the gateway has done so in vain. As `retriable` in the body.",
    ),
    "WWW-Authenticate": ("string", "The scheme that is asked for."),
    "Allow": ("string", "The methods that this path has."),
    **_BUDGET_HEADERS,
    "Location": ("string", "Where the new task can be looked at."),
}
"""By name: the type of its value, and what it says."""
TOLD = (
    "x-setpoint-intent",
    "x-setpoint-decision",
    "x-setpoint-model",
    "x-setpoint-dropped",
    "x-setpoint-attempts",
    "x-setpoint-cost-usd",
    "x-setpoint-queue-ms",
    "x-setpoint-overhead-ms",
    "openai-processing-ms",
    *_BUDGET_HEADERS,
)
"""What an inference's answer tells about how it came to be, a refusal's too once it was decided on."""


def header_references(names: Iterable[str]) -> Object:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
