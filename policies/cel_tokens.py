"""CEL source to tokens: enough of the lexical grammar to find names, never their meaning.

Source: the CEL language definition, "Lexis". Texts and comments are whole tokens, so a word inside
one is never taken for a name. Meant for source that the CEL parser has accepted; any other text
gives some tokens too, whose texts always join to the source again.
"""

import re

import msgspec

from policies.cel_engine import cel

_TOKEN = re.compile(
    r"""
    (?P<space>[\t\n\f\r\x20]+|//[^\n]*)
  | (?P<string>
        (?:[rR][bB]?|[bB][rR])(?:\"{3}.*?\"{3}|'{3}.*?'{3}|"[^"\n]*"|'[^'\n]*')
      | [bB]?(?:\"{3}(?:\\.|[^\\])*?\"{3}|'{3}(?:\\.|[^\\])*?'{3}
               |"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
    )
  | (?P<number>0[xX][0-9a-fA-F]+[uU]?|(?:\d+\.\d+|\.\d+|\d+)(?:[eE][+-]?\d+)?[uU]?)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<mark>.)
    """,
    re.VERBOSE | re.DOTALL,
)


class Token(msgspec.Struct):
    """A piece of the source. `kind` is space, string, number, name or mark (one character)."""

    kind: str
    text: str
    offset: int
    lowered: str | None = None
    """What is written in its place; None: itself."""

    def literal(self) -> str | None:
        """The text that a string token stands for; None for bytes and other kinds."""
        if self.kind != "string":
            return None
        value = cel.compile(self.text).execute()  # CEL itself knows its escapes
        return value if isinstance(value, str) else None

    @property
    def ends_operand(self) -> bool:
        return self.kind in ("name", "string", "number") or self.text in (")", "]", "}")


def tokenize(source: str) -> list[Token]:
    """All tokens, spaces and comments included."""
    return [
        Token(kind=str(found.lastgroup), text=found.group(), offset=found.start())
        for found in _TOKEN.finditer(source)
    ]
