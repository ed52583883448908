"""`setpoint explain`: one request's decision, as text for a terminal or as JSON. Pure.

Says what was decided, and of everything that was not chosen why not. What comes from a client is
shown escaped, so that no header can speak to the terminal. Reading files and asking a dialect for
the body are the caller's.
"""

from collections.abc import Iterator

import msgspec

from contracts.catalog import Catalog
from contracts.decision import Decision, RuleOutcome
from contracts.errors import ErrorEnvelope, GatewayError
from contracts.inference import Constraints, RequestFacts
from contracts.policy import Intent, Objectives
from contracts.snapshot import Snapshot
from policies.decide import decide
from policies.policy_set import CompiledRule, PolicySet
from policies.quality import below_floor, shortfall
from policies.rungs import label

MARGIN = 12
BODY_MAX_CHARS = 64 * 1024

_MARKS = {
    "applied": ("+", "applied"),
    "dry_run": ("~", "would apply (dry run)"),
    "no_match": ("-", "no match"),
    "not_evaluated": (".", "not looked at"),
    "error": ("!", "could not be evaluated or carried out"),
    "held_by_floor": ("^", "held by the quality floor"),
}


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a request: a decision, or the error that the client would get."""

    facts: RequestFacts
    decision: Decision | None = None
    error: ErrorEnvelope | None = None
    status: int | None = None
    """The error's HTTP status."""


def explain(
    policy: PolicySet, catalog: Catalog, facts: RequestFacts, snapshot: Snapshot
) -> Explanation:
    """Decide with reasons. Never raises for what a client may send."""
    try:
        decision = decide(policy, catalog, facts, snapshot, explain=True)
    except GatewayError as exc:
        return Explanation(facts=facts, error=exc.envelope(), status=exc.status)
    return Explanation(facts=facts, decision=decision)


def as_json(explanation: Explanation) -> bytes:
    """The decision (or the error envelope) as indented JSON."""
    told = explanation.decision or explanation.error
    return msgspec.json.format(msgspec.json.encode(told), indent=2)


def as_text(
    explanation: Explanation,
    policy: PolicySet,
    catalog: Catalog,
    *,
    body: bytes | None = None,
) -> str:
    """For a terminal: plain text, every line printable. `body` is what the backend would get."""
    lines = [*_section("request", _request(explanation.facts))]
    decision = explanation.decision
    if decision is None:
        lines += _section("answer", _error(explanation))
    else:
        lines += _section("intent", _intents(decision))
        lines += _section("promise", _promise(policy.intent(decision.intent)))
        lines += _section("rules", _rules(decision, policy))
        lines += _section("result", _result(decision, explanation.facts, catalog))
        if decision.models:
            held_back = _held_back(decision, policy.intent(decision.intent), catalog)
            lines += _section("fallbacks", held_back)
            lines += _section("constraints", _constraints(decision.constraints))
        lines += _section("policy", [f"version {decision.policy_version or '-'}"])
    if body is not None and decision is not None and decision.models:
        lines += _section("body", _body(body))
    return "\n".join(lines) + "\n"


def _section(title: str, content: list[str]) -> Iterator[str]:
    """The title in the margin, once. Nothing at all without content."""
    if not content:
        return
    for nth, line in enumerate(content):
        yield f"{title if nth == 0 else '':<{MARGIN}} {_printable(line)}".rstrip()
    yield ""


def _request(facts: RequestFacts) -> list[str]:
    length = "no max_tokens" if facts.max_tokens is None else f"max_tokens {facts.max_tokens}"
    parts = [
        facts.operation,
        f"model {facts.model}",
        *(["a task"] if facts.task else []),
        "streamed" if facts.stream else "not streamed",
        f"about {facts.prompt_tokens} prompt tokens",
        length,
        f"key {facts.key}" if facts.key else "no key",
    ]
    return [", ".join(parts)]


def _intents(decision: Decision) -> list[str]:
    width = max((len(outcome.intent) for outcome in decision.intents), default=0)
    chosen_first = sorted(decision.intents, key=lambda outcome: not outcome.chosen)
    return [
        f"{'>' if told.chosen else ' '} {told.intent or '(none)':<{width}}  {told.why}"
        for told in chosen_first
    ]


def _promise(intent: Intent) -> list[str]:
    parts = [f"priority {intent.priority}"]
    if intent.quality_floor is not None:
        parts.append(f"quality at least {float(intent.quality_floor):g}")
    parts += _objectives(intent.objectives)
    if intent.dry_run:
        parts.append("dry run")
    ladder = [f"{label(rung)}{' (dry run)' if rung.dry_run else ''}" for rung in intent.ladder]
    return [", ".join(parts), *([f"ladder: {' > '.join(ladder)}"] if ladder else [])]


def _objectives(objectives: Objectives) -> list[str]:
    told = []
    for name in objectives.__struct_fields__:
        value = getattr(objectives, name)
        if value is None:
            continue
        if name.startswith(("ttft", "tpot", "e2e")):
            told.append(f"{name} {_milliseconds(value)}")
        elif name == "error_rate":
            told.append(f"{name} {float(value) * 100:g}%")
        else:
            told.append(f"{name} {float(value):g} USD")
    return told


def _rules(decision: Decision, policy: PolicySet) -> list[str]:
    if not decision.rules:
        return ["none"]
    rules: dict[str, CompiledRule] = {rule.name: rule for rule in policy.rules}
    lines = []
    for outcome in decision.rules:
        lines += _rule(outcome, rules.get(outcome.rule))
    return lines


def _rule(outcome: RuleOutcome, rule: CompiledRule | None) -> list[str]:
    mark, words = _MARKS[outcome.verdict]
    lines = [f"{mark} {outcome.rule}: {words}"]
    if rule is not None and rule.condition is not None:
        lines.append(f"    when  {' '.join(rule.condition.source.split())}")
    if outcome.why:
        lines.append(f"    since {outcome.why}")
    lines += [f"    then  {change}" for change in outcome.changes]
    return lines


def _result(decision: Decision, facts: RequestFacts, catalog: Catalog) -> list[str]:
    shaping = decision.shaping
    if shaping.reject is not None:
        after = shaping.reject.retry_after_s
        wait = "" if after is None else f", Retry-After {after:g} s"
        return [f"refused: {shaping.reject.status}{wait}: {shaping.reject.message}"]
    places = [f"{name} (pool {catalog.models[name].pool})" for name in decision.models]
    tokens = shaping.max_tokens if shaping.max_tokens is not None else facts.max_tokens
    capped = " (capped)" if shaping.max_tokens is not None else ""
    lines = [
        f"models      {', then '.join(places)}",
        f"max_tokens  {'as the backend likes' if tokens is None else tokens}{capped}",
        f"priority    {shaping.priority}",
    ]
    if shaping.pool is not None:
        lines.append(f"pool        {shaping.pool} only")
    lines += [f"param       {name} = {bytes(raw).decode()}" for name, raw in shaping.params.items()]
    return lines


def _held_back(decision: Decision, intent: Intent, catalog: Catalog) -> list[str]:
    """The route's fallbacks that the quality floor keeps out."""
    cards = map(catalog.models.get, catalog.routes.get(decision.shaping.model, ()))
    return [
        f"{card.name} is not tried: it {shortfall(card, intent)}"
        for card in cards
        if card is not None and card.name not in decision.models and below_floor(card, intent)
    ]


def _constraints(constraints: Constraints) -> list[str]:
    lines = [f"objective   {constraints.objective or '-'}, priority {constraints.priority}"]
    for name, seconds in (("ttft", constraints.ttft_s), ("tpot", constraints.tpot_s)):
        if seconds is not None:
            lines.append(f"{name}        {_milliseconds(seconds)}")
    lines.append(f"fairness    {constraints.fairness_id or '-'}")
    return lines


def _error(explanation: Explanation) -> list[str]:
    error = explanation.error
    if error is None:
        return ["nothing was decided"]
    return [f"{explanation.status} {error.error.code}", error.error.message]


def _body(body: bytes) -> list[str]:
    """Byte for byte where it is text; a long one is cut, and says so."""
    text = body.decode(errors="backslashreplace")
    cut = len(text) - BODY_MAX_CHARS
    lines = text[:BODY_MAX_CHARS].split("\n")
    return [*lines, f"... and {cut} more characters"] if cut > 0 else lines


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:g} ms"


def _printable(text: str) -> str:
    """No control character reaches the terminal; letters of all scripts do."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
