"""Lines of the log: their fields, and what is taken out of them."""

import datetime
import json
import logging
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.log_lines import JsonLines, Readable, utc
from tests.support.log_records import SECRET, record, redact


@pytest.mark.req("OPS-1")
def test_an_event_is_one_json_object_with_its_fields() -> None:
    line = json.loads(JsonLines(redact).format(record(job_id="j", tokens_in=3, pool_id=None)))
    assert line.pop("ts").endswith("Z")
    assert line == {"level": "info", "event": "request", "job_id": "j", "tokens_in": 3}


def test_an_event_may_say_nothing_but_its_name() -> None:
    for process, more in ((None, {}), (2, {"worker": 2})):
        line = json.loads(JsonLines(redact, process).format(record(name="ready", why=None)))
        assert list(line) == ["ts", "level", "event", *more]
        assert {name: line[name] for name in more} == more


@pytest.mark.req("SEC-3")
def test_not_even_an_events_name_hides_a_secret() -> None:
    assert SECRET[3:9] not in JsonLines(redact).format(record(name=f"no {SECRET}"))


@pytest.mark.req("SEC-3")
def test_secrets_are_taken_out_wherever_they_stand() -> None:
    made = record(a=f"x{SECRET}y", b=[f"Bearer {SECRET}"], c={SECRET: SECRET}, d=(SECRET, 1))
    try:
        raise RuntimeError(f"inner {SECRET}")
    except RuntimeError as exc:
        made.exc_info = (type(exc), exc, exc.__traceback__)
    for form in (JsonLines(redact), Readable(redact, colour=False)):
        line = form.format(made)
        assert SECRET not in line
        assert json.dumps(SECRET)[1:-1] not in line
        assert "***" in line


@pytest.mark.req("SEC-3")
@given(st.text())
def test_redaction_never_breaks_a_line(text: str) -> None:
    for value in (text, f'Bearer {text}"', f"sk-12345678{text}"):
        line = JsonLines(redact).format(record(value=value))
        assert "\n" not in line
        assert set(json.loads(line)) == {"ts", "level", "event", "value"}


@pytest.mark.req("SEC-3")
def test_a_value_of_any_type_is_redacted_as_it_is_shown() -> None:
    made = record(path=Path("/tmp") / SECRET.replace("/", ""), fault=ValueError(f"no {SECRET}"))
    for form in (JsonLines(redact), Readable(redact, colour=False)):
        assert "***" in form.format(made)
        assert json.dumps(SECRET)[1:-1] not in form.format(made)


@pytest.mark.req("SEC-3")
@given(
    st.lists(st.sampled_from([SECRET, "Bearer", " ", "\n", "\\", '"', "t", "sk-abcd1234", "\x1f"]))
)
def test_a_line_says_of_a_text_what_the_redactor_leaves_of_it(parts: list[str]) -> None:
    text = "".join(parts)
    assert json.loads(JsonLines(redact).format(record(value=text)))["value"] == redact(text)


@pytest.mark.req("SEC-3", "OPS-4")
@given(
    st.lists(
        st.lists(
            st.sampled_from([SECRET, "Bearer", "?token=", "sk-", "abcd1234", "\n", "\\", "\ud800"]),
            max_size=3,
        ).map("".join),
        max_size=6,
    )
)
def test_a_batch_says_what_its_lines_say(texts: list[str]) -> None:
    records = [record(value=text) for text in texts]
    form = JsonLines(redact)
    assert form.together(records) == "\n".join(map(form.format, records))
    said = [json.loads(line)["value"] for line in map(form.format, records)]
    assert said == [redact(text).encode("utf-8", "backslashreplace").decode() for text in texts]


@given(st.text(alphabet=st.characters(exclude_categories=[])))
def test_any_text_a_header_can_hold_can_be_logged(text: str) -> None:
    json.loads(JsonLines(redact).format(record(value=text)).encode())
    Readable(redact, colour=False).format(record(value=text)).encode()


def test_a_clients_text_cannot_speak_to_the_terminal() -> None:
    line = Readable(redact, colour=True).format(record(model="\x1b[2J\nfake line", key='a"b'))
    assert "\x1b[2J" not in line
    assert "\n" not in line
    assert 'key="a\\"b"' in line


def test_an_exceptions_text_cannot_speak_to_the_terminal() -> None:
    made = record()
    try:
        raise RuntimeError("\x1b[2J")
    except RuntimeError as exc:
        made.exc_info = (type(exc), exc, exc.__traceback__)
    line = Readable(redact, colour=False).format(made)
    assert "\x1b" not in line
    assert line.endswith("\nRuntimeError: \\x1b[2J")


def test_the_readable_form_is_short() -> None:
    line = Readable(redact, colour=False).format(record(status=200, e2e_ms=12.34567, why="a b"))
    assert line[12:] == ' request status=200 e2e_ms=12.35 why="a b"'


@given(st.floats(0, 4e9))
@example(0.9999996)
@example(1_700_000_000.0009996)
def test_a_time_is_what_the_calendar_makes_of_it(seconds: float) -> None:
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    # Both round to a microsecond, and may do so differently halfway between two.
    near = [moment + datetime.timedelta(microseconds=off) for off in (-1, 0, 1)]
    told = [each.isoformat(timespec="milliseconds").replace("+00:00", "Z") for each in near]
    assert utc(seconds) in told


def test_a_librarys_message_of_several_lines_is_one_field_of_one_event() -> None:
    said = logging.LogRecord("asyncio", logging.ERROR, "", 0, "Unclosed\nsession: %s", ("x",), None)
    line = json.loads(JsonLines(redact).format(said))
    assert line["event"] == "library_message"
    assert (line["logger"], line["message"]) == ("asyncio", "Unclosed\nsession: x")
    assert "\n" not in Readable(redact, colour=False).format(said)
