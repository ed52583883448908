"""The prompt of a text completion, for engines that take one text. Pure."""

from typing import cast

from adapters.chat_request import Members
from adapters.unsupported import Cannot
from contracts.errors import InvalidField


def prompt_of(members: Members, cannot: Cannot) -> str:
    """Its text. Several texts, and tokens, are refused. Raises InvalidField where there is none."""
    prompt = members.read("prompt", cast("type[object]", str | list[str | int | list[int]]))
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if isinstance(prompt, str) and prompt:
        return prompt
    if prompt:
        cannot.refuse("prompt", "it takes one text")
    raise InvalidField("prompt is empty", param="prompt")
