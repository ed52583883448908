"""Which names a CEL condition uses, and the same condition with each of them one flat variable.

The CEL library reports only the first identifier of `request.max_tokens`, and a name that does
not exist only when a request meets it. So the source is read here once more: every name is
checked against `policies.vocabulary`, and `request.max_tokens` is *lowered* to one variable of
its own. A flat variable costs a tenth of a map's, nothing is built that no rule names, and a
header that is absent reads as "" instead of ending the evaluation.

Meant for source that the CEL parser has accepted. No evaluation here.
"""

from collections.abc import Iterator

import msgspec

from contracts.problems import did_you_mean
from policies import references
from policies.cel_tokens import Token, tokenize
from policies.references import Reference
from policies.vocabulary import (
    CONSTANTS,
    FUNCTIONS,
    MACROS,
    METHODS,
    POOL_FIELDS,
    POOL_SIGNALS,
    REQUEST_FIELDS,
    ROOTS,
    Kind,
)

MAX_NESTING = 1
"""A comprehension inside a comprehension multiplies its work; the request path has no room for it."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing wrong with a condition. Line and column count from 1 within its own source."""

    line: int = 1
    column: int = 1
    message: str
    hint: str = ""


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """What `read_names` found. `lowered` is fit for evaluation only when there are no findings."""

    lowered: str
    references: tuple[Reference, ...]
    texts: tuple[str, ...]
    """The literals, for sample values."""
    numbers: tuple[int, ...]
    findings: tuple[Finding, ...]


def read_names(source: str, pools: frozenset[str] | None = None) -> Names:
    """Check and lower the names of a condition that CEL can parse.

    `pools` are the ids that exist; None leaves them unchecked.
    """
    return _Reader(source, pools).read()


class _Reader:
    def __init__(self, source: str, pools: frozenset[str] | None) -> None:
        self._source = source
        self._pools = pools
        self._all = tokenize(source)
        self._tokens = [token for token in self._all if token.kind != "space"]
        self._findings: list[Finding] = []
        self._references: dict[str, Reference] = {}
        self._membership: list[tuple[Token, str]] = []
        self._whole_headers: list[Token] = []

    def read(self) -> Names:
        for index, bound in self._names():
            token = self._tokens[index]
            if token.text in CONSTANTS:
                continue  # `in` too, before any bracket: `x in (a)` calls nothing
            if self._text(index + 1) == "(":
                self._function(token, method=self._text(index - 1) == ".")
            elif self._text(index - 1) == ".":
                if index < 2 or not self._tokens[index - 2].ends_operand:
                    self._note(token, f"unknown name '.{token.text}'", "a name has no leading dot")
            elif token.text not in bound:
                self._root(index)
        self._settle_headers()
        texts = (token.literal() for token in self._tokens)
        return Names(
            lowered="".join(t.text if t.lowered is None else t.lowered for t in self._all),
            references=tuple(sorted(self._references.values())),
            texts=tuple(text for text in texts if text is not None),
            numbers=tuple(int(t.text) for t in self._tokens if t.text.isdecimal()),
            findings=tuple(self._findings),
        )

    def _names(self) -> Iterator[tuple[int, frozenset[str]]]:
        """Each identifier's index, with the comprehension variables that exist around it."""
        scopes: list[str | None] = []
        for index, token in enumerate(self._tokens):
            if token.kind == "name":
                yield index, frozenset(name for name in scopes if name is not None)
            elif token.text in ("(", "[", "{"):
                scopes.append(self._binding(index, sum(name is not None for name in scopes)))
            elif token.text in (")", "]", "}") and scopes:
                scopes.pop()

    def _binding(self, opening: int, depth: int) -> str | None:
        """The variable of the macro call whose bracket opens here, if it is one."""
        if not (
            self._text(opening) == "("
            and self._text(opening - 1) in MACROS
            and self._text(opening - 2) == "."
            and self._text(opening + 2) == ","
        ):
            return None
        variable = self._tokens[opening + 1]
        if variable.text in ROOTS or variable.text.startswith("_"):
            self._note(variable, f"{variable.text!r} cannot be a variable here", "choose another")
        if depth >= MAX_NESTING:
            self._note(
                self._tokens[opening - 1],
                "a comprehension inside a comprehension costs too much for the request path",
                "use two rules",
            )
        return variable.text

    def _function(self, token: Token, *, method: bool) -> None:
        name = token.text
        known = METHODS | MACROS if method else FUNCTIONS
        if name == "has":
            why, hint = "every name has a value", 'for a header: "x-team" in request.headers'
            self._note(token, f"has() is not needed: {why}", hint)
        elif name not in known:
            hint = did_you_mean(name, known)
            if not method and name in METHODS:
                hint = f"write x.{name}(...)"
            self._note(token, f"unknown function {name!r}", hint)

    def _root(self, index: int) -> None:
        token = self._tokens[index]
        match token.text:
            case "request":
                field = self._field(index, REQUEST_FIELDS, "request")
                if field == "headers":
                    self._headers(index)
                elif field:
                    self._lower(index, 3, references.request_field(field))
            case "pool":
                field = self._field(index, POOL_FIELDS, "pool")
                if field:
                    self._lower(index, 3, references.pool_field(field))
            case "pools":
                self._pool_by_id(index)
            case other:
                self._note(token, f"unknown name {other!r}", _root_hint(other))

    def _headers(self, index: int) -> None:
        """`request.headers` and what follows: one header, a membership test, or the whole map."""
        found = self._key(index + 3)
        if found is not None:
            name, length = found
            self._lower(index, 3 + length, references.header(name.lower()))
            return
        asked = self._asked_for(index)
        if asked is not None:
            left = self._tokens[index - 2]
            left.lowered = msgspec.json.encode(asked.lower()).decode()
            self._membership.append((self._tokens[index], asked.lower()))
        else:
            self._whole_headers.append(self._tokens[index])
        self._blank(index + 1, 2)

    def _asked_for(self, index: int) -> str | None:
        """The header of `"x-team" in request.headers`; None where either side is more than that."""
        alone = self._text(index - 3) in ("", "(", "[", "{", ",", "&", "|", "?", ":")
        whole = self._text(index + 3) not in (".", "[")
        asks = alone and whole and self._text(index - 1) == "in"
        return self._string(index - 2) if asks else None

    def _settle_headers(self) -> None:
        """Build the map of all headers only where no smaller one answers."""
        places = [token for token, _ in self._membership] + self._whole_headers
        if places:
            asked = tuple(sorted({name for _, name in self._membership}))
            reference = references.headers(None if self._whole_headers else asked)
            self._references[reference.slot] = reference
            for token in places:
                token.lowered = reference.slot

    def _pool_by_id(self, index: int) -> None:
        found = self._key(index + 1)
        if found is None:
            hint = 'write pools["local"].queued'
            self._note(self._tokens[index], "pools needs one pool's id in quotes", hint)
            return
        pool, length = found
        if self._pools is not None and pool not in self._pools:
            hint = did_you_mean(pool, self._pools)
            self._note(self._tokens[index + 2], f"unknown pool {pool!r}", hint)
            return
        field = self._field(index + length, POOL_SIGNALS, f'pools["{pool}"]')
        if field:
            self._lower(index, length + 3, references.pools_signal(pool, field))

    def _field(self, index: int, known: dict[str, Kind], owner: str) -> str | None:
        """The field after the token at `index`, checked; None when there is no right one."""
        name = self._tokens[index + 2] if index + 2 < len(self._tokens) else None
        if self._text(index + 1) != "." or name is None or name.kind != "name":
            hint = f"write {owner}.{next(iter(known))}, for example"
            self._note(self._tokens[index], f"{owner} is not a value by itself", hint)
            return None
        if name.text in known and self._text(index + 3) != "(":
            return name.text
        self._note(name, f"unknown field {owner}.{name.text}", did_you_mean(name.text, known))
        return None

    def _key(self, index: int) -> tuple[str, int] | None:
        """A constant subscript at `index`, `["x"]` or `.x`, and its length in tokens."""
        if self._text(index) == "[" and self._text(index + 2) == "]":
            text = self._string(index + 1)
            return None if text is None else (text, 3)
        if self._text(index) == "." and self._text(index + 2) != "(":
            return self._text(index + 1), 2
        return None

    def _string(self, index: int) -> str | None:
        return self._tokens[index].literal() if 0 <= index < len(self._tokens) else None

    def _text(self, index: int) -> str:
        return self._tokens[index].text if 0 <= index < len(self._tokens) else ""

    def _lower(self, index: int, length: int, reference: Reference) -> None:
        """Write the reference's slot in place of the `length` tokens from `index` on."""
        self._references[reference.slot] = reference
        self._tokens[index].lowered = reference.slot
        self._blank(index + 1, length - 1)

    def _blank(self, index: int, length: int) -> None:
        for token in self._tokens[index : index + length]:
            token.lowered = ""

    def _note(self, token: Token, message: str, hint: str) -> None:
        before = self._source[: token.offset]
        line, column = before.count("\n") + 1, token.offset - before.rfind("\n")
        found = Finding(line=line, column=column, message=message, hint=hint)
        if all((line, column) != (other.line, other.column) for other in self._findings):
            self._findings.append(found)  # one remedy a place: `request.model()` is two mistakes


def _root_hint(name: str) -> str:
    for owner, fields in (("request", REQUEST_FIELDS), ("pool", POOL_FIELDS)):
        if name in fields:
            return f"did you mean '{owner}.{name}'?"
    return did_you_mean(name, ROOTS)
