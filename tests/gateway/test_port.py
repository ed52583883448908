"""A port is shared among the processes of one gateway, and with nobody else."""

import socket

import pytest

from gateway.port import Port, PortInUse


def test_a_port_of_another_program_is_refused_even_if_it_would_share() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(PortInUse):
            Port("127.0.0.1", other.getsockname()[1])


def test_a_port_that_is_held_is_nobody_elses() -> None:
    held = Port("127.0.0.1", 0)
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", held.number))
    held.close()


def test_processes_of_one_gateway_share_it() -> None:
    held = Port("127.0.0.1", 0)
    for _ in range(2):
        with socket.socket() as mine:
            mine.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            mine.bind(("127.0.0.1", held.number))
            mine.listen()
    held.close()
