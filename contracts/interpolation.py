"""`${NAME}` and `${NAME:-default}` in the values of a configuration file.

As in a shell, the default also stands in for a variable that is set but empty. `$${` is a literal
`${`. What is put in is text: it is not searched again, and YAML never sees it.

No message may carry what a variable holds, nor the text around a reference: either may be a secret.
"""

import re
from collections.abc import Callable, Mapping

import msgspec

_REFERENCE = re.compile(r"\$\$\{|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(:-[^{}\n]*)?\})?")
_WHOLE_REFERENCE = re.compile(r"\$\$?\{[^{}\n]*\}")
_ESCAPED = re.compile(r"\\(?:u|U0000)([0-9A-Fa-f]{4})")
_YAML_INDICATORS = "{}[],:# \"'"
_PRIVATE_USE = range(0xE000, 0xF900)


class Expansion(msgspec.Struct, frozen=True, kw_only=True):
    """A text with its references replaced. `replaced`: some of it came from outside the file."""

    text: str
    replaced: bool = False
    faults: tuple[tuple[str, str], ...] = ()
    """(message, hint) for each reference that could not be replaced."""


def expand(text: str, env: Mapping[str, str]) -> Expansion:
    """Replace every reference in `text`. Never raises."""
    faults: list[tuple[str, str]] = []
    replaced = False

    def replacement(found: re.Match[str]) -> str:
        nonlocal replaced
        if found[0] == "$${":
            return "${"
        name, default = found[1], found[2]
        if name is None:
            faults.append(
                (
                    "a ${...} that is neither ${NAME} nor ${NAME:-default}",
                    "write $${ for a literal ${",
                )
            )
            return ""
        replaced = True
        held = env.get(name, "")
        if held or (name in env and default is None):
            return held
        if default is None:
            faults.append(
                (
                    f"the environment variable {name} is not set",
                    f"set it, or write ${{{name}:-default}}",
                )
            )
            return ""
        return default[2:]

    expanded = _REFERENCE.sub(replacement, text) if "${" in text else text
    return Expansion(text=expanded, replaced=replaced, faults=tuple(faults))


def hide(text: str) -> tuple[str, Callable[[str], str]]:
    """Make references opaque to a YAML parser: `{api_key: ${KEY}}` would otherwise not parse,
    since braces cannot stand in a plain flow scalar.

    Returns the text, every character at its old place, and the function that undoes it. A text
    that uses nearly all private-use characters itself, escaped ones included, is returned as it is.
    """
    if "${" not in text:
        return text, str
    used = set(text) | {chr(int(found[1], 16)) for found in _ESCAPED.finditer(text)}
    free = [chr(code) for code in _PRIVATE_USE if chr(code) not in used][: len(_YAML_INDICATORS)]
    if len(free) < len(_YAML_INDICATORS):
        return text, str
    there = str.maketrans(_YAML_INDICATORS, "".join(free))
    back = str.maketrans("".join(free), _YAML_INDICATORS)
    hidden = _WHOLE_REFERENCE.sub(lambda found: found[0].translate(there), text)
    return hidden, lambda scalar: scalar.translate(back)
