"""Who can reach the gateway: the address that it listens on, and the proxies whose word is taken there.

Must stay true: beyond loopback nobody is let in without a token, and no proxy is trusted that is not named.
"""

from contracts import problems
from contracts.config import Config
from gateway.addresses import LOOPBACK, Network, is_loopback, network
from gateway.configuration.findings import Findings


def bind_address(findings: Findings, config: Config) -> tuple[str, int]:
    """Host, without brackets, and port."""
    host, _, port_text = config.bind_addr.rpartition(":")
    port = int(port_text)
    if port > 65535:
        findings.note(("bind_addr",), f"the port {port} is above 65535")
    return host.strip("[]"), port


def check_reach(findings: Findings, config: Config, host: str) -> None:
    """SEC-1: open to others only with a token."""
    wanted = config.auth.token is not None or config.auth.keys
    if not is_loopback(host) and not wanted:
        findings.note(
            ("bind_addr",),
            "this address can be reached from elsewhere, and no token protects it",
            "set auth.token or auth.keys, or bind to 127.0.0.1",
            sure=findings.sure((), "bind_addr", "auth"),
        )


def trusted_proxies(findings: Findings, config: Config, host: str) -> tuple[Network, ...]:
    """Where trusted proxies connect from. Whoever can connect from there can be anybody, so beyond
    loopback it has to be said who that is."""
    auth = config.auth
    if auth.trusted_proxies is None:
        if auth.trust_proxy_auth and not is_loopback(host):
            findings.note(
                ("auth", "trust_proxy_auth"),
                "this address can be reached from elsewhere, and nothing says which proxies there "
                "are trusted",
                "list their addresses in auth.trusted_proxies, or bind to 127.0.0.1",
                sure=findings.sure((), "bind_addr", "auth")
                and findings.sure(("auth",), "trust_proxy_auth", "trusted_proxies"),
            )
        found: tuple[Network, ...] = LOOPBACK
    else:
        given = enumerate(auth.trusted_proxies)
        found = tuple(n for i, text in given if (n := _network(findings, text, i)) is not None)
        if not auth.trusted_proxies and auth.trust_proxy_auth:
            message = "a proxy is trusted, and this names none"
            findings.note(("auth", "trusted_proxies"), message, "list their addresses")
    if auth.optional and auth.trust_proxy_auth and any(map(_may_be_loopback, found)):
        findings.note(
            ("auth", "optional"),
            "whoever comes through the proxy on this machine without a name would be the operator",
            "set optional or trust_proxy_auth, not both",
            sure=findings.sure(("auth",), "optional", "trust_proxy_auth", "trusted_proxies"),
        )
    return found


def _network(findings: Findings, text: str, index: int) -> Network | None:
    path: problems.Path = ("auth", "trusted_proxies", index)
    try:
        found = network(text)
    except ValueError as exc:
        findings.note(path, str(exc))
        return None
    if found.prefixlen == 0:
        findings.note(path, "this is every address: anybody could be anybody")
        return None
    return found


def _may_be_loopback(proxies: Network) -> bool:
    return any(
        proxies.version == loopback.version and proxies.overlaps(loopback) for loopback in LOOPBACK
    )
