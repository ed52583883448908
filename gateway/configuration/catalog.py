"""What clients and policies may name: pools, models, routes and keys, from the parts of a configuration."""

from contracts.catalog import Catalog
from contracts.config import Config, Model, Route
from gateway.configuration.findings import Findings
from gateway.configuration.models import check_models, model_card
from gateway.configuration.routes import Routes, check_routes, route_options, targets_of
from gateway.route_names import with_route_names
from gateway.settings import PoolSpec


def catalog_of(
    findings: Findings,
    pools: tuple[PoolSpec, ...],
    models: list[Model],
    routes: Routes,
    config: Config,
) -> Catalog:
    """With a problem for each name that is not there; open wherever a mistake may have hidden one."""
    pools_known = findings.sure((), "adapter") and findings.all_named(("pools",), "id")
    engines = {pool.id: pool.engine for pool in pools}
    check_models(findings, models, engines, pools_known=pools_known)
    ids = frozenset(pool.id for pool in pools if pool.id)
    cards = {m.name: model_card(m, engines.get(m.pool, "")) for m in models if m.name}
    # A model that names no pool there is has meant one of those that no model names.
    lost = sum(model.pool not in ids for model in models)
    unnamed = len(ids - {model.pool for model in models})
    models_known = pools_known and findings.all_named(("models",), "name")
    discovering = unnamed > lost or not models_known
    check_routes(findings, routes, cards, discovering=discovering)
    keys = config.auth.keys
    intents = {
        key.name: (key.intent, findings.reading.position(("auth", "keys", index, "intent")))
        for index, key in enumerate(keys)
        if key.name and key.intent is not None
    }
    keys_known = findings.sure((), "auth") or (
        ("auth",) in findings.reading.positions
        and findings.sure(("auth",), "trust_proxy_auth")
        and findings.all_named(("auth", "keys"), "name")
    )
    catalog = Catalog(
        models=cards,
        pools=ids,
        routes={name: tuple(targets_of(route)) for name, route in routes.items()},
        route_options={
            name: route_options(route) for name, route in routes.items() if isinstance(route, Route)
        },
        keys=frozenset(key.name for key in keys if key.name),
        key_intents={name: intent for name, (intent, _) in intents.items()},
        key_places={name: place for name, (_, place) in intents.items()},
        open_keys=config.auth.trust_proxy_auth or not keys_known,
        open_pools=not pools_known,
        discovering=discovering,
    )
    # Which of its targets a route's name is for hangs on what is listed.
    return catalog if discovering else with_route_names(catalog)
