"""What a backend reads out of a request: the same words for all of them, to be compared.

One reader a wire format. They are the backend's side: written after its documentation, not after our dialect.
"""

import re
from typing import Any, Literal

import msgspec

from adapters.dialect import WireRequest


class Understood(msgspec.Struct, frozen=True, kw_only=True):
    """A chat as its backend has it. Defaults are those of a request that says nothing but "Hi"."""

    system: tuple[str, ...] = ()
    turns: tuple[tuple[str, str], ...] = (("user", "Hi"),)
    """Role and text; turns without text are not here."""
    images: tuple[str, ...] = ()
    """As URLs."""
    calls: tuple[tuple[str, str, dict[str, Any]], ...] = ()
    """Calls that were made earlier: id, name, arguments."""
    results: tuple[tuple[str, str], ...] = ()
    tools: dict[str, dict[str, Any]] = {}
    """Schemas by name."""
    tool_choice: str = "auto"
    """`auto`, `none`, `required`, or `named NAME`."""
    one_call: bool = False
    stop: tuple[str, ...] = ()
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    schema: dict[str, Any] | None = None
    effort: str | None = None


ANY_TOOL = {"type": "object", "properties": {}}


def by_openai(wire: WireRequest) -> Understood:
    """OpenAI's chat completions, and those who speak the same."""
    body = msgspec.json.decode(wire.body)
    assert body["stream"] is True
    system: list[str] = []
    turns: list[tuple[str, str]] = []
    images: list[str] = []
    calls: list[tuple[str, str, dict[str, Any]]] = []
    results: list[tuple[str, str]] = []
    for message in body["messages"]:
        content = message.get("content") or ""
        parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
        text = "".join(p["text"] for p in parts if p["type"] == "text")
        images += [p["image_url"]["url"] for p in parts if p["type"] == "image_url"]
        for call in message.get("tool_calls", ()):
            given = msgspec.json.decode(call["function"]["arguments"] or "{}")
            calls.append((call["id"], call["function"]["name"], given))
        match message["role"]:
            case "system" | "developer":
                system.append(text)
            case "tool":
                results.append((message["tool_call_id"], text))
            case role if text:
                turns.append((role, text))
    choice = body.get("tool_choice", "auto")
    stop = body.get("stop", [])
    wanted = body.get("response_format", {})
    return Understood(
        system=tuple(system),
        turns=tuple(turns),
        images=tuple(images),
        calls=tuple(calls),
        results=tuple(results),
        tools={
            t["function"]["name"]: t["function"].get("parameters", ANY_TOOL)
            for t in body.get("tools", ())
        },
        tool_choice=choice if isinstance(choice, str) else f"named {choice['function']['name']}",
        one_call=body.get("parallel_tool_calls") is False,
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        temperature=body.get("temperature"),
        top_p=body.get("top_p"),
        max_tokens=body.get("max_completion_tokens", body.get("max_tokens")),
        schema=wanted["json_schema"]["schema"] if "json_schema" in wanted else None,
        effort=body.get("reasoning_effort"),
    )


_CHOICES: dict[str, Literal["auto", "none", "required"]] = {
    "auto": "auto",
    "none": "none",
    "any": "required",
}


def by_anthropic(wire: WireRequest) -> Understood:
    """The Messages API."""
    body = msgspec.json.decode(wire.body)
    assert body["stream"] is True
    turns: list[tuple[str, str]] = []
    images: list[str] = []
    calls: list[tuple[str, str, dict[str, Any]]] = []
    results: list[tuple[str, str]] = []
    for turn in body["messages"]:
        text = ""
        for block in turn["content"]:
            match block["type"]:
                case "text":
                    text += block["text"]
                case "image":
                    source = block["source"]
                    inline = f"data:{source.get('media_type')};base64,{source.get('data')}"
                    images.append(source.get("url", inline))
                case "tool_use":
                    calls.append((block["id"], block["name"], block["input"]))
                case "tool_result":
                    said = "".join(part["text"] for part in block.get("content", ()))
                    results.append((block["tool_use_id"], said))
        if text:
            turns.append((turn["role"], text))
    choice = body.get("tool_choice", {"type": "auto"})
    config = body.get("output_config", {})
    return Understood(
        system=tuple(block["text"] for block in body.get("system", ())),
        turns=tuple(turns),
        images=tuple(images),
        calls=tuple(calls),
        results=tuple(results),
        tools={tool["name"]: tool["input_schema"] for tool in body.get("tools", ())},
        tool_choice=_CHOICES.get(choice["type"], f"named {choice.get('name')}"),
        one_call=choice.get("disable_parallel_tool_use", False),
        stop=tuple(body.get("stop_sequences", ())),
        temperature=body.get("temperature"),
        top_p=body.get("top_p"),
        max_tokens=body["max_tokens"],
        schema=config["format"]["schema"] if "format" in config else None,
        effort=config.get("effort"),
    )


_MODES = {"AUTO": "auto", "NONE": "none", "ANY": "required"}


def by_gemini(wire: WireRequest) -> Understood:
    """The Gemini API's `streamGenerateContent`."""
    assert wire.path.endswith(":streamGenerateContent?alt=sse")
    body = msgspec.json.decode(wire.body)
    turns: list[tuple[str, str]] = []
    images: list[str] = []
    calls: list[tuple[str, str, dict[str, Any]]] = []
    results: list[tuple[str, str]] = []
    for turn in body["contents"]:
        text = ""
        for part in turn["parts"]:
            match part:
                case {"text": str(said)}:
                    text += said
                case {"inlineData": {"mimeType": kind, "data": data}}:
                    images.append(f"data:{kind};base64,{data}")
                case {"fileData": {"fileUri": uri}}:
                    images.append(uri)
                case {"functionCall": {"id": call_id, "name": name, "args": arguments}}:
                    calls.append((call_id, name, arguments))
                case {"functionResponse": {"id": call_id, "response": {"output": said}}}:
                    results.append((call_id, said))
        if text:
            turns.append(({"user": "user", "model": "assistant"}[turn["role"]], text))
    config = body.get("generationConfig", {})
    choice = body.get("toolConfig", {}).get("functionCallingConfig", {"mode": "AUTO"})
    named = choice.get("allowedFunctionNames")
    thinking = config.get("thinkingConfig", {})
    return Understood(
        system=tuple(part["text"] for part in body.get("systemInstruction", {}).get("parts", ())),
        turns=tuple(turns),
        images=tuple(images),
        calls=tuple(calls),
        results=tuple(results),
        tools={
            function["name"]: function.get("parametersJsonSchema", ANY_TOOL)
            for tool in body.get("tools", ())
            for function in tool["functionDeclarations"]
        },
        tool_choice=f"named {named[0]}" if named else _MODES[choice["mode"]],
        stop=tuple(config.get("stopSequences", ())),
        temperature=config.get("temperature"),
        top_p=config.get("topP"),
        max_tokens=config.get("maxOutputTokens"),
        schema=config.get("responseJsonSchema"),
        effort=thinking["thinkingLevel"].lower() if thinking.get("includeThoughts") else None,
    )


def by_ollama(wire: WireRequest) -> Understood:
    """Ollama's `/api/chat`."""
    assert wire.path == "/api/chat"
    body = msgspec.json.decode(wire.body)
    assert body["stream"] is True
    system: list[str] = []
    turns: list[tuple[str, str]] = []
    images: list[str] = []
    calls: list[tuple[str, str, dict[str, Any]]] = []
    results: list[tuple[str, str]] = []
    for message in body["messages"]:
        images += [f"data:image/png;base64,{data}" for data in message.get("images", ())]
        made = [(call["id"], call["function"]) for call in message.get("tool_calls", ())]
        calls += [(call_id, call["name"], call["arguments"]) for call_id, call in made]
        match message["role"]:
            case "system":
                system.append(message["content"])
            case "tool":
                results.append((message["tool_call_id"], message["content"]))
            case role if message["content"]:
                turns.append((role, message["content"]))
    options = body.get("options", {})
    return Understood(
        system=tuple(system),
        turns=tuple(turns),
        images=tuple(images),
        calls=tuple(calls),
        results=tuple(results),
        tools={t["function"]["name"]: t["function"]["parameters"] for t in body.get("tools", ())},
        stop=tuple(options.get("stop", ())),
        temperature=options.get("temperature"),
        top_p=options.get("top_p"),
        max_tokens=options.get("num_predict"),
        schema=body.get("format"),
        effort=body.get("think"),
    )


def by_tgi(wire: WireRequest) -> Understood:
    """TGI's Messages API: OpenAI's, but for what it would refuse or misunderstand."""
    assert wire.path == "/v1/chat/completions"
    body = msgspec.json.decode(wire.body)
    assert not {"max_completion_tokens", "presence_penalty", "n"} & set(body)
    assert isinstance(body.get("stop", []), list)
    assert all("parameters" in tool["function"] for tool in body.get("tools", ()))
    wanted = body.pop("response_format", None)
    understood = by_openai(msgspec.structs.replace(wire, body=msgspec.json.encode(body)))
    if wanted is None:
        return understood
    assert wanted["type"] == "json"
    return msgspec.structs.replace(understood, schema=wanted["value"])


_TURN = re.compile(r"<\|im_start\|>(\w+)\n(.*?)<\|im_end\|>\n", re.DOTALL)


def by_triton(wire: WireRequest) -> Understood:
    """Triton's generate extension, in front of a model that was trained with ChatML."""
    assert wire.path == "/v2/models/real/generate_stream"
    body = msgspec.json.decode(wire.body)
    assert body["stream"] is True
    text = body["text_input"]
    assert text.endswith("<|im_start|>assistant\n")
    said = _TURN.findall(text)
    return Understood(
        system=tuple(text for role, text in said if role == "system"),
        turns=tuple((role, text) for role, text in said if role != "system"),
        temperature=body.get("temperature"),
        top_p=body.get("top_p"),
        max_tokens=body["max_tokens"],
    )
