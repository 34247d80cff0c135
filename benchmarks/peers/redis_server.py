"""Redis over a Unix socket: a server of this run's own, in a temporary folder."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import redis

from benchmarks.peers.peer import Peer

PATIENCE = 10.0
"""Seconds a server has to answer its first ping."""


@contextmanager
def open_redis() -> Iterator[Peer]:
    """A server that writes nothing to disk and listens on no port, and redis-py with hiredis."""
    with TemporaryDirectory(prefix="dumbkv-bench-") as folder:
        socket = Path(folder, "socket")
        command = ["redis-server", "--port", "0", "--unixsocket", str(socket), "--dir", folder]
        command += ["--save", "", "--appendonly", "no", "--daemonize", "no"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
            try:
                with redis.Redis(unix_socket_path=str(socket)) as client:
                    wait_for(client)
                    yield peer(client, server.pid)
            finally:
                server.terminate()


def wait_for(client: redis.Redis) -> None:
    give_up = time.monotonic() + PATIENCE
    while True:
        try:
            client.ping()
            return
        except redis.ConnectionError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.01)


def peer(client: redis.Redis, pid: int) -> Peer:
    def get_many(keys: list[bytes]) -> object:
        return dict(zip(keys, client.mget(keys), strict=True))

    def set_many(pairs: list[tuple[bytes, bytes]]) -> None:
        for start in range(0, len(pairs), 1000):
            client.mset(dict(pairs[start : start + 1000]))

    return Peer(client.get, client.set, client.delete, Held(client), get_many, set_many, pid)


class Held:
    """Redis' EXISTS as `in`: the client has no `in` of its own that gives a bool."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def __contains__(self, key: bytes) -> bool:
        return bool(self._client.exists(key))
