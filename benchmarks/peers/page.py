"""docs/benchmarks.md: every figure, how it was measured, where and when."""

from pathlib import Path

from benchmarks.peers.contenders import BASELINE, SUBJECT
from benchmarks.peers.results import Case, Figure, Results

PATH = Path(__file__).parents[2] / "docs" / "benchmarks.md"

TEXT = """\
# DumbKV beside its peers

![Time, memory and pauses of DumbKV and eight others as multiples of a dict behind a lock](\
benchmarks.svg)

Every figure is a multiple of what `dict + Lock` takes in the same run: 0.5 is half its time, half
its memory or half its pause, and smaller is better everywhere. `make bench` measures all of it
again and rewrites this page. Measured on {measured}: {machine}.
With {versions}.

{tables}
## How it was measured

- **One interleaved run.** In each round every contender has its turn, and a figure is a ratio of
  medians over the rounds: a slow moment of the machine falls on all of them. Half the
  interquartile range of a contender's rounds was {spread} of its median in the middle case;
  differences below that mean nothing.
- **Fresh objects.** Keys are 16 random bytes, made anew as objects for each part of each round. A
  dict finds a key that it has seen as the same object up to three times faster than one that has
  just come off a socket. Values are new as well, and nobody shares them, so that a delete frees.
- **One thread.** A life of a contender is timed part by part: set of new keys from empty on, gets
  by uniform and by zipf 0.99 popularity, gets of absent keys, `in`, `get_many` of 100 keys per
  call, overwrites, deletes. The bare dict's `get_many` is `{{key: data[key] for key in keys}}`.
  Slow contenders do fewer operations in a round, on as many entries. With a million entries those
  written in Python are left out, and with 4 KiB each all but the two dicts and the C table.
- **Threads.** 100,000 entries of 256 B, keys by zipf 0.99. The time is that of all threads
  together divided by their operations, so its inverse is throughput. One operation in eight
  (of slow contenders, each) is timed alone, for the 99.9th percentile.
- **Memory** is what the resident memory of a process of its own grows by, over the number of
  entries; Redis' is that of its server, and LMDB's includes the mapped pages of its file. **Longest
  pause** is the slowest single set on the way from empty, the best of three processes.
  **gc.collect()** is a full collection, beside that of the same process without entries.
- **As their users have them.** cachetools with room for everything, so that nothing is evicted;
  LMDB with a writable map, without syncing, one transaction per call; diskcache with its defaults
  and no eviction, on a file system that may be slower or faster than yours; Redis on a Unix
  socket without persistence, through redis-py with hiredis. LMDB, diskcache and Redis do more than
  keep entries in one process, and they pay for it here.
"""


def write(results: Results, path: Path = PATH) -> None:
    spreads = sorted(spread for each in results.figures for spread in each.spread.values())
    path.write_text(
        TEXT.format(
            measured=results.measured,
            machine=", ".join(
                f"{value} cores" if what == "cores" else value
                for what, value in results.machine.items()
            ),
            versions=", ".join(f"{name} {number}" for name, number in results.versions.items()),
            spread=f"{spreads[len(spreads) // 2]:.0%}",
            tables=tables(results),
        )
    )


def tables(results: Results) -> str:
    """A table for each section, and in one thread for each amount of data."""
    groups: dict[str, list[Figure]] = {}
    for each in results.figures:
        groups.setdefault(title(each.case), []).append(each)
    return "\n".join(f"## {title}\n\n{table(group)}" for title, group in groups.items())


def title(case: Case) -> str:
    if case.section == "single":
        return f"One thread, {case.entries:,} entries of 16 + {case.value_bytes} B"
    return "Threads" if case.section == "threads" else "Memory and pauses"


def table(figures: list[Figure]) -> str:
    names = list(dict.fromkeys(name for each in figures for name in each.ratios))
    names.remove(BASELINE)
    rows = [
        ["", BASELINE, *names],
        ["---", *["---:"] * (1 + len(names))],
    ]
    for each in figures:
        cells = [
            cell(each.ratios[name], strong=name == SUBJECT) if name in each.ratios else ""
            for name in names
        ]
        rows.append([label(each.case), quantity(each), *cells])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def label(case: Case) -> str:
    if case.section in ("single", "threads"):  # the title says how much
        return case.label
    return f"{case.label}, {case.entries:,} of 16 + {case.value_bytes} B"


def cell(ratio: float, *, strong: bool) -> str:
    text = f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.2g}"
    return f"**{text}**" if strong else text


def quantity(each: Figure) -> str:
    """What `dict + Lock` takes, for people.

    >>> from benchmarks.peers.results import Case
    >>> quantity(Figure(Case("single", "get", 1, 1), "s", 2.5e-07, {}, {}))
    '250 ns'
    """
    if each.unit == "B":
        return f"{each.baseline:.0f} B"
    for unit, scale in (("ns", 1e9), ("us", 1e6), ("ms", 1e3)):
        if each.baseline * scale < 1000:
            return f"{each.baseline * scale:.3g} {unit}"
    return f"{each.baseline:.3g} s"
