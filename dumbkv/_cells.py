"""What the table in pure Python keeps: its entries, what they take, their time and counters.

Nothing here locks; the table does, around every call.

Drawers. Entries lie in as many dicts as the C table has shards, by the hash of their key. A
dict that changes cannot be read on from where one left off; drawers can, one after the other.

Memory. What an entry takes is an estimate. When it evicts, the oldest key goes, unless it was
read since its last turn, which sends it to the back of the line.

Time. A deadline is an integer of microseconds on the monotonic clock, so that
setting the wall clock neither kills nor keeps a key. Versions follow the wall
clock: ``max(last + 1, now in microseconds)``, so they grow with every write, do
not repeat after a restart, and stay below 2**53 (exact in JSON) until 2255.
"""

import time
from collections import OrderedDict
from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

from dumbkv._arguments import NEVER
from dumbkv._news import CLEARED, DELETED, EVICTED, EXPIRED, SET, News
from dumbkv.errors import StoreFullError

DRAWERS = 64
ENOUGH = 512  # keys, to be worth a call
USES = 3
# What holds an entry: headers of key, value, cell and version, and its share of the dict.
OVERHEAD = 320
ORDER = 200  # and its links in the order of eviction
EMPTY = 4096
EXPIRY_CEILING = 10**17


COUNTERS = {DELETED: "deletes", EXPIRED: "expired", EVICTED: "evicted"}


class Cell(NamedTuple):
    value: bytes
    version: int
    deadline: int


class Cells:
    """Cells by key. Costs are O(1) unless said."""

    __slots__ = (
        "_count",
        "_drawers",
        "_limit",
        "_overhead",
        "_uses",
        "clock",
        "counts",
        "data_bytes",
        "evicted",
        "evicts",
        "last_version",
        "news",
        "next_deadline",
    )

    def __init__(self, limit: int, evicts: bool) -> None:
        self._limit, self.evicts = limit, evicts
        self.evicted: list[bytes] | None = None
        """Where to note the keys that are evicted, if somebody wants to know."""
        self._overhead = OVERHEAD + (ORDER if evicts else 0)
        self.last_version = 0
        self.clock: tuple[int, int] | None = None
        """Both clocks stand at these microseconds, monotonic and wall; None lets them run."""
        self.counts = {"hits": 0, "misses": 0, "sets": 0, "deletes": 0, "expired": 0, "evicted": 0}
        self.news = News()
        self.next_deadline: int
        self._reset()

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[bytes]:
        return chain.from_iterable(self._drawers)

    def items(self) -> Iterator[tuple[bytes, Cell]]:
        return chain.from_iterable(drawer.items() for drawer in self._drawers)

    def some(self, cursor: int) -> tuple[list[bytes], int]:
        """The keys of a drawer or more, from the cursor on, and the next cursor; 0 at the end."""
        keys: list[bytes] = []
        while cursor < DRAWERS and len(keys) < ENOUGH:
            keys += self._drawers[cursor]
            cursor += 1
        return keys, cursor % DRAWERS

    def _drawer(self, key: bytes) -> dict[bytes, Cell]:
        return self._drawers[hash(key) % DRAWERS]

    # Time

    def now(self) -> int:
        return time.monotonic_ns() // 1000 if self.clock is None else self.clock[0]

    def wall(self) -> int:
        return time.time_ns() // 1000 if self.clock is None else self.clock[1]

    def expiry(self, deadline: int) -> int:
        """A deadline as a file has it: microseconds since 1970, 0 for never."""
        if deadline == NEVER:
            return 0
        return min(max(1, self.wall() - self.now() + deadline), EXPIRY_CEILING)

    def sweep(self) -> int:
        """Drop what has expired: how many. O(n) when something can have."""
        now = self.now()
        if self.next_deadline > now:
            return 0
        gone = [(key, cell) for key, cell in self.items() if cell.deadline <= now]
        for key, cell in gone:
            self.drop(key, cell, EXPIRED)
        self.next_deadline = min((cell.deadline for _, cell in self.items()), default=NEVER)
        return len(gone)

    # One key

    def any(self, key: bytes) -> Cell | None:
        """The key's cell, expired or not."""
        return self._drawer(key).get(key)

    def live(self, key: bytes) -> Cell | None:
        """The key's cell; one that has expired is dropped."""
        cell = self._drawer(key).get(key)
        if cell is not None and cell.deadline <= self.now():
            self.drop(key, cell, EXPIRED)
            return None
        return cell

    def read(self, key: bytes) -> Cell | None:
        """The same, counted as a hit or a miss."""
        cell = self.live(key)
        self.counts["misses" if cell is None else "hits"] += 1
        if self.evicts and cell is not None:
            self._uses[key] = min(USES, self._uses[key] + 1)
        return cell

    def next_version(self) -> int:
        self.last_version = max(self.last_version + 1, self.wall())
        return self.last_version

    def next_if_watched(self) -> int:
        """What a removal gets, which has a version only for those who watch."""
        return self.next_version() if self.news.watchers else 0

    def see_version(self, version: int) -> None:
        """The last version is at least this one."""
        self.last_version = max(self.last_version, version)

    def put(self, key: bytes, cell: Cell) -> None:
        """Write a value, for which there is room."""
        self.restore(key, cell)
        self.counts["sets"] += 1
        self._happened(SET, key, cell.version)

    def told(self, key: bytes) -> None:
        """Tell those who watch that a key was set, which was not."""
        if self.news.watchers:
            self._happened(SET, key, self.next_version())

    def restore(self, key: bytes, cell: Cell) -> None:
        drawer = self._drawer(key)
        old = drawer.get(key)
        drawer[key] = cell
        if old is None:
            self._count += 1
            if self.evicts:
                self._uses[key] = 0
            self.news.changed(key, len(self))
        self.data_bytes += len(cell.value) - (len(old.value) if old is not None else -len(key))
        self.next_deadline = min(self.next_deadline, cell.deadline)

    def drop(self, key: bytes, cell: Cell, why: int = DELETED, version: int = 0) -> None:
        """Take a key out. `version` is for those who watch, the next one if it is 0."""
        self.counts[COUNTERS[why]] += 1
        self.take(key, cell)
        self._gone(why, key, version)

    def take(self, key: bytes, cell: Cell) -> None:
        """The same, uncounted and untold."""
        del self._drawer(key)[key]
        self._count -= 1
        if self.evicts:
            del self._uses[key]
        self.data_bytes -= len(key) + len(cell.value)
        self.news.changed(key, len(self))

    def clear(self) -> None:
        """Drop everything."""
        self.counts["deletes"] += len(self)
        self._reset()
        self.news.lose()
        self._gone(CLEARED, b"")

    def _gone(self, why: int, key: bytes, version: int = 0) -> None:
        if self.news.watchers:
            self._happened(why, key, version or self.next_version())

    def _happened(self, what: int, key: bytes, version: int) -> None:
        if self.news.watchers:
            self.news.happened(what, key, version)

    def _reset(self) -> None:
        self._drawers: list[dict[bytes, Cell]] = [{} for _ in range(DRAWERS)]
        self._count = 0
        # How often each key was read of late, in the order of eviction, when there is one. An
        # ordered dict takes its oldest key out in O(1), which a dict does not.
        self._uses: OrderedDict[bytes, int] = OrderedDict()
        self.data_bytes = 0
        self.next_deadline = NEVER

    # Memory

    def memory(self) -> int:
        return EMPTY + self.data_bytes + self._overhead * len(self)

    def cost(self, key: bytes, value: bytes) -> int:
        return len(key) + len(value) + self._overhead

    def room_for(self, key: bytes, value: bytes) -> None:
        """Make room for one key."""
        old = self._drawer(key).get(key)
        before = self.cost(key, old.value) if old is not None else 0
        self.make_room(self.cost(key, value) - before, key)

    def make_room(self, need: int, keep: bytes | None = None) -> None:
        """Evict until `need` bytes more are within the limit, or raise StoreFullError."""
        while self._limit and need > 0 and self.memory() + need > self._limit:
            if not self.evicts or need > self._limit or not self._evict_one(keep):
                raise StoreFullError(
                    f"the store is full: {self.memory()} of max_bytes={self._limit} bytes are in "
                    "use and the write needs more: delete keys, raise max_bytes or open it with "
                    "eviction='lru'"
                )

    def _evict_one(self, keep: bytes | None) -> bool:
        if len(self) <= (keep in self._uses):
            return False
        while True:
            key, uses = next(iter(self._uses.items()))
            if key != keep and not uses:
                if self.evicted is not None:
                    self.evicted.append(key)
                self.drop(key, self._drawer(key)[key], EVICTED)
                return True
            self._uses[key] = max(0, uses - 1)
            self._uses.move_to_end(key)

    def check(self) -> None:
        """Raise AssertionError unless every invariant holds. O(n)."""
        sizes = sum(len(key) + len(cell.value) for key, cell in self.items())
        assert sizes == self.data_bytes, (sizes, self.data_bytes)
        first = min((cell.deadline for _, cell in self.items()), default=NEVER)
        assert self.next_deadline <= first, (self.next_deadline, first)
        assert all(cell.version <= self.last_version for _, cell in self.items())
        assert self._count == sum(map(len, self._drawers))
        assert self._uses.keys() == (set(self) if self.evicts else set())
        for place, drawer in enumerate(self._drawers):
            assert all(hash(key) % DRAWERS == place for key in drawer)
