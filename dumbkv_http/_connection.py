"""One client's connection: bytes in, answers out, and the state between the two.

A connection is in one state, with one deadline:

    IDLE    between requests; nothing of the next one has come
    HEAD    part of a head has come
    BODY    a head has come and part of its body
    WRITE   answers wait for the client to read; nothing more is read from it
    LATER   an answer is being made, or waits for something, or is a stream that has nothing now
    LINGER  the last answer is sent and our side shut; what still comes is thrown away, so that
            the kernel does not answer it with a reset that overtakes the last answer
    SHAKE   before all else, where there is TLS: the handshake is not complete
    CLOSED

One read is parsed for as many requests as it holds, they are answered on the spot, and all their
answers leave in one send. An answer that is not there at once, a stream's body among them, is
advanced by one step in each round of the loop, and requests behind it wait. Once a head or a body
has been found wrong, or an answer was given before its request was read to the end, no further
byte is taken for a request.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from dumbkv import ClosedError
from dumbkv_http._later import AGAIN, Next, UnderWay
from dumbkv_http._rendering import Rendering
from dumbkv_http.body import BodyReader, body_reader
from dumbkv_http.response import CONTINUE, Deferred, Response, Streamed
from dumbkv_http.tls import TlsSocket
from dumbkv_http.wire import Request, WireError, parse_head

if TYPE_CHECKING:
    from dumbkv_http.server import Server

__all__ = ["BODY", "CLOSED", "HEAD", "IDLE", "LATER", "LINGER", "SHAKE", "WRITE", "Connection"]

IDLE, HEAD, BODY, WRITE, LATER, LINGER, SHAKE, CLOSED = range(8)

_READ_SIZE = 16 * 1024
_BODY_READ_SIZE = 256 * 1024
_CHUNKED_READ_SIZE = 32 * 1024  # The smallest chunk has 6 bytes: this many take 10 ms, not 80.
_BATCH_SIZE = 256 * 1024  # Answers to pipelined requests are sent when they reach this.
_PATIENCE = 1.0  # Seconds after which an answer that waits is asked again, woken or not.


class Connection(Rendering):
    """Serves one accepted, non-blocking socket; the server calls it, always in its loop."""

    __slots__ = (
        "_answered",
        "_asked",
        "_batch_full",
        "_began",
        "_body_read_size",
        "_eof",
        "_held",
        "_later",
        "_pending",
        "_plain",
        "_reader",
        "_recv",
        "_request",
        "_scanned",
        "_send",
        "_sent",
        "_unsent",
        "deadline",
        "paused",
        "sock",
        "state",
    )

    def __init__(
        self, sock: socket.socket | TlsSocket, server: Server, now: float, peer: str = ""
    ) -> None:
        self.sock = sock
        self.state = SHAKE if isinstance(sock, TlsSocket) else IDLE
        limits = server.limits
        self.deadline = now + (limits.idle_timeout if self.state == IDLE else limits.head_timeout)
        self.paused = False
        self._server = server
        self._recv = sock.recv
        self._send = sock.send
        self._plain = server.plain_answer
        self._peer = peer
        self._arrived = now
        self._asked = now
        self._answered = now
        self._began = now
        self._body_read_size = _BODY_READ_SIZE
        self._pending = b""
        self._scanned = 0
        self._request: Request | None = None
        self._reader: BodyReader | None = None
        self._held = 0
        self._unsent: memoryview | None = None
        self._sent = 0
        self._later: UnderWay | None = None
        self._operations = 0
        self._batch_full = False
        self._closing = False
        self._eof = False

    @property
    def watches(self) -> bool:
        """Whether it is sent something that has no end."""
        return self._later is not None and self._later.endless

    def on_event(self, now: float) -> None:
        """The socket is ready for what we wait for. `now` is when that became known."""
        state = self.state
        if state >= WRITE:
            if state == WRITE:
                self._flush(now)
            elif state == LATER:
                self._on_early()
            elif state == LINGER:
                self._discard()
            elif state == SHAKE:
                self._shake(now)
            return
        if self._batch_full:
            return  # `resume` comes first.
        try:
            data = self._recv(_READ_SIZE if state != BODY else self._body_read_size)
        except BlockingIOError:
            return
        except OSError:
            self._lost()
            return
        self._arrived = now
        server = self._server
        # It cannot have been sent before the last answer was, nor have waited for longer than the
        # loop was busy: what it waited unseen belongs to its duration (see `_round`).
        asked = self._asked = self._answered if self._answered > server.since else server.since
        if state == IDLE:
            answer = self._plain(data, server.date, server.seconds)
            if answer is not None:
                self.deadline = now + server.idle_timeout
                try:
                    sent = self._send(answer)
                except OSError:  # Full, or gone: the general path tells which.
                    sent = -1
                if sent == len(answer):
                    answered = self._answered = server.clock()
                    server.observe(answered - asked)
                    return
                self._operations = 1
                self._transmit(answer, max(sent, 0))
                return
        if data:
            self._advance(self._pending + data if self._pending else data)
        else:
            self._on_eof()

    def resume(self, now: float) -> None:
        """Goes on with an answer under way, or with pipelined requests that waited."""
        if self.state == LATER:
            self._go_on(now)
            return
        self._batch_full = False
        if self.state < WRITE:
            self._advance(self._pending)

    def expire(self, now: float) -> None:
        """The deadline has passed."""
        if self.state == HEAD or self.state == BODY:
            what = "head" if self.state == HEAD else "body"
            self._refuse(WireError(408, "timeout", f"the request's {what} did not come in time"))
        elif self.state == WRITE:
            self._lost()
        elif self.state == LATER:
            self._go_on(now)
        else:
            if self.state == SHAKE:
                self._server.metrics.tls_failures += 1
            self.close()

    def fail(self) -> None:
        """Something of ours broke: 500, and no trust in anything this connection holds."""
        if self.state < WRITE:
            self._request = None
            self._refuse(WireError(500, "internal-error", "the server failed on this connection"))
        else:
            self.close()

    def refuse_service(self) -> None:
        """503 for a connection there is no room for; before a handshake there is no saying so."""
        self._server.metrics.refused += 1
        if self.state == SHAKE:
            self.close()
            return
        self._refuse(WireError(503, "too-many-connections", "all connections are in use; retry"))

    def close(self) -> None:
        """Closes the socket at once; may be called twice."""
        if self.state != CLOSED:
            self._drop_body()
            self._drop_unsent()
            if self._later is not None:
                self._later.close()
                self._later = None
            self.state = CLOSED
            self._server.forget(self)
            self.sock.close()

    def _advance(self, buf: bytes) -> None:
        """Answers the requests in `buf`, which is all that was read and not yet used."""
        server = self._server
        answer = server.app
        out = []
        size = position = 0
        end = len(buf)
        whole = self._reader is None  # The first request begins in this buffer.
        try:
            while position < end and not self._closing:
                if size > _BATCH_SIZE:
                    self._batch_full = True
                    break
                if self._reader is None:
                    request = parse_head(buf, position, self._scanned)
                    if request is None:
                        self._scanned = end - position
                        break
                    self._scanned = 0
                    position = request.end
                    if request.fields.has_body:
                        interim = self._begin_body(request, position < end)
                        if interim:
                            out.append(interim)
                        continue
                else:
                    position = self._feed(self._reader, buf, position)
                    if not self._reader.done:
                        break
                    request = self._take_body(self._reader)
                response = answer(request, server.seconds)
                if type(response) is not Response:
                    response = self._begin_later(request, response)
                    if self._later is not None:
                        if type(response) is Streamed:
                            out.append(self._render_stream(request, response, self._later))
                        break
                if whole and size == 0 and position == end:
                    server.plain.learn(buf, request, response)
                if response.handler == "metrics" and response.status == 200:
                    server.scraped(self)
                data = self._render(request, response)
                # A HEAD's answer is short and has cost as much as a GET's.
                size += max(len(data), len(response.body))
                out.append(data)
        except WireError as error:
            out.append(self._last_answer(error))
        if position == end or self._closing:
            self._pending = b""
        elif position:
            self._pending = buf[position:]
            self.state = IDLE if self.state == HEAD else self.state  # A new head, a new deadline.
        else:
            self._pending = buf
        self._rest(self._arrived)
        if out:
            self._transmit(out[0] if len(out) == 1 else b"".join(out))
        elif self._later is not None:
            self._flushed()

    def _rest(self, now: float) -> None:
        """Takes up the state to wait in, and its deadline."""
        limits = self._server.limits
        if self._reader is not None:
            self.state = BODY
            received = len(self._reader.data)
            self.deadline = self._began + limits.body_timeout + received / limits.min_rate
        elif not self._pending:
            self.state = IDLE
            self.deadline = now + limits.idle_timeout
        elif self.state != HEAD:
            self.state = HEAD
            self.deadline = now + limits.head_timeout

    def _begin_body(self, request: Request, more: bool) -> bytes:
        """Prepares for the body; the answer is a refusal, or 100 Continue, or nothing."""
        refusal = self._server.app.refusal(request)
        if refusal is not None:
            self._closing = True
            return self._render(request, refusal)
        self._request = request
        self._began = self._arrived
        self._reader = body_reader(request.fields, self._server.app.body_limit(request))
        self._body_read_size = _CHUNKED_READ_SIZE if request.fields.chunked else _BODY_READ_SIZE
        # A client that has begun its body does not wait for permission.
        waits = request.fields.expect is not None and request.http11 and not more
        return CONTINUE if waits else b""

    def _feed(self, reader: BodyReader, buf: bytes, position: int) -> int:
        position = reader.feed(buf, position)
        if not reader.done:
            server = self._server
            server.held += len(reader.data) - self._held
            self._held = len(reader.data)
            if server.held > server.limits.body_budget:
                raise WireError(503, "busy", "too many bodies are on their way; retry")
        return position

    def _take_body(self, reader: BodyReader) -> Request:
        request = self._request
        assert request is not None, "a body without a head"
        request.body = bytes(reader.data)
        self._drop_body()
        return request

    def _drop_body(self) -> None:
        self._server.held -= self._held
        self._held = 0
        self._reader = None
        self._request = None

    def _refuse(self, error: WireError) -> None:
        self._pending = b""
        self._transmit(self._last_answer(error))

    def _last_answer(self, error: WireError) -> bytes:
        request = self._request
        self._drop_body()
        return self._render_error(error, request)

    def _transmit(self, data: bytes, sent: int = 0) -> None:
        """Sends `data`, of which `sent` bytes are sent already, now or when the client reads."""
        try:
            sent += self._send(data[sent:] if sent else data)
        except BlockingIOError:
            pass
        except OSError:
            self._lost()
            return
        if sent == len(data):
            self._flushed()
            return
        server = self._server
        self._unsent = memoryview(data)[sent:]
        self._sent = 0
        self._began = server.clock()
        self.state = WRITE
        self.deadline = self._began + server.limits.write_timeout
        server.unsent += len(data)  # All of it is kept until the last byte has gone.
        server.wait_for_write(self)

    def _flush(self, now: float) -> None:
        assert self._unsent is not None, "waiting to write nothing"
        try:
            sent = self._send(self._unsent)
        except BlockingIOError:
            return
        except OSError:
            self._lost()
            return
        server = self._server
        self._sent += sent
        self._unsent = self._unsent[sent:]
        limits = server.limits
        self.deadline = self._began + limits.write_timeout + self._sent / limits.min_rate
        if not self._unsent:
            self._drop_unsent()
            self._began = now
            self.state = IDLE
            self._rest(now)
            server.wait_for_read(self)
            self._flushed()

    def _drop_unsent(self) -> None:
        if self._unsent is not None:
            self._server.unsent -= memoryview(self._unsent.obj).nbytes
            self._unsent = None

    def _flushed(self) -> None:
        """Everything is handed to the socket."""
        server = self._server
        if self._operations:
            self._answered = server.clock()
            server.metrics.observe(self._answered - self._asked, self._operations)
            self._operations = 0
        if self._later is not None:
            self.state = LATER
            self.deadline = self._arrived + _PATIENCE
            server.resume(self, AGAIN)
        elif self._closing:
            self._linger()
        elif self._batch_full:
            server.resume(self, AGAIN)

    # Answers that are not there at once

    def _begin_later(self, request: Request, response: Response) -> Response:
        """Takes it up, unless its first turn is its last: then that is the answer."""
        later = UnderWay(request, response, self._arrived)
        if isinstance(response, Deferred):
            made = later.turn(self._arrived, 0.0)
            if isinstance(made, Response):
                return made
        self._later = later
        return response

    def _go_on(self, now: float) -> None:
        """The next turn of the answer under way."""
        later, server = self._later, self._server
        assert later is not None, "nothing to go on with"
        self.deadline = now + min(_PATIENCE, server.limits.heartbeat)
        try:
            made = later.turn(now, server.limits.heartbeat)
        except ClosedError:  # Without its end the client knows that the body is not whole.
            self.close()
            return
        if isinstance(made, bytes):
            self._arrived = now
            self._transmit(made)
        elif isinstance(made, Next):
            server.resume(self, made)
        else:
            self._later = None
            data = later.end if made is None else self._render(later.request, made)
            self._finish(data, now)

    def _finish(self, data: bytes, now: float) -> None:
        """The last bytes of the answer under way; then what the client has sent meanwhile."""
        if self.paused:
            self._server.wait_for_read(self)
        self.state = IDLE
        self._rest(now)
        self._batch_full = bool(self._pending)
        if data:
            self._transmit(data)
        else:
            self._flushed()

    def _on_early(self) -> None:
        """Bytes, or their end, from a client whose answer is under way."""
        if self.watches:
            self._discard()
        else:
            self._server.pause(self)

    # The end

    def _linger(self) -> None:
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._eof = True
        if self._eof:
            self.close()
            return
        self.state = LINGER
        self.deadline = self._server.clock() + self._server.limits.linger

    def _discard(self) -> None:
        try:
            if self._recv(_BODY_READ_SIZE):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self.close()

    def _shake(self, now: float) -> None:
        assert isinstance(self.sock, TlsSocket), "a handshake without TLS"
        try:
            complete = self.sock.handshake()
        except OSError:
            self._server.metrics.tls_failures += 1
            self.close()
            return
        if complete:
            self.state = IDLE
            self.deadline = now + self._server.limits.idle_timeout
            # What came with the end of the handshake may be in OpenSSL already: the selector
            # would not tell.
            self.on_event(now)

    def _on_eof(self) -> None:
        self._eof = True
        if self.state == IDLE:
            self.close()
            return
        self._server.metrics.disconnects += 1
        self._refuse(
            WireError(400, "incomplete-request", "the connection ended before the request did")
        )

    def _lost(self) -> None:
        """The client went away with a request or an answer under way."""
        if self.state != IDLE or self._operations:
            self._server.metrics.disconnects += 1
        self.close()
