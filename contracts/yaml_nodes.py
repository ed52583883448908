"""YAML text to a tree of nodes, each with its place. Knows nothing of what the text should say.

Must stay true: no text makes it raise, loop or grow beyond its limits. The tree has no cycles:
an alias is resolved only once its anchor is complete, and what aliases add is counted.

Only the part of YAML that configuration needs: one document, mappings with scalar keys, no tags
but `!!str`, no merge keys. No typing here either: a scalar is its text (see `plain_value`).
"""

import re
from collections.abc import Callable, Iterator
from typing import Literal

import msgspec
import yaml

from contracts.problems import Position, Problem

MAX_CHARS = 1024 * 1024
MAX_DEPTH = 64
MAX_NODES = 100_000
"""Nodes of one document, each counted as often as aliases repeat it."""

# libyaml where PyYAML was built with it: same events and places, twenty times as fast.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Scalar(msgspec.Struct, frozen=True):
    """`plain`: written without quotes and without a tag, so its text may mean more than text."""

    position: Position
    text: str
    plain: bool
    size: int = 1
    depth: int = 1


class Sequence(msgspec.Struct, frozen=True):
    position: Position
    items: tuple["Node", ...]
    size: int
    depth: int


class Mapping(msgspec.Struct, frozen=True):
    """Keys may repeat: whoever reads the pairs says so, and where."""

    position: Position
    pairs: tuple[tuple[Scalar, "Node"], ...]
    size: int
    depth: int


Node = Scalar | Sequence | Mapping


class Composed(msgspec.Struct, frozen=True, kw_only=True):
    """`root` is None for an empty document, and where the text is not YAML (then with a problem)."""

    root: Node | None
    problems: tuple[Problem, ...]


class _Refused(Exception):
    def __init__(self, position: Position, message: str, hint: str = "") -> None:
        self.problem = Problem(position=position, message=message, hint=hint)


def compose(text: str, *, file: str, restore: Callable[[str], str] = str) -> Composed:
    """Read one document. `restore` is applied to the text of every scalar. Never raises.

    A syntax error ends the reading; what is merely not wanted (a tag, a merge key) does not.
    """
    composer = _Composer(file, restore)
    root: Node | None = None
    try:
        root = composer.run(text)
    except _Refused as refused:
        composer.problems.append(refused.problem)
    return Composed(root=root, problems=tuple(composer.problems))


class _Open(msgspec.Struct):
    """A sequence or mapping whose end has not come yet; a mapping's children alternate."""

    kind: Literal["sequence", "mapping"]
    position: Position
    anchor: str | None
    children: list[Node] = []
    size: int = 1


class _Composer:
    """Builds the tree from the parser's events, with a stack of its own: depth costs no recursion."""

    def __init__(self, file: str, restore: Callable[[str], str]) -> None:
        self.problems: list[Problem] = []
        self._file = file
        self._restore = restore
        self._anchors: dict[str, Node] = {}
        self._stack: list[_Open] = []
        self._size = 0

    def run(self, text: str) -> Node | None:
        root: Node | None = None
        documents = 0
        for event in self._events(text):
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise _Refused(self._at(event), "a second document; one file is one document")
            node = self._take(event)
            if node is not None and not self._stack:
                root = node
        return root

    def _events(self, text: str) -> Iterator[yaml.Event]:
        self._check_characters(text)
        try:
            yield from yaml.parse(text.removeprefix("\ufeff"), Loader=_LOADER)
        except yaml.MarkedYAMLError as exc:
            raise self._syntax_error(exc) from exc
        except (yaml.YAMLError, ValueError, OverflowError) as exc:
            # Without libyaml an escape such as "\UFFFFFFFF" ends in chr()'s own error.
            raise _Refused(Position(self._file), "this is not YAML") from exc

    def _check_characters(self, text: str) -> None:
        if len(text) > MAX_CHARS:
            raise _Refused(Position(self._file), f"more than {MAX_CHARS} characters")
        found = _UNPRINTABLE.search(text)
        if found is not None:
            before = text[: found.start()]
            line = before.count("\n") + 1
            column = found.start() - (before.rfind("\n") + 1) + 1
            raise _Refused(
                Position(self._file, line, column),
                f"the character U+{ord(found[0]):04X} may not stand in YAML",
            )

    def _syntax_error(self, exc: yaml.MarkedYAMLError) -> _Refused:
        mark = exc.problem_mark or exc.context_mark
        # Words in quotes are the file's own text, which may be a secret.
        problem = _QUOTED_WORD.sub("...", exc.problem or "unreadable")
        hint = ""
        if exc.context and exc.context_mark:
            line = exc.context_mark.line + 1
            hint = f"{_QUOTED_WORD.sub('...', exc.context)} that begins in line {line}"
        place = (
            Position(self._file, mark.line + 1, mark.column + 1) if mark else Position(self._file)
        )
        return _Refused(place, f"this is not YAML: {problem}", hint)

    def _take(self, event: yaml.Event) -> Node | None:
        """Returns a node that is complete now; it has been given to what encloses it."""
        node: Node
        if isinstance(event, yaml.ScalarEvent):
            node = self._scalar(event)
        elif isinstance(event, yaml.AliasEvent):
            node = self._alias(event)
        elif isinstance(event, yaml.SequenceStartEvent | yaml.MappingStartEvent):
            self._open(event)
            return None
        elif isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
            node = self._close()
        else:
            return None
        anchor = event.anchor if isinstance(event, yaml.ScalarEvent) else None
        return self._give(node, anchor)

    def _scalar(self, event: yaml.ScalarEvent) -> Scalar:
        position = self._at(event)
        self._count(1, position)
        if event.tag not in (None, "!", "tag:yaml.org,2002:str"):
            self._refuse_tag(position)
        text = self._restore(event.value)
        if _SURROGATE.search(text):
            raise _Refused(position, "an escape that is no character by itself")
        return Scalar(position, text, plain=event.tag is None and not event.style)

    def _alias(self, event: yaml.AliasEvent) -> Node:
        position = self._at(event)
        node = self._anchors.get(event.anchor or "")
        if node is None:
            raise _Refused(position, "an alias (*) of no anchor (&) that is complete before it")
        self._count(node.size, position)
        if len(self._stack) + node.depth > MAX_DEPTH:
            raise _Refused(position, f"nested more than {MAX_DEPTH} deep")
        return node

    def _open(self, event: yaml.SequenceStartEvent | yaml.MappingStartEvent) -> None:
        position = self._at(event)
        self._count(1, position)
        if len(self._stack) >= MAX_DEPTH - 1:
            raise _Refused(position, f"nested more than {MAX_DEPTH} deep")
        if event.tag not in (None, "!"):
            self._refuse_tag(position)
        kind: Literal["sequence", "mapping"] = (
            "sequence" if isinstance(event, yaml.SequenceStartEvent) else "mapping"
        )
        self._stack.append(_Open(kind, position, event.anchor))

    def _close(self) -> Node:
        done = self._stack.pop()
        depth = 1 + max((child.depth for child in done.children), default=0)
        node: Node
        if done.kind == "sequence":
            node = Sequence(done.position, tuple(done.children), done.size, depth)
        else:
            node = Mapping(done.position, tuple(self._pairs(done.children)), done.size, depth)
        if done.anchor is not None:
            self._anchors[done.anchor] = node
        return node

    def _pairs(self, children: list[Node]) -> Iterator[tuple[Scalar, Node]]:
        for key, value in zip(children[::2], children[1::2], strict=True):
            if not isinstance(key, Scalar):
                self._note(key.position, "a key must be text, not a list or a mapping")
            elif key.plain and key.text == "<<":
                self._note(
                    key.position, "merge keys (<<) are not supported", "write the fields out"
                )
            else:
                yield key, value

    def _give(self, node: Node, anchor: str | None) -> Node:
        if anchor is not None:
            self._anchors[anchor] = node
        if self._stack:
            self._stack[-1].children.append(node)
            self._stack[-1].size += node.size
        return node

    def _count(self, nodes: int, position: Position) -> None:
        self._size += nodes
        if self._size > MAX_NODES:
            raise _Refused(position, f"more than {MAX_NODES} values, with what aliases repeat")

    def _refuse_tag(self, position: Position) -> None:
        self._note(position, "tags (!...) are not supported", "leave the tag out")

    def _note(self, position: Position, message: str, hint: str = "") -> None:
        self.problems.append(Problem(position=position, message=message, hint=hint))

    def _at(self, event: yaml.Event) -> Position:
        mark = event.start_mark
        if mark is None:  # no parser leaves it out; its type says it could
            return Position(self._file)
        return Position(self._file, mark.line + 1, mark.column + 1)


def plain_value(text: str) -> str | int | float | bool | None:
    """What an unquoted scalar means: YAML 1.2's core schema, so `on`, `no` and `22:22` are text.

    Raises ValueError for a number that JSON could not carry on (too large, infinite, not a number).
    """
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        # Length first: Python refuses to read very long numbers at all.
        number = int(text, base) if len(text) <= 32 else 2**64
        if not -(2**63) <= number < 2**63:
            raise ValueError("a number beyond 64 bits")
        return number
    if _FLOAT.fullmatch(text):
        value = float(text)
        if value in (float("inf"), float("-inf")):
            raise ValueError("a number that is too large")
        return value
    if _NOT_FINITE.fullmatch(text):
        raise ValueError("a number that is not finite")
    return text


_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_QUOTED_WORD = re.compile(r"'[^'<\s,]{2,}'")
