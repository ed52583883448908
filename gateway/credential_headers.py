"""Which of a request's headers hold a credential, by their names: those are not even taken. Pure.

Clients, SDKs and proxies send keys under many names, and new ones come; a list alone would always lack one. So a
name is judged by its words. What must stay true: what rules match on and what requests are told apart by
(`x-session-id`, `idempotency-key`, `x-setpoint-*`) is no credential.
"""

import re

KEPT_NAMES = 256
"""Names that are remembered: clients send the same few with every request, and may send any others."""
_NAMES = frozenset({"key", "x-key", "dpop", "x-amzn-oidc-data"})
"""What no word of theirs tells."""
_WORDS = frozenset(
    {
        "auth",
        "bearer",
        "cookie2",
        "credential",
        "credentials",
        "jwt",
        "passphrase",
        "passwd",
        "pwd",
        "secrets",
    }
)
_ENDINGS = (
    "accesskey",
    "apikey",
    "authkey",
    "authorization",
    "cookie",
    "password",
    "privatekey",
    "secret",
    "secretkey",
    "signature",
    "token",
)
"""Of a word: many are written together (`x-authtoken`)."""
_KEYS = frozenset(
    {
        "access",
        "account",
        "admin",
        "api",
        "app",
        "application",
        "auth",
        "client",
        "consumer",
        "encryption",
        "function",
        "functions",
        "gateway",
        "litellm",
        "master",
        "private",
        "project",
        "secret",
        "service",
        "signing",
        "subscription",
        "user",
        "virtual",
    }
)
"""A `key` of these opens something; others find something again (`idempotency-key`, `prompt-cache-key`)."""
_ABOUT = {
    "auth": frozenset({"groups", "method", "provider", "request", "type", "user"}),
    "token": frozenset({"budget", "count", "estimate", "limit", "rate", "type", "usage"}),
}
"""Words after which the header tells of a credential, or counts tokens (`x-auth-request-email`, `x-token-budget`)."""
_BETWEEN = re.compile(r"[-_.]")


class _Shown(dict[str, str | None]):
    def __missing__(self, name: str) -> str | None:
        if len(self) >= KEPT_NAMES:
            self.clear()
        lower = name.lower()
        self[name] = shown = None if _is_credential(lower) else lower
        return shown


SHOWN_AS = _Shown()
"""By a header's name: that name in small letters, or None where its value is a credential."""


def _is_credential(name: str) -> bool:
    if name in _NAMES:
        return True
    words = _BETWEEN.split(name)
    for before, word, after in zip(["", *words], words, [*words[1:], ""], strict=False):
        if word in _WORDS or word.endswith(_ENDINGS):
            if after not in _ABOUT.get(word, ()):
                return True
        elif word == "key" and before in _KEYS:
            return True
    return False
