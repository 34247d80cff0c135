"""150 slow clients of each kind at once: the others are served, the slow ones are gone in time.

With short deadlines it takes seconds. `make http-soak` runs it with the real ones.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import resource
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from dumbkv_http import Limits
from tests.http.conftest import wait_until
from tests.http.slow_clients import KINDS, TLS_KINDS
from tests.http.test_program import program
from tests.http.test_tls import Pair

EACH = 150
REAL = bool(os.environ.get("DUMBKV_SOAK_REAL"))
SHORT = 2.0
OTHERS = 8
_MARGIN = 3.0  # Looking for deadlines, a second to read the last answer, and a busy machine.


class Others(threading.Thread):
    """Clients that behave: they write and read as fast as they are answered."""

    def __init__(self, port: int, context: ssl.SSLContext | None) -> None:
        super().__init__()
        self.port = port
        self.context = context
        self.ending = threading.Event()
        self.times: list[float] = []
        self.failed: list[object] = []

    def run(self) -> None:
        connections = [self.connect() for _ in range(OTHERS)]
        n = 0
        while not self.ending.is_set():
            for connection in connections:
                n += 1
                key, value = f"/v1/kv/{n % 100}", b"%d" % n
                self.ask(connection, "PUT", key, value)
                if self.ask(connection, "GET", key) != value:
                    self.failed.append(key)
            if n % 100 == 0:  # A newcomer is served as well.
                newcomer = self.connect()
                self.ask(newcomer, "GET", "/healthz")
                newcomer.close()
        for connection in connections:
            connection.close()

    def connect(self) -> http.client.HTTPConnection:
        if self.context is None:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=20, context=self.context)

    def ask(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: bytes = b""
    ) -> bytes:
        began = time.perf_counter()
        try:
            connection.request(method, path, body or None)
            answer = connection.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.failed.append(error)
            connection.close()
            return b""
        self.times.append(time.perf_counter() - began)
        if answer.status not in (200, 201, 204):
            self.failed.append(answer.status)
        return data

    def p99(self) -> float:
        return sorted(self.times)[len(self.times) * 99 // 100]


@contextmanager
def slow_clients(port: int, kinds: Iterable[str]) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.http.slow_clients", str(port), str(EACH), *kinds]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    watchdog = threading.Timer(150, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


@pytest.fixture(autouse=True)
def descriptors() -> Iterator[None]:
    """Enough of them for this process and those it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def connections(port: int, context: ssl.SSLContext | None) -> int:
    """What the server says is open, this scrape excluded."""
    scraper = Others(port, context).connect()
    scraper.request("GET", "/metrics")
    page = scraper.getresponse().read().decode()
    scraper.close()
    found = re.search(r"^dumbkv_http_connections (\S+)$", page, re.MULTILINE)
    assert found is not None
    assert not re.findall(r'^http_requests_total\{.*status="5..".*\} [1-9].*$', page, re.MULTILINE)
    return int(float(found[1])) - 1


def besieged(kinds: Iterable[str], scheme: str, pair: Pair | None, *options: str) -> None:
    limits = Limits()
    names = ("head-timeout", "body-timeout", "write-timeout", "idle-timeout")
    deadlines = [] if REAL else [word for name in names for word in (f"--{name}", str(SHORT))]
    longest = limits.idle_timeout if REAL else SHORT
    context = None if pair is None else pair.trusting()
    wide = ("--max-connections", "1200", "--unsent-budget", "256MiB", "--body-budget", "64MiB")
    with program(*wide, *deadlines, *options, scheme=scheme, lifetime=150) as (_, _, port):
        others = Others(port, context)
        for path, value in (("/v1/kv/large", bytes(1_000_000)), ("/v1/kv/a", b"1")):
            with closing(others.connect()) as connection:
                others.ask(connection, "PUT", path, value)
        others.start()
        try:
            with slow_clients(port, kinds) as process:
                expected = EACH * len(list(kinds)) + OTHERS
                assert connections(port, context) >= expected - 2  # A newcomer more or less.
                wait_until(
                    lambda: connections(port, context) <= OTHERS + 1, seconds=longest + _MARGIN
                )
                output, _ = process.communicate(timeout=20)
        finally:
            others.ending.set()
            others.join(30)
    report = json.loads(output)
    print(f"\n{report}; others: {len(others.times)} served, p99 {others.p99() * 1e3:.1f} ms")
    allowed = {
        "head": limits.head_timeout, "body": limits.body_timeout, "chunks": limits.body_timeout,
        "idle": limits.idle_timeout, "nothing": limits.idle_timeout,
        "silence": limits.head_timeout, "hello": limits.head_timeout,
    }  # fmt: skip
    for kind, (closed, last) in report.items():
        if kind != "reader":
            assert closed == EACH, kind
            assert last < (allowed[kind] if REAL else SHORT) + _MARGIN, kind
    assert not others.failed
    assert len(others.times) > 200
    assert others.p99() < 0.1


def test_slow_clients_of_each_kind_are_gone_in_time_and_hold_nobody_up() -> None:
    besieged(KINDS, "http", None)


def test_silent_handshakes_are_gone_in_time_and_hold_nobody_up(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    besieged(TLS_KINDS, "https", pair, "--tls-cert", pair.certificate, "--tls-key", pair.key)
