"""What a server does to clients that are slow, many, or greedy."""

from __future__ import annotations

import socket
import subprocess
import sys
import textwrap
from contextlib import ExitStack

import pytest

import dumbkv
from dumbkv_http import Limits
from dumbkv_http._connection import HEAD, Connection
from dumbkv_http._later import Next
from tests.http.client import RawClient, get, put
from tests.http.conftest import Serve, counted, wait_until

SHORT = Limits(
    head_timeout=0.1, body_timeout=0.1, write_timeout=0.1, idle_timeout=0.1, min_rate=10**9
)


def test_a_head_that_does_not_come_is_answered_408(fast_store: dumbkv.Store, serve: Serve) -> None:
    service = serve(fast_store, limits=SHORT)
    with RawClient(service) as client:
        client.send(get("a")[:-1])
        assert client.answer().status == 408
        assert client.rest() == b""
    assert service.server.metrics.requests["OTHER", "other", 408] == 1


def test_a_head_that_drips_is_answered_408(fast_store: dumbkv.Store, serve: Serve) -> None:
    service = serve(fast_store, limits=SHORT._replace(idle_timeout=60, head_timeout=0.2))
    with RawClient(service) as client:
        client.sock.settimeout(0.02)
        client.send(b"GET /")
        for _ in range(500):  # Bounded by the timeout: a reset ends it, or the answer does.
            try:
                client.sock.sendall(b"a")
                answered = client.sock.recv(12)
            except TimeoutError:
                continue
            break
        assert answered == b"HTTP/1.1 408"


def test_each_head_has_a_deadline_of_its_own(fast_store: dumbkv.Store, serve: Serve) -> None:
    service = serve(fast_store)
    data = get("a")
    with RawClient(service) as client:
        client.send(data[:-1])
        wait_until(lambda: [each for each in service.server._connections if each.state == HEAD])
        (connection,) = service.server._connections
        first = connection.deadline
        assert client.ask(data[-1:] + b"GET /").status == 404
        wait_until(lambda: connection.state == HEAD and connection.deadline > first, seconds=2)


def test_a_body_that_does_not_come_is_answered_408(fast_store: dumbkv.Store, serve: Serve) -> None:
    service = serve(fast_store, limits=SHORT)
    with RawClient(service) as client:
        client.send(put("a", b"hello")[:-1])
        assert client.answer().kind == "timeout"
        assert client.rest() == b""
    assert service.server.metrics.requests["PUT", "kv", 408] == 1
    assert len(fast_store) == 0


def test_a_body_has_one_more_second_for_each_so_many_bytes(
    fast_store: dumbkv.Store, serve: Serve
) -> None:
    service = serve(fast_store, limits=SHORT._replace(min_rate=1))
    data = put("a", bytes(100))
    with RawClient(service) as client:
        client.send(data[:-1])
        wait_until(lambda: service.server.metrics.in_flight() == 1)
        (connection,) = service.server._connections
        wait_until(lambda: connection.deadline > service.server.clock() + 90)
        assert client.ask(data[-1:]).status == 201


def test_an_idle_connection_is_closed_without_a_word(
    fast_store: dumbkv.Store, serve: Serve
) -> None:
    service = serve(fast_store, limits=SHORT)
    with RawClient(service) as fresh, RawClient(service) as used:
        assert used.ask(get("a")).status == 404
        assert fresh.rest() == used.rest() == b""
    assert counted(service) == 1


def test_a_client_that_does_not_read_is_dropped(fast_store: dumbkv.Store, serve: Serve) -> None:
    fast_store[b"large"] = bytes(8 * 1024 * 1024)
    service = serve(fast_store, limits=SHORT)
    with RawClient(service) as client:
        client.send(get("large"))
        wait_until(lambda: service.server.metrics.disconnects == 1)
        wait_until(lambda: service.server.metrics.connections() == 0)


def test_slowloris_does_not_keep_others_out(fast_store: dumbkv.Store, serve: Serve) -> None:
    limits = SHORT._replace(connections=20, head_timeout=0.2, idle_timeout=60)
    service = serve(fast_store, limits=limits)
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(RawClient(service)).send(b"GET /v1")
        wait_until(lambda: counted(service, 408) == 20)
        assert stack.enter_context(RawClient(service)).ask(get("a")).status == 404


def test_at_the_cap_the_longest_idle_connection_goes(
    fast_store: dumbkv.Store, serve: Serve
) -> None:
    service = serve(fast_store, limits=Limits(connections=3))
    with ExitStack() as stack:
        clients = [stack.enter_context(RawClient(service)) for _ in range(3)]
        for client in (clients[1], clients[0], clients[2]):
            assert client.ask(get("a")).status == 404
        newcomer = stack.enter_context(RawClient(service))
        assert newcomer.ask(get("a")).status == 404
        assert clients[1].rest() == b""
        assert clients[0].ask(get("a")).status == clients[2].ask(get("a")).status == 404
    assert service.server.metrics.refused == 0


def test_at_the_cap_with_none_idle_the_newcomer_gets_a_counted_503(
    fast_store: dumbkv.Store, serve: Serve
) -> None:
    service = serve(fast_store, limits=Limits(connections=3))
    with ExitStack() as stack:
        busy = [stack.enter_context(RawClient(service)) for _ in range(3)]
        for client in busy:
            client.send(put("a", b"hello")[:-1])
        wait_until(lambda: service.server.metrics.in_flight() == 3)
        for n in range(1, 40):
            answer = stack.enter_context(RawClient(service)).answer()
            assert (answer.status, answer.kind) == (503, "too-many-connections")
            assert service.server.metrics.refused == n
        for client in busy:
            assert client.ask(b"o").status in (201, 204)
    assert service.server.metrics.requests["OTHER", "other", 503] == 39


def test_a_pipeline_waits_while_its_answers_are_not_read(
    fast_store: dumbkv.Store, serve: Serve
) -> None:
    fast_store[b"large"] = bytes(100 * 1024)
    service = serve(fast_store)
    with RawClient(service) as client:
        client.send(get("large") * 300)
        wait_until(lambda: service.server.unsent > 0)
        assert service.server.unsent < 512 * 1024
        for _ in range(300):
            assert client.answer().status == 200


def test_bodies_under_way_share_a_budget(fast_store: dumbkv.Store, serve: Serve) -> None:
    service = serve(fast_store, limits=Limits(body_budget=1000))
    data = put("a", bytes(900))
    with RawClient(service) as first, RawClient(service) as second:
        first.send(data[:-1])
        wait_until(lambda: service.server.held == 899)
        second.send(data[:-1])
        assert second.answer().kind == "busy"
        assert first.ask(data[-1:]).status == 201
    assert service.server.metrics.requests["PUT", "kv", 503] == 1


def test_answers_nobody_reads_share_a_budget(fast_store: dumbkv.Store, serve: Serve) -> None:
    size = 8 * 1024 * 1024
    fast_store[b"large"] = bytes(size)
    service = serve(fast_store, limits=Limits(unsent_budget=size + size // 2))
    with RawClient(service) as first, RawClient(service) as second:
        first.send(get("large"))
        wait_until(lambda: service.server.unsent > 0)
        second.send(get("large"))
        wait_until(lambda: service.server.metrics.disconnects == 1)
        assert len(second.answer().body) == size


def test_one_answer_over_the_budget_is_still_given(fast_store: dumbkv.Store, serve: Serve) -> None:
    size = 8 * 1024 * 1024
    fast_store[b"large"] = bytes(size)
    service = serve(fast_store, limits=Limits(unsent_budget=1000))
    with RawClient(service) as client:
        client.send(get("large"))
        wait_until(lambda: service.server.unsent > size)
        assert len(client.answer().body) == size


def test_the_connection_cap_leaves_descriptors_to_the_process() -> None:
    script = """
        import resource
        from dumbkv_http import Limits
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
        print(Limits().connection_cap())
    """
    assert run(script).stdout == "54\n"


def test_without_descriptors_clients_are_refused_and_the_loop_does_not_spin() -> None:
    script = """
        import os, resource, socket, time
        import dumbkv, dumbkv_http
        from tests.http.client import RawClient, get, put
        from tests.http.conftest import wait_until

        limits = dumbkv_http.Limits(accept_pause=0.3)
        with dumbkv.open() as store, dumbkv_http.serve(store, limits=limits) as service:
            metrics = service.server.metrics
            with RawClient(service) as served, RawClient(service) as scraper:
                assert served.ask(put("a", b"1")).status == 201
                served.send(put("b", b"1")[:-1])  # Neither is idle, so neither can be evicted.
                scraper.send(b"GET /metr")
                wait_until(lambda: metrics.in_flight() == 1)
                newcomer = socket.socket()
                newcomer.settimeout(10)
                used = len(os.listdir("/proc/self/fd")) - 1
                resource.setrlimit(resource.RLIMIT_NOFILE, (used, used))
                try:
                    os.dup(0)
                except OSError:
                    pass
                else:
                    raise AssertionError("there are descriptors left")
                newcomer.connect((service.host, service.port))
                newcomer.sendall(get("a"))
                assert newcomer.recv(12) == b"HTTP/1.1 503"
                assert metrics.refused == 1
                assert served.ask(b"1").status == 201
                page = scraper.ask(b"ics HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n").body.decode()
                assert f"process_max_fds {float(used)}" in page
                assert f"process_open_fds {float(used)}" in page
                assert "process_resident_memory_bytes" in page
                newcomer.close()  # Frees one descriptor, which another client's end takes.
                before = time.process_time()
                rest = socket.socket()
                rest.settimeout(10)
                served.send(put("c", b"1")[:-1])
                scraper.send(b"G")
                wait_until(lambda: metrics.in_flight() == 1)
                rest.connect((service.host, service.port))
                assert rest.recv(12) == b"HTTP/1.1 503"
                wait_until(lambda: not service.server._listening)
                wait_until(lambda: service.server._listening)
                assert time.process_time() - before < 0.2
                rest.close()
                assert served.ask(b"1").status == 201
        print("done")
    """
    assert run(script).stdout == "done\n"


def run(script: str) -> subprocess.CompletedProcess[str]:
    """Runs a script in a process of its own; its errors become ours."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_a_refused_client_can_read_why_although_its_request_was_not_read(
    fast_store: dumbkv.Store, serve: Serve
) -> None:
    service = serve(fast_store, limits=Limits(connections=1))
    with RawClient(service) as busy, RawClient(service) as refused:
        busy.send(b"GET /")
        wait_until(lambda: service.server.metrics.connections() >= 1)
        refused.send(put("a", bytes(1000)))
        assert refused.answer().status in (503, 201)
        refused.sock.shutdown(socket.SHUT_WR)
        assert refused.rest() == b""


def test_a_pipeline_of_costly_answers_lets_others_in_between(
    fast_store: dumbkv.Store, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = serve(fast_store)
    turns = []
    resume = service.server.resume

    def counted(connection: Connection, when: Next) -> None:
        turns.append(connection)
        resume(connection, when)

    monkeypatch.setattr(service.server, "resume", counted)
    head = b"HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with RawClient(service) as client:
        client.send(head * 100)
        for _ in range(100):
            length = int(client.answer(head_only=True).headers["content-length"])
    assert len(turns) >= 100 * length // (256 * 1024 + length) - 1 > 2


def test_the_smallest_chunks_come_in_portions_that_hold_nobody_up(
    fast_store: dumbkv.Store, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = serve(fast_store)
    portions = []
    advance = Connection._advance

    def measured(self: Connection, buf: bytes) -> None:
        portions.append(len(buf))
        advance(self, buf)

    monkeypatch.setattr(Connection, "_advance", measured)
    head = b"PUT /v1/kv/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    with RawClient(service) as client:
        client.send(head + b"1\r\nx\r\n" * 100_000 + b"0\r\n\r\n")
        assert client.answer().status == 201
    assert fast_store[b"a"] == b"x" * 100_000
    assert max(portions) <= 32 * 1024 + 8


def test_a_connection_that_scrapes_is_not_closed_for_want_of_room(
    fast_store: dumbkv.Store, serve: Serve
) -> None:
    service = serve(fast_store, limits=Limits(connections=3))
    scrape = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with RawClient(service) as scraper, ExitStack() as stack:
        assert scraper.ask(scrape).status == 200
        for _ in range(10):
            assert stack.enter_context(RawClient(service)).ask(get("a")).status == 404
        assert scraper.ask(scrape).status == 200
    wait_until(lambda: not service.server._connections)
    assert not service.server._scrapers


def test_only_the_last_connections_that_scraped_are_kept_so(
    fast_store: dumbkv.Store, serve: Serve
) -> None:
    service = serve(fast_store, limits=Limits(connections=5))
    scrape = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with ExitStack() as stack:
        scrapers = [stack.enter_context(RawClient(service)) for _ in range(5)]
        for client in scrapers:
            assert client.ask(scrape).status == 200
        for _ in range(10):
            assert stack.enter_context(RawClient(service)).ask(get("a")).status == 404
        for client in scrapers[:3]:
            assert client.rest() == b""
        for client in scrapers[3:]:
            assert client.ask(scrape).status == 200
