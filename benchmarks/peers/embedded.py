"""LMDB and diskcache: in this process, with their entries in a file."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

import diskcache
import lmdb

from benchmarks.peers.peer import Peer

MAP_BYTES = 16 * 2**30
"""Address space for LMDB; the file is sparse and takes what is in it."""


@contextmanager
def open_lmdb() -> Iterator[Peer]:
    """As a cache has it: no waiting for the disk, a writable map, one transaction a call."""
    with (
        TemporaryDirectory(prefix="dumbkv-bench-") as folder,
        lmdb.open(folder, map_size=MAP_BYTES, sync=False, metasync=False, writemap=True) as env,
    ):
        yield LMDB(env).peer()


class LMDB:
    def __init__(self, env: lmdb.Environment) -> None:
        self._env = env

    def peer(self) -> Peer:
        return Peer(self.get, self.set, self.delete, self, self.get_many, self.set_many)

    def get(self, key: bytes) -> object:
        with self._env.begin() as txn:
            return txn.get(key)

    def set(self, key: bytes, value: bytes) -> None:
        with self._env.begin(write=True) as txn:
            txn.put(key, value)

    def delete(self, key: bytes) -> None:
        with self._env.begin(write=True) as txn:
            txn.delete(key)

    def __contains__(self, key: bytes) -> bool:
        # With buffers nothing is copied: LMDB has no call that only says whether.
        with self._env.begin(buffers=True) as txn:
            return txn.get(key) is not None

    def get_many(self, keys: list[bytes]) -> object:
        with self._env.begin() as txn, txn.cursor() as cursor:
            return dict(cursor.getmulti(keys))

    def set_many(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        with self._env.begin(write=True) as txn, txn.cursor() as cursor:
            cursor.putmulti(pairs)


@contextmanager
def open_diskcache() -> Iterator[Peer]:
    """With its defaults, but without eviction."""
    with (
        TemporaryDirectory(prefix="dumbkv-bench-") as folder,
        diskcache.Cache(folder, eviction_policy="none") as cache,
    ):

        def set_many(pairs: list[tuple[bytes, bytes]]) -> None:
            with cache.transact():
                for key, value in pairs:
                    cache.set(key, value)

        def get_many(keys: list[bytes]) -> dict[bytes, object]:
            return {key: cache.get(key) for key in keys}

        yield Peer(cache.get, cache.set, cache.delete, cache, get_many, set_many)
