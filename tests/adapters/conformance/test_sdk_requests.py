"""What dialects send is what the providers' own SDKs can send: their types read it, and lose nothing of it."""

import json
from typing import Any

import msgspec
import pytest
from anthropic.types import ContentBlockParam
from anthropic.types.message_create_params import MessageCreateParamsStreaming
from google.genai import types as gemini
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from ollama._types import ChatRequest
from pydantic import TypeAdapter

from adapters.anthropic import AnthropicDialect
from adapters.dialect import AttemptContext, Dialect
from adapters.gemini import GeminiDialect
from adapters.ollama import OllamaDialect
from contracts.errors import ClientFault
from gateway.intake import read_request
from tests.adapters.conformance.asked import MEMBERS
from tests.adapters.conformance.scenarios import SCENARIOS

pytestmark = pytest.mark.req("RUN-1", "RUN-2")
_PARAMS: TypeAdapter[Any] = TypeAdapter(MessageCreateParamsStreaming)
_BLOCK: TypeAdapter[Any] = TypeAdapter(ContentBlockParam)
SAMPLING = {"temperature", "top_p", "top_k"}
"""Of API version 2023-06-01, which is sent; the SDK's types are of the later one."""
NEWER = {"truncate", "shift"}
"""Of Ollama's API, and not yet of its SDK."""
FEW = settings(max_examples=30)
"""Most of the time goes into making them up, which other properties of the same requests do as well."""
ASKED = st.one_of(st.sampled_from([s.asked for s in SCENARIOS.values()]), MEMBERS)


def sent(dialect: Dialect, model: str, members: dict[str, Any]) -> dict[str, Any]:
    asked = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], **members}
    infer = read_request(msgspec.json.encode(asked), "chat", request_id="r", key="", headers={})
    attempt = AttemptContext(upstream_model=model, unsupported="drop")
    try:
        body: dict[str, Any] = json.loads(dialect.request(infer, attempt).body)
    except ClientFault:
        assume(False)
    return body


def same(adapter: TypeAdapter[Any], told: Any) -> None:
    assert json.loads(adapter.dump_json(adapter.validate_python(told), exclude_unset=True)) == told


@FEW
@given(members=ASKED, model=st.sampled_from(["claude-opus-4-8", "claude-sonnet-4-5"]))
def test_anthropics_types_read_what_anthropic_is_sent(members: dict[str, Any], model: str) -> None:
    body = sent(AnthropicDialect(), model, members)
    for message in body["messages"]:
        for block in message.pop("content"):
            same(_BLOCK, block)
        message["content"] = "its blocks were read one by one"
    same(_PARAMS, {name: value for name, value in body.items() if name not in SAMPLING})


@FEW
@given(members=ASKED, model=st.sampled_from(["gemini-3-flash", "gemini-2.5-flash"]))
def test_googles_types_read_what_gemini_is_sent(members: dict[str, Any], model: str) -> None:
    """They forbid what they do not know."""
    body = sent(GeminiDialect(), model, members)
    for content in (*body.pop("contents"), body.pop("systemInstruction", {})):
        gemini.Content.model_validate_json(json.dumps(content))
    for tool in body.pop("tools", ()):
        gemini.Tool.model_validate(tool)
    gemini.ToolConfig.model_validate(body.pop("toolConfig", {}))
    gemini.GenerationConfig.model_validate(body.pop("generationConfig", {}))
    gemini.ServiceTier(body.pop("serviceTier", "standard"))
    assert body == {}


@FEW
@given(members=ASKED)
def test_ollamas_types_read_what_ollama_is_sent(members: dict[str, Any]) -> None:
    body = sent(OllamaDialect(), "qwen3:8b", members)
    told = ChatRequest.model_validate(body).model_dump_json(exclude_none=True)
    assert json.loads(told) == {n: v for n, v in body.items() if n not in NEWER}
