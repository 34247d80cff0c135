"""A server in a thread of your own process: one store, two doors."""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
import threading
from collections.abc import Iterable
from types import TracebackType
from urllib.parse import quote

from dumbkv import Store
from dumbkv_http._access_log import AccessLog
from dumbkv_http.app import MAX_BODY, App
from dumbkv_http.limits import Limits
from dumbkv_http.server import Server
from dumbkv_http.tokens import Tokens

__all__ = ["Service", "address", "build", "is_loopback", "serve", "url"]

_WILDCARDS = ("", "0.0.0.0", "::")


class Service:
    """A running server; also a context manager that closes it.

    `url` is where it answers, without a slash at the end; `server` is the Server itself. On a Unix
    socket `host` is its path and `port` is 0.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.host, self.port = address(server)
        self.url = url(self.host, self.port, tls=server.tls is not None)
        self._thread = threading.Thread(
            target=server.serve_forever, name=f"dumbkv_http:{self.port}", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Drains the server and frees its port; the store stays open. May be called twice.

        Takes up to `Limits.grace` seconds when requests are under way.
        """
        if self._thread.is_alive():
            self.server.shutdown()
            self._thread.join()
        self.server.server_close()
        self.server.app.close()

    def __enter__(self) -> Service:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def serve(
    store: Store,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    max_body: int = MAX_BODY,
    limits: Limits | None = None,
    allow_hosts: Iterable[str] = (),
    insecure: bool = False,
    unix: str | os.PathLike[str] | None = None,
    unix_mode: int = 0o600,
    tls: ssl.SSLContext | None = None,
    tokens: Tokens | None = None,
    open_metrics: bool = False,
    access_log: AccessLog | None = None,
) -> Service:
    """Serves a store over HTTP from a daemon thread. Port 0 takes a free one.

    `unix` is the path of a Unix socket to listen on instead, whose file gets `unix_mode`. `tls`
    makes it https (`dumbkv_http.server_context` gives a context). With `tokens` every request
    needs one, but for the probes, and with `open_metrics` the metrics. `allow_hosts` are more
    names to accept in Host, `*` all of them.

    Raises ValueError for an address that other machines can reach unless there are tokens or
    `insecure`, OSError when the address cannot be had.

    >>> import dumbkv, urllib.request
    >>> with dumbkv.open() as store, serve(store) as service:
    ...     store[b"greeting"] = b"hello"
    ...     urllib.request.urlopen(service.url + "/v1/kv/greeting").read()
    b'hello'
    """
    return Service(
        build(
            store,
            host,
            port,
            max_body=max_body,
            limits=limits,
            allow_hosts=allow_hosts,
            insecure=insecure,
            unix=unix,
            unix_mode=unix_mode,
            tls=tls,
            tokens=tokens,
            open_metrics=open_metrics,
            access_log=access_log,
        )
    )


def build(
    store: Store,
    host: str,
    port: int,
    *,
    max_body: int = MAX_BODY,
    limits: Limits | None = None,
    allow_hosts: Iterable[str] = (),
    insecure: bool = False,
    unix: str | os.PathLike[str] | None = None,
    unix_mode: int = 0o600,
    tls: ssl.SSLContext | None = None,
    tokens: Tokens | None = None,
    open_metrics: bool = False,
    access_log: AccessLog | None = None,
) -> Server:
    """A server bound to its address and not yet serving; arguments and errors as `serve`."""
    if unix is None and not is_loopback(host) and not insecure and tokens is None:
        raise ValueError(
            f"expected a loopback address, got {host!r}, which lets other machines read and write "
            "the store without a token: use 127.0.0.1, or set tokens (--token-file on the command "
            "line), or allow it with insecure (--insecure)"
        )
    wildcard = host in _WILDCARDS
    app = App(
        store,
        # No page in a browser can reach a Unix socket, so any Host is as good as another there.
        hosts=None if unix is not None else _host_names(host, allow_hosts),
        any_address=wildcard,
        max_body=max_body,
        tokens=tokens,
        open_metrics=open_metrics,
    )
    try:
        return Server(
            (host, port) if unix is None else os.fspath(unix),
            app,
            limits=limits,
            tls=tls,
            access_log=access_log,
            unix_mode=unix_mode,
        )
    except BaseException:
        app.close()
        raise


def _host_names(host: str, allowed: Iterable[str]) -> set[bytes] | None:
    """The names to accept in Host, None for all.

    A page whose name was rebound to our address still sends its own name as Host. So names are
    accepted only when they are known: those of the loopback, the address we bind, what was
    allowed; on a wildcard address the machine's own name, and any IP address, because nobody can
    rebind those.
    """
    names = {name.lower().encode() for name in allowed}
    if b"*" in names:
        return None
    own = socket.gethostname() if host in _WILDCARDS else f"[{host}]" if ":" in host else host
    return names | {own.lower().encode(), b"127.0.0.1", b"localhost", b"[::1]"}


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address. Names other than localhost are not asked.

    >>> is_loopback("127.0.0.2"), is_loopback("::1"), is_loopback("0.0.0.0"), is_loopback("")
    (True, True, False, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def address(server: Server) -> tuple[str, int]:
    """Host and port that a server is bound to, or the path of its Unix socket and 0."""
    bound = server.server_address
    return (bound, 0) if isinstance(bound, str) else (str(bound[0]), int(bound[1]))


def url(host: str, port: int, *, tls: bool = False) -> str:
    """The base URL for an address, or for the path of a Unix socket where the port is 0.

    >>> url("::1", 80), url("127.0.0.1", 443, tls=True), url("/run/kv.sock", 0)
    ('http://[::1]:80', 'https://127.0.0.1:443', 'http+unix://%2Frun%2Fkv.sock')
    """
    scheme = "https" if tls else "http"
    if "/" in host:
        return f"{scheme}+unix://{quote(host, safe='')}"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
