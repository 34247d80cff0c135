"""The longest a single set takes while a store grows from empty.

`python -m benchmarks.peers.pause NAME N` prints the seconds. The best of three runs counts,
each a process of its own: a pause that is the store's comes back every time, one that is the
machine's does not.
"""

import gc
import os
import subprocess
import sys
from time import perf_counter_ns

from benchmarks.interleaved import renewed
from benchmarks.peers.contenders import Contender, contenders
from benchmarks.peers.progress import Tell
from benchmarks.peers.results import Case, Figure, figure

VALUE_BYTES = 32
RUNS = 3


def figures(people: list[Contender], entries: int, tell: Tell) -> list[Figure]:
    runs: dict[str, list[float]] = {who.name: [] for who in people}
    for turn in range(RUNS):
        for who in people:
            tell(f"longest pause up to {entries:,}, run {turn + 1} of {RUNS}: {who.name}")
            command = [sys.executable, "-m", __name__, who.name, str(entries)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            runs[who.name].append(float(done.stdout))
    best = {name: [min(seconds)] for name, seconds in runs.items()}
    return [figure(Case("pause", "longest pause", entries, VALUE_BYTES), best)]


def longest(who: Contender, entries: int) -> float:
    """Seconds of the slowest of so many sets of new keys."""
    keys = renewed(os.urandom(16) for _ in range(entries))
    values = [bytes(bytearray(VALUE_BYTES)) for _ in range(entries)]
    gc.collect()
    worst, clock = 0, perf_counter_ns
    with who.open() as peer:
        call = peer.set
        for key, value in zip(keys, values, strict=True):
            begin = clock()
            call(key, value)
            spent = clock() - begin
            if spent > worst:
                worst = spent
    return worst / 1e9


if __name__ == "__main__":
    wanted = next(who for who in contenders() if who.name == sys.argv[1])
    print(longest(wanted, int(sys.argv[2])))
