"""The access log: what a line says, what it never says, and that it stops no answer."""

from __future__ import annotations

import json
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import dumbkv
from dumbkv_http import AccessLog
from tests.http.client import RawClient, get, put
from tests.http.conftest import Serve, wait_until
from tests.http.test_metrics import SCRAPE


def entries(log: AccessLog) -> list[dict[str, Any]]:
    """What a log has written when it is closed."""
    log.close()
    return [json.loads(line) for line in Path(log.path).read_text().splitlines()]


def test_every_answer_is_a_line_of_json(store: dumbkv.Store, serve: Serve, tmp_path: Path) -> None:
    log = AccessLog(str(tmp_path / "log"))
    service = serve(store, access_log=log)
    with RawClient(service) as client:
        client.ask(put("a", b"12345"))
        client.send(get("a") * 2)
        assert client.answer() == client.answer()
        for request in (get("absent"), SCRAPE, get("a").replace(b"/v1/kv/a", b"/nowhere")):
            client.ask(request)
        client.ask(b"BREW /v1/kv/a HTTP/1.1\r\nHost: localhost\r\n\r\n")
        client.ask(b"nonsense\r\n\r\n")
    found = entries(log)
    assert [(each["method"], each["route"], each["status"]) for each in found] == [
        ("PUT", "/v1/kv/{key}", 201),
        ("GET", "/v1/kv/{key}", 200),
        ("GET", "/v1/kv/{key}", 200),
        ("GET", "/v1/kv/{key}", 404),
        ("GET", "/metrics", 200),
        ("GET", "", 404),
        ("OTHER", "/v1/kv/{key}", 405),
        ("OTHER", "", 400),
    ]
    for each in found:
        assert set(each) == {"time", "method", "route", "status", "seconds", "sent", "client"}
        assert each["client"] == "127.0.0.1"
        assert 0 <= each["seconds"] < 10
        assert each["sent"] > 50
        assert each["time"].endswith("Z")
    assert log.dropped == 0


def test_keys_values_and_tokens_are_in_no_line(
    fast_store: dumbkv.Store, serve: Serve, tmp_path: Path
) -> None:
    log = AccessLog(str(tmp_path / "log"))
    service = serve(fast_store, access_log=log)
    secret = "Authorization: Bearer sesame-sesame-sesame\r\nX-Sesame: sesame\r\n"
    with RawClient(service) as client:
        client.ask(put("sesame", b"sesame", secret))
        client.ask(get("sesame?sesame=sesame", secret))
        client.ask(get("sesame", "Host: sesame\r\n"))
    log.close()
    written = Path(log.path).read_text()
    assert written.count("\n") == 3
    assert "sesame" not in written.lower()


def test_targets_are_in_the_lines_when_asked_for_and_cannot_forge_one(
    fast_store: dumbkv.Store, serve: Serve, tmp_path: Path
) -> None:
    log = AccessLog(str(tmp_path / "log"), targets=True)
    service = serve(fast_store, access_log=log)
    with RawClient(service) as client:
        client.ask(get("a%0A%22b"))
    (entry,) = entries(log)
    assert entry["target"] == "/v1/kv/a%0A%22b"


def test_a_log_that_nobody_reads_stops_no_answer_and_loses_lines_that_are_counted(
    fast_store: dumbkv.Store, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dumbkv_http._access_log._QUEUED", 100)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    log = AccessLog(str(pipe))
    service = serve(fast_store, access_log=log)
    with RawClient(service) as client:
        while not log.dropped:  # The pipe fills, then the queue.
            client.send(get("a") * 200)
            for _ in range(200):
                assert client.answer().status == 404
        page = client.ask(SCRAPE).body.decode()
        assert "dumbkv_http_access_log_dropped_total 0.0" not in page
        assert "dumbkv_http_access_log_dropped_total" in page
    lines = b""

    def drain() -> bool:
        nonlocal lines
        with suppress(BlockingIOError):
            lines += os.read(reader, 1 << 20)
        return not log._thread.is_alive()

    threading.Thread(target=log.close).start()
    wait_until(drain)  # Read at last, it writes all that it kept.
    os.close(reader)
    assert {json.loads(line)["status"] for line in lines.splitlines()} == {404, 200}


def test_a_full_disk_loses_lines_that_are_counted(fast_store: dumbkv.Store, serve: Serve) -> None:
    log = AccessLog("/dev/full")
    service = serve(fast_store, access_log=log)
    with RawClient(service) as client:
        for _ in range(10):
            assert client.ask(get("a")).status == 404
    wait_until(lambda: log.dropped == 10)
    log.close()


def test_a_log_that_was_renamed_goes_on_under_its_name(
    fast_store: dumbkv.Store, serve: Serve, tmp_path: Path
) -> None:
    path = tmp_path / "log"
    log = AccessLog(str(path))
    service = serve(fast_store, access_log=log)
    with RawClient(service) as client:
        client.ask(get("a"))
        wait_until(lambda: path.read_text().count("\n") == 1)
        path.rename(tmp_path / "log.1")
        log.reopen()
        wait_until(path.exists)
        client.ask(put("b", b"1"))
    assert [each["status"] for each in entries(log)] == [201]
    assert (tmp_path / "log.1").read_text().count("\n") == 1


def test_a_log_that_cannot_be_opened_again_goes_on_in_the_old_file(
    fast_store: dumbkv.Store, serve: Serve, tmp_path: Path
) -> None:
    path = tmp_path / "logs" / "log"
    path.parent.mkdir()
    log = AccessLog(str(path))
    service = serve(fast_store, access_log=log)
    path.parent.rename(tmp_path / "old")
    log.reopen()
    with RawClient(service) as client:
        client.ask(get("a"))
    log.close()
    assert (tmp_path / "old" / "log").read_text().count("\n") == 1


def test_others_may_not_read_the_log(tmp_path: Path) -> None:
    log = AccessLog(str(tmp_path / "log"))
    log.close()
    assert Path(log.path).stat().st_mode & 0o007 == 0
