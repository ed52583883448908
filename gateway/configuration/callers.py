"""Who may call: the keys, each with a name, a token and a budget of its own."""

from collections.abc import Mapping

from contracts.config import CallerKey
from gateway.auth import OPERATOR
from gateway.configuration.budgets import check_budget
from gateway.configuration.findings import Findings
from gateway.configuration.secret_values import read_secret
from gateway.secrets import SecretValue
from gateway.settings import Caller


def callers_of(findings: Findings, keys: list[CallerKey]) -> dict[int, Caller]:
    """By their place in the list: a key whose secret cannot be read is none."""
    findings.note_repeated(("auth", "keys"), "name", [key.name for key in keys])
    callers = {}
    for index, key in enumerate(keys):
        if key.name == OPERATOR:
            message = "this is what the holder of auth.token is called"
            findings.note(("auth", "keys", index, "name"), message, "choose another name")
        token = read_secret(findings, key.token, ("auth", "keys", index, "token"))
        check_budget(findings, key.budget or (), ("auth", "keys", index, "budget"))
        if token is not None:
            callers[index] = Caller(
                name=key.name,
                token=token,
                intent=key.intent,
                weight=key.weight,
                budget=None if key.budget is None else tuple(key.budget),
            )
    return callers


def check_tokens_differ(
    findings: Findings, token: SecretValue | None, callers: Mapping[int, Caller]
) -> None:
    """Two with the same token could not be told apart. `token` is the operator's."""
    seen: dict[SecretValue, str] = {} if token is None else {token: "auth.token"}
    for index, caller in callers.items():
        other = seen.setdefault(caller.token, f"key {caller.name!r}")
        if other != f"key {caller.name!r}":
            findings.note(("auth", "keys", index, "token"), f"the same token as {other}")
