"""A real Prometheus scrapes a real service, and the objectives' queries answer.

The queries are those of the service level objectives, verbatim, E01 to E15 in their order. E11 is
there because it is published and wrong: PromQL has no `max` of two numbers.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.http.conftest import wait_until
from tests.loopback import free_port

_ERRORS = 'http_requests_total{status=~"5.."}'
QUANTILE = "histogram_quantile({}, rate(http_request_duration_seconds_bucket[5m])) < {}"

E01 = f"1 - ( sum(rate({_ERRORS}[5m])) / sum(rate(http_requests_total[5m])) ) >= 0.999"
E02 = QUANTILE.format("0.99", "0.1")
E03 = QUANTILE.format("0.95", "0.05")
E04 = QUANTILE.format("0.50", "0.02")
E05 = f"sum(rate({_ERRORS}[5m])) / sum(rate(http_requests_total[5m])) < 0.001"
E06 = "process_resident_memory_bytes < (450 * 1024 * 1024)"
E07 = "process_open_fds / process_max_fds < 0.8"
E08 = "rate(python_gc_objects_uncollectable_total[1h]) > 0"
E09 = "rate(python_gc_collections_total[5m]) < 20"
E10 = f"1 - ( sum(increase({_ERRORS}[30d])) / sum(increase(http_requests_total[30d])) )"
E11 = (
    f"max(0, 1 - ( sum(increase({_ERRORS}[30d])) / "
    "(sum(increase(http_requests_total[30d])) * 0.001) ))"
)
E12 = "sum(rate(http_requests_total[5m]))"
E13 = "process_resident_memory_bytes / (1024 * 1024)"
E14 = "(process_open_fds / process_max_fds) * 100"
E15 = "rate(python_gc_collections_total[5m])"

FRESH = {
    E01: [1.0], E02: [], E03: [], E04: [], E05: [0.0], E06: 1, E07: 1, E08: [], E09: 3,
    E10: [1.0], E12: 1, E13: 1, E14: 1, E15: 3,
}  # fmt: skip
"""On a fresh idle server: the values, or how many there are."""
SERVING = {**FRESH, E02: 1, E03: 1, E04: 1}
"""After the first key-value requests."""


class Prometheus:
    """The HTTP interface of a Prometheus."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def ask(self, path: str, **parameters: str) -> Any:
        query = f"?{urlencode(parameters)}" if parameters else ""
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}{query}", timeout=5) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return json.load(error) if error.code == 400 else {"status": "not yet"}
        except OSError:
            return {"status": "not yet"}

    def values(self, query: str) -> list[float]:
        answer = self.ask("query", query=query)
        assert answer["status"] == "success", answer
        return [float(each["value"][1]) for each in answer["data"]["result"]]

    def scrapes(self) -> float:
        """How many scrapes of the service have succeeded."""
        answer = self.ask("query", query="sum(sum_over_time(up[1h]))")
        found = answer.get("data", {}).get("result", [])
        return float(found[0]["value"][1]) if found else 0.0


@pytest.fixture
def service_port() -> Iterator[int]:
    """The port of a fresh service in a process of its own."""
    with ExitStack() as stack:
        process = start(stack, [sys.executable, "-m", "dumbkv_http", "--port", "0"], text=True)
        assert process.stdout is not None
        found = re.search(r":(\d+) ", process.stdout.readline())
        assert found is not None
        yield int(found[1])


@pytest.fixture
def prometheus(service_port: int, tmp_path: Path) -> Iterator[Prometheus]:
    """A Prometheus that scrapes the service every second."""
    with scraping(service_port, tmp_path) as prometheus:
        yield prometheus


@contextmanager
def scraping(service_port: int, directory: Path, lifetime: float = 60) -> Iterator[Prometheus]:
    """A Prometheus that scrapes the service every second, and has done so three times."""
    binary = shutil.which("prometheus")
    if binary is None:
        message = "prometheus is not installed: apt-get install prometheus"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    config = directory / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s}\n"
        "scrape_configs:\n"
        "- job_name: dumbkv\n"
        f"  static_configs: [{{targets: ['127.0.0.1:{service_port}']}}]\n"
    )
    port = free_port()
    with ExitStack() as stack:
        command = [
            binary,
            f"--config.file={config}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=error",
        ]
        start(stack, command, text=True, lifetime=lifetime)
        prometheus = Prometheus(port)
        wait_until(lambda: prometheus.scrapes() >= 3, seconds=40)
        yield prometheus


def start(
    stack: ExitStack, command: list[str], text: bool, lifetime: float = 60
) -> subprocess.Popen[str]:
    """Starts a process that ends with the stack, or after its lifetime in seconds."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=text)
    watchdog = threading.Timer(lifetime, process.kill)
    watchdog.start()
    stack.callback(process.communicate)
    stack.callback(process.terminate)
    stack.callback(watchdog.cancel)
    return process


def matches(values: list[float], expected: list[float] | int) -> bool:
    return len(values) == expected if isinstance(expected, int) else values == expected


def check(prometheus: Prometheus, expected: dict[str, Any]) -> None:
    for query, answer in expected.items():
        values = prometheus.values(query)
        assert matches(values, answer), f"{query}\ngave {values}, expected {answer}"


def test_the_objectives_queries_answer_on_a_real_prometheus(
    prometheus: Prometheus, service_port: int
) -> None:
    check(prometheus, FRESH)
    refused = prometheus.ask("query", query=E11)
    assert (refused["status"], refused["errorType"]) == ("error", "bad_data")

    url = f"http://127.0.0.1:{service_port}/v1/kv/a"
    urllib.request.urlopen(urllib.request.Request(url, b"1", method="PUT"), timeout=5).close()
    for _ in range(20):
        urllib.request.urlopen(url, timeout=5).close()
    wait_until(lambda: prometheus.values(E02), seconds=15)
    check(prometheus, SERVING)

    scrapes = prometheus.scrapes()
    wait_until(lambda: prometheus.scrapes() >= scrapes + 3, seconds=15)
    check(prometheus, SERVING)  # Idle again, and the ratios are still there.
    assert prometheus.values("sum(http_request_duration_seconds_count)") == [21.0]
    assert prometheus.values('sum(http_requests_total{handler="kv"})') == [21.0]
