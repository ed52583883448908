"""What every dialect must be able to carry: what a client asks, what a backend must be asked then, what the
model says, and so what must arrive.

A scenario knows no dialect. `asked` is the client's request; `understood` is what the backend reads out of
whatever the dialect made of it; `answer` goes through the dialect's own words and must arrive as it is.
"""

from typing import Any

import msgspec

from contracts.events import Usage
from tests.adapters.conformance.understood import Understood
from tests.fakes.answers import Answer, Call

USER = [{"role": "user", "content": "Hi"}]
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city"],
}
TOOLS = [
    {
        "type": "function",
        "function": {"name": "weather", "description": "tells it", "parameters": WEATHER},
    },
    {"type": "function", "function": {"name": "clock", "description": "tells it"}},
]
NOTHING = {"type": "object", "properties": {}}
SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "integer"}},
    "required": ["answer"],
    "additionalProperties": False,
}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SAYINGS = (
    "Grüße ",
    "από ",
    "京",
    "都\u2028",
    "👩\u200d👧 ",
    "e\u0301 ",
    'a"b\\c',
    "\tשלום\x7f\n",
    "\ud7ff\uffff",
)


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """`needs` are abilities that not every backend has; a row says which it lacks."""

    asked: dict[str, Any] = {}
    understood: Understood = Understood()
    answer: Answer
    needs: frozenset[str] = frozenset()


SCENARIOS: dict[str, Scenario] = {
    "text": Scenario(
        asked={
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "One?"},
                {"role": "assistant", "content": "1"},
                {"role": "user", "content": [{"type": "text", "text": "Two?"}]},
            ],
            "temperature": 0.25,
            "top_p": 0.5,
            "max_tokens": 99,
        },
        understood=Understood(
            system=("Be brief.",),
            turns=(("user", "One?"), ("assistant", "1"), ("user", "Two?")),
            temperature=0.25,
            top_p=0.5,
            max_tokens=99,
        ),
        answer=Answer(text=("Two", " ", "it", " is", ".")),
    ),
    "silence": Scenario(answer=Answer(usage=Usage(prompt_tokens=9, completion_tokens=1))),
    "tools": Scenario(
        asked={"tools": TOOLS},
        understood=Understood(tools={"weather": WEATHER, "clock": NOTHING}),
        answer=Answer(
            text=("Let me", " look."),
            calls=(Call("call_1", "weather", ("", '{"ci', 'ty": "Zür', 'ich", "days": 2', "}")),),
            finish="tool_calls",
        ),
        needs=frozenset({"tools"}),
    ),
    "a tool that is demanded": Scenario(
        asked={"tools": TOOLS, "tool_choice": "required"},
        understood=Understood(tools={"weather": WEATHER, "clock": NOTHING}, tool_choice="required"),
        answer=Answer(calls=(Call("call_1", "clock", ("{}",)),), finish="tool_calls"),
        needs=frozenset({"tools", "tool_choice", "any_tool"}),
    ),
    "a named tool": Scenario(
        asked={
            "tools": TOOLS,
            "tool_choice": {"type": "function", "function": {"name": "clock"}},
        },
        understood=Understood(
            tools={"weather": WEATHER, "clock": NOTHING}, tool_choice="named clock"
        ),
        answer=Answer(calls=(Call("call_1", "clock", ("{}",)),), finish="tool_calls"),
        needs=frozenset({"tools", "tool_choice"}),
    ),
    "one tool at a time": Scenario(
        asked={"tools": TOOLS, "tool_choice": "auto", "parallel_tool_calls": False},
        understood=Understood(tools={"weather": WEATHER, "clock": NOTHING}, one_call=True),
        answer=Answer(calls=(Call("call_1", "clock", ("{}",)),), finish="tool_calls"),
        needs=frozenset({"tools", "one_call"}),
    ),
    "parallel tools": Scenario(
        asked={"tools": TOOLS, "tool_choice": "auto"},
        understood=Understood(tools={"weather": WEATHER, "clock": NOTHING}, tool_choice="auto"),
        answer=Answer(
            calls=(
                Call("call_1", "weather", ('{"city": "A', '"}')),
                Call("call_2", "weather", ('{"city": "B"}',)),
                Call("call_3", "clock", ("{}",)),
            ),
            finish="tool_calls",
        ),
        needs=frozenset({"tools", "parallel_calls"}),
    ),
    "tool results": Scenario(
        asked={
            "messages": [
                *USER,
                {
                    "role": "assistant",
                    "content": "Both.",
                    "tool_calls": [
                        {
                            "id": "call_1",
                            "type": "function",
                            "function": {"name": "weather", "arguments": '{"city":"A","days":2}'},
                        },
                        {
                            "id": "call_2",
                            "type": "function",
                            "function": {"name": "clock", "arguments": ""},
                        },
                    ],
                },
                {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
                {"role": "tool", "tool_call_id": "call_2", "content": "noon"},
                {"role": "user", "content": "And?"},
            ],
            "tools": TOOLS,
        },
        understood=Understood(
            turns=(("user", "Hi"), ("assistant", "Both."), ("user", "And?")),
            tools={"weather": WEATHER, "clock": NOTHING},
            calls=(
                ("call_1", "weather", {"city": "A", "days": 2}),
                ("call_2", "clock", {}),
            ),
            results=(("call_1", "rain"), ("call_2", "noon")),
        ),
        answer=Answer(text=("Rain at noon.",)),
        needs=frozenset({"tools"}),
    ),
    "images": Scenario(
        asked={
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What?"},
                        {
                            "type": "image_url",
                            "image_url": {"url": f"data:image/png;base64,{PIXEL}"},
                        },
                    ],
                }
            ]
        },
        understood=Understood(
            turns=(("user", "What?"),), images=(f"data:image/png;base64,{PIXEL}",)
        ),
        answer=Answer(text=("A pixel.",)),
        needs=frozenset({"images"}),
    ),
    "images by URL": Scenario(
        asked={
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What?"},
                        {"type": "image_url", "image_url": {"url": "https://e.example/a.png"}},
                    ],
                }
            ]
        },
        understood=Understood(turns=(("user", "What?"),), images=("https://e.example/a.png",)),
        answer=Answer(text=("A picture.",)),
        needs=frozenset({"images", "image_urls"}),
    ),
    "reasoning": Scenario(
        asked={"reasoning_effort": "low", "max_completion_tokens": 4096},
        understood=Understood(effort="low", max_tokens=4096),
        answer=Answer(
            reasoning=("First ", "this, ", "then ", "that."),
            text=("So ", "it is."),
            usage=Usage(prompt_tokens=9, completion_tokens=30, reasoning_tokens=20),
        ),
        needs=frozenset({"reasoning", "effort"}),
    ),
    "refusal": Scenario(
        answer=Answer(text=("Well",), refusal="This cannot be answered.", finish="content_filter"),
        needs=frozenset({"refusal"}),
    ),
    "json": Scenario(
        asked={
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": True, "schema": SCHEMA},
            }
        },
        understood=Understood(schema=SCHEMA),
        answer=Answer(text=('{"ans', 'wer": ', "4", "2}")),
        needs=frozenset({"json"}),
    ),
    "stop": Scenario(
        asked={"stop": ["END", "\n\nUser:"]},
        understood=Understood(stop=("END", "\n\nUser:")),
        answer=Answer(text=("up to here",), stop_sequence="END"),
    ),
    "one stop": Scenario(
        asked={"stop": "END"},
        understood=Understood(stop=("END",)),
        answer=Answer(text=("up to here",), stop_sequence="END"),
    ),
    "length": Scenario(
        asked={"max_tokens": 3},
        understood=Understood(max_tokens=3),
        answer=Answer(text=("cut", " off"), finish="length"),
        needs=frozenset({"length"}),
    ),
    "length in a call": Scenario(
        asked={"tools": TOOLS},
        understood=Understood(tools={"weather": WEATHER, "clock": NOTHING}),
        answer=Answer(calls=(Call("call_1", "weather", ('{"city": "A"}',)),), finish="length"),
        needs=frozenset({"tools", "length"}),
    ),
    "usage": Scenario(
        answer=Answer(
            text=("counted",),
            usage=Usage(
                prompt_tokens=400, completion_tokens=12, cached_tokens=384, reasoning_tokens=5
            ),
        ),
    ),
    "unicode": Scenario(
        asked={"messages": [{"role": "user", "content": "".join(SAYINGS)}]},
        understood=Understood(turns=(("user", "".join(SAYINGS)),)),
        answer=Answer(
            reasoning=SAYINGS,
            text=SAYINGS,
            calls=(Call("call_1", "weather", ('{"city": "', "京都👩\u200d👧", '\\u00e9"}')),),
            finish="tool_calls",
        ),
        needs=frozenset({"tools", "reasoning"}),
    ),
    "unasked reasoning": Scenario(
        answer=Answer(reasoning=("First ", "this."), text=("So ", "it is.")),
        needs=frozenset({"reasoning"}),
    ),
    "unicode text": Scenario(
        asked={"messages": [{"role": "user", "content": "".join(SAYINGS)}]},
        understood=Understood(turns=(("user", "".join(SAYINGS)),)),
        answer=Answer(text=SAYINGS),
    ),
}
