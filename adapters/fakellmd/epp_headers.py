"""The headers that steer llm-d's endpoint picker: what they say, and which of them go no further.

A canonical name wins over its deprecated alias, even with an empty value. All look-ups are by
lower-case name. What the engine layer gets is `stripped`: it never sees a control header, and no
client can forge what the picker itself sets.
Source: llm-d-router `pkg/epp/metadata/consts.go`, `pkg/epp/util/request/headers.go`.
"""

import re
from collections.abc import Mapping

import msgspec

from adapters.fakellmd.epp_settings import DEFAULT_FLOW, EppSettings

OBJECTIVE = ("x-llm-d-inference-objective", "x-gateway-inference-objective")
FAIRNESS = ("x-llm-d-inference-fairness-id", "x-gateway-inference-fairness-id")
SLO_TTFT = ("x-llm-d-slo-ttft-ms", "x-slo-ttft-ms")
SLO_TPOT = ("x-llm-d-slo-tpot-ms", "x-slo-tpot-ms")
MODEL_REWRITE = ("x-llm-d-model-name-rewrite", "x-gateway-model-name-rewrite")
TTL = "x-llm-d-inference-ttl"
REQUEST_ID = "x-request-id"
AGENTS = ("x-claude-code-session-id", "x-session-affinity", "session-id", "session_id")
DESTINATION = "x-gateway-destination-endpoint"
"""A prefix too: `-subset` comes in, `-served` and `-scores` go out."""
DROPPED_REASON = "x-llm-d-request-dropped-reason"
QUEUE_DURATION = "x-llm-d-flow-queue-duration-ms"
WENT = "x-went-into-resp-headers"

_CONTROL = frozenset(
    {
        *(*OBJECTIVE, *FAIRNESS, *SLO_TTFT, *SLO_TPOT, *MODEL_REWRITE, TTL),
        *("x-llm-d-video-fps", "x-llm-d-video-duration-seconds", "x-llm-d-video-resolution"),
        *(DROPPED_REASON, QUEUE_DURATION),
    }
)
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_FLOAT = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_DURATION = re.compile(r"\+?((?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+)")
_DURATION_PART = re.compile(r"([0-9.]+)([a-zµμ]+)")
_UNIT_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
_UNIT_S["h"] = 3600.0


class Wants(msgspec.Struct, frozen=True, kw_only=True):
    """What one request asks of the picker. An SLO of 0 is none."""

    objective: str = ""
    fairness_id: str = DEFAULT_FLOW
    ttft_deadline_ms: int | None = None
    """The TTFT objective as the deadline ordering reads it: an integer that is not negative, or none."""
    ttft_slo_s: float = 0.0
    tpot_slo_s: float = 0.0
    model_rewrite: str = ""
    """The model to be served by instead of the one in the body; "" is none."""
    ttl_s: float | None = None
    request_id: str = ""
    if_available: bool = False
    """`prefer: if-available`: only a worker that has the prompt's prefix will do."""


def read(headers: Mapping[str, str], settings: EppSettings) -> Wants:
    """What `headers`, keyed by lower-case name, want. Never raises: what is not understood is ignored."""
    slo_ttft = _value(headers, SLO_TTFT)
    ttl = headers.get(TTL) if settings.facts.ttl_header else None
    return Wants(
        objective=_value(headers, OBJECTIVE),
        fairness_id=_value(headers, FAIRNESS) or _agent(headers, settings) or DEFAULT_FLOW,
        ttft_deadline_ms=_deadline_ms(slo_ttft),
        ttft_slo_s=_milliseconds(slo_ttft),
        tpot_slo_s=_milliseconds(_value(headers, SLO_TPOT)),
        model_rewrite=_value(headers, MODEL_REWRITE),
        ttl_s=None if ttl is None else go_duration_s(ttl),
        request_id=headers.get(REQUEST_ID, ""),
        if_available="prefer" in headers and _prefers_available(headers["prefer"]),
    )


def stripped(headers: Mapping[str, str]) -> dict[str, str]:
    """`headers` as a pod gets them."""
    prefix = len(DESTINATION)
    return {
        name: value
        for name, value in headers.items()
        if name not in _CONTROL and name[:prefix] != DESTINATION
    }


def rewritten(body: bytes, model: str) -> tuple[bytes, str]:
    """`body` with another model, and the model it named ("" if none). What is no JSON object stays."""
    try:
        members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        named = msgspec.json.decode(members.get("model", b'""'))
        members["model"] = msgspec.Raw(msgspec.json.encode(model))
        encoded = msgspec.json.encode(members)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return body, ""
    return encoded, named if isinstance(named, str) else ""


def go_duration_s(text: str) -> float | None:
    """A positive Go duration (`850ms`, `1m30s`) in seconds; None for anything else."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        return None
    parts = _DURATION_PART.findall(found[1])
    total_s = sum(float(number) * _UNIT_S[unit] for number, unit in parts)
    # Go's durations are 64 bits of nanoseconds; a longer one is an error there.
    return total_s if 0 < total_s < 2**63 * 1e-9 else None


def _value(headers: Mapping[str, str], names: tuple[str, str]) -> str:
    canonical, alias = names
    value = headers.get(canonical)
    return headers.get(alias, "") if value is None else value


def _agent(headers: Mapping[str, str], settings: EppSettings) -> str:
    if not settings.agent_identity:
        return ""
    return next((value for name in AGENTS if (value := headers.get(name))), "")


def _deadline_ms(text: str) -> int | None:
    text = text.strip()
    if not text or not (_is_plain(text) or _INTEGER.fullmatch(text)):
        return None
    return ms if (ms := int(text)) >= 0 else None


def _milliseconds(text: str) -> float:
    if not text or not (_is_plain(text) or _FLOAT.fullmatch(text)):
        return 0.0
    return max(float(text), 0.0) / 1000.0


def _is_plain(text: str) -> bool:
    """A few digits: what nearly every request says, known without a look at the grammar."""
    return len(text) < 10 and text.isascii() and text.isdigit()


def _prefers_available(prefer: str) -> bool:
    return "if-available" in (part.strip().lower() for part in prefer.split(","))
