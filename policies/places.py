"""Where, in the text of a YAML file, a place inside one of its scalars is.

A parser says where a scalar begins; a condition's mistake is somewhere within. Exact for the
scalars that people write conditions in (plain, quoted, and block scalars); wherever escapes or
folding make the guess doubtful, the scalar's own position is the answer.
"""

from msgspec import structs

from contracts.problems import Position


def within_scalar(text: str, scalar: Position, source: str, line: int, column: int) -> Position:
    """The place of `source`'s line and column (both from 1), `source` being the value at `scalar`.

    The result is checked: what stands there in `text` is what stands there in `source`.
    """
    wanted = source.split("\n")[line - 1 : line]
    lines = text.split("\n")
    if not wanted or scalar.line > len(lines):
        return scalar
    first = lines[scalar.line - 1]
    opening = first[scalar.column - 1 : scalar.column]
    if opening in ("|", ">"):
        row = scalar.line + line
        body = lines[row - 1] if row <= len(lines) else ""
        at = body.find(wanted[0]) + column if wanted[0] in body else 0
    elif line == 1:
        row = scalar.line
        at = scalar.column + column - 1 + (opening in ("'", '"'))
        body = first
    else:
        return scalar
    rest = wanted[0][column - 1 :]
    if at < 1 or not body[at - 1 :].startswith(rest[:8]):
        return scalar
    return structs.replace(scalar, line=row, column=at)
