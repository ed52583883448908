"""The models that clients may name, and what is known of each."""

from collections.abc import Mapping

from adapters.registry import NoDialect, dialect_for
from contracts import problems
from contracts.catalog import ModelCard
from contracts.config import Engine, Model
from contracts.problems import did_you_mean
from contracts.prompt_template import TEMPLATES
from gateway.configuration.findings import Findings

TAKES_TEXT: Engine = "triton"
"""The one that has to be told how a chat is written."""


def check_models(
    findings: Findings, models: list[Model], engines: Mapping[str, Engine], *, pools_known: bool
) -> None:
    """Each lives in a pool that is there, and says nothing that its engine has no use for. `engines` are
    those of the pools, by id."""
    findings.note_repeated(("models",), "name", [model.name for model in models])
    ids = {pool_id for pool_id in engines if pool_id}
    for index, model in enumerate(models):
        place: problems.Path = ("models", index, "pool")
        if model.pool not in ids and pools_known:
            findings.note(place, f"there is no pool {model.pool!r}", did_you_mean(model.pool, ids))
        engine = engines.get(model.pool, TAKES_TEXT)
        if model.template is not None and engine != TAKES_TEXT:
            said = f"engine {engine} writes its prompts itself"
            findings.note(("models", index, "template"), said, f"for {TAKES_TEXT} only")


def model_card(model: Model, engine: Engine) -> ModelCard:
    """`engine` is that of its pool; "" where there is none."""
    price = model.price
    cached = None if price is None else price.cached_input
    written = None if price is None else price.cache_write
    return ModelCard(
        name=model.name,
        pool=model.pool,
        upstream=model.upstream or model.name,
        quality=None if model.quality is None else float(model.quality),
        context=model.context,
        input_price=None if price is None else float(price.input),
        output_price=None if price is None else float(price.output),
        cached_input_price=None if cached is None else float(cached),
        cache_write_price=None if written is None else float(written),
        prefill=_prefills(engine) if model.prefill is None else model.prefill,
        template=TEMPLATES[model.template] if isinstance(model.template, str) else model.template,
    )


def _prefills(engine: Engine) -> bool:
    """What is known of an engine. Of one that nobody speaks with there is a problem already."""
    try:
        return dialect_for(engine).prefill() != "none"
    except NoDialect:
        return False
