"""Bodies that come in pieces: scans of everything, and watching, over a socket on each table."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import dumbkv
import dumbkv_http
from dumbkv_http import Limits, Service
from dumbkv_http._connection import LATER
from dumbkv_http.response import Deferred, Response
from dumbkv_http.routes import ROUTES, Method
from tests.http.asking import ask
from tests.http.client import RawClient, get, put
from tests.http.conftest import Serve, counted, wait_until

STREAM = b"GET /v1/scan%b HTTP/1.1\r\nHost: localhost\r\nAccept: application/x-ndjson\r\n%b\r\n"


def watch(service: Service, query: str = "", extra: str = "") -> RawClient:
    """A client whose watch has begun."""
    client = RawClient(service)
    client.send(f"GET /v1/watch{query} HTTP/1.1\r\nHost: localhost\r\n{extra}\r\n".encode())
    assert client.answer().headers["content-type"] == "text/event-stream"
    return client


def event(client: RawClient) -> dict[str, Any]:
    """The next event; comments and what is about reconnecting are passed over."""
    while True:
        while b"\n\n" not in client._buf:
            client._read()
        text, _, client._buf = client._buf.partition(b"\n\n")
        lines = dict(line.partition(": ")[::2] for line in text.decode().split("\n"))
        if "data" in lines:
            return {"event": lines["event"], "id": lines["id"], **json.loads(lines["data"])}


def watching(service: Service) -> int:
    return service.server.app.watches._open


# Scans


def chunks(raw: bytes) -> tuple[bytes, bytes]:
    """The body of a chunked answer, and what follows it."""
    body = bytearray()
    at = 0
    while True:
        end = raw.index(b"\r\n", at)
        length = int(raw[at:end], 16)
        at = end + 2 + length
        body += raw[end + 2 : at]
        assert raw[at : at + 2] == b"\r\n"
        at += 2
        if not length:
            return bytes(body), raw[at:]


def test_a_stream_has_every_item_a_line_and_the_connection_goes_on(service: Service) -> None:
    data = {b"k%04d" % n: b"v" * (n % 300) for n in range(2000)} | {b"k\xff": b"\xfe"}
    service.server.app.store.update(data)
    with RawClient(service) as client:
        client.send(STREAM % (b"?prefix=k", b"") + get("k0001") + STREAM % (b"?start=z", b""))
        client.send(get("k0002", "Connection: close\r\n"))
        head, _, rest = client.rest().partition(b"\r\n\r\n")
    assert b"Transfer-Encoding: chunked" in head
    assert b"Content-Length" not in head
    body, rest = chunks(rest)
    assert rest.startswith(b"HTTP/1.1 200 OK")
    assert rest.endswith(b"vv")
    lines = [json.loads(line) for line in body.splitlines()]
    assert lines[-1] == {"key_b64": "a/8=", "value_b64": "/g=="}
    assert [(line["key"].encode(), line["value"].encode()) for line in lines[:-1]] == sorted(
        data.items()
    )[:-1]
    assert counted(service, 200) == 4


def test_a_stream_takes_no_limit_and_an_old_client_gets_it_to_the_end(service: Service) -> None:
    service.server.app.store.update({b"a": b"1", b"b": b"2"})
    fields = {"Accept": "text/html, application/x-ndjson;q=0.9"}
    assert ask(service, "GET", "/v1/scan?limit=5", headers=fields).kind == "bad-parameter"
    assert (
        ask(service, "GET", "/v1/scan", headers={"Accept": "application/json"}).json["next"] is None
    )
    with RawClient(service) as client:
        client.send(
            b"GET /v1/scan?reverse=1&values=0 HTTP/1.0\r\nAccept: application/x-ndjson\r\n\r\n"
        )
        head, _, body = client.rest().partition(b"\r\n\r\n")
    assert b"Connection: close" in head
    assert b"Transfer-Encoding" not in head
    assert body == b'{"key":"b"}\n{"key":"a"}\n'


def test_a_stream_waits_for_its_reader_and_nobody_else_does(
    fast_store: dumbkv.Store, serve: Serve
) -> None:
    """A client that does not read costs what a socket holds, and the others nothing."""
    service = serve(fast_store)
    fast_store.update({b"k%05d" % n: b"x" * 1000 for n in range(20_000)})
    with RawClient(service) as slow, RawClient(service) as other:
        slow.send(STREAM % (b"", b"") + get("k00001"))
        wait_until(lambda: service.server.unsent)
        for _ in range(50):
            assert other.ask(get("k00001")).status == 200
        assert 0 < service.server.unsent < 200_000
        fast_store.delete(b"k19999")  # It has not come there yet.
        _, _, rest = slow.send(get("k00002", "Connection: close\r\n")).rest().partition(b"\r\n\r\n")
    body, rest = chunks(rest)
    assert body.count(b"\n") == 19_999
    assert rest.count(b"HTTP/1.1 200 OK") == 2


def test_a_stream_whose_store_closes_has_no_end(fast_store: dumbkv.Store, serve: Serve) -> None:
    service = serve(fast_store)
    fast_store.update({b"k%05d" % n: b"x" * 1000 for n in range(20_000)})
    with RawClient(service) as client:
        client.send(STREAM % (b"", b""))
        wait_until(lambda: service.server.unsent)
        fast_store.close()
        assert not client.rest().endswith(b"0\r\n\r\n")


def test_a_reader_that_stands_still_is_cut_off(fast_store: dumbkv.Store, serve: Serve) -> None:
    service = serve(fast_store, limits=Limits(write_timeout=0.2))
    fast_store.update({b"k%05d" % n: b"x" * 1000 for n in range(20_000)})
    with RawClient(service) as client:
        client.send(STREAM % (b"", b""))
        wait_until(lambda: service.server.unsent)
        wait_until(lambda: not service.server.metrics.connections())
        assert not client.rest().endswith(b"0\r\n\r\n")


# Watching


def test_events_come_as_they_happen(service: Service) -> None:
    store = service.server.app.store
    with watch(service, "?prefix=u") as client:
        store[b"other"] = b"-"
        version = store.set(b"u1", b"1")
        assert event(client) == {
            "event": "set",
            "id": str(version),
            "key": "u1",
            "version": version,
        }
        ask(service, "PUT", "/v1/kv/u%ff", b"2")
        assert event(client)["key_b64"] == "df8="
        ask(service, "DELETE", "/v1/kv/u1")
        assert event(client)["event"] == "delete"
        store.clear()
        cleared = event(client)
        assert cleared.keys() == {"event", "id", "version"}
        assert cleared["event"] == "clear"
    wait_until(lambda: watching(service) == 0)


def test_a_watch_is_resumed_behind_the_last_event(service: Service) -> None:
    store = service.server.app.store
    with watch(service) as client:
        store[b"a"] = b"1"
        last = event(client)["id"]
    wait_until(lambda: watching(service) == 0)
    store[b"b"] = b"2"
    store[b"c"] = b"3"
    with watch(service, extra=f"Last-Event-ID: {last}\r\n") as client:
        assert [event(client)["key"] for _ in range(2)] == ["b", "c"]
    with watch(service, f"?since={last}") as client:
        assert event(client)["key"] == "b"


def test_a_watch_that_cannot_be_resumed_says_so_and_ends(service: Service) -> None:
    service.server.app.store[b"a"] = b"1"
    with watch(service, "?since=1") as client:
        found = event(client)
        assert (found["event"], found["id"]) == ("lost", "")
        assert client.rest() == b""
    wait_until(lambda: watching(service) == 0)
    assert ask(service, "GET", "/v1/watch?since=x").kind == "bad-parameter"
    fields = {"Last-Event-ID": "-1"}
    assert ask(service, "GET", "/v1/watch", headers=fields).kind == "bad-parameter"


def test_a_watcher_that_reads_too_slowly_is_told_that_it_has_lost(
    fast_store: dumbkv.Store, serve: Serve
) -> None:
    service = serve(fast_store)
    with watch(service) as client:
        key = b"k" * 1000
        for n in range(20_000):
            fast_store[key] = b"%d" % n
            if n % 100 == 0:  # The loop in its own thread is to see some of it.
                assert service.server.unsent < 200_000
        assert b"event: lost" in client.rest()[-200:]


def test_a_watcher_that_stands_still_is_cut_off(fast_store: dumbkv.Store, serve: Serve) -> None:
    service = serve(fast_store, limits=Limits(write_timeout=0.2))
    server = service.server
    with watch(service):
        while not server.unsent:
            for _ in range(100):
                fast_store[b"k" * 1000] = b"1"
            wait_until(lambda: server.unsent or (server._watching and not server._news))
        wait_until(lambda: watching(service) == 0)


def test_silences_are_filled_and_what_a_watcher_sends_is_dropped(
    fast_store: dumbkv.Store, serve: Serve
) -> None:
    service = serve(fast_store, limits=Limits(heartbeat=0.01, idle_timeout=0.1))
    with watch(service) as client:
        client.send(put("smuggled", b"1"))
        while client._buf.count(b":\n\n") < 3:
            client._read()
        fast_store[b"a"] = b"1"
        assert event(client)["key"] == "a"
    assert b"smuggled" not in fast_store


def test_an_expiry_is_told_of(service: Service) -> None:
    with watch(service) as client:
        ask(service, "PUT", "/v1/kv/a?ttl=0.05", b"1")
        assert [event(client)["event"] for _ in range(2)] == ["set", "expire"]


def test_watches_are_few_and_the_next_client_is_refused(
    fast_store: dumbkv.Store, serve: Serve
) -> None:
    service = serve(fast_store)
    service.server.app.watches._most = 2
    with watch(service), watch(service):
        assert ask(service, "GET", "/v1/watch").kind == "too-many-watches"
    wait_until(lambda: watching(service) == 0)
    watch(service).sock.close()


def test_the_store_keeps_events_for_those_who_come_back_until_the_end(
    fast_store: dumbkv.Store,
) -> None:
    with dumbkv_http.serve(fast_store) as service:
        watch(service).sock.close()
        assert len(fast_store._bell.watches) >= 1
    assert len(fast_store._bell.watches) == 0
    assert fast_store._bell.notified == ()


def test_watchers_end_when_the_server_drains(fast_store: dumbkv.Store, serve: Serve) -> None:
    service = serve(fast_store, limits=Limits(grace=60))
    with watch(service) as client:
        service.server.request_shutdown()
        assert client.rest() == b"retry: 1000\n:\n\n"
    service.close()


def test_many_events_do_not_keep_others_waiting(fast_store: dumbkv.Store, serve: Serve) -> None:
    """Sixteen clients watch while thousands of keys a second are written; gets are answered."""
    service = serve(fast_store)
    stop = threading.Event()

    def write() -> None:
        n = 0
        while not stop.is_set():
            n += 1
            fast_store[b"k%d" % (n % 100)] = b"1"
            stop.wait(0.0002)

    def read(client: RawClient) -> None:
        while client.sock.recv(65536):
            pass

    clients = [watch(service) for _ in range(16)]
    threads = [threading.Thread(target=write)]
    threads += [threading.Thread(target=read, args=(each,)) for each in clients]
    for thread in threads:
        thread.start()
    with RawClient(service) as other:
        for _ in range(300):
            assert other.ask(get("k1")).status in (200, 404)
    stop.set()
    service.close()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    for client in clients:
        client.sock.close()
    metrics = service.server.metrics
    slow = sum(metrics._durations.counts[9:])  # 50 ms and more.
    assert slow <= 3, metrics._durations.counts


def test_nobody_polls_while_nothing_happens(fast_store: dumbkv.Store, serve: Serve) -> None:
    service = serve(fast_store)
    rounds: list[float | None] = []
    inner = service.server._selector.select

    def select(timeout: float | None = None) -> Any:
        rounds.append(timeout)
        return inner(timeout)

    service.server._selector.select = select  # type: ignore[method-assign]  # to count
    with watch(service) as client:
        fast_store[b"a"] = b"1"
        event(client)
        wait_until(lambda: rounds and (rounds[-1] or 0) > 0.1)
        before = len(rounds)
        client.sock.settimeout(0.5)
        with pytest.raises(TimeoutError):
            client.sock.recv(1)
        assert len(rounds) - before < 5


# Answers that wait


@contextmanager
def route(answer: Any) -> Iterator[None]:
    """`GET /v1/stats` answered by this meanwhile."""
    stats = next(each for each in ROUTES if each.path == b"/v1/stats")
    usual = stats.methods["GET"]
    stats.methods["GET"] = Method(answer, (200,), "")
    try:
        yield
    finally:
        stats.methods["GET"] = usual


STATS = b"GET /v1/stats HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_an_answer_may_wait_until_it_is_woken(fast_store: dumbkv.Store, serve: Serve) -> None:
    done = threading.Event()

    def turns() -> Generator[bool, None, Response]:
        while not done.is_set():
            yield False
        return Response(200, b"", b"done")

    service = serve(fast_store)
    with (
        route(lambda *args: Deferred(turns())),
        RawClient(service) as client,
        RawClient(service) as gone,
        RawClient(service) as other,
    ):
        client.send(STATS + get("a"))
        client.send(get("b"))  # What comes meanwhile is left where it is.
        gone.send(STATS)
        wait_until(lambda: service.server.metrics.in_flight() >= 2)
        gone.sock.close()
        for _ in range(20):
            assert other.ask(get("a")).status == 404
        done.set()
        service.server.app.wake()
        assert client.answer().body == b"done"
        assert [client.answer().status for _ in range(2)] == [404, 404]
    wait_until(lambda: not service.server.metrics.connections())


def test_an_answer_that_fails_in_a_later_turn_is_a_500(
    fast_store: dumbkv.Store, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    def turns() -> Generator[bool, None, Response]:
        yield True
        raise RuntimeError("planted")

    service = serve(fast_store)
    with route(lambda *args: Deferred(turns())), RawClient(service) as client:
        assert client.ask(STATS).kind == "internal-error"
        assert client.ask(get("a")).status == 404
    assert "planted" in caplog.text


def test_an_answer_under_way_is_given_up_with_its_connection(
    fast_store: dumbkv.Store, serve: Serve
) -> None:
    ended = threading.Event()

    def turns() -> Generator[bool, None, Response]:
        try:
            while True:
                yield False
        finally:
            ended.set()

    service = serve(fast_store, limits=Limits(grace=0.05))
    with route(lambda *args: Deferred(turns())), RawClient(service) as client:
        client.send(STATS)
        wait_until(lambda: any(each.state == LATER for each in service.server._connections))
        service.close()
        assert ended.is_set()
        assert client.rest() == b""
