"""Who is calling? Bearer tokens, compared without telling by time how much of one was right.

Tokens are kept as digests only. One is found by the head of its digest, which says nothing about a
token to someone who cannot invert it, and then compared in constant time.
"""

import hashlib
import hmac
from collections.abc import Mapping

import msgspec

from contracts.errors import Forbidden, MissingToken, WrongToken
from gateway.addresses import is_loopback

NAME_MAX_CHARS = 128


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """A caller by name; "" is an anonymous one. The operator may administer."""

    name: str = ""
    operator: bool = False


class AuthRules(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens in clear live only as long as it takes to build an Authenticator."""

    operator_token: str | None = None
    callers: tuple[tuple[str, Caller], ...] = ()
    loopback_optional: bool = False
    proxy_user_header: str | None = None
    """The header in which a trusted proxy names the caller; None: no proxy is trusted."""


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


class Authenticator:
    """`caller` for each request. Raises MissingToken (401), WrongToken (403)."""

    def __init__(self, rules: AuthRules) -> None:
        tokens = list(rules.callers)
        if rules.operator_token is not None:
            tokens.append((rules.operator_token, Caller(name="operator", operator=True)))
        digests = ((_digest(token), caller) for token, caller in tokens)
        self._known = {digest[:8]: (digest, caller) for digest, caller in digests}
        self._loopback_optional = rules.loopback_optional
        self._proxy_user_header = rules.proxy_user_header
        self._by_name = {caller.name: caller for _, caller in rules.callers}

    @property
    def open(self) -> bool:
        """No token is configured, so everyone on loopback is the operator (SEC-1 sees to the rest)."""
        return not self._known and self._proxy_user_header is None

    def caller(self, headers: Mapping[str, str], remote: str | None) -> Caller:
        """`headers` is case-insensitive; `remote` the peer's address."""
        if self.open:
            return Caller(operator=True)  # an SDK always sends some token; nobody asked for one
        scheme, token = _credentials(headers)
        if scheme == "bearer" and token:
            digest = _digest(token)
            known = self._known.get(digest[:8])
            if known is not None and hmac.compare_digest(known[0], digest):
                return known[1]
        proxied = self._named_by_proxy(headers)
        if proxied is not None:
            return proxied  # what else the proxy lets through is between it and the caller
        if token:
            raise WrongToken(
                "the token is not known here"
                if scheme == "bearer"
                else "the Authorization header is not of the form 'Bearer TOKEN'"
            )
        if self._loopback_optional and _on_this_machine(remote):
            return Caller(operator=True)
        raise MissingToken("a token is needed: send 'Authorization: Bearer TOKEN'")

    def _named_by_proxy(self, headers: Mapping[str, str]) -> Caller | None:
        if self._proxy_user_header is None:
            return None
        name = headers.get(self._proxy_user_header, "").strip()[:NAME_MAX_CHARS]
        if not name:
            return None
        if not name.isprintable():
            raise WrongToken(f"{self._proxy_user_header} is not a name")
        return self._by_name.get(name, Caller(name=name))

    def operator(self, headers: Mapping[str, str], remote: str | None) -> Caller:
        """The same, for what only the operator may do. Raises Forbidden (403)."""
        caller = self.caller(headers, remote)
        if not caller.operator:
            raise Forbidden("this needs the operator's token")
        return caller


def _credentials(headers: Mapping[str, str]) -> tuple[str, str]:
    """Scheme in lower case, and token. An empty token is none: SDKs send `Bearer` with nothing behind."""
    raw = headers.get("Authorization", "").strip()
    if not raw:
        return "bearer", headers.get("x-api-key", "").strip()
    scheme, _, token = raw.partition(" ")
    scheme = scheme.lower()
    return scheme, token.strip() if scheme == "bearer" else raw


def _on_this_machine(remote: str | None) -> bool:
    """Does the peer's address belong to this machine? An IPv4 address in IPv6 clothes counts as what it is."""
    host = (remote or "").partition("%")[0].removeprefix("::ffff:")
    return is_loopback(host)
