"""Ports for servers that tests start in processes of their own."""

import secrets
import socket

_PORTS = range(20_000, 32_000)
"""Above those that Ray gives its workers and below those that Linux gives to whoever asks for any: one of the
latter may be another process's before the server has it, and the test would talk to that one."""


def free_ports(count: int) -> list[int]:
    """Returns different ports of 127.0.0.1 at which nobody listens, chosen at random from thousands."""
    found: list[int] = []
    while len(found) < count:
        port = secrets.choice(_PORTS)
        with socket.socket() as probe:
            if port not in found and probe.connect_ex(("127.0.0.1", port)):
                found.append(port)
    return found
