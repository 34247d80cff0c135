"""The figures of docs/http-benchmarks.md, as last committed, are within their targets."""

import json

import pytest

from benchmarks.http_peers import RESULTS

FIGURES = json.loads(RESULTS.read_text())["figures"]
KEPT = [f"{method} {n}" for method in ("GET", "PUT") for n in (1, 16, 64, 256)]


def ratio(load: str, peer: str, what: str = "per_second") -> float:
    return float(FIGURES[load]["DumbKV"][what] / FIGURES[load][peer][what])


@pytest.mark.parametrize("load", ["GET 64", "GET 256", "PUT 64", "PUT 256"])
def test_it_serves_six_times_what_the_standard_library_does(load: str) -> None:
    assert ratio(load, "http.server") >= 6


@pytest.mark.parametrize("load", KEPT)
def test_it_is_ahead_of_uvicorn_webdis_and_etcd(load: str) -> None:
    assert ratio(load, "webdis") > 1
    assert ratio(load, "etcd") > 1
    if not load.endswith(" 1"):  # With one connection all wait for the loopback.
        assert ratio(load, "uvicorn") >= 1.3


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_its_slowest_are_near_those_of_the_least_server_there_is(method: str) -> None:
    assert ratio(f"{method} 256", "asyncio.Protocol", "p99") <= 1.5


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_connection_per_request_costs_less_than_elsewhere(method: str) -> None:
    assert ratio(f"{method} close", "http.server") >= 4
    assert ratio(f"{method} close", "webdis") > 1
    assert ratio(f"{method} close", "etcd") > 1
