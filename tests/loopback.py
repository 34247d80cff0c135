"""Ports of this machine for programs that cannot choose one themselves."""

import socket


def free_port() -> int:
    """A port nobody listens on; another process may take it before you do."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
