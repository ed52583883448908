"""How long a prompt is, and whether it fits: counted by the backend's own tokenizer where it has one.

Counting never fails a request and never holds it up for long: what could not be counted in time is
estimated, and said to be. What is refused for is checked here alone; no backend is asked for an answer.
"""

import asyncio
from collections.abc import Mapping

import msgspec

from adapters.dialect import TokenCount
from adapters.token_counting import countable
from contracts.catalog import Catalog
from contracts.errors import ContextTooLong, UpstreamFault
from contracts.inference import InferRequest, RoutingPlan, Target
from gateway.attempt_context import attempt_context
from gateway.pools import Pool
from gateway.upstream import fetch

COUNT_TIMEOUT_S = 2.0
"""For all questions together. A tokenizer takes milliseconds; one that is busier than that is not waited for."""
COUNT_BYTES = 16 * 1024 * 1024
"""vLLM and llama.cpp answer with every token: some eight bytes each, for a context of a million and more."""

_ANSWER_LIMITS = ("max_completion_tokens", "max_tokens")


class PromptCount(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of a prompt. `context`: the most that prompt and answer may have together; None: not known,
    or not comparable (several prompts, images, sound)."""

    tokens: int
    estimated: bool
    context: int | None


async def count_prompt(
    infer: InferRequest, plan: RoutingPlan, catalog: Catalog, pools: Mapping[str, Pool]
) -> PromptCount:
    """Ask the first target that could answer now; within `COUNT_TIMEOUT_S`. Never raises GatewayError.

    The context is that of the target with the largest: the executor goes on to the next one where a
    prompt does not fit. Another target's tokenizer may count a little differently.
    """
    counted: TokenCount | None = None
    contexts: list[int | None] = []
    asked = False
    for target in plan.targets:
        pool = pools[target.pool]
        if not asked and pool.ready:
            asked = True
            counted = await _ask(infer, plan, target, catalog, pool)
            told = counted.context if counted else None
        else:
            told = None
        contexts.append(_context(target, catalog, pool, told))
    known = [context for context in contexts if context is not None]
    comparable = len(known) == len(contexts) and countable(infer)
    return PromptCount(
        tokens=counted.tokens if counted else infer.facts.prompt_tokens,
        estimated=counted is None,
        context=max(known) if comparable else None,
    )


def check_context(count: PromptCount, infer: InferRequest, plan: RoutingPlan) -> None:
    """Raises ContextTooLong, in OpenAI's words, for a request that no target has room for.

    An estimate refuses only a prompt that alone is above the context. A client that named no limit for
    its answer gets what room there is; a rule's lower limit counts in place of the one that it named.
    """
    if count.context is None:
        return
    part = "messages" if infer.operation == "chat" else "prompt"
    how = " (estimated from its size)" if count.estimated else ""
    asked = infer.facts.max_tokens
    answer = 1 if asked is None else min(asked, plan.max_tokens or asked)
    begins = f"This model's maximum context length is {count.context} tokens. However, "
    if count.tokens > count.context or (count.tokens == count.context and not count.estimated):
        raise ContextTooLong(
            f"{begins}your {part} resulted in {count.tokens} tokens{how}. "
            f"Please reduce the length of the {part}.",
            param=part,
        )
    if not count.estimated and count.tokens + answer > count.context:
        raise ContextTooLong(
            f"{begins}you requested {count.tokens + answer} tokens ({count.tokens} in the {part}, "
            f"{answer} in the completion). Please reduce the length of the {part} or completion.",
            param=next((n for n in _ANSWER_LIMITS if n in infer.members), "max_tokens"),
        )


async def _ask(
    infer: InferRequest, plan: RoutingPlan, target: Target, catalog: Catalog, pool: Pool
) -> TokenCount | None:
    endpoint = pool.ready[0]
    context = attempt_context(plan, target, pool, endpoint, catalog, waited_s=0.0)
    counting = pool.dialect.counting(infer, context)
    if counting is None:
        return None
    try:
        async with asyncio.timeout(COUNT_TIMEOUT_S):
            request = next(counting)
            while True:
                answer = await fetch(
                    endpoint.transport, request, timeout_s=COUNT_TIMEOUT_S, max_bytes=COUNT_BYTES
                )
                request = counting.send(answer)
    except StopIteration as done:
        found: TokenCount | None = done.value
        return found
    except (UpstreamFault, TimeoutError):
        return None


def _context(target: Target, catalog: Catalog, pool: Pool, told: int | None) -> int | None:
    """Of one target: the smallest that anybody names. Where an endpoint of its pool has less than another,
    dispatch does not look at it."""
    card = catalog.models.get(target.model)
    named = [told, card.context if card else None, *(e.state.context for e in pool.ready)]
    return min((context for context in named if context is not None), default=None)
