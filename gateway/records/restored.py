"""A recorded execution as it can be carried out again: the same request, the same decision, the same plan.

Pure. What a record lacks for that is said, with what would have kept it.
"""

from typing import Any, TypeVar

import msgspec

from contracts.decision import Decision
from contracts.inference import InferRequest, Operation, RequestFacts, RoutingPlan
from gateway.records.kept import REQUEST_BYTES, Answer, Members
from gateway.secrets import MASK

T = TypeVar("T")
_encode = msgspec.json.Encoder().encode
_members = msgspec.json.Decoder(Members).decode
_native = msgspec.json.Decoder(dict[str, Members]).decode
_answer = msgspec.json.Decoder(Answer).decode


_WHY_MISSING: dict[str | None, str] = {
    None: "records.bodies was not true at the time",
    "too_large": f"it was more than {REQUEST_BYTES // 2**20} MiB",
    "no_room": "too many were waiting to be recorded",
    "unreadable": "it could not be read again, to look for secrets in it",
}


class Unreplayable(Exception):
    """The record does not hold what it takes; the message says what, and why."""


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """`plan` is None where there was none, `answer` where nothing was answered."""

    infer: InferRequest
    decision: Decision
    plan: RoutingPlan | None
    answer: Answer | None
    notes: tuple[str, ...] = ()
    """In what it may differ from what was asked then, as sentences."""


def restored(row: dict[str, Any], request_id: str) -> Restored:
    """From a row of `executions`; `request_id` is that of the new request. Raises Unreplayable."""
    operation: Operation = row["operation"]
    if operation == "embedding":
        raise Unreplayable("it is an embedding: its answer is no text, and is not recorded")
    if row["body"] is None:
        why = row["body_missing"]
        raise Unreplayable(f"its request was not recorded: {_WHY_MISSING.get(why, why)}")
    try:
        members = _members(row["body"])
        native = {} if row["native"] is None else _native(row["native"])
    except RecursionError:
        raise Unreplayable("its request is nested too deep to be read again") from None
    answer = None if row["answer"] is None else _answer(row["answer"])
    if answer is None and row["completion_tokens"]:
        raise Unreplayable("its request was recorded, but not its answer")
    plan = row["routing_snapshot"]
    return Restored(
        infer=InferRequest(
            request_id=request_id,
            operation=operation,
            members=members,
            facts=_value(row["facts"], RequestFacts),
            native=native,
        ),
        decision=_value(row["decision"], Decision),
        plan=None if plan is None else _value(plan, RoutingPlan),
        answer=answer,
        notes=_notes(row),
    )


def _value(builtins: Any, kind: type[T]) -> T:
    """Through JSON, since some members are to stay as they are written. Raises Unreplayable."""
    try:
        return msgspec.json.decode(_encode(builtins), type=kind)
    except msgspec.ValidationError as exc:
        raise Unreplayable(f"its record is of another version of Setpoint: {exc}") from exc


def _notes(row: dict[str, Any]) -> tuple[str, ...]:
    notes = []
    if any(MASK.encode() in (row[name] or b"") for name in ("body", "native")):
        notes.append(
            f"a secret in the request may have been recorded as {MASK}, and is asked as that"
        )
    return tuple(notes)
