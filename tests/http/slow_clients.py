"""Clients of every slow kind, many of each at once: `python -m tests.http.slow_clients PORT N`.

Says `ready` when all are connected, then keeps them slow until its standard input ends, and prints
for each kind how many the server has closed and after how many seconds the last of them. One kind
never learns that it was closed, because it does not read: what the server says of its connections
tells about those.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time

__all__ = ["KINDS", "TLS_KINDS"]

_HEAD = b"GET /v1/kv/a HTTP/1.1\r\nHost: localhost\r\nX: "
_BODY = b"PUT /v1/kv/slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\n\r\n"
_CHUNKS = b"PUT /v1/kv/slow HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
_READ = b"GET /v1/kv/large HTTP/1.1\r\nHost: localhost\r\n\r\n"
_IDLE = b"GET /v1/kv/a HTTP/1.1\r\nHost: localhost\r\n\r\n"

KINDS = {
    "head": (_HEAD, b"x"),
    "body": (_BODY, b"x"),
    "chunks": (_CHUNKS, b"1\r\nx\r\n"),
    "reader": (_READ, b""),
    "idle": (_IDLE, b""),
    "nothing": (b"", b""),
}
"""What each kind sends at first, and then drips."""
TLS_KINDS = {"silence": (b"", b""), "hello": (b"\x16\x03\x01\x02\x00", b"\x01")}
"""The same before a TLS handshake."""

_DRIP = 0.25


class Client:
    """One slow connection."""

    def __init__(self, port: int, kind: str) -> None:
        first, self.drop = {**KINDS, **TLS_KINDS}[kind]
        self.kind = kind
        self.sock = socket.socket()
        if kind == "reader":
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.sock.settimeout(20)
        self.sock.connect(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.sendall(first)
        self.sock.setblocking(False)
        self.began = time.monotonic()
        self.closed: float | None = None

    def read(self) -> bool:
        """Takes what came, unless it is the kind that does not; whether that was the end."""
        try:
            ended = not self.sock.recv(65536)
        except BlockingIOError:
            return False
        except OSError:
            ended = True
        if ended:
            self.closed = time.monotonic() - self.began
            self.sock.close()
        return ended


def main(port: int, count: int, kinds: list[str]) -> None:
    selector = selectors.DefaultSelector()
    clients = [Client(port, kind) for _ in range(count) for kind in kinds]
    for client in clients:
        if client.kind != "reader":
            selector.register(client.sock, selectors.EVENT_READ, client)
    selector.register(sys.stdin, selectors.EVENT_READ)
    print("ready", flush=True)
    next_drip = time.monotonic() + _DRIP
    going = True
    while going:
        for key, _ in selector.select(max(0.0, next_drip - time.monotonic())):
            if key.data is None:
                going = False
                continue
            descriptor = key.fd
            if key.data.read():
                selector.unregister(descriptor)
        if time.monotonic() >= next_drip:
            next_drip += _DRIP
            for client in clients:
                if client.drop and client.closed is None:
                    try:
                        client.sock.send(client.drop)
                    except OSError:
                        continue  # Reading will tell.
    report = {}
    for kind in kinds:
        times = [each.closed for each in clients if each.kind == kind and each.closed is not None]
        report[kind] = (len(times), max(times, default=0.0))
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
