"""TLS for the event loop: a socket that handshakes, reads and sends without ever blocking.

OpenSSL takes one record at a time from the socket, at most 16 KiB of text, so a read of that much
leaves nothing behind in OpenSSL: what has not been read is in the kernel, and the selector says
so. That is why `recv` wants its callers to ask for at least `RECORD` bytes.
"""

from __future__ import annotations

import os
import socket
import ssl
import stat
from contextlib import suppress
from typing import NoReturn

__all__ = ["RECORD", "TlsSocket", "server_context"]

RECORD = 16 * 1024
"""The most text in one TLS record (RFC 8446 section 5.1)."""

_SENT_AT_ONCE = 256 * 1024  # A client that reads as fast as we send would never fill it.
_BLOCKED = (ssl.SSLWantReadError, ssl.SSLWantWriteError)


def server_context(certificate: str, key: str) -> ssl.SSLContext:
    """A context for TLS 1.2 and later from two PEM files: the certificate chain and its key.

    Raises OSError when a file cannot be used, ValueError when others can read the key.
    """
    mode = stat.S_IMODE(os.stat(key).st_mode)
    if mode & 0o007:
        raise ValueError(
            f"{key}: expected a key that only its owner and group can read (chmod 640), "
            f"got mode {mode:04o}"
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError as error:
        raise ValueError(
            f"expected a certificate and its key in PEM, got {certificate} and {key}: "
            f"{error.reason or error}"
        ) from None
    return context


def _no_password() -> NoReturn:
    # Without this OpenSSL would ask for one on the terminal and wait.
    raise ValueError("expected a key without a password")


class TlsSocket:
    """A server's side of one TLS connection over an accepted, non-blocking socket.

    Has what a connection uses of a socket; raises BlockingIOError where a plain one would.
    """

    __slots__ = ("_raw", "_tls")

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self._raw = sock
        self._tls = context.wrap_socket(
            sock, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=True
        )

    def handshake(self) -> bool:
        """Goes on with the handshake; the answer is whether it is complete. Raises OSError."""
        try:
            self._tls.do_handshake()
        except _BLOCKED:
            return False
        return True

    def recv(self, size: int) -> bytes:
        """Up to `size` bytes, which should be RECORD or more; empty at the end."""
        try:
            return self._tls.recv(size)
        except _BLOCKED:
            raise BlockingIOError from None

    def send(self, data: bytes | memoryview) -> int:
        """Sends until the socket is full, but no more than others can wait for.

        After BlockingIOError, send the same bytes again.
        """
        view = memoryview(data)[:_SENT_AT_ONCE]
        sent = 0
        while sent < len(view):
            try:
                sent += self._tls.send(view[sent:])
            except _BLOCKED:
                if sent:
                    break
                raise BlockingIOError from None
        return sent

    def shutdown(self, how: int) -> None:
        """Says goodbye in TLS, then in TCP; what still comes is no longer decrypted."""
        with suppress(OSError, ValueError):
            self._tls.unwrap()  # Sends our close_notify; theirs is not waited for.
        self._tls.shutdown(how)

    def fileno(self) -> int:
        """The descriptor, -1 once closed."""
        return self._tls.fileno()

    def close(self) -> None:
        """Closes the socket; may be called twice."""
        self._tls.close()
