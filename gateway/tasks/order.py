"""A body of `POST /v1/tasks` to what is to be run: checked like a chat or a text completion, plus what a
task adds.

Pure. Wrong input is a ClientFault that names the field.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from contracts.config import TaskSettings
from contracts.errors import InvalidField
from contracts.inference import InferRequest, Operation
from contracts.openai_api import Members
from contracts.quantities import Duration
from contracts.tasks import TaskRequest
from gateway.intake import checked, read_members, read_request, whole_numbers

_OWN = ("priority", "session_id", "ttl")
_IGNORED = ("stream", "stream_options")
"""A task is not answered on the connection that submits it."""
_NAMED = 20
"""Models that a message names."""
_encode = msgspec.json.Encoder().encode
_own = msgspec.json.Decoder(TaskRequest)


class TaskOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants to be run, and all that it takes to want it again after a restart."""

    infer: InferRequest
    body: bytes
    """As it was sent."""
    operator: bool
    ttl_s: float
    """From its acceptance on."""
    accepted_unix_s: float
    idempotency_key: str | None = None


def read_order(
    body: bytes,
    *,
    request_id: str,
    key: str,
    operator: bool,
    headers: Mapping[str, str],
    models: Iterable[str],
    settings: TaskSettings,
    accepted_unix_s: float,
    idempotency_key: str | None = None,
) -> TaskOrder:
    """Check `body`. `models` are those that can be named, `key` is the caller.

    Raises InvalidJson, or InvalidField with `param`.
    """
    members = {n: raw for n, raw in read_members(body).items() if n not in _IGNORED}
    members |= whole_numbers(members)
    own = checked(_own, _encode({name: members.pop(name, None) for name in _OWN}))
    operation = _operation(members)
    if _is_absent(members, "model"):
        members["model"] = msgspec.Raw(_encode(_only(models)))
    infer = read_request(
        _encode(members), operation, request_id=request_id, key=key, headers=headers
    )
    _check_one_answer(infer)
    ttl_s = _ttl_s(own.ttl, settings)
    facts = msgspec.structs.replace(
        infer.facts,
        task=True,
        asked_priority=own.priority,
        may_raise=operator,
        wait_s=ttl_s,
        session=own.session_id or infer.facts.session,
    )
    return TaskOrder(
        infer=msgspec.structs.replace(infer, facts=facts),
        body=body,
        operator=operator,
        ttl_s=ttl_s,
        accepted_unix_s=accepted_unix_s,
        idempotency_key=idempotency_key,
    )


def _operation(members: Members) -> Operation:
    """By what it brings. A null is as good as nothing."""
    chat, text = (not _is_absent(members, name) for name in ("messages", "prompt"))
    if chat and text:
        raise InvalidField("give messages or prompt, not both", param="prompt")
    if not chat and not text:
        raise InvalidField("messages or prompt is required", param="messages")
    members.pop("prompt" if chat else "messages", None)
    return "chat" if chat else "completion"


def _is_absent(members: Members, name: str) -> bool:
    return bytes(members.get(name, b"null")) == b"null"


def _only(models: Iterable[str]) -> str:
    known = sorted(models)
    if len(known) == 1:
        return known[0]
    named = ", ".join(known[:_NAMED]) + (", ..." if len(known) > _NAMED else "")
    raise InvalidField(
        f"model is required: it may only be left out where exactly one model is served "
        f"({named or 'none is, now'})",
        param="model",
    )


def _check_one_answer(infer: InferRequest) -> None:
    if infer.facts.n != 1:
        raise InvalidField("n must be 1: a task has one answer", param="n")
    prompt: Any = msgspec.json.decode(infer.members.get("prompt", b"null"))
    if isinstance(prompt, list) and len(prompt) > 1 and isinstance(prompt[0], str | list):
        raise InvalidField("prompt must be a single prompt: a task has one answer", param="prompt")


def _ttl_s(given: float | str | None, settings: TaskSettings) -> float:
    if given is None:
        return float(settings.ttl)
    try:
        ttl_s = float(given if isinstance(given, int | float) else Duration.parse(given))
    except ValueError as exc:
        raise InvalidField(f"ttl: {exc}, or a number of seconds", param="ttl") from exc
    if ttl_s <= 0:
        raise InvalidField("ttl: it must be more than zero", param="ttl")
    if ttl_s > settings.max_ttl:
        most = f"{settings.max_ttl:g} seconds"
        raise InvalidField(f"ttl: at most {most} here, got {ttl_s:g}", param="ttl")
    return ttl_s


def idempotency_key(headers: Mapping[str, str]) -> str | None:
    """The header of that name. Raises InvalidField for one that is not fit to be kept."""
    key = headers.get("idempotency-key")
    if key is not None and not (0 < len(key) <= 255 and all("!" <= c <= "~" for c in key)):
        raise InvalidField(
            "Idempotency-Key must be 1 to 255 visible ASCII characters", param="Idempotency-Key"
        )
    return key
