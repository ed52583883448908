"""A chat as one text, by a template of the configuration's. Pure.

What must stay true: what was said stands in the text unchanged, and what no template has a place for (tools,
images, names) is refused. Special tokens that somebody writes into a message are not told from the template's
own: nor are they by the engines that write their prompts themselves.
"""

from adapters.chat_messages import placed, words_of
from adapters.chat_request import Message
from adapters.unsupported import Cannot
from contracts.prompt_template import PromptTemplate

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
PLACE = "{text}"


def prompt_text(
    messages: list[Message], template: PromptTemplate, cannot: Cannot, *, continues: bool
) -> str:
    """`continues`: it ends in the middle of the last message, for the model to go on there.

    Raises UnsupportedParameter for what cannot be said.
    """
    told = [template.begin or ""]
    last = len(messages) - 1
    for number, (where, message) in enumerate(placed(messages, cannot)):
        text = words_of(message, where, cannot)
        before, _, after = _frame(message, template, where, cannot).partition(PLACE)
        told.append(before + text)
        if continues and number == last and message.role == "assistant":
            return "".join(told)
        told.append(after)
    return "".join([*told, template.reply])


def _frame(message: Message, template: PromptTemplate, where: str, cannot: Cannot) -> str:
    frame: str | None = getattr(template, _ROLES[message.role])
    if frame is None:
        cannot.refuse(f"{where}.role", "the model's template has no system messages")
    return frame
