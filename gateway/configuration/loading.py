"""The whole configuration: read, each part held against the others, and handed on as a `LoadedConfig`."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from contracts import yaml_document, yaml_nodes
from contracts.catalog import Catalog
from contracts.config import Config, Model
from contracts.problems import Position, Problem, ProblemsFound
from contracts.salvage import salvage
from contracts.yaml_document import Reading
from gateway.configuration.budgets import check_budget
from gateway.configuration.built_in import built_in
from gateway.configuration.callers import callers_of, check_tokens_differ
from gateway.configuration.catalog import catalog_of
from gateway.configuration.findings import Findings
from gateway.configuration.masking import masked
from gateway.configuration.paths import decisions_file, exists, policies_path
from gateway.configuration.pools import pools_of
from gateway.configuration.quantities import (
    check_not_zero,
    check_simulations,
    check_tasks,
    check_timeouts,
)
from gateway.configuration.reach import bind_address, check_reach, trusted_proxies
from gateway.configuration.records import records_of
from gateway.configuration.routes import Routes, target_places
from gateway.configuration.secret_values import read_secret
from gateway.configuration.telemetry import telemetry_of
from gateway.settings import LoadedConfig, PoolSpec


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What `check` found. `loaded` is None if and only if there are problems."""

    loaded: LoadedConfig | None
    problems: list[Problem]
    policies_path: Path | None
    """None where it is not known, or where nothing is."""
    catalog: Catalog
    """What policies can be held against: with problems, open wherever they leave a doubt."""
    reading: Reading[Config]
    """Where each part stands in the text."""


def load(path: Path | None, *, env: Mapping[str, str]) -> LoadedConfig:
    """Read and check the configuration; without `path`, the built-in one.

    Raises ProblemsFound with everything that is wrong, in the order of the text.
    """
    checked = check(path, env=env)
    if checked.loaded is None:
        raise ProblemsFound(checked.problems)
    return checked.loaded


def check(path: Path | None, *, env: Mapping[str, str]) -> Checked:
    """`load` for whoever wants to look further where there are problems.

    Raises ProblemsFound for a file that cannot be read at all.
    """
    if path is None:
        return _checked("built-in configuration", Path.cwd(), "", env)
    try:
        with path.open("rb") as opened:
            raw = opened.read(yaml_nodes.MAX_CHARS * 4 + 1)
        text = raw.decode("utf-8")
    except OSError as exc:
        reason = exc.strerror or "cannot be read"
        raise ProblemsFound([Problem(position=Position(str(path)), message=reason)]) from exc
    except UnicodeDecodeError as exc:
        line = raw.count(b"\n", 0, exc.start) + 1
        column = exc.start - (raw.rfind(b"\n", 0, exc.start) + 1) + 1
        place = Position(str(path), line, column)
        raise ProblemsFound([Problem(position=place, message="this is not UTF-8")]) from exc
    # Not resolved: a mounted ConfigMap is a link to a folder that the next update removes.
    return _checked(str(path), path.absolute().parent, text, env)


def _checked(file: str, base_dir: Path, text: str, env: Mapping[str, str]) -> Checked:
    """Looks at whatever could be read: `note` is silent about parts that are not intact, and what
    another part could have settled counts only where that part is (`sure`)."""
    reading = yaml_document.read(text, Config, file=file, env=env)
    findings = Findings(reading, base_dir, env)
    config = salvage(reading, Config)
    if config is None or () in reading.damaged:
        return Checked(
            loaded=None,
            policies_path=None,
            problems=findings.problems,
            catalog=Catalog(discovering=True, open_keys=True, open_pools=True),
            reading=reading,
        )
    host, port = bind_address(findings, config)
    token = read_secret(findings, config.auth.token, ("auth", "token"))
    callers = callers_of(findings, config.auth.keys)
    check_budget(findings, config.auth.default_budget, ("auth", "default_budget"))
    check_reach(findings, config, host)
    check_tokens_differ(findings, token, callers)
    proxies = trusted_proxies(findings, config, host)
    pools, models, routes = _places(findings, config)
    catalog = catalog_of(findings, pools, models, routes, config)
    discovering = {spec.id for spec in pools} - {model.pool for model in models}
    pools = tuple(msgspec.structs.replace(p, discovers=p.id in discovering) for p in pools)
    check_not_zero(findings, config, ())
    check_timeouts(findings, config)
    check_simulations(findings, config)
    check_tasks(findings, config)
    policies = policies_path(findings, config)
    decisions = decisions_file(findings, config)
    records = records_of(findings, config)
    telemetry = telemetry_of(findings, config.telemetry)
    if findings.problems:
        there = findings.sure((), "policies") and exists(policies, Path.exists)
        return Checked(
            loaded=None,
            problems=findings.problems,
            policies_path=policies if there else None,
            catalog=catalog,
            reading=reading,
        )
    loaded = LoadedConfig(
        config=masked(config, records),
        file=file,
        base_dir=base_dir,
        host=host,
        port=port,
        policies_path=policies,
        log_file=base_dir / config.logging.file if config.logging.file else None,
        decisions_file=decisions,
        token=token,
        callers=tuple(callers.values()),
        proxies=proxies,
        pools=pools,
        catalog=catalog,
        records=records,
        telemetry=telemetry,
        warnings=tuple(findings.warnings),
        target_places=target_places(reading, routes),
    )
    return Checked(
        loaded=loaded, problems=[], policies_path=policies, catalog=catalog, reading=reading
    )


def _places(findings: Findings, config: Config) -> tuple[tuple[PoolSpec, ...], list[Model], Routes]:
    """Where work can go: what is configured, or what is built in where nobody asked for a pool."""
    asked_for_none = config.adapter is None and not config.pools
    if asked_for_none and findings.sure((), "adapter", "pools"):
        return built_in(findings, config)
    return pools_of(findings, config), config.models, config.routes
