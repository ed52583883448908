"""The proof that a real model answered, and not a stand-in for one.

A fake, a recording or a cache can look right in any one place. `prove_real_model` asks in all of them
at once, with a random text that nobody has seen before, and holds the answers against what the
engine itself says and counts. Whoever calls it must be the only client of that engine.
"""

import secrets
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.support.llama_server import CACHED, PREDICTED, PROMPTED, LlamaServer
from tests.support.setpoint_server import Gateway
from tests.support.wire import post

TOKENS = 24


class NotProven(AssertionError):
    """What does not fit, in words."""


class Proof(NamedTuple):
    """The two answers, to random prompts, that were held against the engine's own."""

    texts: tuple[str, str]
    completion_tokens: int
    engine_version: str


def prove_real_model(gateway: Gateway, model: str, engine: LlamaServer) -> Proof:
    """Raises NotProven unless `engine`, a llama.cpp server, made what `gateway` answered."""
    version = engine.props()["build_info"]
    first, second = (_prove_once(gateway, model, engine, version) for _ in range(2))
    if first["logprobs"] == second["logprobs"]:
        raise NotProven("two different prompts were answered alike, to the last digit")
    texts = (first["message"]["content"], second["message"]["content"])
    return Proof(texts, first["tokens"] + second["tokens"], version)


def _prove_once(gateway: Gateway, model: str, engine: LlamaServer, version: str) -> dict[str, Any]:
    body = _unheard_of_question(model)
    counted = _counters(gateway, engine, version)
    before = counted()
    answer = post(f"{gateway.v1}/chat/completions", body)
    after = counted()
    _require(answer.status == 200, f"the gateway answered {answer.status}: {answer.body!r}")
    told = answer.json()
    usage, choice = told["usage"], told["choices"][0]

    moved = {name: after[name] - before[name] for name in before}
    prompt, completion = usage["prompt_tokens"], usage["completion_tokens"]
    _require(0 < completion <= TOKENS, f"{completion} tokens were asked of {TOKENS}")
    _require(not usage.get("estimated"), "the usage is an estimate")
    for name, expected in (
        ("engine, generated", completion),
        ("engine, prompt", prompt),
        ("gateway, completion", completion),
        ("gateway, prompt", prompt),
    ):
        _require(
            moved[name] == expected, f"{name}: moved by {moved[name]:g}, the answer says {expected}"
        )

    direct = post(f"{engine.url}/v1/chat/completions", body).json()
    own = direct["choices"][0]
    _require(bool(choice["message"]["content"]), "there is no text")
    _require(
        choice["message"]["content"] == own["message"]["content"],
        f"the engine itself says {own['message']['content']!r}",
    )
    _require(choice["logprobs"] == own["logprobs"], "the probabilities are not the engine's")
    _require(choice["finish_reason"] == own["finish_reason"], "the finish is not the engine's")
    _require(told.get("system_fingerprint") == version, "the fingerprint is not the engine's")

    line = gateway.logged("request", request_id=answer.headers["x-request-id"])
    _require(line.get("engine") == "llamacpp", f"the log names the engine {line.get('engine')}")
    _require(line.get("engine_version") == version, "the log names another version")
    _require(bool(line.get("model_digest")), "the log names no model digest")
    return {**choice, "tokens": completion}


def _unheard_of_question(model: str) -> dict[str, Any]:
    """Greedy, seeded, with probabilities, and about a text that exists since now."""
    return {
        "model": model,
        "messages": [{"role": "user", "content": f"Write a story about {secrets.token_hex(12)}."}],
        "temperature": 0,
        "seed": 7,
        "max_tokens": TOKENS,
        "logprobs": True,
        "top_logprobs": 3,
        "cache_prompt": False,
    }


def _counters(
    gateway: Gateway, engine: LlamaServer, version: str
) -> Callable[[], dict[str, float]]:
    def counted() -> dict[str, float]:
        told, seen = engine.metrics(), gateway.metrics()
        labels = {"engine": "llamacpp", "engine_version": version}
        tokens = "setpoint_tokens_total"
        return {
            "engine, generated": told.total(PREDICTED),
            "engine, prompt": told.total(PROMPTED) + told.total(CACHED),
            "gateway, completion": seen.total(tokens, direction="completion", **labels),
            "gateway, prompt": seen.total(tokens, direction="prompt", **labels),
        }

    return counted


def _require(fits: bool, otherwise: str) -> None:
    if not fits:
        raise NotProven(otherwise)
