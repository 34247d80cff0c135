"""The client where the law does not reach: connections, what is sent again, watching, errors."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

import dumbkv
import dumbkv_http
from dumbkv_http import Client, Limits, Service, ServiceError
from tests.http.conftest import Serve, wait_until

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"
STATS = b'{"max_key":1024,"max_value":1024}'
LIMITS = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n" % len(STATS)
LIMITS_AND_CLOSED = LIMITS + b"Connection: close\r\n\r\n" + STATS
LIMITS_AND_KEPT = LIMITS + b"\r\n" + STATS


@contextmanager
def scripted(*answers: bytes | None) -> Iterator[tuple[str, list[bytes]]]:
    """A server that gives these answers, one a connection; None closes without one, and a
    connection said to be kept is closed when the next request comes."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for answer in answers:
                sock, _ = listener.accept()
                with sock:
                    heard.append(sock.recv(65536))
                    if answer is not None:
                        sock.sendall(answer)
                    if answer is LIMITS_AND_KEPT:
                        heard.append(sock.recv(65536))

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", heard
        thread.join(10)
        assert not thread.is_alive()


def test_a_read_is_sent_again_when_its_connection_breaks() -> None:
    answers = (LIMITS_AND_CLOSED, None, b"HTTP/1.1 200", ANSWER)
    with scripted(*answers) as (url, heard), Client(url) as client:
        assert client.get(b"a") == b"x"
        assert [line.split(b" ")[0] for line in heard] == [b"GET"] * 4


def test_a_kept_connection_that_breaks_is_not_counted() -> None:
    answers = (LIMITS_AND_KEPT, None, b"HTTP/1.1 200", ANSWER)
    with scripted(*answers) as (url, heard), Client(url) as client:
        assert client.get(b"a") == b"x"
        assert [line.split(b" ")[0] for line in heard] == [b"GET"] * 5


def test_a_write_that_may_have_been_done_is_not_sent_again() -> None:
    with scripted(LIMITS_AND_CLOSED, None, None, None) as (url, heard), Client(url) as client:
        with pytest.raises(ConnectionError):
            client.set(b"a", b"1")
        with pytest.raises(ConnectionError):
            client.incr(b"a")
        with pytest.raises(ConnectionError):
            client.delete(b"a")
        methods = [line.split(b" ")[0] for line in heard]
        assert methods == [b"GET", b"PUT", b"POST", b"DELETE"]


def test_what_is_no_http_is_an_error_of_the_connection() -> None:
    answers = (b"SSH-2.0\r\n", b"x\r\n", b"HTTP/1.1 200 OK\r\n")
    with (
        scripted(*answers) as (url, _),
        Client(url) as client,
        pytest.raises(ConnectionError, match="no HTTP"),
    ):
        client.get(b"a")


def test_a_server_that_says_nothing_is_a_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with Client(url, timeout=0.05) as client, pytest.raises(TimeoutError):
            client.get(b"a")


def test_connections_are_kept_and_used_again_by_threads_in_turn(
    fast_store: dumbkv.Store, serve: Serve
) -> None:
    service = serve(fast_store)
    with Client(service.url) as client:
        for n in range(20):
            client[b"a"] = b"%d" % n
        assert service.server.metrics.connections() == 1
        barrier = threading.Barrier(4)

        def work() -> None:
            barrier.wait(10)
            for _ in range(50):
                client.incr(b"n")

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert client[b"n"] == b"200"
        assert service.server.metrics.connections() <= 4
    wait_until(lambda: not service.server.metrics.connections())


def test_a_kept_connection_that_the_server_has_closed_is_not_used_for_a_write(
    fast_store: dumbkv.Store, serve: Serve
) -> None:
    service = serve(fast_store, limits=Limits(idle_timeout=0.05))
    with Client(service.url) as client:
        for n in range(3):
            client[b"a"] = b"%d" % n
            wait_until(lambda: not service.server.metrics.connections())
    assert fast_store[b"a"] == b"2"


def test_after_a_fork_the_child_has_connections_of_its_own(
    fast_store: dumbkv.Store, serve: Serve
) -> None:
    service = serve(fast_store)
    with Client(service.url) as client:
        client[b"parent"] = b"1"
        child = os.fork()
        if not child:
            try:
                client[b"child"] = b"1"
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        assert client[b"parent"] == b"1"
    assert fast_store[b"child"] == b"1"


def test_a_unix_socket_is_a_url_too(fast_store: dumbkv.Store, tmp_path: Path, serve: Serve) -> None:
    path = tmp_path / "a socket"
    serve(fast_store, unix=str(path))
    with Client(f"http+unix://{quote(str(path), safe='')}") as client, client.watch() as events:
        client[b"a"] = b"1"
        assert client[b"a"] == b"1"
        event = events.get(10)
        assert event is not None
        assert event.key == b"a"


@pytest.mark.parametrize(
    "url", ["", "localhost:80", "ftp://a", "http://", "http://a?b", "http://u@a"]
)
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="url"):
        Client(url)


def test_errors_are_the_stores_and_what_no_store_says_is_another(
    store: dumbkv.Store, serve: Serve
) -> None:
    service = serve(store)
    with Client(service.url) as client:
        store.close()
        with pytest.raises(dumbkv.ClosedError):
            client.get(b"a")
    with pytest.raises(dumbkv.ClosedError, match="client"):
        client.get(b"a")
    page = b"<html>"
    proxy = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: %d\r\n\r\n%b" % (len(page), page)
    with scripted(proxy) as (url, _), Client(url) as other:
        with pytest.raises(ServiceError, match="502") as raised:
            other.get(b"a")
        assert raised.value.status == 502


def test_a_token_is_sent_with_everything(fast_store: dumbkv.Store, serve: Serve) -> None:
    tokens = dumbkv_http.Tokens(read_write=["w" * 32])
    service = serve(fast_store, tokens=tokens)
    with Client(service.url, token="w" * 32) as client, client.watch() as events:
        client.update({b"a": b"1"})
        event = events.get(10)
        assert event is not None
        assert event.kind == "set"
    with Client(service.url) as client, pytest.raises(ServiceError, match="unauthorized") as raised:
        client.get(b"a")
    assert raised.value.status == 401


def test_a_full_store_and_too_many_keys(open_store, serve: Serve) -> None:  # type: ignore[no-untyped-def]
    with Client(serve(open_store(max_bytes=100_000)).url) as client:
        with pytest.raises(dumbkv.StoreFullError):
            client[b"a"] = b"x" * 200_000
        with pytest.raises(dumbkv.TooLargeError, match="10000 keys"):
            client.delete_many([b"%d" % n for n in range(10_001)])
        assert client.get_many([]) == {}
        assert client.delete_many([]) == 0


# Watching


def test_a_watch_tells_what_the_stores_own_tells(service: Service) -> None:
    store = service.server.app.store
    with (
        Client(service.url) as client,
        client.watch(b"u", timeout=10) as events,
        store.watch(b"u", timeout=10) as own,
    ):
        client[b"other"] = b"1"
        client[b"u1"] = b"1"
        client[b"u\xff"] = b"1"
        client.delete(b"u1")
        client.clear()
        assert [next(events) for _ in range(4)] == [next(own) for _ in range(4)]
        assert events.get(0) is None
        users = client.namespace(b"u").text()
        with users.watch(timeout=10) as named:
            users["2"] = "1"
            assert next(named)[:2] == ("set", "2")


def test_a_watch_goes_on_behind_its_last_event_when_the_connection_breaks(
    fast_store: dumbkv.Store, serve: Serve
) -> None:
    service = serve(fast_store)
    with Client(service.url) as client, client.watch(timeout=10) as events:
        client[b"a"] = b"1"
        assert next(events).key == b"a"
        for each in tuple(service.server._watching):
            each.sock.shutdown(socket.SHUT_RDWR)
        client[b"b"] = b"1"
        assert next(events).key == b"b"


def test_a_watch_that_is_lost_says_so(fast_store: dumbkv.Store, serve: Serve) -> None:
    service = serve(fast_store)
    fast_store[b"a"] = b"1"
    with Client(service.url) as client:
        with pytest.raises(dumbkv.WatchLostError, match="after version 1 "):
            client.watch(since=1)
        with client.watch() as events:
            for _ in range(30_000):
                fast_store[b"k" * 1000] = b"1"
            with pytest.raises(dumbkv.WatchLostError):
                all(iter(lambda: events.get(20), None))
    for nonsense in (-1, 2**63):
        with pytest.raises(ValueError, match="since"):
            Client(service.url).watch(since=nonsense)


def test_closing_a_watch_ends_the_wait_of_another_thread(
    fast_store: dumbkv.Store, serve: Serve
) -> None:
    with Client(serve(fast_store).url) as client:
        events = client.watch()
        ended: list[type[Exception]] = []

        def wait() -> None:
            try:
                events.get()
            except Exception as error:
                ended.append(type(error))

        thread = threading.Thread(target=wait)
        thread.start()
        wait_until(events._lock.locked)
        events.close()
        thread.join(10)
        assert ended == [dumbkv.ClosedError]
