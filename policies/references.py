"""One value that a condition reads, under the name of its own flat variable.

Equal references have equal slots in every condition, so a context can serve all rules at once.
"""

from typing import Literal

import msgspec

from policies.vocabulary import POOL_FIELDS, POOL_SIGNALS, REQUEST_FIELDS, Kind


class Reference(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """`slot` is the flat variable, `label` the spelling for people.

    `of` "headers_in" is the map of those headers in `only` that are present: all that
    `"x-team" in request.headers` needs.
    """

    of: Literal["request", "header", "headers", "headers_in", "pool", "pools"]
    name: str
    kind: Kind
    slot: str
    label: str
    pool: str = ""
    only: tuple[str, ...] = ()


def request_field(name: str) -> Reference:
    return Reference(
        of="request",
        name=name,
        kind=REQUEST_FIELDS[name],
        slot=f"__request_{name}",
        label=f"request.{name}",
    )


def header(name: str) -> Reference:
    """`name` is lower-case."""
    return Reference(
        of="header",
        name=name,
        kind="str",
        slot=f"__header_{_identifier(name)}",
        label=f'request.headers["{name}"]',
    )


def headers(only: tuple[str, ...] | None = None) -> Reference:
    """All headers, or those of `only`."""
    return Reference(
        of="headers" if only is None else "headers_in",
        name="headers",
        kind="map",
        slot="__headers" if only is None else "__headers_" + "_".join(map(_identifier, only)),
        label="request.headers",
        only=only or (),
    )


def pool_field(name: str) -> Reference:
    return Reference(
        of="pool", name=name, kind=POOL_FIELDS[name], slot=f"__pool_{name}", label=f"pool.{name}"
    )


def pools_signal(pool: str, name: str) -> Reference:
    return Reference(
        of="pools",
        name=name,
        pool=pool,
        kind=POOL_SIGNALS[name],
        slot=f"__pools_{_identifier(pool)}_{name}",
        label=f'pools["{pool}"].{name}',
    )


def _identifier(text: str) -> str:
    return text.encode().hex()
