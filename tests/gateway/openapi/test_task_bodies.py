"""What may be handed in."""

from typing import Any

import pytest

from gateway.openapi.task_bodies import TASK_BODIES
from tests.support.described import CHAT, DOCUMENT, MODEL, validator

TEXT = {"prompt": "hi"}
TALK = {"messages": CHAT["messages"]}


@pytest.mark.req("ADM-1", "OPS-3")
@pytest.mark.parametrize(
    ("body", "fits"),
    [
        (TALK, ["ChatTask"]),
        (TEXT, ["CompletionTask"]),
        ({**TEXT, **MODEL, "ttl": "1h", "anything": 1}, ["CompletionTask"]),
        ({**TALK, "prompt": None, "n": 1}, ["ChatTask"]),
        ({**TALK, **TEXT}, []),
        ({**TALK, "n": 2}, []),
        ({"prompt": [1, 2, 3]}, ["CompletionTask"]),
        ({"prompt": ["a"]}, ["CompletionTask"]),
        ({"prompt": ["a", "b"]}, []),
        (MODEL, []),
    ],
)
def test_a_task_is_one_chat_or_one_text(body: dict[str, Any], fits: list[str]) -> None:
    assert [name for name in TASK_BODIES if validator(name, closed=False).is_valid(body)] == fits


def test_a_task_has_no_stream_of_its_own() -> None:
    for name in TASK_BODIES:
        assert not {"stream", "stream_options"} & set(
            DOCUMENT["components"]["schemas"][name]["properties"]
        )
