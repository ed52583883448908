"""The description of the API as the tests hold answers to it."""

import json
from collections.abc import Iterator
from typing import Any

import aiohttp
import jsonschema

from gateway.openapi.description import document

DOCUMENT: dict[str, Any] = json.loads(document())
MODEL = {"model": "assistant"}
CHAT = {**MODEL, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}


def validator(name: str, *, closed: bool = True) -> Any:
    """Checks against one of the document's schemas; `closed`: and allows no member it does not name."""
    components = json.loads(json.dumps(DOCUMENT["components"]))
    for schema in components["schemas"].values():
        if closed and "properties" in schema:
            schema["additionalProperties"] = False
    root = {"$ref": f"#/components/schemas/{name}", "components": components}
    return jsonschema.Draft202012Validator(root)


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                yield path, method, operation


def check_answer(answer: aiohttp.ClientResponse, path: str, method: str) -> None:
    """Status, content type and every header of Setpoint's own stand in the description."""
    described = DOCUMENT["paths"][path][method]["responses"][str(answer.status)]
    if "$ref" in described:
        described = DOCUMENT["components"]["responses"][str(answer.status)]
    assert answer.content_type in described["content"]
    headers = {name.lower() for name in described["headers"]}
    told = {
        name.lower()
        for name in answer.headers
        if name.lower().startswith(("x-", "retry", "openai-", "www-", "allow"))
    }
    assert told - {"x-accel-buffering"} <= headers


async def check_path(
    client: aiohttp.ClientSession, method: str, path: str, described: str, name: str
) -> None:
    """What `method` at `path` answers is what the document says of `described`, of the schema `name`. A method
    that no path has is described as its path's GET is."""
    async with client.request(method, path) as answer:
        check_answer(answer, described, "get" if method == "DELETE" else method.lower())
        validator(name).validate(await answer.json())
