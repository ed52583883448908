"""Lines of an answer's head. What every answer says is worded as lines where it is known, and is not spelled again.

Must stay true: a line ends where it is meant to. No value can begin another one.
"""

from collections.abc import Mapping

Headers = dict[str, str]


def spelled(headers: Mapping[str, str]) -> str:
    """`headers` as lines. Raises ValueError for one that would not end with its line."""
    fit("".join((*headers, *headers.values())))
    return "".join([f"{name}: {value}\r\n" for name, value in headers.items()])


def fit(values: str) -> None:
    """Raises ValueError where one of the values, one behind the other, would not end with its line."""
    if "\n" in values or "\r" in values or "\0" in values:
        raise ValueError("a header has a line break in it")


def read(lines: str) -> Headers:
    """The headers that are spelled so, for whoever must set some beside or over them."""
    return dict(line.split(": ", 1) for line in lines.split("\r\n")[:-1])
