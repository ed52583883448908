"""What is said to be a database, and that its password never shows."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.records.database_url import parse

BASE = Path("/etc/setpoint")


def test_a_relative_path_starts_from_the_base_folder() -> None:
    assert parse("sqlite:///var/setpoint.db", BASE).file == BASE / "var/setpoint.db"


def test_four_slashes_are_an_absolute_path() -> None:
    assert parse("sqlite:////data/setpoint.db", BASE).file == Path("/data/setpoint.db")


def test_a_password_is_kept_apart_and_not_shown() -> None:
    read = parse("postgresql://web:p%40ss-word@db.internal:5433/setpoint?sslmode=require", BASE)
    assert read.shown == "postgresql://web:***@db.internal:5433/setpoint?sslmode=require"
    assert read.password is not None
    assert read.password.reveal() == "p@ss-word"
    assert "p%40ss-word" not in repr(read)


@pytest.mark.parametrize("text", ["postgresql:///setpoint", "postgres://web@db/setpoint"])
def test_postgresql_needs_no_password(text: str) -> None:
    read = parse(text, BASE)
    assert (read.shown, read.password, read.file) == (text, None, None)


@pytest.mark.req("SEC-3")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "hunter22",
        "mysql://web:hunter22@db/setpoint",
        "sqlite:hunter22",
        "sqlite://hunter22",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///a.db?key=hunter22",
        "postgresql://web:hunter22@db",
        "postgresql://web:hunter22@db/",
        "postgresql://web:a/hunter22@db/setpoint",
        "postgresql://web:a#hunter22@db/setpoint",
        "postgresql://web:hunter22@db:port/setpoint",
        "postgresql://db/setpoint?password=hunter22",
        "postgresql://web:hunter22@[db/setpoint",
        "postgresql://web:hunter22@db/setpoint\n",
    ],
)
def test_what_is_no_database_is_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        parse(text, BASE)
    assert "hunter22" not in str(caught.value)


@given(text=st.text() | st.text().map(lambda t: f"postgresql://a:{t}@b/c"))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read = parse(text, BASE)
    except ValueError:
        return
    assert read.file is not None or read.shown.startswith("postgres")
    assert (
        read.password is None
        or len(read.password.reveal()) < 8
        or read.password.reveal() not in read.shown
    )
