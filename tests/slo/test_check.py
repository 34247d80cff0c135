"""`slo check`: one look at a running server."""

from __future__ import annotations

import http.server
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

import dumbkv
import dumbkv_http
from dumbkv_http.__main__ import main
from dumbkv_http._history import since
from dumbkv_http.slo import look
from dumbkv_http.slo.objectives import RATIOS, THRESHOLDS
from dumbkv_http.slo.reading import window
from dumbkv_http.slo.standing import standings
from tests.http.client import RawClient, get, put


@pytest.fixture
def service() -> Iterator[dumbkv_http.Service]:
    with dumbkv.open() as store, dumbkv_http.serve(store) as running:
        yield running


def use(service: dumbkv_http.Service) -> None:
    with RawClient(service) as client:
        client.ask(put("a", b"1"))
        for _ in range(50):
            assert client.ask(get("a")).status == 200


def test_a_healthy_server_exits_with_0(
    service: dumbkv_http.Service, capsys: pytest.CaptureFixture[str]
) -> None:
    use(service)
    assert main(["slo", "check", "--url", service.url]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len((*RATIOS, *THRESHOLDS))
    for line, objective in zip(lines, (*RATIOS, *THRESHOLDS), strict=True):
        assert line.startswith("ok ")
        assert objective.title in line
        assert "\x1b" not in line
    assert "0 of 51 requests failed" in lines[0]


def test_a_server_that_failed_exits_with_1(
    service: dumbkv_http.Service, capsys: pytest.CaptureFixture[str]
) -> None:
    use(service)
    service.server.metrics.count("GET", "kv", 500)
    assert main(["slo", "check", "--url", service.url + "/metrics"]) == 1
    assert "MISSED   Availability" in capsys.readouterr().out


def test_a_token_for_the_server_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    token = "0123456789abcdef"
    with (
        dumbkv.open() as store,
        dumbkv_http.serve(store, tokens=dumbkv_http.Tokens(read_only=[token])) as guarded,
    ):
        guarded.server.metrics.count("GET", "kv", 500)
        monkeypatch.delenv("DUMBKV_TOKEN", raising=False)
        assert main(["slo", "check", "--url", guarded.url]) == 2
        assert "401" in capsys.readouterr().err
        monkeypatch.setenv("DUMBKV_TOKEN", token)
        assert main(["slo", "check", "--url", guarded.url]) == 1


def test_a_server_nobody_asked_anything_exits_with_2(service: dumbkv_http.Service) -> None:
    assert main(["slo", "check", "--url", service.url]) == 2


def test_what_happened_before_does_not_count_when_a_time_is_given(
    service: dumbkv_http.Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.server.metrics.count("GET", "kv", 500)
    # Of the look alone: the server of this process sleeps, too.
    clock = SimpleNamespace(sleep=lambda seconds: use(service), time=time.time)
    monkeypatch.setattr(look, "time", clock)
    found = look.look(service.url, 1.0)
    assert (found.requests, found.failures) == (51, 0)


def test_the_look_from_outside_and_the_servers_own_agree(service: dumbkv_http.Service) -> None:
    use(service)
    outside = look.reading(look.fetch(service.url))
    inside = service.server.app.status.history.readings()[-1]
    assert outside.bounds == inside.bounds
    for name in ("requests", "failures", "durations", "max_fds", "uncollectable"):
        assert getattr(outside, name) == getattr(inside, name), name
    assert len(standings(window(since(1.0, [inside])))) == len(standings(look.look(service.url)))


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "127.0.0.1:8080", "http://[", "file:///"])
def test_a_server_that_is_not_there_exits_with_2(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["slo", "check", "--url", url]) == 2
    assert capsys.readouterr().err.startswith("dumbkv_http: ")


@pytest.mark.parametrize(
    "page",
    [b"", b"<html>", b"up 1\n", b'http_requests_total{method="GET"} 1\n', b"\xff\xfe", b"a{b 1\n"],
)
def test_a_page_that_is_not_ours_exits_with_2(
    page: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        assert main(["slo", "check", "--url", f"http://127.0.0.1:{server.server_port}"]) == 2
        server.shutdown()
        thread.join()
    assert "dumbkv_http: expected" in capsys.readouterr().err


def test_the_program_checks_a_server_of_its_own(service: dumbkv_http.Service) -> None:
    use(service)
    command = [sys.executable, "-m", "dumbkv_http", "slo", "check", "--url", service.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("ok       Availability")
