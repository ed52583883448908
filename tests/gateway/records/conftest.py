"""An empty database of each kind, for tests that both must pass."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.records.database import Database
from gateway.records.database_url import DatabaseUrl, parse
from tests.support.postgres import Postgres, binaries


def _running() -> Iterator[Postgres]:
    if binaries() is None:
        pytest.skip("there is no PostgreSQL for this machine: the wheel pgserver is not installed")
    server = Postgres()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    yield from _running()


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """For a test that kills it."""
    yield from _running()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DatabaseUrl]:
    if request.param == "sqlite":
        yield parse("sqlite:///var/records.db", tmp_path)
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = server.new_database()
    yield parse(server.url(name), tmp_path)
    server.drop(name)


@pytest.fixture
async def database(url: DatabaseUrl) -> AsyncIterator[Database]:
    database = Database(url)
    yield database
    await database.aclose()
