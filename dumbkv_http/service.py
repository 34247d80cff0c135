"""A server in a thread of your own process: one store, two doors."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Iterable
from types import TracebackType

from dumbkv import Store
from dumbkv_http.app import MAX_BODY, App
from dumbkv_http.limits import Limits
from dumbkv_http.server import Server

__all__ = ["Service", "build", "is_loopback", "serve"]


class Service:
    """A running server; also a context manager that closes it.

    `url` is where it answers, without a slash at the end; `server` is the Server itself.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.host = str(server.server_address[0])
        self.port = int(server.server_address[1])
        self.url = url(self.host, self.port)
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
) -> Service:
    """Serves a store over HTTP from a daemon thread. Port 0 takes a free one.

    Raises ValueError for an address that other machines can reach unless `insecure`, OSError when
    the address cannot be had.

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
) -> Server:
    """A server bound to its address and not yet serving; arguments and errors as `serve`."""
    loopback = is_loopback(host)
    if not loopback and not insecure:
        raise ValueError(
            f"expected a loopback address, got {host!r}, which lets other machines read and write "
            "the store without a password: use 127.0.0.1, or allow it with insecure "
            "(--insecure on the command line)"
        )
    names: set[bytes] | None = None
    if loopback or allow_hosts:
        # A page whose name was rebound to 127.0.0.1 still sends its own name as Host.
        bind_name = f"[{host}]" if ":" in host else host
        names = {name.lower().encode() for name in (*allow_hosts, bind_name)}
        names |= {b"127.0.0.1", b"localhost", b"[::1]"}
    app = App(store, hosts=names, max_body=max_body)
    try:
        return Server((host, port), app, limits=limits)
    except BaseException:
        app.close()
        raise


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


def url(host: str, port: int) -> str:
    """The base URL for an address.

    >>> url("::1", 80)
    'http://[::1]:80'
    """
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
