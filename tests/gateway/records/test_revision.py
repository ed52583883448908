"""What is known of a schema without Alembic. How it is used: test_migrate."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
UNUSED = (
    "alembic",
    "asyncpg",
    "greenlet",
    "sqlalchemy.dialects.postgresql",
    "sqlalchemy.ext.asyncio",
    "sqlalchemy.orm",
)


@pytest.mark.req("OPS-4")
def test_who_has_no_older_database_and_no_postgresql_does_not_import_what_they_need(
    tmp_path: Path,
) -> None:
    code = (
        "import asyncio, sys; from pathlib import Path\n"
        "from gateway.records.keeper import Database\n"
        "from gateway.records.database_url import parse\n"
        "asyncio.run(Database(parse('sqlite:///a.db', Path.cwd())).prepare())\n"
        f"print([m for m in {UNUSED} if m in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    said = [
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout.strip()
        for _ in range(2)
    ]
    assert said == ["[]", "[]"]
