"""Opens one socket, TLS included, and says in our own words why that failed.

Must stay true: no message holds a host, a port, or another library's text, since those do. The
original exception is the error's `__cause__`, for the operator's log alone.
"""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable

from contracts.errors import ConnectFailed
from gateway.upstream.target import Target

_ERRNO_REASONS = {
    errno.ECONNREFUSED: "it refused the connection",
    errno.ECONNRESET: "it reset the connection",
    errno.ETIMEDOUT: "it did not answer",
    errno.EHOSTUNREACH: "there is no route to it",
    errno.ENETUNREACH: "there is no route to it",
    errno.EMFILE: "the gateway has no file descriptor left",
    errno.ENFILE: "the machine has no file descriptor left",
}
_CERTIFICATE_REASONS = {  # X509_V_ERR_* of OpenSSL
    10: "its certificate has expired",
    18: "its certificate is self-signed",
    19: "its certificate chain ends in a self-signed certificate we do not trust",
    20: "its certificate is signed by an authority we do not trust",
    62: "its certificate is for another name",
    64: "its certificate is for another address",
}


async def dial(
    target: Target,
    protocol: Callable[[], asyncio.Protocol],
    *,
    timeout_s: float,
    tls: ssl.SSLContext | None,
    where: str,
) -> None:
    """Connect `protocol` to `target` within `timeout_s`: name, TCP and TLS together.

    Every address of the name is tried in turn (localhost: IPv6, then IPv4). Both asyncio and
    uvloop set TCP_NODELAY. Raises ConnectFailed; nothing is open then, nor when cancelled.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_s):
            await loop.create_connection(
                protocol,
                target.host,
                target.port,
                ssl=tls,
                server_hostname=target.host if tls is not None else None,
            )
    except TimeoutError as exc:
        why = f"no connection within {timeout_s:g} s"
        raise ConnectFailed(f"{where}: {why}", fault="unavailable", where=where) from exc
    except (OSError, UnicodeError) as exc:
        raise ConnectFailed(f"{where}: {_reason(exc)}", fault="unavailable", where=where) from exc


def _reason(exc: OSError | UnicodeError) -> str:
    match exc:
        case ssl.SSLCertVerificationError():
            return _CERTIFICATE_REASONS.get(exc.verify_code, "its certificate is not valid")
        case ssl.SSLError():
            return f"the TLS handshake failed ({exc.reason or 'no reason given'})"
        case socket.gaierror() | UnicodeError():
            return "its name could not be resolved"
        case _:
            # Several addresses that failed in different ways come as one OSError without errno.
            return _ERRNO_REASONS.get(exc.errno or 0, "it could not be reached")
