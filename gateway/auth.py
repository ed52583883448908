"""Who is calling? A bearer token, or a name that a trusted proxy vouches for.

Tokens are configured here as digests only. One is found by the head of its digest, which says nothing about
a token to someone who cannot invert it, and then compared in constant time. Who has come so once is known again
by the very words of the header, in one look-up. Must stay true of that:

- only words that held a token that is known are remembered, so that nobody else can fill the memory, and words
  that differ in one character take the long way, as all wrong ones do;
- a look-up says nothing of how near a guess was: a table compares texts only where 64 bits of a keyed hash of the
  whole text (SipHash, by a key that each process draws anew) are equal, which those of a guess are not. Even where
  PYTHONHASHSEED sets that key, a guess that is nearer has a hash that is no nearer;
- it ends with the Authenticator: other tokens are another one. What it holds in clear is never shown.

A proxy's header counts only on a connection from one of the proxies' addresses: from anywhere else it is as if it
were not there. Where the names of callers come from, and what callers may do, is not known here.
"""

import hashlib
import hmac
import logging
from collections.abc import Sequence

import msgspec
from multidict import MultiMapping

from contracts.errors import (
    InvalidProxyUser,
    MalformedAuthorization,
    MissingToken,
    WrongToken,
)
from gateway import logs
from gateway.addresses import LOOPBACK, Network, is_among

NAME_MAX_CHARS = 128
OPERATOR = "operator"
"""The operator's name. No other caller can have it: who is who is told by names alone further in."""
STRANGERS_TOLD = 16
"""Addresses from which a proxy's header was ignored, and the log told of it: once each, so many."""
SPELLINGS_KEPT = 256
"""Spellings of headers that are remembered, beside one for each token."""
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
"""Put there by proxies. Whoever is behind one is not on this machine because the proxy is."""


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """A caller by name; "" is an anonymous one. The operator may administer."""

    name: str = ""
    operator: bool = False


class Visitor:
    """A caller, and the token that it came with, in clear: no field of a value that could be printed. The token is
    "" where it came with none, and where what it sent is none because nobody here needs one."""

    __slots__ = ("caller", "token")

    def __init__(self, caller: Caller, token: str) -> None:
        self.caller, self.token = caller, token


class AuthRules(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens in clear live only as long as it takes to build an Authenticator."""

    operator_token: str | None = None
    callers: tuple[tuple[str, Caller], ...] = ()
    loopback_optional: bool = False
    proxy_user_header: str | None = None
    """The header in which a trusted proxy names the caller; None: no proxy is trusted."""
    proxies: tuple[Network, ...] = LOOPBACK
    """Where trusted proxies connect from."""


_ANYONE = Visitor(Caller(operator=True), "")
"""Where nobody needs a token."""


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


class Authenticator:
    """`visitor` for each request."""

    def __init__(self, rules: AuthRules) -> None:
        tokens = list(rules.callers)
        if rules.operator_token is not None:
            tokens.append((rules.operator_token, Caller(name=OPERATOR, operator=True)))
        digests = ((_digest(token), caller) for token, caller in tokens)
        self._known = {digest[:8]: (digest, caller) for digest, caller in digests}
        self._loopback_optional = rules.loopback_optional
        self._proxy_user_header = rules.proxy_user_header
        self._proxies = rules.proxies
        self._strangers: set[str | None] = set()
        self._seen: dict[str, Visitor] = {}
        """Who came with a known token, by the whole text of the header Authorization."""
        self._most_seen = len(self._known) + SPELLINGS_KEPT
        self.open = not self._known and self._proxy_user_header is None
        """No token is configured, so everyone on loopback is the operator (SEC-1 sees to the rest)."""

    def visitor(self, headers: MultiMapping[str], remote: str | None) -> Visitor:
        """Whoever sent `headers` (by any spelling of a name) from the peer's address `remote`.

        A token that is known here comes before a proxy's word, and that before a token that is not
        known: what else the proxy lets through is between it and the caller. Raises MissingToken and
        MalformedAuthorization (401), WrongToken and InvalidProxyUser (403).
        """
        return self.known(headers) or self._looked_up(headers, remote)

    def known(self, headers: MultiMapping[str]) -> Visitor | None:
        """The same of who is known at once, wherever it comes from."""
        if self.open:  # SDKs always send some token; nobody asked for it, and it may be any word
            return _ANYONE
        try:
            (given,) = headers.getall("Authorization")
        except (KeyError, ValueError):  # there is none, or more than one
            return None
        return self._seen.get(given)

    def _looked_up(self, headers: MultiMapping[str], remote: str | None) -> Visitor:
        """The long way."""
        given = headers.getall("Authorization", ())
        token = _presented(given, headers)
        if token and (caller := self._holder(token)) is not None:
            return self._remembered(given, Visitor(caller, token))
        proxied = self._named_by_proxy(headers, remote)
        if proxied is not None:
            return Visitor(proxied, token or "")
        if token is None:
            raise MalformedAuthorization(
                "no token can be read: send one header Authorization, with 'Bearer' and the token"
            )
        if token:
            raise WrongToken("the token is not known here")
        if self._loopback_optional and is_among(remote, LOOPBACK) and not _forwarded(headers):
            return _ANYONE
        raise MissingToken(
            "a token is needed: send the header Authorization, with 'Bearer' and the token"
        )

    def _holder(self, token: str) -> Caller | None:
        """Whose it is."""
        digest = _digest(token)
        known = self._known.get(digest[:8])
        return known[1] if known is not None and hmac.compare_digest(known[0], digest) else None

    def _remembered(self, given: Sequence[str], visitor: Visitor) -> Visitor:
        """Keys in other headers are looked up each time: in them the same words may mean something else."""
        if given and given[0].strip():
            if len(self._seen) >= self._most_seen:  # somebody spells one token in ever new ways
                self._seen.clear()
            self._seen[given[0]] = visitor
        return visitor

    def _named_by_proxy(self, headers: MultiMapping[str], remote: str | None) -> Caller | None:
        header = self._proxy_user_header
        if header is None or header not in headers:
            return None
        if not is_among(remote, self._proxies):
            self._tell_of(remote, header)
            return None
        given = headers.getall(header)
        if len(given) > 1:
            # A proxy that adds its own beside the client's: there is no telling which is whose.
            raise InvalidProxyUser(f"{header} came more than once: a proxy must replace it")
        name = given[0].strip()
        if not name:
            return None
        if wrong := _name_fault(name):
            raise InvalidProxyUser(f"{header} names nobody: {wrong}")
        return Caller(name=name)

    def _tell_of(self, remote: str | None, header: str) -> None:
        """Either somebody tries to be somebody else, or a proxy was forgotten: the operator can tell."""
        if remote in self._strangers or len(self._strangers) >= STRANGERS_TOLD:
            return
        self._strangers.add(remote)
        hint = "if that is your proxy, name it in auth.trusted_proxies"
        logs.event(logging.WARNING, "proxy_header_ignored", header=header, remote=remote, hint=hint)


def _name_fault(name: str) -> str:
    """Why nobody can be called that; "" if somebody can."""
    if len(name) > NAME_MAX_CHARS:
        return f"it has more than {NAME_MAX_CHARS} characters"
    if not name.isprintable():
        return "it has characters that cannot be printed"
    if "," in name:  # how HTTP joins two headers into one
        return "it has a comma"
    if name == OPERATOR:
        return "the operator comes with a token"
    return ""


def _presented(given: Sequence[str], headers: MultiMapping[str]) -> str | None:
    """The token that was presented, in what was `given` as Authorization or else as a key; None if none can be
    read from it. "" for nothing, and for a `Bearer` with nothing behind: SDKs without a token send that."""
    if len(given) > 1:
        return None
    raw = given[0].strip() if given else ""
    if not raw:
        keys = headers.getall("x-api-key", [""])
        return keys[0].strip() if len(keys) == 1 else None
    scheme, _, token = raw.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _forwarded(headers: MultiMapping[str]) -> bool:
    return any(name in headers for name in _FORWARDED)
