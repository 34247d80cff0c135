"""The event loop: one thread, non-blocking sockets, all answers given inline.

Every request is bounded work on memory, so the loop answers it when it has read it; a thread per
connection would spend more on switching than on answering. A round waits for sockets, lets each
ready connection read, answer and send once, and now and then looks for deadlines that have passed.
That sweep visits every connection, of which there are a bounded number, so a request pays for its
deadline with one attribute and not with a timer. Work that is long is done in turns, one a round.

Invariants: only the loop's thread touches connections and the selector; other threads may set
`_stopping`, `_woken` and `_news` and write to the wake-up pipe. A flag is taken down before those
it is for are asked, so what is set meanwhile is seen in the next round. A connection waits for
reading or for writing, never both, so a client that does not read its answers is not read from.
"""

from __future__ import annotations

import logging
import os
import selectors
import socket
import socketserver
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler

from dumbkv_http import _unix
from dumbkv_http._accepting import Accepting
from dumbkv_http._access_log import AccessLog
from dumbkv_http._connection import BODY, IDLE, LATER, SHAKE, WRITE, Connection
from dumbkv_http._later import AGAIN, WOKEN, Next
from dumbkv_http._plain import Plain
from dumbkv_http.app import App
from dumbkv_http.limits import Limits
from dumbkv_http.response import http_date
from dumbkv_http.tokens import Tokens

__all__ = ["Server"]

_log = logging.getLogger("dumbkv_http")

_AT_ONCE = 50e-6  # Seconds it takes to be told of what is ready already...
_AT_ONCE_EACH = 1e-6  # ...and for each of those more.
_TURNS = 0.005  # Seconds in each round for answers that are made in turns.
_SCRAPERS = 2  # A pair of Prometheus, at most.
_BREATH_EVERY = 0.005  # Seconds at work without a wait, after which other threads get the GIL...
_BREATH = 20e-6  # ...for they do not wake up in time to take it when it is let go for a call.
_NEWS_PAUSE = 0.005  # Seconds: those who watch are told of many events at once, not of each.


class Server(Accepting):
    """An HTTP server for one App, with the methods of `http.server.HTTPServer`.

    `server_address` is a host and a port, or the path of a Unix socket, whose file gets
    `unix_mode`. With `tls`, connections begin with a handshake; another context may be put in its
    place while the server runs. It serves from `serve_forever` until `shutdown`, once. `clock` is
    in seconds and monotonic, `wall` in seconds since the epoch. Raises OSError when the address
    cannot be had.
    """

    request_queue_size = 1024

    def __init__(
        self,
        server_address: tuple[str, int] | str,
        app: App,
        bind_and_activate: bool = True,
        *,
        limits: Limits | None = None,
        tls: ssl.SSLContext | None = None,
        access_log: AccessLog | None = None,
        unix_mode: int = 0o600,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._unix_mode = unix_mode
        self._unix_file: tuple[int, int] | None = None
        if isinstance(server_address, str):
            self.address_family = socket.AF_UNIX
        elif ":" in server_address[0]:
            self.address_family = socket.AF_INET6
        self.app = app
        self.metrics = app.metrics
        self.limits = limits or Limits()
        self.clock = clock
        self.tls = tls
        self.access_log = access_log
        self.plain = Plain(app)
        # The short way takes nothing down, so with a log all requests go the general way.
        self.plain_answer = self.plain.answer if access_log is None else _never
        self.observe = app.metrics.observe
        self.idle_timeout = self.limits.idle_timeout
        self.since = 0.0
        self.held = 0
        self.unsent = 0
        self._wall = wall
        self._cap = self.limits.connection_cap()
        self._connections: set[Connection] = set()
        self._refused: set[Connection] = set()
        self._resumed: list[Connection] = []
        self._calls: deque[Callable[[], None]] = deque()
        self._scrapers: deque[Connection] = deque(maxlen=_SCRAPERS)
        self._holding: set[Connection] = set()
        self._watching: set[Connection] = set()
        self._stopping = False
        self._woken = False
        self._news = False
        self._next_news = 0.0
        self._listening = False
        self._accept_again = 0.0
        self._round_began = 0.0
        self._breathed = 0.0
        self._next_sweep = 0.0
        self._loop_thread = 0
        self._finished = threading.Event()
        self._finished.set()
        # The loop never makes a handler: connections have a class of their own.
        super().__init__(
            server_address,  # type: ignore[arg-type]  # typeshed knows no Unix sockets here
            BaseHTTPRequestHandler,
            bind_and_activate=False,
        )
        self._selector = selectors.DefaultSelector()
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_read, False)
        os.set_blocking(wake_write, False)
        self._wake_read: int | None = wake_read
        self._wake_write: int | None = wake_write
        self._wake_lock = threading.RLock()  # Re-entrant: a signal handler asks for shutdown.
        self._spare: int | None = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._selector.register(wake_read, selectors.EVENT_READ, self._on_wake)
        self._set_date()
        self.metrics.connections = lambda: len(self._connections)
        self.metrics.in_flight = self._in_flight
        if access_log is not None:
            self.metrics.log_dropped = lambda: access_log.dropped
        app.wake, app.tell = self.wake, self.tell
        self._history = app.status.history
        self._history.clock = clock
        if bind_and_activate:
            try:
                self.server_bind()
                self.server_activate()
            except BaseException:
                self.server_close()
                raise

    def server_bind(self) -> None:
        """Binds; unlike HTTPServer's, without asking DNS for the host's name."""
        if isinstance(self.server_address, str):
            _unix.bind(self.socket, self.server_address, self._unix_mode)
            self._unix_file = _unix.identity(self.server_address)
            self.server_name, self.server_port = self.server_address, 0
            return
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]  # both families start with these

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Serves until `shutdown`, then drains: returns when the last connection is closed.

        Deadlines are looked at every `poll_interval` seconds or more often.
        """
        self._loop_thread = threading.get_ident()
        self._finished.clear()
        interval = self.limits.sweep_interval(poll_interval)
        try:
            self.socket.setblocking(False)
            self._listen(True)
            while not self._stopping:
                self._round(interval)
            self._drain(interval)
        finally:
            self._finished.set()

    def handle_request(self) -> None:
        """One round of the loop: waits up to `timeout` seconds, then serves what is ready."""
        self.socket.setblocking(False)
        self._listen(True)
        self._round(self.timeout)

    def request_shutdown(self) -> None:
        """Asks the loop to drain and stop, and returns at once; safe in a signal handler."""
        self._stopping = True
        self._rouse()

    def call_soon(self, function: Callable[[], None]) -> None:
        """Calls the function in the loop, between two rounds; safe in threads and signals."""
        self._calls.append(function)
        self._rouse()

    def scraped(self, connection: Connection) -> None:
        """The connection has asked for the metrics: it is not closed for want of room.

        Its owner comes back rarely, so it would be the one that was idle longest, and could not
        come back just when there is something to see. Only the last few are kept so.
        """
        if connection not in self._scrapers:
            self._scrapers.append(connection)

    def set_tokens(self, tokens: Tokens | None) -> None:
        """Other tokens from the next request on; only in the loop, so by way of `call_soon`.

        Who watches is cut off, and comes back with a token that counts, or does not come back.
        """
        self.app.tokens = tokens
        self.plain.forget()
        for connection in tuple(self._connections):
            if connection.watches:
                connection.close()

    def shutdown(self) -> None:
        """Drains and stops the loop, and waits until it has; the loop's own thread cannot wait."""
        self.request_shutdown()
        if threading.get_ident() != self._loop_thread:
            self._finished.wait()

    def server_close(self) -> None:
        """Closes the listener and all that the loop used; call it when the loop has ended."""
        for connection in (*self._connections, *self._refused):
            connection.close()
        super().server_close()
        if self._unix_file is not None:
            _unix.remove(str(self.server_address), self._unix_file)
            self._unix_file = None
        self._selector.close()
        with self._wake_lock:
            for descriptor in (self._wake_read, self._wake_write, self._spare):
                if descriptor is not None:
                    os.close(descriptor)
            self._wake_read = self._wake_write = self._spare = None

    # What any thread may ask for.

    def wake(self) -> None:
        """Asks for another turn of the answers that wait for something."""
        self._woken = True
        self._rouse()

    def tell(self) -> None:
        """Says that there may be news for those who watch; they get them within milliseconds.

        Cheap when it was said already, and in the loop's own thread, where most writes are.
        """
        if not self._news:
            self._news = True
            if threading.get_ident() != self._loop_thread:
                self._rouse()

    def _rouse(self) -> None:
        with self._wake_lock:
            if self._wake_write is not None:
                with suppress(BlockingIOError):  # A full pipe wakes the loop as well.
                    os.write(self._wake_write, b"\0")

    # What connections ask for.

    def wait_for_write(self, connection: Connection) -> None:
        """Calls the connection when it can send; makes room first if too much waits unsent."""
        if self.unsent > self.limits.unsent_budget:
            writers = [each for each in self._connections if each.state == WRITE]
            for slowest in sorted(writers, key=lambda each: each.deadline):
                if slowest is not connection and self.unsent > self.limits.unsent_budget:
                    slowest.expire(self.clock())
        self._wait_for(connection, selectors.EVENT_WRITE)

    def wait_for_read(self, connection: Connection) -> None:
        """Calls the connection when there is something to read."""
        self._wait_for(connection, selectors.EVENT_READ)

    def _wait_for(self, connection: Connection, events: int) -> None:
        wait = self._selector.register if connection.paused else self._selector.modify
        connection.paused = False
        wait(connection.sock, events, connection.on_event)

    def pause(self, connection: Connection) -> None:
        """Leaves alone what the client sends until the connection waits for it again."""
        self._selector.unregister(connection.sock)
        connection.paused = True

    def resume(self, connection: Connection, when: Next) -> None:
        """Calls the connection in the next round, after the others had their turn; or in the one
        after the next `wake` or `tell`."""
        if when is AGAIN:
            self._resumed.append(connection)
        else:
            (self._holding if when is WOKEN else self._watching).add(connection)

    def forget(self, connection: Connection) -> None:
        """The connection is about to close its socket."""
        if not connection.paused:
            self._selector.unregister(connection.sock)
        for group in (self._connections, self._refused, self._holding, self._watching):
            group.discard(connection)
        if connection in self._scrapers:
            self._scrapers.remove(connection)

    # The loop.

    def _round(self, longest: float | None) -> None:
        if self._resumed or self._accept_again or self._news:
            longest = self._pause(longest)
        asking = self.clock()
        if asking - self._breathed > _BREATH_EVERY:
            if threading.active_count() > 1:
                time.sleep(_BREATH)
            self._breathed = asking = self.clock()
        events = self._selector.select(longest)
        now = self.clock()
        # What was ready without a wait came while the last round was at work.
        waited = now - asking > _AT_ONCE + len(events) * _AT_ONCE_EACH
        if waited:
            self._breathed = now
        self.since = now if waited else self._round_began
        self._round_began = now
        if int(self._wall()) != self.seconds:
            self._set_date()
        if self._resumed:
            self._take_turns(now)
        accepting = False
        for key, _ in events:
            callback = key.data
            if callback is None:  # The listener has none.
                accepting = True
                continue
            try:
                callback(now)
            except Exception:
                self._failed(callback)
        if accepting:  # Last, so that no connection is evicted while its request waits here.
            try:
                self._accept(now)
            except Exception:
                self._failed(self._accept)
        if self._woken:
            self._woken = False
            holding, self._holding = self._holding, set()
            self._resume(holding, now)
        if self._news and now >= self._next_news:
            self._news = False
            self._next_news = now + _NEWS_PAUSE
            watching, self._watching = self._watching, set()
            self._resume(watching, now)
        if self._accept_again and now >= self._accept_again and not self._stopping:
            self._listen(True)
        if now >= self._next_sweep:
            self._sweep(now)

    def _pause(self, longest: float | None) -> float | None:
        """How long to wait for sockets at most, when something else is to be done soon."""
        if self._resumed:
            return 0.0
        now = self.clock()
        for soon in (self._accept_again, self._next_news if self._news else 0.0):
            if soon:
                pause = max(0.0, soon - now)
                longest = pause if longest is None else min(longest, pause)
        return longest

    def _take_turns(self, now: float) -> None:
        """Lets those that have more to do go on, for a while: a hundred streams at once must not
        hold up who asks for one key. The rest comes first in the next round."""
        waiting, self._resumed = self._resumed, []
        end = self.clock() + _TURNS
        for n, connection in enumerate(waiting, 1):
            self._resume((connection,), now)
            if self.clock() > end:
                self._resumed = waiting[n:] + self._resumed
                return

    def _resume(self, connections: Iterable[Connection], now: float) -> None:
        for connection in connections:
            try:
                connection.resume(now)
            except Exception:
                self._failed(connection.resume)

    def _failed(self, callback: Callable[[float], None]) -> None:
        """A bug of ours, met by one client, must not end the loop for the others."""
        _log.exception("%s failed", getattr(callback, "__qualname__", callback))
        owner = getattr(callback, "__self__", None)
        if isinstance(owner, Connection):
            owner.fail()

    def _sweep(self, now: float) -> None:
        self._next_sweep = now + self.limits.sweep_interval(0.5)
        for connection in (*self._connections, *self._refused):
            if now >= connection.deadline:
                try:
                    connection.expire(now)
                except Exception:
                    self._failed(connection.expire)
        self._history.tick(now)
        self.service_actions()

    def _set_date(self) -> None:
        self.seconds = int(self._wall())
        self.date = http_date(self.seconds)

    def _on_wake(self, now: float) -> None:
        assert self._wake_read is not None, "the loop runs on a closed server"
        os.read(self._wake_read, 4096)
        while self._calls:
            self._calls.popleft()()

    def _in_flight(self) -> int:
        waiting = sum(each.state in (BODY, WRITE, LATER) for each in self._connections)
        return waiting + (threading.get_ident() == self._loop_thread)

    # Stopping.

    def _drain(self, interval: float) -> None:
        """Answers what is under way and what has already come, then closes everything."""
        self.app.draining = True
        self.tell()  # Those who watch are asked again, and end.
        self._round(0.0)
        self._round(0.0)
        self._listen(False)
        self.socket.close()
        for connection in tuple(self._connections):
            if connection.state in (IDLE, SHAKE):
                connection.close()
        end = self.clock() + self.limits.grace
        while self._connections and self.clock() < end:
            self._round(min(interval, max(0.0, end - self.clock())))
        for connection in (*self._connections, *self._refused):
            connection.close()


def _never(buf: bytes, date: bytes, now: int) -> bytes | None:
    """In place of the short way, when there must be none."""
    return None
