"""A conversation as one text."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.chat_request import Message
from adapters.prompt_text import prompt_text
from adapters.unsupported import Cannot
from contracts.errors import UnsupportedParameter
from contracts.prompt_template import TEMPLATES, PromptTemplate

pytestmark = pytest.mark.req("RUN-2")
PLAIN = PromptTemplate(begin="^", user="U{text};", assistant="A{text};", reply="A")
CALL = {"name": "f", "arguments": "{}"}
SYSTEM = msgspec.structs.replace(PLAIN, system="S{text};")


def written(
    *messages: Any, template: PromptTemplate = SYSTEM, continues: bool = False, drop: bool = False
) -> str:
    told = msgspec.json.decode(msgspec.json.encode(messages), type=list[Message])
    cannot = Cannot("mine", "drop" if drop else "refuse")
    return prompt_text(told, template, cannot, continues=continues)


def said(role: str, content: Any = "x", **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def test_each_role_has_its_place() -> None:
    parts = [{"type": "text", "text": "c"}, {"type": "text", "text": "d"}]
    text = written(
        said("system", "a"), said("developer", "b"), said("user", parts), said("assistant", "e")
    )
    assert text == "^Sa;Sb;Ucd;Ae;A"


def test_a_text_that_looks_like_a_place_stays_what_it_is() -> None:
    assert written(said("user", "{text}")) == "^U{text};A"


@given(text=st.text())
def test_what_was_said_stands_there_unchanged(text: str) -> None:
    assert written(said("user", text)) == f"^U{text};A"


def test_an_answer_that_is_continued_ends_in_its_middle() -> None:
    talk = said("user", "a"), said("assistant", "b")
    assert written(*talk, continues=True) == "^Ua;Ab"
    assert written(*talk, continues=False) == "^Ua;Ab;A"
    assert written(*talk, said("user", "c"), continues=True) == "^Ua;Ab;Uc;A"


@pytest.mark.parametrize(
    ("message", "param"),
    [
        (said("tool", tool_call_id="c"), "messages[0].role"),
        (said("assistant", None, tool_calls=[{"id": "c"}]), "messages[0].tool_calls"),
        (
            said("user", [{"type": "image_url", "image_url": {"url": "x"}}]),
            "messages[0].content[0]",
        ),
        (said("user", name="Bob"), "messages.name"),
        (said("assistant", None, function_call=CALL), "messages[0].function_call"),
        (said("assistant", None, audio={"id": "audio_1"}), "messages[0].audio"),
        (said("function", name="f"), "messages[0].role"),
    ],
)
def test_what_has_no_place_is_refused(message: Any, param: str) -> None:
    with pytest.raises(UnsupportedParameter) as raised:
        written(message)
    assert raised.value.param == param


def test_a_name_may_be_dropped() -> None:
    assert written(said("user", name="Bob"), drop=True) == "^Ux;A"


def test_without_a_place_for_them_system_messages_are_refused() -> None:
    with pytest.raises(UnsupportedParameter) as raised:
        written(said("system"), template=PLAIN, drop=True)
    assert raised.value.param == "messages[0].role"


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=list(TEMPLATES))
def test_the_templates_that_have_names_write_all_roles(template: PromptTemplate) -> None:
    talk = [said(role, f"<{role}>") for role in ("system", "user", "assistant", "user")]
    text = written(*talk, template=template)
    assert [text.index(f"<{role}>") for role in ("system", "user", "assistant")] == sorted(
        text.index(f"<{role}>") for role in ("system", "user", "assistant")
    )
    assert text.endswith(template.reply)
    assert "{text}" not in text
