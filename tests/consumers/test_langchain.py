"""LangChain's ChatOpenAI, as an agent uses it."""

import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

from tests.support.setpoint_server import Gateway, Served

pytestmark = pytest.mark.req("OPS-4")


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"12 degrees in {city}"


def chat(gateway: Gateway, model: str, **more: object) -> ChatOpenAI:
    return ChatOpenAI(
        base_url=gateway.v1,
        api_key="unused",
        model=model,
        max_retries=0,
        timeout=60,
        stream_usage=True,
        **more,
    )


@pytest.mark.req("RUN-1")
def test_invoke_gives_text_and_usage(served: Served) -> None:
    answer = chat(served.gateway, served.model, max_tokens=12).invoke("Say hello.")
    assert answer.content
    assert answer.usage_metadata is not None
    assert 0 < answer.usage_metadata["output_tokens"] <= 12
    assert answer.response_metadata["model_name"] == served.model


@pytest.mark.req("RUN-3")
def test_a_streams_pieces_add_up_to_one_message_with_usage_once(served: Served) -> None:
    pieces = list(chat(served.gateway, served.model, max_tokens=12).stream("Say hello."))
    whole = pieces[0]
    for piece in pieces[1:]:
        whole += piece
    assert whole.content
    assert whole.usage_metadata is not None
    assert 0 < whole.usage_metadata["output_tokens"] <= 12
    assert sum(piece.usage_metadata is not None for piece in pieces) == 1


@pytest.mark.req("RUN-3")
@pytest.mark.parametrize("stream", [False, True])
def test_a_bound_tool_is_called_and_its_result_answered(
    through_llmd: Gateway, stream: bool
) -> None:
    model = chat(through_llmd, "sim-large", max_tokens=100)
    bound = model.bind_tools([get_weather], tool_choice="any")
    question = HumanMessage("What is the weather?")
    if stream:
        first, *rest = bound.stream([question])
        for piece in rest:
            first += piece
    else:
        first = bound.invoke([question])

    (call,) = first.tool_calls
    assert call["name"] == "get_weather"
    assert call["args"].keys() == {"city"}
    result = ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"])
    assert model.invoke([question, first, result]).content
