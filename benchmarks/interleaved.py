"""Timing several ways of doing one thing fairly on a noisy machine.

Rounds of all contenders alternate, so that a slow moment falls on each of them, and what
counts is the ratio of medians. Keys are made anew for each round: a dict finds a key it has
seen as the same object, with its hash already in it, up to three times faster than one that
has just come off a socket or a file.
"""

import random
import statistics
from collections.abc import Callable, Iterable, Sequence
from time import perf_counter
from typing import TypeAlias

from pytest_benchmark.fixture import BenchmarkFixture

Round: TypeAlias = Callable[[], None]
Prepare: TypeAlias = Callable[[], Round]
"""Makes ready, untimed, and gives what is to be timed once."""
COOL = bytearray(64 << 20)
"""More than the caches of a processor hold."""


def fresh(keys: Sequence[bytes]) -> list[bytes]:
    """The same keys as new objects, in random order."""
    copies = renewed(keys)
    random.shuffle(copies)
    return copies


def renewed(keys: Iterable[bytes]) -> list[bytes]:
    """The same keys as new objects, in the same order."""
    return [bytes(bytearray(key)) for key in keys]


def ratios(
    benchmark: BenchmarkFixture, subject: Prepare, siblings: dict[str, Prepare], rounds: int
) -> dict[str, float]:
    """The median time of `subject` as a share of each sibling's; into the report, too."""
    times: dict[str, list[float]] = {name: [] for name in siblings}
    own: list[float] = []
    ready: list[Round] = []

    def prepare() -> None:
        for name, sibling in siblings.items():
            times[name].append(seconds(cold(sibling)))
        ready.append(cold(subject))

    def run() -> None:
        own.append(seconds(ready[0]))

    # What a round leaves goes before the next is made ready: for everybody, not for some.
    benchmark.pedantic(run, setup=prepare, teardown=ready.clear, rounds=rounds, warmup_rounds=1)
    found = {
        name: statistics.median(own[1:]) / statistics.median(theirs[1:])
        for name, theirs in times.items()
    }
    benchmark.extra_info.update({f"ratio to {name}": round(r, 3) for name, r in found.items()})
    print("".join(f"  {ratio:.2f} of {name}" for name, ratio in found.items()), end=" ")
    return found


def cold(prepare: Prepare) -> Round:
    """What is to be timed, and nothing in the processor's caches: neither what another left there
    nor what was just made ready."""
    timed = prepare()
    _ = bytes(COOL)
    return timed


def seconds(timed: Round) -> float:
    begin = perf_counter()
    timed()
    return perf_counter() - begin
