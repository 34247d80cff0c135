"""A service over a store on disk: what it keeps, what waits for the disk, and a disk that fails."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest

import dumbkv
import dumbkv_http
from dumbkv._sync import datasync
from tests.conftest import BACKENDS, OpenStore
from tests.disk import small_disk
from tests.http.asking import Reply, ask
from tests.http.test_program import program, run

Serve = Callable[..., dumbkv_http.Service]


def put(service: dumbkv_http.Service, key: str, value: bytes) -> Reply:
    return ask(service, "PUT", f"/v1/kv/{key}", value)


def in_thread(call: Callable[[], Reply]) -> tuple[threading.Thread, list[Reply]]:
    """A request that somebody else makes, and its answer when it has come."""
    replies: list[Reply] = []
    thread = threading.Thread(target=lambda: replies.append(call()))
    thread.start()
    return thread, replies


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("fsync", ["always", "everysec", "never"])
def test_what_was_answered_is_there_after_a_kill(backend: str, fsync: str, tmp_path: Path) -> None:
    arguments = ("--backend", backend, "--data", str(tmp_path / "data"), "--fsync", fsync)
    versions = []
    with program(*arguments) as (process, line, port):
        assert f"data in {tmp_path / 'data'}, fsync {fsync}" in line
        service = mock.Mock(host="127.0.0.1", port=port)
        for n in range(100):
            reply = put(service, str(n), b"%d" % n)
            assert reply.status == 201
            versions.append(reply.headers["ETag"])
        assert ask(service, "DELETE", "/v1/kv/0").status == 204
        process.send_signal(signal.SIGKILL)
        process.wait()
    with program(*arguments) as (_, _, port):
        service = mock.Mock(host="127.0.0.1", port=port)
        assert ask(service, "GET", "/v1/kv/0").status == 404
        for n in range(1, 100):
            reply = ask(service, "GET", f"/v1/kv/{n}")
            assert (reply.body, reply.headers["ETag"]) == (b"%d" % n, versions[n])


def test_a_directory_that_is_open_already_is_one_line(tmp_path: Path) -> None:
    with dumbkv.open(tmp_path / "data"):
        found = run("--data", str(tmp_path / "data"))
    assert found.returncode == 1
    assert found.stderr.count("\n") == 1
    assert "data" in found.stderr
    assert "Traceback" not in found.stderr


def test_an_answer_waits_for_the_disk_and_reads_do_not(
    open_store: OpenStore, serve: Serve, tmp_path: Path
) -> None:
    asked, may_end = threading.Event(), threading.Event()

    def slow(descriptor: int) -> None:
        asked.set()
        assert may_end.wait(10)
        datasync(descriptor)

    with open_store(path=tmp_path / "data", fsync="always") as store:
        store[b"there"] = b"before"
        service = serve(store)
        with mock.patch("dumbkv._sync.datasync", slow):
            waits, replies = in_thread(lambda: put(service, "new", b"value"))
            assert asked.wait(10)
            together, others = in_thread(
                lambda: ask(
                    service, "POST", "/v1/batch", {"ops": [{"op": "set", "key": "k", "value": "v"}]}
                )
            )
            for _ in range(50):
                assert ask(service, "GET", "/v1/kv/there").body == b"before"
            assert not replies
            assert not others
            may_end.set()
            waits.join(10)
            together.join(10)
        assert [reply.status for reply in replies + others] == [201, 200]
        assert service.server.metrics.requests["PUT", "kv", 201] == 1


def test_a_failed_disk_answers_503_and_reads_go_on(
    open_store: OpenStore, serve: Serve, tmp_path: Path
) -> None:
    def failing(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with open_store(path=tmp_path / "data", fsync="always") as store:
        service = serve(store)
        assert put(service, "a", b"1").status == 201
        with mock.patch("dumbkv._sync.datasync", failing):
            reply = put(service, "a", b"2")
        assert (reply.status, reply.kind) == (503, "store-poisoned")
        assert ask(service, "GET", "/v1/kv/a").body == b"1"
        assert put(service, "b", b"1").kind == "store-poisoned"


def test_a_disk_that_fails_at_the_end_is_one_line_and_a_status(tmp_path: Path) -> None:
    with program("--data", str(tmp_path / "data"), "--fsync", "never") as (process, _, port):
        service = mock.Mock(host="127.0.0.1", port=port)
        assert put(service, "a", b"1").status == 201
        fault = ["-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO"]
        tracer = subprocess.Popen(
            ["strace", "-f", "-qq", "-p", str(process.pid), "-o", str(tmp_path / "trace"), *fault]
        )
        try:
            while "TracerPid:\t0" in Path(f"/proc/{process.pid}/status").read_text():
                assert tracer.poll() is None
                time.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 1
        finally:
            tracer.terminate()
            tracer.wait()
        assert process.stderr is not None
        said = process.stderr.read()
    assert "INJECTED" in (tmp_path / "trace").read_text()
    assert "Input/output error" in said.splitlines()[-1]
    assert "Traceback" not in said


def test_a_full_disk_answers_507_and_takes_writes_again_when_there_is_room(
    open_store: OpenStore, serve: Serve, tmp_path: Path
) -> None:
    with (
        small_disk(tmp_path / "disk") as make_room,
        open_store(path=tmp_path / "disk" / "data") as store,
    ):
        service = serve(store)
        written = 0
        while (reply := put(service, str(written), bytes(50_000))).status == 201:
            written += 1
            assert written < 100
        assert (reply.status, reply.kind) == (507, "disk-full")
        assert written > 5
        assert ask(service, "GET", f"/v1/kv/{written - 1}").status == 200
        assert ask(service, "GET", f"/v1/kv/{written}").status == 404
        make_room()
        assert put(service, str(written), bytes(50_000)).status == 201
