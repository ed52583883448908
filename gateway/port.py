"""The port that a gateway listens on: nobody else's, however many processes share it."""

import errno
import socket


class PortInUse(OSError):
    """Another program listens there."""


class Port:
    """The port that all workers share, held so that no other program gets it. Raises PortInUse, OSError."""

    def __init__(self, host: str, port: int) -> None:
        self._held: list[socket.socket] = []
        self.number = port
        places = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        try:
            for family, _, _, _, address in dict.fromkeys(places):
                self._take(family, (address[0], self.number, *address[2:]), host)
        except OSError:
            self.close()
            raise

    def _take(self, family: int, address: tuple[object, ...], host: str) -> None:
        # With SO_REUSEPORT alone, another program that has set it too would be let in.
        alone = _bound(family, address, host, shared=False)
        self.number = alone.getsockname()[1]
        alone.close()
        place = (address[0], self.number, *address[2:])
        self._held.append(_bound(family, place, host, shared=True))

    def close(self) -> None:
        for held in self._held:
            held.close()


def _bound(family: int, address: tuple[object, ...], host: str, *, shared: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        if not shared:
            sock.listen(1)  # Linux refuses a port that another listens on here, and not before
    except OSError as exc:
        sock.close()
        if exc.errno == errno.EADDRINUSE:
            raise PortInUse(exc.errno, f"{host}:{address[1]} is already in use") from exc
        raise
    return sock
