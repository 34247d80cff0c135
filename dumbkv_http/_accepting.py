"""The part of the server that takes connections in, and makes room for them.

There is a cap on connections; at the cap the connection that has been idle longest goes, and if
none is idle the newcomer gets a 503. When accept() itself has no descriptor left, a spare one is
given up to refuse one client, and accepting pauses.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import ssl
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from http.server import HTTPServer
from typing import TYPE_CHECKING, cast

from dumbkv_http._connection import IDLE, LINGER, SHAKE, Connection
from dumbkv_http.limits import Limits
from dumbkv_http.tls import TlsSocket

if TYPE_CHECKING:
    from dumbkv_http.server import Server

__all__ = ["Accepting"]

_NO_ROOM = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_ACCEPT_BATCH = 64
_REFUSED_AT_ONCE = 16  # Refused clients that get time to read why; the rest are cut off.


class Accepting(HTTPServer):
    """Connections come in by `_accept`, when the loop finds the listener ready."""

    clock: Callable[[], float]
    limits: Limits
    tls: ssl.SSLContext | None
    _accept_again: float
    _cap: int
    _connections: set[Connection]
    _listening: bool
    _refused: set[Connection]
    _scrapers: deque[Connection]
    _selector: selectors.BaseSelector
    _spare: int | None

    def _listen(self, on: bool) -> None:
        self._accept_again = 0.0
        if on and not self._listening:
            self._selector.register(self.socket, selectors.EVENT_READ)
        elif self._listening and not on:
            self._selector.unregister(self.socket)
        self._listening = on

    def _accept(self, now: float) -> None:
        for taken in range(_ACCEPT_BATCH):
            try:
                sock, address = self.socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _NO_ROOM:
                    # accept() wants a descriptor before it looks whether anybody is there. After
                    # one that took the last, the listener tells; making room would be by closing
                    # the client that has just come in.
                    if not taken:
                        self._out_of_descriptors(now)
                    return
                continue  # accept(2): an error of the new connection, which is gone already.
            self._admit(sock, address, now)

    def _admit(self, sock: socket.socket, address: object, now: float) -> None:
        connection = self._connection(sock, now, str(address[0]) if type(address) is tuple else "")
        if connection is None:
            return
        if len(self._connections) < self._cap or self._evict():
            self._connections.add(connection)
            return
        self._refused.add(connection)
        connection.refuse_service()
        if len(self._refused) > _REFUSED_AT_ONCE:
            connection.close()

    def _connection(self, sock: socket.socket, now: float, peer: str = "") -> Connection | None:
        """A connection for an accepted socket, waiting for its first bytes; None if it has gone."""
        try:
            sock.setblocking(False)
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stream = sock if self.tls is None else TlsSocket(sock, self.tls)
        except OSError:
            sock.close()
            return None
        connection = Connection(stream, cast("Server", self), now, peer)
        self._selector.register(stream, selectors.EVENT_READ, connection.on_event)
        return connection

    def _evict(self) -> bool:
        """Closes the connection nobody will miss most, if there is one."""
        idle = [
            each
            for each in self._connections
            if each.state in (IDLE, LINGER, SHAKE) and each not in self._scrapers
        ]
        if not idle:
            return False
        min(idle, key=lambda each: (each.state == IDLE, each.deadline)).close()
        return True

    def _out_of_descriptors(self, now: float) -> None:
        """accept() found no descriptor: free one, refuse one client, and pause.

        The listener stays ready all the while, so without the pause the loop would spin.
        """
        if not self._evict() and self._spare is not None:
            os.close(self._spare)
            self._spare = None
            try:
                sock = self.socket.accept()[0]
            except OSError:
                pass
            else:
                self._refuse_now(sock)
        self._listen(False)
        self._accept_again = now + self.limits.accept_pause
        if self._spare is None:
            with suppress(OSError):  # Another thread may take it first; the next pause tries again.
                self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def _refuse_now(self, sock: socket.socket) -> None:
        connection = self._connection(sock, self.clock())
        if connection is None:
            return
        self._refused.add(connection)
        connection.refuse_service()
        connection.on_event(self.clock())  # Takes in the request, so that closing sends no reset.
        connection.close()
