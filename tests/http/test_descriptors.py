"""The real program without a descriptor left: it neither spins nor dies, and says how it is."""

from __future__ import annotations

import os
import re
import resource
import socket
import time
from contextlib import ExitStack
from pathlib import Path

from tests.http.conftest import wait_until
from tests.http.test_metrics import SCRAPE
from tests.http.test_program import program

_PUT = b"PUT /v1/kv/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n"


def connect(port: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=10)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def ask(client: socket.socket, request: bytes) -> bytes:
    """The answer to a request, by its length."""
    client.sendall(request)
    data = b""
    while True:
        head, found, body = data.partition(b"\r\n\r\n")
        if found:
            length = re.search(rb"Content-Length: (\d+)", head)
            if len(body) == int(length[1] if length else 0):
                return data
        more = client.recv(65536)
        assert more, data
        data += more


def sample(page: bytes, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", page.decode(), re.MULTILINE)
    assert found is not None, f"no {name}"
    return float(found[1])


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_without_a_descriptor_the_scrape_answers_and_no_cpu_is_burnt() -> None:
    with program() as (process, _, port), ExitStack() as stack:
        scraper = stack.enter_context(connect(port))
        assert b" 200 OK" in ask(scraper, SCRAPE)
        busy = [stack.enter_context(connect(port)) for _ in range(4)]
        for client in busy:
            client.sendall(_PUT + b"hell")  # Not idle, so not to be closed for want of room.
        wait_until(lambda: sample(ask(scraper, SCRAPE), "dumbkv_http_in_flight_requests") == 5)
        used = len(os.listdir(f"/proc/{process.pid}/fd"))
        limits = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (used, limits[1]))
        # Far more clients than there is room for, who come back as soon as they are sent away.
        waiting = [stack.enter_context(connect(port)) for _ in range(60)]
        burnt, began, scrapes, turned_away = cpu_seconds(process.pid), time.monotonic(), 0, 0
        while time.monotonic() < began + 2:
            page = ask(scraper, SCRAPE)
            scrapes += 1
            assert sample(page, "process_open_fds") == sample(page, "process_max_fds") == used
            again = []
            for client in waiting:
                client.settimeout(0.001)
                try:
                    data = client.recv(1000)
                except TimeoutError:
                    continue
                except ConnectionResetError:
                    data = b""
                assert not data or data.startswith(b"HTTP/1.1 503 ")
                turned_away += 1
                again.append(client)
            for client in again:
                client.close()
                waiting.remove(client)
                waiting.append(stack.enter_context(connect(port)))
        elapsed = time.monotonic() - began
        # What scrapes cost is not what is asked for here.
        share = (cpu_seconds(process.pid) - burnt - scrapes * 0.005) / elapsed
        print(f"\n{scrapes} scrapes, {turned_away} turned away, {share:.1%} of a CPU")
        assert turned_away > 5
        assert share < 0.1
        for client in busy:
            assert ask(client, b"o")[:12] in (b"HTTP/1.1 201", b"HTTP/1.1 204")
        for client in (*busy, *waiting):
            client.close()
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, limits)
        wait_until(lambda: serves(port))
        assert process.poll() is None


def test_the_last_descriptor_serves_one_client_after_the_other() -> None:
    with program() as (process, _, port), connect(port) as scraper:
        assert b" 200 OK" in ask(scraper, SCRAPE)
        used = len(os.listdir(f"/proc/{process.pid}/fd"))
        hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)[1]
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (used + 1, hard))
        for _ in range(20):
            with connect(port) as client:
                assert ask(client, _PUT + b"hello")[:12] in (b"HTTP/1.1 201", b"HTTP/1.1 204")
        assert sample(ask(scraper, SCRAPE), "dumbkv_http_connections_refused_total") == 0


def serves(port: int) -> bool:
    with connect(port) as client:
        try:
            return b" 200 OK" in ask(client, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        except (AssertionError, OSError):
            return False
