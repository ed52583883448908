"""How a conversation is written as one text, for engines that take nothing else.

A template is text with a place for what was said, a member for each role: no language of its own, so nothing
in a message can do more than stand there. What a model was trained with is told by whoever published it.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Said = Annotated[str, Meta(pattern=r"\{text\}", description="a text with {text} in it")]
TemplateName = Literal["chatml", "llama3"]


class PromptTemplate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """In `system`, `user` and `assistant`, `{text}` is what was said."""

    begin: str | None = None
    """Before everything. Most engines put a beginning-of-text token there themselves."""
    system: Said | None = None
    """None: the model knows no such messages, and they are refused."""
    user: Said
    assistant: Said
    reply: str
    """After everything: what makes the model answer."""


TEMPLATES: dict[TemplateName, PromptTemplate] = {
    "chatml": PromptTemplate(
        system="<|im_start|>system\n{text}<|im_end|>\n",
        user="<|im_start|>user\n{text}<|im_end|>\n",
        assistant="<|im_start|>assistant\n{text}<|im_end|>\n",
        reply="<|im_start|>assistant\n",
    ),
    "llama3": PromptTemplate(
        system="<|start_header_id|>system<|end_header_id|>\n\n{text}<|eot_id|>",
        user="<|start_header_id|>user<|end_header_id|>\n\n{text}<|eot_id|>",
        assistant="<|start_header_id|>assistant<|end_header_id|>\n\n{text}<|eot_id|>",
        reply="<|start_header_id|>assistant<|end_header_id|>\n\n",
    ),
}
"""Those that need not be written out, by name."""
