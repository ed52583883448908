"""The pools that are configured: where each one's endpoints are, and whether its engine can use what it says."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from adapters.fakellmd.settings import LlmdSettings
from adapters.registry import NoDialect, dialect_for
from contracts import problems
from contracts.config import Config, Engine, Model, Pool
from gateway.addresses import endpoint_fault, normal_endpoint
from gateway.configuration.findings import Findings, repeated
from gateway.configuration.paths import exists
from gateway.configuration.pool_spec import pool_spec
from gateway.configuration.providers import HOSTED
from gateway.configuration.secret_values import read_secret
from gateway.settings import PoolSpec
from gateway.simulated_engine import faults, is_stood_in_for, simulated_engines, undescribed

_LLMD: frozenset[Engine] = frozenset({"llmd", "embedded"})
_READ_BY: dict[str, frozenset[Engine]] = {
    "metrics": frozenset({"llmd"}),
    "inference_ttl": _LLMD,
    "priority_scheduling": _LLMD | {"vllm"},
}
"""Members of a pool that mean nothing to other engines."""


def pools_of(findings: Findings, config: Config) -> tuple[PoolSpec, ...]:
    """Those of `pools`, or the one that `adapter` is short for."""
    if config.adapter is not None:
        if config.pools:
            findings.note(
                ("adapter",),
                "adapter and pools are both given",
                "adapter is the short form of one pool: keep one of the two",
            )
        short = config.adapter
        pool = Pool(
            id="default", engine=short.engine, endpoint=short.endpoint, api_key=short.api_key
        )
        return (_pool(findings, pool, config.models, ("adapter",)),)
    findings.note_repeated(("pools",), "id", [pool.id for pool in config.pools])
    return tuple(
        _pool(findings, pool, config.models, ("pools", index))
        for index, pool in enumerate(config.pools)
    )


def described_engines(
    findings: Findings, pool: Pool, models: Sequence[Model]
) -> dict[str, LlmdSettings]:
    """The engines that stand in for the pool's own, by upstream name, with a problem for each that
    cannot be simulated."""
    for place, message, hint in faults(pool, models):
        findings.note(place, message, hint)
    return simulated_engines(pool, models)


def _pool(findings: Findings, pool: Pool, models: list[Model], path: problems.Path) -> PoolSpec:
    given: list[tuple[problems.Path, str]] = [
        ((*path, "endpoints", index), url) for index, url in enumerate(pool.endpoints)
    ]
    if pool.endpoint is not None:
        if given:
            findings.note((*path, "endpoint"), "endpoint and endpoints are both given")
        given = [((*path, "endpoint"), pool.endpoint)]
    for place, url in given:
        wrong = endpoint_fault(url)
        if wrong:
            findings.note(place, wrong)
    known = findings.sure(path, "engine") and _has_dialect(findings, pool, path)
    if not known:
        pass  # what it needs depends on what it is
    elif pool.engine == "embedded":
        if given:
            findings.note(given[0][0], "the embedded engine runs in this process: no endpoint")
    elif not given and pool.engine in HOSTED:
        given = [(path, HOSTED[pool.engine])]
    elif not given:
        _check_stand_in(findings, pool, models, path)
    _check_use(findings, pool, path, known)
    endpoints = [normal_endpoint(url) for _, url in given]
    for index in repeated(endpoints):
        findings.note(given[index][0], "the same endpoint twice")
    spec = pool_spec(
        pool,
        endpoints,
        read_secret(findings, pool.api_key, (*path, "api_key")),
        described_engines(findings, pool, models),
    )
    if pool.ca_file is None:
        return spec
    ca_file = findings.base_dir / pool.ca_file
    if not exists(ca_file, Path.is_file):
        findings.note((*path, "ca_file"), "no such file")
    return msgspec.structs.replace(spec, ca_file=ca_file)


def _has_dialect(findings: Findings, pool: Pool, path: problems.Path) -> bool:
    try:
        dialect_for(pool.engine)
    except NoDialect as exc:
        findings.note((*path, "engine"), str(exc), exc.hint)
        return False
    return True


def _check_stand_in(
    findings: Findings, pool: Pool, models: list[Model], path: problems.Path
) -> None:
    """Without an endpoint, a fake in process has to serve each of its models."""
    known = findings.sure(path, "endpoint", "endpoints", "simulate") and (
        _simulations_known(findings, models)
    )
    if not is_stood_in_for(pool, models):
        message = f"a pool of engine {pool.engine} needs an endpoint"
        findings.note(path, message, "add endpoint: URL", sure=known)
    elif all(model.pool != pool.id for model in models):
        message = "without an endpoint, only models that are configured can be served"
        findings.note((*path, "simulate"), message, "add one to models", sure=known)
    for index in undescribed(pool, models) if is_stood_in_for(pool, models) else ():
        message = f"pool {pool.id!r} has no endpoint, and nothing says what this model is like"
        hint = "add simulate to the model or to its pool"
        findings.note(("models", index), message, hint, sure=known)


def _simulations_known(findings: Findings, models: list[Model]) -> bool:
    """Whether no mistake can have hidden that a model is simulated, or in which pool it lives."""
    return findings.sure((), "models") or (
        ("models",) in findings.reading.positions
        and all(
            findings.sure(("models", index), "pool", "simulate") for index in range(len(models))
        )
    )


def _check_use(findings: Findings, pool: Pool, path: problems.Path, known: bool) -> None:
    """What a pool says to an engine that does not listen. `known`: it is clear which one that is."""
    if pool.metrics is not None and (wrong := endpoint_fault(pool.metrics)):
        findings.note((*path, "metrics"), wrong)
    if not known:
        return
    if pool.load_metrics and dialect_for(pool.engine).load_metrics() is None:
        said = f"engine {pool.engine} does not tell how busy it is"
        findings.note((*path, "load_metrics"), said, "leave it out")
    elif pool.load_metrics and not (pool.endpoint or pool.endpoints):
        said = "without an endpoint there is nothing to ask"
        findings.note((*path, "load_metrics"), said, "leave it out")
    for name, engines in _READ_BY.items():
        if getattr(pool, name) and pool.engine not in engines:
            said = f"a pool of engine {pool.engine} has no use for it"
            findings.note((*path, name), said, f"for {', '.join(sorted(engines))} only")
