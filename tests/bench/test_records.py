"""The benchmark of records runs: its parts, on little."""

import asyncio
from pathlib import Path

import pytest

from gateway.records.database_url import parse
from tests.bench import records


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "ROUNDS", 1)
    monkeypatch.setattr(records, "WAITING", 100)
    monkeypatch.setattr(records, "BATCH", 50)


def test_each_part_is_measured(tmp_path: Path) -> None:
    assert asyncio.run(records.hot_path(tmp_path)) > 0
    assert records.row_making() > 0
    cpu_us, per_s, _ = asyncio.run(records.writing(parse("sqlite:///a.db", tmp_path)))
    assert cpu_us > 0
    assert per_s > 0
