"""What an attempt tells its dialect beside the request itself."""

import msgspec

from adapters.dialect import AttemptContext
from contracts.catalog import Catalog
from contracts.inference import InferRequest, RoutingPlan, Target
from gateway.endpoint import Endpoint
from gateway.pools import Pool
from policies.resume import Sent


def attempt_context(
    plan: RoutingPlan,
    target: Target,
    pool: Pool,
    endpoint: Endpoint,
    catalog: Catalog,
    waited_s: float,
    prefill_s: float | None = None,
    *,
    joins: bool = False,
) -> AttemptContext:
    """For one that begins the answer. `waited_s` counts from the request's acceptance; `prefill_s` is how
    long the first token will take there, where that was measured; `joins`: nobody sees the answer before its end."""
    card = catalog.models.get(target.model)
    key = pool.options.api_key
    return AttemptContext(
        upstream_model=target.upstream,
        waited_s=waited_s,
        max_tokens=plan.max_tokens,
        overrides=plan.overrides,
        constraints=plan.constraints,
        api_key=key.reveal() if key else None,
        context=endpoint.state.context or (card.context if card else None),
        tools=endpoint.state.tools,
        prefill_s=prefill_s,
        priority_scheduling=pool.options.priority_scheduling,
        inference_ttl=pool.options.inference_ttl,
        unsupported=pool.options.unsupported,
        template=card.template if card else None,
        joins=joins,
    )


def continuing(context: AttemptContext, infer: InferRequest, sent: Sent) -> AttemptContext:
    """The same, for an attempt that continues the client's text: of its token limit the rest is left."""
    limits = [n for n in (context.max_tokens, infer.facts.max_tokens) if n is not None]
    rest = max(1, min(limits) - sent.deltas) if limits else None
    chat = infer.operation == "chat"
    return msgspec.structs.replace(context, continues=chat, max_tokens=rest)
