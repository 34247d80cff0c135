"""Clients of a service under drill: a calm stream of requests, and more of them on demand."""

from __future__ import annotations

import re
import socket
import threading
from contextlib import ExitStack
from typing import NamedTuple

__all__ = ["BUSY", "CALM", "PUT", "Stream", "Traffic", "put", "send"]

PUT = b"PUT /v1/kv/drill HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n1"
_LENGTH = re.compile(rb"content-length: (\d+)\r\n", re.IGNORECASE)
_MANY = 20


def put(key: str, size: int) -> bytes:
    """A request to keep a value of so many bytes."""
    head = f"PUT /v1/kv/{key} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n"
    return head.encode() + b"1" * size


class Stream(NamedTuple):
    """Every `pause` seconds `clients` send `request` at the same time and wait for their answers;
    if they are `new`, each over a connection of its own."""

    request: bytes
    clients: int = 1
    pause: float = 0.2
    new: bool = False


CALM = Stream(PUT, pause=3)
"""So few that not even a machine with no time for us makes five of them slow, which would be an
alert of its own."""
BUSY = Stream(PUT)


class Traffic:
    """Sends a stream to a port until it is closed; the service may come and go."""

    def __init__(self, port: int) -> None:
        self._stream: Stream | None = CALM
        self._port = port
        self._changed = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def change(self, stream: Stream | None) -> None:
        """Sends this from now on; None ends it."""
        self._stream = stream
        self._changed.set()

    def close(self) -> None:
        """Ends the stream."""
        self.change(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._changed.clear()  # Before the stream is read: then no change goes by unseen.
            stream = self._stream
            if stream is None:
                return
            try:
                with ExitStack() as stack:
                    clients = [
                        stack.enter_context(_connected(self._port)) for _ in range(stream.clients)
                    ]
                    while True:
                        for client in clients:
                            client.sendall(stream.request)
                        for client in clients:
                            _answers(client, 1)
                        if self._changed.wait(stream.pause) or stream.new:
                            break
            except OSError:
                self._changed.wait(stream.pause)


def send(port: int, requests: list[bytes]) -> None:
    """Sends requests over one connection, many at a time, and waits for all answers."""
    with _connected(port) as client:
        for first in range(0, len(requests), _MANY):
            part = requests[first : first + _MANY]
            client.sendall(b"".join(part))
            _answers(client, len(part))


def _connected(port: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=30)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def _answers(client: socket.socket, number: int) -> None:
    """Reads so many answers. Raises ConnectionError when the service has gone before."""
    data = b""
    while number:
        head, found, rest = data.partition(b"\r\n\r\n")
        length = _LENGTH.search(head + b"\r\n")
        size = int(length[1]) if length else 0
        if found and len(rest) >= size:
            data = rest[size:]
            number -= 1
            continue
        more = client.recv(65536)
        if not more:
            raise ConnectionError("the service closed the connection")
        data += more
