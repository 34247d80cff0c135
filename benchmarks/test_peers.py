"""The C table beside `dict + Lock`: the targets, and no fall behind the figures last committed.

The committed figures have to meet every target, which `make bench` asks of the record it
has just written; no clock is read for that. What is measured here
may be off on a busy machine, so it has room: half as much again as the committed ratio, and never
more than a fifth over the target. Noise passes and a real loss stays, so only the best of three
tries counts.
"""

import functools
from dataclasses import dataclass

import pytest

from benchmarks.peers import results, single, threads
from benchmarks.peers.contenders import BASELINE, SUBJECT, contenders
from benchmarks.peers.progress import silence
from benchmarks.peers.results import Case, Figure

TRIES = 3
ROUNDS = 3
ROOM_OVER_COMMITTED = 1.5
ROOM_OVER_TARGET = 1.2

PEOPLE = [who for who in contenders() if who.name in ("dict", BASELINE, SUBJECT)]


@dataclass(frozen=True)
class Target:
    """The most that a case may take, as a share of what the other takes."""

    name: str
    value_bytes: int
    most: float
    other: str = BASELINE
    threads: int = 1

    def case(self, entries: int) -> Case:
        section: results.Section = "single" if self.threads == 1 else "threads"
        return Case(section, self.name, entries, self.value_bytes, self.threads)

    def ratio(self, figure: Figure) -> float:
        return figure.ratios[SUBJECT] / figure.ratios[self.other]

    def __str__(self) -> str:
        return f"{self.name}-{self.value_bytes}"


SINGLE = [
    Target("get, uniform", 256, 0.65),
    Target("get, zipf", 256, 0.65),
    Target("get, absent", 256, 0.6),
    Target("contains", 256, 0.6),
    Target("set new", 256, 0.9),
    Target("overwrite", 256, 0.7),
    Target("delete", 256, 0.7),
    Target("get_many(100)", 256, 0.9, other="dict"),
    Target("get, uniform", 4096, 1.3),
    Target("get, zipf", 4096, 1.3),
    Target("set new", 4096, 1.2),
    Target("overwrite", 4096, 1.0),
    Target("delete", 4096, 1.0),
]
THREADS = [
    Target("95/5 mix", 256, 1 / 1.5, threads=8),
    Target("95/5 mix, p99.9", 256, 1.0, threads=8),
]


@functools.cache
def tried(value_bytes: int, threaded: bool, turn: int) -> dict[Case, Figure]:
    """All cases of one kind at once; the turn tells tries apart."""
    if threaded:
        found = threads.figures(PEOPLE, ["95/5"], [8], ROUNDS, silence)
    else:
        found = single.figures(PEOPLE, 100_000, value_bytes, ROUNDS, silence)
    return {each.case: each for each in found}


@pytest.mark.parametrize("target", SINGLE + THREADS, ids=str)
def test_the_ratio_keeps_near_the_committed_one(target: Target) -> None:
    case = target.case(100_000)
    committed = target.ratio(results.load().find(case))
    bound = max(target.most, min(ROOM_OVER_COMMITTED * committed, ROOM_OVER_TARGET * target.most))
    seen: list[float] = []
    for turn in range(TRIES):
        seen.append(target.ratio(tried(case.value_bytes, case.threads > 1, turn)[case]))
        if seen[-1] <= bound:
            break
    print(f"  {min(seen):.2f} of {target.other}, committed {committed:.2f}", end=" ")
    assert min(seen) <= bound, (seen, committed)


@pytest.mark.parametrize("entries", [100_000, 1_000_000])
@pytest.mark.parametrize("target", SINGLE, ids=str)
def test_the_committed_ratio_meets_its_target(target: Target, entries: int) -> None:
    assert target.ratio(results.load().find(target.case(entries))) <= target.most


@pytest.mark.parametrize("target", THREADS, ids=str)
def test_the_committed_ratio_of_threads_meets_its_target(target: Target) -> None:
    assert target.ratio(results.load().find(target.case(100_000))) <= target.most


@pytest.mark.parametrize(("value_bytes", "most"), [(32, 95), (256, 320)])
def test_the_committed_memory_of_an_entry_meets_its_target(value_bytes: int, most: float) -> None:
    case = Case("memory", "memory of an entry", 1_000_000, value_bytes)
    assert absolute(case, SUBJECT) <= most


def test_the_committed_pauses_meet_their_targets() -> None:
    assert absolute(Case("pause", "longest pause", 1_000_000, 32), SUBJECT) <= 0.005
    collect = Case("pause", "gc.collect()", 1_000_000, 32)
    assert absolute(collect, SUBJECT) - absolute(collect, "no entries") <= 0.003


def absolute(case: Case, name: str) -> float:
    """In bytes or seconds."""
    found = results.load().find(case)
    return found.ratios[name] * found.baseline
