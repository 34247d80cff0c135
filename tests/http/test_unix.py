"""A service on a Unix socket: its file, its mode, and what an earlier one left behind."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import dumbkv
from dumbkv_http import AccessLog
from tests.http.client import get
from tests.http.conftest import Serve


@pytest.fixture
def path() -> Iterator[Path]:
    """Where a socket may be: a short path, because an address has room for 107 bytes."""
    with TemporaryDirectory(prefix="dkv") as directory:
        yield Path(directory) / "kv.sock"


def ask(path: Path, request: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        client.sendall(request)
        return client.recv(65536)


def test_a_unix_socket_serves_with_any_host_and_refuses_pages(
    store: dumbkv.Store, serve: Serve, path: Path
) -> None:
    store[b"a"] = b"1"
    service = serve(store, unix=path)
    assert service.url == "http+unix://" + str(path).replace("/", "%2F")
    for host in (b"localhost", b"anything.example", b"[::1]:80"):
        answer = ask(path, get("a").replace(b"localhost", host))
        assert answer.startswith(b"HTTP/1.1 200 ")
    assert ask(path, get("a", "Origin: http://evil.example\r\n")).startswith(b"HTTP/1.1 403 ")
    assert ask(path, b"GET /v1/kv/a HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_the_file_has_the_mode_asked_for_and_goes_with_the_service(
    mode: int, fast_store: dumbkv.Store, serve: Serve, path: Path
) -> None:
    service = serve(fast_store, unix=path, unix_mode=mode)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    service.close()
    assert not path.exists()


def test_what_a_killed_server_left_is_taken_over(
    fast_store: dumbkv.Store, serve: Serve, path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert path.is_socket()
    serve(fast_store, unix=path)
    assert ask(path, get("a")).startswith(b"HTTP/1.1 404 ")


def test_a_socket_somebody_answers_on_is_left_alone(
    fast_store: dumbkv.Store, serve: Serve, path: Path
) -> None:
    serve(fast_store, unix=path)
    with pytest.raises(OSError, match="in use"):
        serve(fast_store, unix=path)
    assert ask(path, get("a")).startswith(b"HTTP/1.1 404 ")


def test_a_file_that_is_no_socket_is_left_alone(
    fast_store: dumbkv.Store, serve: Serve, path: Path
) -> None:
    path.write_text("precious")
    with pytest.raises(OSError, match="not a socket"):
        serve(fast_store, unix=path)
    assert path.read_text() == "precious"


def test_a_link_to_a_file_is_left_alone(fast_store: dumbkv.Store, serve: Serve, path: Path) -> None:
    target = path.with_name("target")
    target.write_text("precious")
    path.symlink_to(target)
    with pytest.raises(OSError, match="not a socket"):
        serve(fast_store, unix=path)
    assert target.read_text() == "precious"


def test_a_socket_that_took_our_place_is_not_removed(
    fast_store: dumbkv.Store, serve: Serve, path: Path
) -> None:
    first = serve(fast_store, unix=path)
    os.rename(path, path.with_name("old"))
    serve(fast_store, unix=path)
    first.close()
    assert ask(path, get("a")).startswith(b"HTTP/1.1 404 ")


def test_clients_have_no_address_in_the_log(
    fast_store: dumbkv.Store, serve: Serve, path: Path
) -> None:
    log = AccessLog(str(path.with_name("log")))
    service = serve(fast_store, unix=path, access_log=log)
    ask(path, get("a"))
    service.close()
    log.close()
    assert '"client":""' in path.with_name("log").read_text()
