"""Which promise a request falls under: by header, then as a task, then by key, by model, the default.

Look-ups only, in tables that the compiler built; the reasons are spelled out only when somebody
asked for them. Also here: the per-request objectives that a client may send along, which can
tighten its promise and never loosen it.
"""

import re
from collections.abc import Mapping
from typing import Literal

import msgspec

from contracts.catalog import Catalog
from contracts.decision import IntentOutcome
from contracts.inference import RequestFacts
from contracts.policy import Intent
from policies.policy_set import PolicySet

Means = Literal["header", "task", "key", "model", "default", "none"]

TTFT_HEADERS = ("x-llm-d-slo-ttft-ms", "x-slo-ttft-ms")
TPOT_HEADERS = ("x-llm-d-slo-tpot-ms", "x-slo-tpot-ms")
"""The canonical name first, then llm-d's deprecated alias. Source: llm-d-router `metadata/consts.go`."""

OBJECTIVE_HEADERS = (*TTFT_HEADERS, *TPOT_HEADERS)

_MILLISECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?", re.ASCII)


class Picked(msgspec.Struct, frozen=True):
    """The intent's name ("" for none), and what decided it: of a header, which."""

    intent: str
    by: Means
    header: str = ""
    configured: bool = False
    """By its key, and that as the configuration has it and not the policies."""

    def why(self, facts: RequestFacts) -> str:
        """In words; asked for by explanations only."""
        match self.by:
            case "header":
                return f"header {self.header} is {_quoted(facts.headers[self.header])}"
            case "task":
                return "it came as a task"
            case "key" if self.configured:
                return f"the configuration gives it to key {_quoted(facts.key)}"
            case "key":
                return f"key {_quoted(facts.key)} is in its match"
            case "model":
                return f"model {_quoted(facts.model)} is in its match"
            case "default":
                return "the default: nothing else matches"
            case "none":
                return "no intent matches and none is the default"


def pick(policy: PolicySet, catalog: Catalog, facts: RequestFacts) -> Picked:
    """The request's intent. A header beats that it is a task, which beats its key, which beats its model,
    which beats the default."""
    for header, values in policy.by_header.items():
        if header in facts.headers and (value := facts.headers[header]) in values:
            return Picked(values[value], "header", header)
    if facts.task and policy.for_tasks is not None:
        return Picked(policy.for_tasks, "task")
    key, model = facts.key, facts.model
    if key and key in policy.by_key:
        return Picked(policy.by_key[key], "key")
    if key and key in catalog.key_intents and (name := catalog.key_intents[key]) in policy.intents:
        return Picked(name, "key", configured=True)
    if model in policy.by_model:
        return Picked(policy.by_model[model], "model")
    if policy.default is not None:
        return Picked(policy.default, "default")
    return Picked("", "none")


def outcomes(
    policy: PolicySet, facts: RequestFacts, picked: Picked, final: str, changed_by: str
) -> tuple[IntentOutcome, ...]:
    """Every intent and why it was chosen or not. `changed_by` is the rule that set `final`, or ""."""
    told = []
    for name, intent in policy.intents.items():
        if name == final:
            why = f"set by rule {_quoted(changed_by)}" if changed_by else picked.why(facts)
        elif name == picked.intent:
            why = f"{picked.why(facts)}, but rule {_quoted(changed_by)} changed it"
        else:
            why = _why_not(intent, facts, picked)
        told.append(IntentOutcome(intent=name, chosen=name == final, why=why))
    if not final:
        told.append(IntentOutcome(intent="", chosen=True, why=picked.why(facts)))
    return tuple(told)


def _why_not(intent: Intent, facts: RequestFacts, picked: Picked) -> str:
    match = intent.match
    fits, fails = [], []
    for header, value in match.header.items():
        got = facts.headers.get(header.lower())
        if got == value:
            fits.append(f"header {header.lower()} fits")
        else:
            shown = "absent" if got is None else _quoted(got)
            fails.append(f"header {header.lower()} is {shown}, not {_quoted(value)}")
    if match.task and facts.task:
        fits.append("it is for tasks")
    elif match.task:
        fails.append("it did not come as a task")
    for kind, got, wanted in (
        ("key", facts.key, match.key),
        ("model", facts.model, match.model),
    ):
        if got in wanted:
            fits.append(f"the {kind} fits")
        elif wanted:
            fails.append(f"{kind} is {_quoted(got)}, not {' or '.join(map(_quoted, wanted[:4]))}")
    if match.default:
        fits.append("it is the default")
    if fits:
        return f"{', '.join(fits)}, but another matches by {picked.by}"
    return "; ".join(fails) or "nothing selects it but a rule or a key's configuration"


class Objective(msgspec.Struct, frozen=True):
    """One latency objective of one request, in seconds, and what a client's header did to it."""

    seconds: float | None
    notes: tuple[str, ...] = ()


def tighten(
    promised_s: float | None, headers: Mapping[str, str], names: tuple[str, ...]
) -> Objective:
    """The promise, or what the client asks for when that is stricter.

    `names` are headers in milliseconds, canonical first: the first well-formed one counts.
    Anything but a positive decimal number is ignored, and said so.
    """
    notes = []
    promised_s = None if promised_s is None else float(promised_s)  # a Duration is not JSON
    for name in names:
        if name not in headers:
            continue
        text = headers[name].strip()
        wanted_s = float(text) / 1000 if _MILLISECONDS.fullmatch(text) else 0.0
        if wanted_s <= 0:
            notes.append(f"{name} {_quoted(text)} ignored: not a positive number of milliseconds")
        elif promised_s is not None and wanted_s >= promised_s:
            notes.append(f"{name} {text} ignored: the promise of {promised_s * 1000:g} is stricter")
            return Objective(promised_s, tuple(notes))
        else:
            notes.append(f"tightened by {name} {text}")
            return Objective(wanted_s, tuple(notes))
    return Objective(promised_s, tuple(notes))


def _quoted(text: str) -> str:
    text = text if len(text) <= 60 else text[:57] + "..."
    return ascii(text)
