"""A rule's condition: CEL, compiled once, its names checked when the policy loads.

What must stay true: a condition that compiles uses only names that every request has, and gave
true or false on every sample it could be tried on. Evaluation is a pure function of the context.
What may not live here: where values come from (`policies.context`) and what a match does
(`policies.effects`).
"""

import re
from typing import Any

import msgspec

from policies.cel_engine import cel
from policies.cel_names import Finding, Names, read_names
from policies.first_test import FirstTest, first_test
from policies.references import Reference
from policies.vocabulary import ELSEWHERE, sample

MAX_SOURCE_CHARS = 2048
"""A condition longer than this is a program; it also bounds the parser's depth."""
MAX_SAMPLES = 32

_PLACE = re.compile(r"ERROR: <input>:(\d+):(\d+): ([^\n]*)")
_WORD = re.compile(r"[A-Za-z_]+|\S")


class InvalidCondition(Exception):
    """The source does not compile. Carries every finding, in the order of the text."""

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        self.findings = tuple(sorted(findings, key=lambda found: (found.line, found.column)))
        super().__init__("; ".join(found.message for found in self.findings))


class NotBoolean(Exception):
    """The condition gave something other than true or false."""


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """A compiled condition. `references` are the values that a context must hold for it; where `first`
    fails, it need not be evaluated to be false."""

    source: str
    references: tuple[Reference, ...]
    program: cel.Program
    first: FirstTest | None = None

    def holds(self, context: cel.Context) -> bool:
        """Evaluate. Raises NotBoolean, or whatever CEL raises (KeyError, TypeError,
        ArithmeticError, RuntimeError, ...) where the values do not fit."""
        result = self.program.execute(context)
        if result is True:
            return True
        if result is False:
            return False
        raise NotBoolean(f"it gave {_shown(result)}, not true or false")


def compile_condition(source: str, pools: frozenset[str] | None = None) -> Condition:
    """Compile and check `source`. `pools` are the ids that exist; None leaves them unchecked.

    Raises InvalidCondition with every finding; positions count within `source`.
    """
    if len(source) > MAX_SOURCE_CHARS:
        long = f"a condition has at most {MAX_SOURCE_CHARS} characters, this one {len(source)}"
        raise InvalidCondition((Finding(message=long, hint="split it into several rules"),))
    try:
        cel.compile(source)
    except ValueError as exc:
        raise InvalidCondition((_syntax_error(source, str(exc)),)) from exc
    names = read_names(source, pools)
    if names.findings:
        raise InvalidCondition(names.findings)
    program = cel.compile(names.lowered)
    wrong = _try_on_samples(program, names)
    if wrong:
        raise InvalidCondition((wrong,))
    return Condition(
        source=source,
        references=names.references,
        program=program,
        first=first_test(source, names.references),
    )


def _try_on_samples(program: cel.Program, names: Names) -> Finding | None:
    """Evaluate on made-up values: types that never fit show here, not in traffic.

    The condition's own literals are among the samples, so that both sides of `&&` are reached.
    What depends on the values (a division by zero, `int("")`) proves nothing and is passed over.
    """
    texts = ("", *dict.fromkeys(names.texts), "x")
    numbers = (0, 1, *(near for number in names.numbers for near in (number, number + 1)))
    for turn in range(min(MAX_SAMPLES, 2 * max(len(texts), len(numbers)))):
        context = cel.Context()
        for reference in names.references:
            number = min(numbers[turn % len(numbers)], 2**62)
            value = sample(reference.kind, texts[turn % len(texts)], number, turn % 2 == 1)
            context.add_variable(reference.slot, value)
        try:
            result = program.execute(context)
        except TypeError:
            return Finding(
                message="the types do not fit: CEL compares and adds like with like only",
                hint='numbers with numbers, texts with texts: "5" is a text, 5 a number',
            )
        except RuntimeError as exc:
            if finding := _call_that_never_works(str(exc)):
                return finding
        except (ArithmeticError, LookupError, ValueError):
            continue
        else:
            if not isinstance(result, bool):
                return Finding(
                    message=f"a condition must be true or false; this one gives {_shown(result)}",
                    hint="compare it with something",
                )
    return None


def _call_that_never_works(error: str) -> Finding | None:
    """CEL reports a function that was given the wrong arguments as an unknown one."""
    missing = re.search(r"Undefined variable or function: '([^']*)'", error)
    if missing:
        return Finding(message=f"{missing[1]!r} does not take these arguments")
    if "not a valid regex" in error:
        return Finding(message="matches() needs a valid regular expression (RE2 syntax)")
    return None


def _syntax_error(source: str, error: str) -> Finding:
    """The CEL parser's first complaint, shortened, with its place."""
    found = _PLACE.search(error)
    if found is None:
        return Finding(message="not a CEL expression")
    line, column = int(found[1]), int(found[2])
    message = found[3].split(" expecting ")[0].replace("'<EOF>'", "the end")
    message = message.removeprefix("Syntax error: ")
    text = source.split("\n")[line - 1 : line]
    at = _WORD.match(text[0], column - 1) if text else None
    return Finding(
        line=line,
        column=column,
        message=f"syntax error: {message}",
        hint=ELSEWHERE.get(at[0], "") if at else "",
    )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
