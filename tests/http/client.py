"""A client that sends exactly the bytes it is told to, and reads answers strictly."""

from __future__ import annotations

import json
import socket
from types import TracebackType
from typing import NamedTuple

from dumbkv_http import Service


class Answer(NamedTuple):
    """One response as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def kind(self) -> str:
        """The last part of a problem's type."""
        assert self.headers["content-type"] == "application/problem+json"
        document = json.loads(self.body)
        assert document["status"] == self.status
        assert document["title"]
        assert document["detail"]
        return str(document["type"]).removeprefix("urn:dumbkv:problem:")


class RawClient:
    """A connection to a service; a context manager."""

    def __init__(self, service: Service, timeout: float = 10.0) -> None:
        self.sock = socket.create_connection((service.host, service.port), timeout=timeout)
        self._buf = b""

    def __enter__(self) -> RawClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.sock.close()

    def send(self, data: bytes) -> RawClient:
        self.sock.sendall(data)
        return self

    def answer(self, *, head_only: bool = False) -> Answer:
        """The next response; fails when the connection ends before it does."""
        while b"\r\n\r\n" not in self._buf:
            self._read()
        head, _, self._buf = self._buf.partition(b"\r\n\r\n")
        lines = head.decode("ascii").split("\r\n")
        version, status, _ = lines[0].split(" ", 2)
        assert version == "HTTP/1.1"
        headers = {}
        for line in lines[1:]:
            name, value = line.split(": ", 1)
            assert name.lower() not in headers, f"two {name} lines"
            headers[name.lower()] = value
        length = 0 if head_only else int(headers.get("content-length", 0))
        while len(self._buf) < length:
            self._read()
        body, self._buf = self._buf[:length], self._buf[length:]
        return Answer(int(status), headers, body)

    def ask(self, data: bytes, *, head_only: bool = False) -> Answer:
        return self.send(data).answer(head_only=head_only)

    def rest(self) -> bytes:
        """All that still comes until the server closes."""
        parts = [self._buf]
        while True:
            try:
                data = self.sock.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                self._buf = b"".join(parts)
                return self._buf
            parts.append(data)

    def _read(self) -> None:
        data = self.sock.recv(65536)
        assert data, f"the server closed in the middle of an answer: {self._buf!r}"
        self._buf += data


def get(key: str, extra: str = "") -> bytes:
    """A GET of a key as bytes; `extra` are further header lines."""
    return f"GET /v1/kv/{key} HTTP/1.1\r\nHost: localhost\r\n{extra}\r\n".encode()


def put(key: str, value: bytes, extra: str = "") -> bytes:
    """A PUT of a value under a key as bytes."""
    return (
        f"PUT /v1/kv/{key} HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Length: {len(value)}\r\n{extra}\r\n"
    ).encode() + value
