"""Who takes part, and how each is called.

What is timed is the contender's own method, bound, with nothing of ours around it, where it
has one that gives bytes for bytes; where its users have to write a few lines (a lock, a
transaction), those lines are part of it.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Literal

from cachetools import LRUCache, TTLCache
from sortedcontainers import SortedDict

import dumbkv
from benchmarks.peers.embedded import open_diskcache, open_lmdb
from benchmarks.peers.peer import Peer
from benchmarks.peers.redis_server import open_redis
from benchmarks.siblings import Locked

BASELINE = "dict + Lock"
SUBJECT = "dumbkv (C)"
FAST = 200_000
"""Operations in a round of those that need well under a microsecond for one."""
ALL = 1000


@dataclass(frozen=True)
class Contender:
    name: str
    open: Callable[[], AbstractContextManager[Peer]]
    operations: int = FAST
    """The most it is asked for in one timed round; each figure is per operation."""
    rounds: int = 3
    """The most it takes part in; those that the targets are about have all of them."""
    in_process: bool = True
    """Keeps its entries as this process's own memory, and is quick to fill one by one."""
    native: bool = True
    """Its own work is done in C."""
    in_memory: bool = True
    """Keeps its entries in memory; what does not takes minutes for a million."""


def contenders() -> list[Contender]:
    """Everybody who can take part on this machine; the order is that of tables and legends."""
    found = [
        Contender("dict", bare_dict, rounds=ALL),
        Contender(BASELINE, lambda: behind_a_lock(Locked({})), rounds=ALL),
        Contender(SUBJECT, partial(dumbkv_store, "c"), rounds=ALL),
        Contender("dumbkv (Python)", partial(dumbkv_store, "python"), native=False),
        Contender("LRUCache + Lock", lambda: behind_a_lock(Locked(LRUCache(ROOMY))), native=False),
        Contender(
            "TTLCache + Lock",
            lambda: behind_a_lock(Locked(TTLCache(ROOMY, ttl=3600))),
            native=False,
        ),
        Contender("SortedDict + Lock", lambda: behind_a_lock(Locked(SortedDict())), native=False),
        Contender("LMDB", open_lmdb, operations=20_000, in_process=False),
        Contender("diskcache", open_diskcache, 3_000, in_process=False, in_memory=False),
    ]
    if shutil.which("redis-server"):
        found.append(Contender("Redis", open_redis, operations=5_000, in_process=False))
    return found


ROOMY = 10_000_000
"""More entries than any measurement has, so that no cache evicts."""


@contextmanager
def bare_dict() -> Iterator[Peer]:
    """No lock: what safety costs, not something to share between threads that check and act."""
    data: dict[bytes, bytes] = {}
    yield Peer(
        get=data.get,
        set=data.__setitem__,
        delete=data.__delitem__,
        holds=data,
        get_many=lambda keys: {key: data[key] for key in keys},
        set_many=data.update,
    )


@contextmanager
def behind_a_lock(locked: Locked) -> Iterator[Peer]:
    yield of(locked)


@contextmanager
def dumbkv_store(backend: Literal["c", "python"]) -> Iterator[Peer]:
    with dumbkv.open(backend=backend) as store:
        yield of(store)


def of(whole: Locked | dumbkv.Store) -> Peer:
    """The bound methods of something that has them all."""
    return Peer(whole.get, whole.set, whole.delete, whole, whole.get_many, whole.set_many)
