"""A route that is called as no model is: one more name that clients can ask for.

It is a name for the first of its targets that is there, with the others behind it. What must stay true: a
model keeps its own name, and no engine is tried twice because it has two.
"""

from msgspec.structs import replace

from contracts.catalog import Catalog


def with_route_names(catalog: Catalog) -> Catalog:
    """`catalog` as models and routes are written, and a card for each such name; its route leads with itself."""
    models, routes = dict(catalog.models), dict(catalog.routes)
    for name, targets in catalog.routes.items():
        known = [target for target in targets if target in catalog.models]
        if name in catalog.models or not known:
            continue
        first = known[0]
        models[name] = replace(catalog.models[first], name=name)
        routes[name] = tuple(name if target == first else target for target in targets)
    return replace(catalog, models=models, routes=routes)
