"""Where each member of a translated chat came from, so that a refusal names what its client wrote. Pure.

What stands behind the edge knows the chat alone, and says `messages[1].content[0]` or `reasoning_effort`; whoever
asked in another language has a message 0 and said `thinking`. What must stay true: a name that is not known here
stays as it is, and an error is not changed where somebody else still reads it.
"""

import re
from collections.abc import Mapping, Sequence

import msgspec

from contracts.errors import ClientFault, ErrorBody

_MESSAGE = re.compile(r"messages\[(\d+)\](?:\.(.*))?")
_NUMBERED = re.compile(r"(content|tool_calls)\[(\d+)\](\..*)?")
_FUNCTION = re.compile(r"(tools\[\d+\])\.function(?:\.(\w+))?(.*)")


class Place(msgspec.Struct, kw_only=True):
    """Where one message came from, in the client's words."""

    path: str
    content: str
    """What its text is: a path too."""
    parts: list[str] = []
    """Those of its parts, where it has any."""
    calls: list[str] = []
    """Those of its calls of tools."""

    def of(self, member: str) -> str:
        """Where a member of the message came from. What is within a part or a call is not looked for."""
        if found := _NUMBERED.fullmatch(member):
            listed = self.parts if found[1] == "content" else self.calls
            number = int(found[2])
            return listed[number] if number < len(listed) else self.path
        return self.content if member == "content" else self.path


class Origins(msgspec.Struct, frozen=True, kw_only=True):
    """Those of one request. `members` are the chat's own to the client's, the longer before what they begin with;
    `functions` are members of a tool's function to those of the client's tool."""

    members: Mapping[str, str] = {}
    functions: Mapping[str, str] = {}
    messages: Sequence[Place] = ()

    def of(self, param: str) -> str:
        """The client's name for a member of the chat."""
        if (found := _MESSAGE.fullmatch(param)) and int(found[1]) < len(self.messages):
            return self.messages[int(found[1])].of(found[2] or "")
        if self.messages and (found := _FUNCTION.fullmatch(param)):
            tool, member, rest = found.groups()
            return tool if member is None else f"{tool}.{self.functions.get(member, member)}{rest}"
        for name, theirs in self.members.items():
            if param == name or param.startswith((f"{name}.", f"{name}[")):
                return theirs + param[len(name) :]
        return param

    def told(self, said: ErrorBody) -> ErrorBody:
        """What an error says, with the client's name for what it is about."""
        if said.param is None or (theirs := self.of(said.param)) == said.param:
            return said
        message = _renamed(said.message, said.param, theirs)
        return msgspec.structs.replace(said, param=theirs, message=message)

    def corrected(self, error: ClientFault) -> ClientFault:
        """`error` itself, renamed: of the reading of the chat, of which nobody else knows yet."""
        told = self.told(error.envelope().error)
        error.param, error.message = told.param, told.message
        return error


SAME = Origins()
"""Nothing was translated, or nothing was read yet."""


def _renamed(message: str, name: str, theirs: str) -> str:
    """`message`, where `name` stands as a word of its own."""
    return re.sub(rf"(?<![\w.]){re.escape(name)}(?![\w\[])", lambda _: theirs, message)
