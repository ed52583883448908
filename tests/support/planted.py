"""Secrets that are planted to be looked for: where a configuration takes them, and by what one is known."""

import base64
import re
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec

from contracts.config import SecretFile


def secret_fields(kind: Any, path: str = "") -> set[str]:
    """Every field that takes a secret, in all Structs below `kind`: `pools[].api_key`."""
    origin = get_origin(kind)
    if origin is Annotated:
        return secret_fields(get_args(kind)[0], path)
    if origin in (Union, UnionType):
        members = get_args(kind)
        if SecretFile in members:
            return {path}
        return {found for member in members for found in secret_fields(member, path)}
    if origin in (list, tuple):
        return secret_fields(get_args(kind)[0], f"{path}[]")
    if origin is dict:
        return secret_fields(get_args(kind)[1], f"{path}{{}}")
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        hints = get_type_hints(kind, include_extras=True)
        return {
            found
            for name, hint in hints.items()
            for found in secret_fields(hint, f"{path}.{name}".lstrip("."))
        }
    return set()


def traces(secret: str) -> set[bytes]:
    """What gives it away: its first and last letters and figures, which read the same in plain text, in JSON, in a
    URL and in Python's `repr`; and all of it in base64, wherever it begins."""
    words = re.findall(r"[A-Za-z0-9]+", secret)
    coded = set()
    for shift in range(3):
        whole = base64.b64encode(b" " * shift + secret.encode())
        coded.add(whole[4:-4])  # what is around it counts in the first and the last group
    return {words[0].encode(), words[-1].encode(), *coded}
