"""Secrets show nowhere."""

from pathlib import Path

import pytest

from tests.support.configured import TELEMETRY, load_text


@pytest.mark.req("SEC-3")
@pytest.mark.parametrize(
    "text",
    [
        "records: postgresql://web:${PASSWORD}@db/setpoint",
        "records: postgresql://web:hunter22@db/setpoint",
        "records: {url: 'postgresql://web:${PASSWORD}@db/setpoint'}",
        "records: {url: {file: url}}",
    ],
)
def test_the_password_of_the_records_shows_nowhere(tmp_path: Path, text: str) -> None:
    (tmp_path / "url").write_text("postgresql://web:hunter22@db/setpoint\n")
    loaded = load_text(tmp_path, text, PASSWORD="hunter22")
    assert loaded.records is not None
    assert loaded.records.database.url.reveal() == "postgresql://web:hunter22@db/setpoint"
    assert "hunter22" not in repr(loaded)
    assert loaded.redactor().redact("x hunter22 y") == "x *** y"


@pytest.mark.req("SEC-3")
def test_what_the_collector_is_shown_shows_nowhere_else(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, TELEMETRY, KEY="c2VjcmV0LXo=")
    assert "c2VjcmV0" not in repr(loaded)
    assert loaded.redactor().redact("got c2VjcmV0LXo= and Basic c2VjcmV0LXo=").count("***") >= 2
