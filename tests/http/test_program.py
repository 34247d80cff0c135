"""`python -m dumbkv_http` as a process: what it says, how it refuses, how it ends."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.conftest import BACKENDS
from tests.http.conftest import wait_until

COMMAND = [sys.executable, "-m", "dumbkv_http"]


@contextmanager
def program(
    *arguments: str, scheme: str = "http", lifetime: float = 30, **environment: str
) -> Iterator[tuple[subprocess.Popen[str], str, int]]:
    """The running service, its start line and its port; killed at the end if it still runs."""
    process = subprocess.Popen(
        [*COMMAND, "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    watchdog = threading.Timer(lifetime, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(rf"{scheme}://127\.0\.0\.1:(\d+)", line)
        assert found is not None, line
        yield process, line, int(found[1])
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the program to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, **environment},
    )


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_start_line_says_where_on_what_and_for_how_long(backend: str) -> None:
    with program("--backend", backend) as (_, line, port):
        assert port > 0
        assert f"back end: {backend}" in line
        assert "in memory only" in line


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_the_request_under_way_and_exits_0(number: signal.Signals) -> None:
    with program() as (process, _, port):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            head = b"PUT /v1/kv/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
            client.sendall(head + b"Expect: 100-continue\r\n\r\n")
            assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
            process.send_signal(number)
            wait_until(lambda: not accepts(port))  # The listener goes first; then we finish.
            client.sendall(b"hello")
            answer = client.recv(1000)
            assert answer.startswith(b"HTTP/1.1 201 ")
            assert b"Connection: close\r\n" in answer
        output, errors = process.communicate(timeout=10)
        assert (process.returncode, output, errors) == (0, "", "")


def test_an_idle_service_ends_at_once() -> None:
    with (
        program() as (process, _, port),
        socket.create_connection(("127.0.0.1", port), timeout=10),
    ):
        process.terminate()
        assert process.wait(2) == 0


def test_a_port_in_use_is_one_clear_line_and_status_1() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("--port", str(port))
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert f"cannot listen on http://127.0.0.1:{port}: Address already in use" in done.stderr
    assert "--port" in done.stderr


def test_an_address_others_can_reach_is_refused_with_what_to_do() -> None:
    done = run("--host", "0.0.0.0", "--port", "0")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "--insecure" in done.stderr
    assert "127.0.0.1" in done.stderr


def test_an_unknown_host_is_one_clear_line() -> None:
    done = run("--host", "no.such.host.invalid", "--port", "0", "--insecure")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--port", "65536"),
        ("--port", "x"),
        ("--max-value", "0"),
        ("--max-value", "1TB"),
        ("--max-value", "65MiB"),
        ("--max-connections", "0"),
        ("--backend", "rust"),
    ],
)
def test_a_bad_option_is_refused_with_the_value(option: str, value: str) -> None:
    done = run(option, value)
    assert done.returncode == 2
    assert option in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bad_backend_in_the_environment_is_one_clear_line() -> None:
    done = run("--port", "0", DUMBKV_BACKEND="rust")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "'rust'" in done.stderr


def test_help_teaches_with_examples() -> None:
    done = run("--help")
    assert done.returncode == 0
    for phrase in ("examples:", "curl", "/metrics", "--insecure", "in memory only"):
        assert phrase in done.stdout


def test_larger_values_can_be_allowed() -> None:
    with (
        program("--max-value", "2 MiB", "--allow-host", "db.example") as (_, _, port),
        socket.create_connection(("127.0.0.1", port), timeout=10) as client,
    ):
        size = 2 * 1024 * 1024
        head = f"PUT /v1/kv/a HTTP/1.1\r\nHost: db.example\r\nContent-Length: {size}\r\n\r\n"
        client.sendall(head.encode() + bytes(size))
        assert client.recv(1000).startswith(b"HTTP/1.1 201 ")
        client.sendall(head.replace(str(size), str(size + 1)).encode())
        assert client.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_a_full_store_answers_507_and_reads_go_on() -> None:
    with program("--max-bytes", "100KiB") as (_, _, port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        statuses = []
        for n in range(12):
            connection.request("PUT", f"/v1/kv/{n}", bytes(20_000))
            answer = connection.getresponse()
            problem = answer.read()
            statuses.append(answer.status)
        assert statuses[0] == 201
        assert statuses[-1] == 507
        assert set(statuses) == {201, 507}
        assert b"store-full" in problem
        assert b"--eviction lru" in problem
        connection.request("GET", "/v1/kv/0")
        assert connection.getresponse().read() == bytes(20_000)
        connection.close()


def test_a_cache_takes_every_write() -> None:
    with program("--max-bytes", "100KiB", "--eviction", "lru") as (_, _, port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        for n in range(40):
            connection.request("PUT", f"/v1/kv/{n}", bytes(20_000))
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 201
        connection.close()
