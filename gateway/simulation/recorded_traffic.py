"""The traffic of a gateway, out of its records, to be simulated.

Reads only. Does not import SQLAlchemy until it reads.
"""

import asyncio
from pathlib import Path

from contracts.catalog import Catalog
from contracts.problems import Position, Problem, ProblemsFound
from gateway.records import database_url
from gateway.records.database_url import DatabaseUrl
from gateway.records.faults import RecordsDown, SchemaMismatch
from gateway.settings import LoadedConfig
from gateway.simulation.recorded_arrivals import Gatherer
from gateway.simulation.trace import MAX_ARRIVAL_S, MAX_ROWS
from gateway.simulation.traffic_source import Traffic
from policies.policy_set import PolicySet

FLAG = "--records"


class RecordedTraffic:
    """A TrafficSource. `url` is that of a database; "": the one that the configuration names. `since_s` is
    Unix time: executions accepted then or later; None: all of them."""

    def __init__(self, url: str = "", *, since_s: float | None = None) -> None:
        self._url = url
        self._since_s = since_s

    def read(self, config: LoadedConfig, policy: PolicySet, catalog: Catalog) -> Traffic:
        database = self._database(config)
        gatherer = Gatherer(policy, catalog)
        try:
            asyncio.run(_gather(database, self._since_s, gatherer))
        except (RecordsDown, SchemaMismatch) as exc:
            raise _refused(database.shown, str(exc)) from exc
        found = gatherer.gathered()
        if not found.arrivals:
            hint = "; ".join(found.notes)
            raise _refused(database.shown, "there are no executions to simulate", hint)
        if found.arrivals[-1].arrival_s > MAX_ARRIVAL_S:
            raise _refused(database.shown, "more than a year of executions", "say --since")
        return Traffic(
            name=database.shown, kind="records", arrivals=found.arrivals, notes=found.notes
        )

    def _database(self, config: LoadedConfig) -> DatabaseUrl:
        if not self._url:
            if config.records is None:
                hint = "name a database after --records, or add records: to the configuration"
                raise _refused(config.file, "there are no records", hint)
            return config.records.database
        try:
            parsed = database_url.parse(self._url, Path.cwd())
        except ValueError as exc:
            raise _refused(FLAG, str(exc)) from exc
        if parsed.password is not None:
            hint = (
                "put it into the environment variable PGPASSWORD, or the URL into the configuration"
            )
            raise _refused(FLAG, "a password on the command line shows in the process list", hint)
        return parsed


async def _gather(url: DatabaseUrl, since_s: float | None, gatherer: Gatherer) -> None:
    from gateway.records.database import Database
    from gateway.records.execution_store import ExecutionStore, Filter

    database = Database(url, migrates=False)
    try:
        async for page in ExecutionStore(database).traffic(Filter(since_s=since_s)):
            gatherer.add(page)
            if len(gatherer) > MAX_ROWS:
                raise _refused(url.shown, f"more than {MAX_ROWS} executions", "say --since")
    finally:
        await database.aclose()


def _refused(place: str, message: str, hint: str = "") -> ProblemsFound:
    return ProblemsFound([Problem(position=Position(place), message=message, hint=hint)])
