"""Memory an entry takes, and what the garbage collector pays for them all.

Each measurement is a process of its own, `python -m benchmarks.peers.footprint NAME N BYTES`,
that prints resident bytes per entry and the seconds a full collection takes, with them and
before them. Keys and values are made on the way in and not held by anybody else.
"""

import functools
import gc
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

from benchmarks.peers.contenders import Contender, contenders
from benchmarks.peers.peer import Peer
from benchmarks.peers.progress import Tell
from benchmarks.peers.results import Case, Figure, figure

SLICE = 1000
NO_ENTRIES = "no entries"
"""Where a figure has it, what the same process takes before the first entry."""


def memory(people: list[Contender], entries: int, tell: Tell) -> list[Figure]:
    """Bytes an entry takes, with small and with middling values."""
    found = []
    for value_bytes in (32, 256):
        sizes = {}
        for who in people:
            tell(f"memory of {entries:,} x {value_bytes} B: {who.name}")
            sizes[who.name] = [of_a_process(who.name, entries, value_bytes)["bytes"]]
        found.append(figure(Case("memory", "memory of an entry", entries, value_bytes), sizes, "B"))
    return found


def collections(people: list[Contender], entries: int, tell: Tell) -> list[Figure]:
    """Seconds of a full collection, beside the same process without entries."""
    times: dict[str, list[float]] = {NO_ENTRIES: []}
    for who in people:
        tell(f"gc.collect() with {entries:,}: {who.name}")
        said = of_a_process(who.name, entries, 32)
        times[NO_ENTRIES].append(said["idle"])
        times[who.name] = [said["full"]]
    return [figure(Case("pause", "gc.collect()", entries, 32), times)]


@functools.cache  # filling takes longest, and one process has it all to say
def of_a_process(name: str, entries: int, value_bytes: int) -> dict[str, float]:
    command = [sys.executable, "-m", __name__, name, str(entries), str(value_bytes)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    said: dict[str, float] = json.loads(done.stdout)
    return said


def measure(who: Contender, entries: int, value_bytes: int) -> dict[str, float]:
    with who.open() as peer:
        fill(peer, who, 1, value_bytes)  # whatever is set up at first use is not an entry's
        before, idle = resident(peer), collection()
        fill(peer, who, entries, value_bytes)
        per_entry = (resident(peer) - before) / entries
        return {"bytes": per_entry, "full": collection(), "idle": idle}


def fill(peer: Peer, who: Contender, entries: int, value_bytes: int) -> None:
    for some in slices(entries, value_bytes):
        if who.in_process:
            for key, value in some:
                peer.set(key, value)
        else:
            peer.set_many(some)


def slices(entries: int, value_bytes: int) -> Iterator[list[tuple[bytes, bytes]]]:
    for start in range(0, entries, SLICE):
        count = min(SLICE, entries - start)
        yield [(os.urandom(16), bytes(bytearray(value_bytes))) for _ in range(count)]


def resident(peer: Peer) -> int:
    """Bytes of the process that keeps the entries, shared pages of its own files included."""
    gc.collect()
    status = Path("/proc", str(peer.server_pid or os.getpid()), "statm").read_text()
    return int(status.split()[1]) * os.sysconf("SC_PAGE_SIZE")


def collection() -> float:
    """Seconds of a full collection, the quickest of nine: the others waited for something."""
    times = []
    for _ in range(9):
        begin = perf_counter()
        gc.collect()
        times.append(perf_counter() - begin)
    return min(times)


if __name__ == "__main__":
    wanted = next(who for who in contenders() if who.name == sys.argv[1])
    print(json.dumps(measure(wanted, int(sys.argv[2]), int(sys.argv[3]))))
