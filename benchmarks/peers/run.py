"""The whole run, in its full and its short form."""

from collections.abc import Collection
from dataclasses import dataclass

from benchmarks.peers import footprint, pause, single, threads
from benchmarks.peers.contenders import BASELINE, SUBJECT, Contender
from benchmarks.peers.progress import Tell
from benchmarks.peers.results import Figure, Section

LARGE = 2**31
"""Bytes of data from which on only the ones that matter most take part: it is a lot to hold."""


@dataclass(frozen=True)
class Form:
    """How much of everything; `single` is entries, bytes of a value and rounds."""

    single: tuple[tuple[int, int, int], ...]
    mixes: list[str]
    threads: list[int]
    thread_rounds: int
    entries: int
    """For memory, pauses and the garbage collector."""


FULL = Form(
    single=((100_000, 256, 15), (100_000, 4096, 9), (1_000_000, 256, 7), (1_000_000, 4096, 5)),
    mixes=["95/5", "50/50"],
    threads=[1, 2, 4, 8],
    thread_rounds=4,
    entries=1_000_000,
)
SHORT = Form(
    single=((100_000, 256, 3), (100_000, 4096, 3)),
    mixes=["95/5"],
    threads=[8],
    thread_rounds=3,
    entries=100_000,
)


def run(
    form: Form, people: list[Contender], sections: Collection[Section], tell: Tell
) -> list[Figure]:
    """The figures of those sections, of everybody who can take part in them."""
    found: list[Figure] = []
    if "single" in sections:
        for entries, value_bytes, rounds in form.single:
            some = able(people, entries, value_bytes)
            found += single.figures(some, entries, value_bytes, rounds, tell)
    if "threads" in sections:
        found += threads.figures(people, form.mixes, form.threads, form.thread_rounds, tell)
    if "memory" in sections:
        some = [who for who in people if who.in_memory]
        found += footprint.memory(some, form.entries, tell)
    if "pause" in sections:
        # The others wait for a socket or a file in each call, which hides any pause of a table.
        some = [who for who in people if who.in_process]
        found += pause.figures(some, form.entries, tell)
        found += footprint.collections(some, form.entries, tell)
    return found


def able(people: list[Contender], entries: int, value_bytes: int) -> list[Contender]:
    if entries < 1_000_000:
        return people
    if entries * value_bytes >= LARGE:
        return [who for who in people if who.name in ("dict", BASELINE, SUBJECT)]
    # What is written in Python takes its time for the same reasons as with fewer, only longer.
    return [who for who in people if who.in_memory and who.native]
