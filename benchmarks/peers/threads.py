"""Several threads on one store: gets and sets mixed, keys by popularity (zipf 0.99).

Throughput is operations of all threads over the time from the first start to the last end.
Latency is that of one operation in eight, timed alone between two readings of the clock, which
adds about a hundredth of a microsecond to the average operation, the same for everybody. The
slow ones have fewer operations and each of them is timed: there the clock does not show.
"""

import math
import os
import random
from array import array
from contextlib import ExitStack
from threading import Barrier, Thread
from time import perf_counter, perf_counter_ns
from typing import NamedTuple, TypeAlias

from benchmarks.interleaved import renewed
from benchmarks.peers.contenders import Contender
from benchmarks.peers.peer import Peer
from benchmarks.peers.progress import Tell
from benchmarks.peers.results import Case, Figure, figure
from benchmarks.zipf import draws

ENTRIES, VALUE_BYTES, KEY_BYTES = 100_000, 256, 16
SAMPLED = 8
MIXES = {"95/5": 0.05, "50/50": 0.5}
"""Gets to sets, and the share of sets."""

Step: TypeAlias = tuple[bytes, bytes | None]
"""A key to get, or a key to set with its value."""
Script: TypeAlias = list[tuple[Step, list[Step]]]
"""What one thread does: a step that is timed alone and the steps up to the next such."""


class Measured(NamedTuple):
    seconds: float
    """Of all threads together, per operation."""
    tail: float
    """The 99.9th percentile of one operation, in seconds."""


def figures(
    people: list[Contender], mixes: list[str], threads: list[int], rounds: int, tell: Tell
) -> list[Figure]:
    """For each mix and number of threads, the time per operation and its 99.9th percentile."""
    keys = [os.urandom(KEY_BYTES) for _ in range(ENTRIES)]
    popular = draws(keys, max(who.operations for who in people))
    found = []
    with ExitStack() as stack:
        peers = [(who, stack.enter_context(who.open())) for who in people]
        for who, peer in peers:
            tell(f"threads: filling {who.name}")
            peer.set_many([(key, value()) for key in renewed(keys)])
        for mix in mixes:
            for count in threads:
                times: dict[str, list[float]] = {who.name: [] for who in people}
                tails: dict[str, list[float]] = {who.name: [] for who in people}
                for turn in range(rounds):
                    for who, peer in [each for each in peers if turn < each[0].rounds]:
                        tell(f"{mix}, {count} threads, round {turn + 1} of {rounds}: {who.name}")
                        asked = random.sample(popular, who.operations)
                        sampled = SAMPLED if who.in_process else 1
                        parts = scripts(asked, MIXES[mix], count, sampled)
                        measured = together(peer, parts)
                        times[who.name].append(measured.seconds)
                        tails[who.name].append(measured.tail)
                of = (ENTRIES, VALUE_BYTES, count)
                found.append(figure(Case("threads", f"{mix} mix", *of), times))
                found.append(figure(Case("threads", f"{mix} mix, p99.9", *of), tails))
    return found


def value() -> bytes:
    return bytes(bytearray(VALUE_BYTES))


def scripts(keys: list[bytes], sets: float, threads: int, sampled: int) -> list[Script]:
    """The keys dealt out to the threads as new objects, a share of them with a value to set."""
    steps: list[Step] = [
        (key, value() if random.random() < sets else None) for key in renewed(keys)
    ]
    hands = [steps[turn::threads] for turn in range(threads)]
    return [
        [(hand[n], hand[n + 1 : n + sampled]) for n in range(0, len(hand), sampled)]
        for hand in hands
    ]


def together(peer: Peer, parts: list[Script]) -> Measured:
    """All scripts at once, a thread each."""
    begun, ended = [0.0] * len(parts), [0.0] * len(parts)
    samples = [array("q") for _ in parts]
    start = Barrier(len(parts))

    def work(turn: int) -> None:
        start.wait()
        begun[turn] = perf_counter()
        perform(peer, parts[turn], samples[turn])
        ended[turn] = perf_counter()

    threads = [Thread(target=work, args=(turn,)) for turn in range(len(parts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    count = sum(1 + len(rest) for part in parts for _, rest in part)
    ranked = sorted(nanoseconds for each in samples for nanoseconds in each)
    tail = ranked[math.ceil(0.999 * len(ranked)) - 1]
    return Measured((max(ended) - min(begun)) / count, tail / 1e9)


def perform(peer: Peer, script: Script, samples: "array[int]") -> None:
    get, put, clock, keep = peer.get, peer.set, perf_counter_ns, samples.append
    for (key, new), rest in script:
        if new is None:
            begin = clock()
            get(key)
            keep(clock() - begin)
        else:
            begin = clock()
            put(key, new)
            keep(clock() - begin)
        for key, new in rest:
            if new is None:
                get(key)
            else:
                put(key, new)
