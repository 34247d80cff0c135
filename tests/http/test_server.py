"""The server over real sockets: framing, keep-alive, pipelining, and what closes a connection."""

from __future__ import annotations

import http.client
import socket
import threading

import pytest

import dumbkv
import dumbkv_http
from dumbkv_http import Limits, Service
from dumbkv_http.app import App
from dumbkv_http.response import Response
from dumbkv_http.server import Server
from dumbkv_http.wire import Request
from tests.http.client import RawClient, get, put
from tests.http.conftest import Serve, counted, wait_until
from tests.http.test_wire import BAD


def test_a_standard_client_puts_gets_and_deletes(service: Service) -> None:
    connection = http.client.HTTPConnection(service.host, service.port, timeout=10)
    connection.request("PUT", "/v1/kv/a", b"value")
    response = connection.getresponse()
    assert (response.status, response.read()) == (201, b"")
    tag = response.headers["ETag"]
    connection.request("GET", "/v1/kv/a")
    response = connection.getresponse()
    assert (response.status, response.read(), response.headers["ETag"]) == (200, b"value", tag)
    connection.request("HEAD", "/v1/kv/a")
    response = connection.getresponse()
    assert (response.status, response.read(), response.headers["Content-Length"]) == (200, b"", "5")
    connection.request("DELETE", "/v1/kv/a")
    response = connection.getresponse()
    assert (response.status, response.read()) == (204, b"")
    connection.request("PUT", "/v1/kv/b", iter([b"in ", b"chunks"]), encode_chunked=True,
                       headers={"Transfer-Encoding": "chunked"})  # fmt: skip
    response = connection.getresponse()
    assert (response.status, response.read()) == (201, b"")
    assert service.server.app.store[b"b"] == b"in chunks"
    connection.close()


def test_one_connection_serves_many_requests(service: Service) -> None:
    with RawClient(service) as client:
        for n in range(50):
            assert client.ask(put(f"k{n}", b"%d" % n)).status == 201
            assert client.ask(get(f"k{n}")).body == b"%d" % n
            assert client.ask(get("absent")).status == 404
        assert service.server.metrics.connections() == 1
    assert counted(service) == 150


def test_pipelined_requests_are_answered_in_order(service: Service) -> None:
    requests = b"".join(put(f"k{n}", b"%d" % n) + get(f"k{n}") for n in range(100))
    with RawClient(service) as client:
        client.send(requests)
        for n in range(100):
            assert client.answer().status == 201
            assert client.answer().body == b"%d" % n
    assert counted(service) == 200


def test_a_long_pipeline_of_large_values_is_answered_in_full(
    fast_store: dumbkv.Store, serve: Serve
) -> None:
    fast_store[b"large"] = value = bytes(range(256)) * 400
    service = serve(fast_store)
    with RawClient(service) as client:
        sender = threading.Thread(target=client.send, args=(get("large") * 300,))
        sender.start()
        for _ in range(300):
            assert client.answer().body == value
        sender.join()
    assert counted(service, 200) == 300


def test_a_request_may_arrive_byte_by_byte(service: Service) -> None:
    chunked = (
        b"PUT /v1/kv/b HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n0\r\n\r\n"
    )
    with RawClient(service) as client:
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for data, status in ((put("a", b"abc"), 201), (get("a"), 200), (chunked, 201)):
            for n in range(len(data)):
                client.send(data[n : n + 1])
            assert client.answer().status == status
    assert dict(service.server.app.store) == {b"a": b"abc", b"b": b"abc"}


def test_http_1_0_closes_unless_asked_not_to(service: Service) -> None:
    with RawClient(service) as client:
        answer = client.ask(b"GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert answer.headers["connection"] == "keep-alive"
        answer = client.ask(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert answer.headers["connection"] == "close"
        assert client.rest() == b""


def test_connection_close_is_honoured_and_nothing_behind_it_is_read(service: Service) -> None:
    with RawClient(service) as client:
        client.send(get("a", "Connection: close\r\n") + put("smuggled", b"1"))
        assert client.answer().headers["connection"] == "close"
        assert client.rest() == b""
    assert len(service.server.app.store) == 0


def test_the_head_of_a_value_and_of_an_error_come_without_their_bodies(service: Service) -> None:
    service.server.app.store[b"a"] = b"12345"
    with RawClient(service) as client:
        answer = client.ask(get("a").replace(b"GET", b"HEAD"), head_only=True)
        assert (answer.status, answer.headers["content-length"]) == (200, "5")
        answer = client.ask(get("b").replace(b"GET", b"HEAD"), head_only=True)
        assert answer.status == 404
        assert int(answer.headers["content-length"]) > 0
        assert client.ask(get("a")).body == b"12345"


def test_answers_without_a_body_say_so_as_their_status_demands(service: Service) -> None:
    with RawClient(service) as client:
        created = client.ask(put("a", b"1"))
        assert created.headers["content-length"] == "0"
        assert "content-length" not in client.ask(put("a", b"2")).headers
        tag = client.ask(get("a")).headers["etag"]
        answer = client.ask(get("a", f"If-None-Match: {tag}\r\n"))
        assert (answer.status, "content-length" in answer.headers) == (304, False)
        assert client.ask(get("a")).body == b"2"


@pytest.mark.parametrize("name", BAD)
def test_every_framing_error_is_answered_counted_once_and_closes(
    name: str, fast_store: dumbkv.Store, serve: Serve
) -> None:
    status, data = BAD[name]
    service = serve(fast_store)
    with RawClient(service) as client:
        client.send(data)
        answer = client.answer()
        assert answer.status == status
        assert answer.kind
        assert answer.headers["connection"] == "close"
        client.sock.shutdown(socket.SHUT_WR)
        assert client.rest() == b""
    assert counted(service) == 1
    assert service.server.metrics.requests["OTHER", "other", status] == 1


def test_what_follows_a_framing_error_is_never_a_request(service: Service) -> None:
    for data in (
        b"PUT /v1/kv/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"PUT /v1/kv/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxxx",
        put("a", b"1", "Expect: tea\r\n"),
        b"GET /v1/kv/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx",
        b"PUT /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx",
    ):
        with RawClient(service) as client:
            client.send(data + put("smuggled", b"1"))
            assert 400 <= client.answer().status < 500
            assert client.rest() == b""
    assert len(service.server.app.store) == 0


def test_an_error_that_leaves_nothing_unread_keeps_the_connection(service: Service) -> None:
    with RawClient(service) as client:
        assert client.ask(get("..")).status == 400
        assert client.ask(get("a?b=c")).status == 400
        assert client.ask(b"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n").status == 405
        assert client.ask(get("a").replace(b"localhost", b"evil.example")).status == 421
        assert client.ask(put("a", b"1")).status == 201


def test_a_client_that_asks_first_is_told_to_continue(service: Service) -> None:
    head = put("a", b"hello", "Expect: 100-continue\r\n").removesuffix(b"hello")
    with RawClient(service) as client:
        answer = client.ask(head)
        assert (answer.status, answer.headers) == (100, {})
        assert client.ask(b"hello").status == 201
        client.send(head.replace(b"/a", b"/b") + b"hello")  # It does not wait: no 100 for it.
        assert client.answer().status == 201
    assert dict(service.server.app.store) == {b"a": b"hello", b"b": b"hello"}
    assert counted(service) == 2


def test_a_client_that_asks_first_is_refused_before_it_sends(service: Service) -> None:
    for head, status in (
        (put("a", b"", "Expect: tea\r\n").replace(b"Length: 0", b"Length: 5"), 417),
        (put("a", b"", "Expect: 100-continue\r\n").replace(b"Length: 0", b"Length: 9999999"), 413),
        (put("..", b"", "Expect: 100-continue\r\n").replace(b"Length: 0", b"Length: 5"), 400),
        (get("a", "Expect: 100-continue\r\nContent-Length: 5\r\n"), 400),
    ):
        with RawClient(service) as client:
            answer = client.ask(head)
            assert answer.status == status
            assert answer.headers["connection"] == "close"


def test_a_refused_upload_can_be_finished_and_its_answer_still_read(service: Service) -> None:
    limit = service.server.app.max_body
    with RawClient(service) as client:
        client.send(put("a", bytes(limit + 1)))
        answer = client.answer()
        assert (answer.status, answer.kind) == (413, "value-too-large")
    assert len(service.server.app.store) == 0


def test_a_refused_client_is_not_reset_while_it_is_still_sending(service: Service) -> None:
    with RawClient(service) as client:
        client.send(put("a", b"").replace(b"Length: 0", b"Length: 9999999"))
        assert client.answer().status == 413
        assert client.rest() == b""  # Our side is shut, and yet:
        for _ in range(50):
            client.send(bytes(1000))
    wait_until(lambda: service.server.metrics.connections() == 0)


def test_a_body_cut_short_is_never_stored(service: Service) -> None:
    head = b"PUT /v1/kv/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunked = head + b"3\r\nabc\r\n"
    for data in (put("a", b"hello")[:-1], put("a", b"hello")[:-5], chunked, chunked + b"0\r\n"):
        with RawClient(service) as client:
            client.send(data).sock.shutdown(socket.SHUT_WR)
            assert client.answer().kind == "incomplete-request"
            assert client.rest() == b""
    assert len(service.server.app.store) == 0
    assert counted(service, 400) == service.server.metrics.disconnects == 4


def test_a_head_cut_short_is_answered_too(service: Service) -> None:
    with RawClient(service) as client:
        client.send(get("a")[:-2]).sock.shutdown(socket.SHUT_WR)
        assert client.answer().kind == "incomplete-request"
    assert counted(service) == 1


def test_a_large_value_comes_back_whole(fast_store: dumbkv.Store, serve: Serve) -> None:
    value = bytes(range(256)) * 4096 * 4
    service = serve(fast_store, max_body=len(value))
    with RawClient(service) as client:
        assert client.ask(put("a", value)).status == 201
        assert client.ask(get("a")).body == value


def test_a_client_that_does_not_read_does_not_hold_up_others(
    fast_store: dumbkv.Store, serve: Serve
) -> None:
    fast_store[b"large"] = bytes(8 * 1024 * 1024)
    service = serve(fast_store)
    with RawClient(service) as stuck, RawClient(service) as other:
        stuck.send(get("large"))
        wait_until(lambda: service.server.unsent > 0)
        stuck.send(put("later", b"1"))
        assert other.ask(put("a", b"1")).status == 201
        assert b"later" not in fast_store
        assert len(stuck.answer().body) == 8 * 1024 * 1024
        assert stuck.answer().status == 201


def test_a_client_that_leaves_in_the_middle_of_an_answer_is_counted(
    fast_store: dumbkv.Store, serve: Serve
) -> None:
    fast_store[b"large"] = bytes(8 * 1024 * 1024)
    service = serve(fast_store)
    with RawClient(service) as client:
        client.send(get("large"))
        wait_until(lambda: service.server.unsent > 0)
    wait_until(lambda: service.server.metrics.disconnects == 1)
    wait_until(lambda: service.server.metrics.connections() == 0)


def test_closing_ends_idle_connections_and_finishes_what_is_under_way(
    fast_store: dumbkv.Store, serve: Serve
) -> None:
    service = serve(fast_store)
    data = put("a", b"hello")
    with RawClient(service) as idle, RawClient(service) as busy:
        assert idle.ask(get("x")).status == 404
        busy.send(data[:-1])
        wait_until(lambda: service.server.metrics.in_flight() == 1)
        closer = threading.Thread(target=service.close)
        closer.start()
        assert idle.rest() == b""
        with pytest.raises(ConnectionRefusedError):
            wait_until(lambda: socket.create_connection((service.host, service.port)).close())
        answer = busy.ask(data[-1:])
        assert (answer.status, answer.headers["connection"]) == (201, "close")
        assert busy.rest() == b""
        closer.join(10)
        assert not closer.is_alive()
    assert fast_store[b"a"] == b"hello"


def test_while_draining_the_server_is_not_ready(fast_store: dumbkv.Store, serve: Serve) -> None:
    service = serve(fast_store)
    ready = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with RawClient(service) as client, RawClient(service) as other:
        assert other.ask(ready).status == 200
        client.send(ready[:-1])
        wait_until(lambda: service.server.metrics.connections() == 2)
        threading.Thread(target=service.server.shutdown).start()
        assert other.rest() == b""
        answer = client.ask(ready[-1:])
        assert (answer.status, answer.kind) == (503, "draining")


def test_draining_gives_up_after_its_grace(fast_store: dumbkv.Store, serve: Serve) -> None:
    service = serve(fast_store, limits=Limits(grace=0.05))
    with RawClient(service) as client:
        client.send(get("a")[:-1])
        wait_until(lambda: service.server.metrics.connections() == 1)
        service.close()
        assert client.rest() == b""


def test_the_server_has_the_shape_of_http_server(fast_store: dumbkv.Store) -> None:
    app = App(fast_store)
    with Server(("127.0.0.1", 0), app) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
        connection.request("GET", "/healthz")
        assert connection.getresponse().read() == b"ok\n"
        connection.close()
        server.shutdown()
        thread.join(10)
        assert not thread.is_alive()
    app.close()


def test_shutting_down_before_serving_means_not_serving(fast_store: dumbkv.Store) -> None:
    app = App(fast_store)
    with Server(("127.0.0.1", 0), app) as server:
        server.shutdown()
        server.serve_forever()
    app.close()


def test_handle_request_does_one_round(fast_store: dumbkv.Store) -> None:
    app = App(fast_store)
    with Server(("127.0.0.1", 0), app) as server:
        server.timeout = 10
        with socket.create_connection(server.server_address[:2]) as client:  # type: ignore[arg-type]  # an IPv4 address
            client.sendall(get("a"))
            server.handle_request()
            assert len(server._connections) == 1
            server.handle_request()
            assert client.recv(12) == b"HTTP/1.1 404"
    app.close()


def test_two_services_share_a_store_and_keep_their_own_counts(
    fast_store: dumbkv.Store, serve: Serve
) -> None:
    one, two = serve(fast_store), serve(fast_store)
    with RawClient(one) as first, RawClient(two) as second:
        assert first.ask(put("a", b"1")).status == 201
        assert second.ask(get("a")).body == b"1"
    assert counted(one) == counted(two) == 1


def test_a_bug_on_one_connection_is_a_500_and_the_others_go_on(
    fast_store: dumbkv.Store, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = serve(fast_store)

    def broken(request: object, now: int) -> None:
        raise RuntimeError("a bug outside the handlers")

    with RawClient(service) as victim, RawClient(service) as other:
        assert victim.ask(get("a")).status == 404
        with monkeypatch.context() as patch:
            patch.setattr(App, "__call__", lambda self, request, now: broken(request, now))
            answer = victim.ask(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (answer.status, answer.kind) == (500, "internal-error")
        assert victim.rest() == b""
        assert other.ask(get("a")).status == 404
    assert counted(service, 500) == 1


def test_a_service_over_ipv6_says_its_url_in_brackets(
    fast_store: dumbkv.Store, serve: Serve
) -> None:
    try:
        service = serve(fast_store, host="::1")
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    assert service.url == f"http://[::1]:{service.port}"
    request = f"GET /healthz HTTP/1.1\r\nHost: [::1]:{service.port}\r\n\r\n"
    with RawClient(service) as client:
        assert client.ask(request.encode()).status == 200


def test_an_address_others_can_reach_needs_to_be_asked_for(fast_store: dumbkv.Store) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "", "example.com"):
        with pytest.raises(ValueError, match="--insecure"):
            dumbkv_http.serve(fast_store, host)


def test_answers_in_turns_leave_time_for_the_others_in_every_round(
    fast_store: dumbkv.Store,
) -> None:
    now = [0.0]
    app = App(fast_store)

    class Busy:
        """A connection whose turn takes two milliseconds, and who wants another."""

        taken = 0

        def resume(self, at: float) -> None:
            now[0] += 0.002
            self.taken += 1
            server._resumed.append(self)  # type: ignore[arg-type]  # it stands for a Connection

    with Server(("127.0.0.1", 0), app, clock=lambda: now[0]) as server:
        busy = [Busy() for _ in range(100)]
        server._resumed = list(busy)  # type: ignore[arg-type]  # the same
        for _ in range(67):
            began = now[0]
            server._take_turns(now[0])
            assert now[0] - began <= 0.0061
            assert len(server._resumed) == 100
        assert {each.taken for each in busy} == {2, 3}
        server._resumed.clear()
    app.close()


def test_what_a_request_waits_while_the_loop_is_busy_is_in_the_histogram(
    fast_store: dumbkv.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    busy, go_on = threading.Event(), threading.Event()
    app = App(fast_store)
    general = App.__call__

    def slow(self: App, request: Request, at: int) -> Response:
        if request.target == b"/v1/kv/slow":
            busy.set()
            assert go_on.wait(10)
            now[0] += 0.3
        return general(self, request, at)

    monkeypatch.setattr(App, "__call__", slow)
    with Server(("127.0.0.1", 0), app, clock=lambda: now[0]) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = server.server_address[:2]
        with (
            socket.create_connection(address, 10) as one,  # type: ignore[arg-type]  # an IPv4 address
            socket.create_connection(address, 10) as other,  # type: ignore[arg-type]  # the same
        ):
            other.sendall(get("a"))
            assert other.recv(12) == b"HTTP/1.1 404"
            while b"\r\n\r\n" not in other.recv(65536):
                pass
            one.sendall(get("slow"))
            assert busy.wait(10)
            other.sendall(get("a"))  # The loop cannot know of it before it is done with the first.
            go_on.set()
            assert one.recv(12) == other.recv(12) == b"HTTP/1.1 404"
        server.shutdown()
        thread.join(10)
        # Both have waited, and who asked before them has not.
        assert server.metrics._durations.sum == pytest.approx(0.6)
    app.close()
