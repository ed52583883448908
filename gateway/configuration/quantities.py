"""Times and sizes that the configuration's types allow and that make no sense where they stand."""

from collections.abc import Iterator

import msgspec

from contracts import problems
from contracts.config import Config
from contracts.quantities import Duration, Size
from gateway.configuration.findings import Findings
from gateway.simulated_engine import out_of_bounds

MAY_BE_ZERO = frozenset(
    {
        "drain_timeout",
        "timeout",
        "inter_token_latency_std_dev",
        "prefill_overhead",
        "prefill_time_per_token",
        "prefill_time_std_dev",
    }
)
"""Durations of which nothing at all makes sense: do not drain, do not queue, an engine that never varies."""


def check_not_zero(findings: Findings, part: msgspec.Struct, path: problems.Path) -> None:
    """Times and sizes of `part`, which stands at `path`, and of all that is in it."""
    for name in part.__struct_fields__:
        value = getattr(part, name)
        if isinstance(value, Duration | Size) and float(value) == 0 and name not in MAY_BE_ZERO:
            findings.note((*path, name), "must be more than zero")
        for index, child in _structs(value):
            check_not_zero(findings, child, (*path, name, *index))


def check_simulations(findings: Findings, config: Config) -> None:
    """Times that no engine can have, wherever one is described."""
    described = [(("pools", i, "simulate"), p.simulate) for i, p in enumerate(config.pools)]
    described += [(("models", i, "simulate"), m.simulate) for i, m in enumerate(config.models)]
    for path, simulate in described:
        for field, message in out_of_bounds(simulate):
            findings.note((*path, field), message)


def check_timeouts(findings: Findings, config: Config) -> None:
    """Of an attempt, no part that somebody gave a time to has longer than the whole."""
    for index, pool in enumerate(config.pools):
        for name in ("connect", "first_token", "idle"):
            path: problems.Path = ("pools", index, "timeouts", name)
            value, total = getattr(pool.timeouts, name), pool.timeouts.total
            if path in findings.reading.positions and value > total:
                findings.warn(
                    path,
                    f"the whole attempt ends after {total:g}s, so this has no effect",
                    f"less than {total:g}s, or a longer total",
                )


def check_tasks(findings: Findings, config: Config) -> None:
    """A task that says nothing waits no longer than one may that says how long."""
    if config.tasks.ttl > config.tasks.max_ttl and findings.sure(("tasks",), "ttl", "max_ttl"):
        findings.note(
            ("tasks", "ttl"),
            "a task that says nothing would wait longer than one may that says so",
            f"at most tasks.max_ttl, {config.tasks.max_ttl:g}s",
        )


def _structs(value: object) -> Iterator[tuple[tuple[int, ...], msgspec.Struct]]:
    if isinstance(value, msgspec.Struct):
        yield (), value
    elif isinstance(value, list):
        for index, item in enumerate(value):
            if isinstance(item, msgspec.Struct):
                yield (index,), item
