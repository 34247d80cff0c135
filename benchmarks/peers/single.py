"""One thread, one key at a time, and a hundred at a time.

A round is one life of a contender: it is opened, filled with new keys, read, overwritten and
emptied, each part timed on its own. Lives alternate between contenders and only one is in
memory at a time. Keys and values are new objects in each part, and no contender shares them
with another: a delete that gives memory back does so for everybody.
"""

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.interleaved import Round, fresh, renewed, seconds
from benchmarks.peers.contenders import FAST, Contender
from benchmarks.peers.peer import Peer
from benchmarks.peers.progress import Tell
from benchmarks.peers.results import Case, Figure, figure
from benchmarks.zipf import draws

MANY = 100
KEY_BYTES = 16


@dataclass(frozen=True)
class Part:
    """One timed part of a life: `count` operations in `timed`."""

    name: str
    timed: Round
    count: int


class Plan:
    """The keys of one run, what is popular among them, and values of one size."""

    def __init__(self, entries: int, value_bytes: int) -> None:
        self.value_bytes = value_bytes
        self.keys = [os.urandom(KEY_BYTES) for _ in range(entries)]
        self.popular = draws(self.keys, min(entries, FAST))

    def some(self, count: int) -> list[bytes]:
        """So many of the keys, all equally likely, as new objects in random order."""
        return fresh(random.sample(self.keys, min(count, len(self.keys))))

    def values(self, count: int, filler: bytes) -> list[bytes]:
        return [(b"%d" % n).ljust(self.value_bytes, filler) for n in range(count)]


def figures(
    people: list[Contender], entries: int, value_bytes: int, rounds: int, tell: Tell
) -> list[Figure]:
    """Seconds an operation takes, for each part of a life."""
    plan = Plan(entries, value_bytes)
    times: dict[str, dict[str, list[float]]] = {}
    for turn in range(rounds):
        for who in [each for each in people if turn < each.rounds]:
            tell(f"{entries:,} x {value_bytes} B, round {turn + 1} of {rounds}: {who.name}")
            with who.open() as peer:
                for part in life(peer, plan, who):
                    spent = seconds(part.timed) / part.count
                    times.setdefault(part.name, {}).setdefault(who.name, []).append(spent)
    return [figure(Case("single", name, entries, value_bytes), per) for name, per in times.items()]


def life(peer: Peer, plan: Plan, who: Contender) -> Iterator[Part]:
    """The parts in order, each made ready when the one before has been timed."""
    operations = min(who.operations, len(plan.keys))
    keys, values = fresh(plan.keys), plan.values(len(plan.keys), b"a")
    if not who.in_process:  # too slow to fill one by one: only the last of them are timed
        peer.set_many(list(zip(keys[:-operations], values[:-operations], strict=True)))
        keys, values = keys[-operations:], values[-operations:]
    yield setting("set new", peer, keys, values)
    del keys, values

    yield reading("get, uniform", peer.get, plan.some(operations))
    yield reading("get, zipf", peer.get, renewed(plan.popular[:operations]))
    absent = [os.urandom(KEY_BYTES) for _ in range(operations)]
    yield reading("get, absent", peer.get, absent)
    yield asking(peer, plan.some(operations))
    yield many(peer, plan.some(operations))

    keys = plan.some(operations)
    values = plan.values(len(keys), b"b")
    yield setting("overwrite", peer, keys, values)
    del keys, values

    yield deleting(peer, plan.some(operations))


def reading(name: str, call: Callable[[bytes], object], keys: list[bytes]) -> Part:
    def run() -> None:
        for key in keys:
            call(key)

    return Part(name, run, len(keys))


def asking(peer: Peer, keys: list[bytes]) -> Part:
    holds = peer.holds

    def run() -> None:
        for key in keys:
            key in holds  # noqa: B015  # the question is what is timed

    return Part("contains", run, len(keys))


def many(peer: Peer, keys: list[bytes]) -> Part:
    batches = [keys[start : start + MANY] for start in range(0, len(keys), MANY)]

    def run() -> None:
        call = peer.get_many
        for batch in batches:
            call(batch)

    return Part(f"get_many({MANY})", run, len(batches))


def setting(name: str, peer: Peer, keys: list[bytes], values: list[bytes]) -> Part:
    """Two lists and not one of pairs: a tuple for each would be one more wait for memory, and its
    length depends on who was measured before."""
    data, call = peer.holds, peer.set

    def statements() -> None:
        assert isinstance(data, dict)
        for key, value in zip(keys, values, strict=True):
            data[key] = value

    def calls() -> None:
        for key, value in zip(keys, values, strict=True):
            call(key, value)

    # A call of dict.__setitem__ costs a third more than the statement that people write.
    return Part(name, statements if isinstance(data, dict) else calls, len(keys))


def deleting(peer: Peer, keys: list[bytes]) -> Part:
    data, call = peer.holds, peer.delete

    def statements() -> None:
        assert isinstance(data, dict)
        for key in keys:
            del data[key]

    def calls() -> None:
        for key in keys:
            call(key)

    return Part("delete", statements if isinstance(data, dict) else calls, len(keys))
