"""Lives of a service: what went wrong, how much of it and for how long."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from tests.slo.promtool import Phase

__all__ = ["LIVES", "WEEKS", "Life"]

Life = tuple[int, list[Phase]]
"""Minutes between samples, and the phases."""

DAY = 1440

_QUIET, _LATER = Phase(60, total=0.1), Phase(600, total=0.1)

LIVES: dict[str, Life] = {
    "nothing": (5, [Phase(8 * 60)]),
    "all fail for 20 minutes": (1, [Phase(90), Phase(20, bad=600), Phase(100)]),
    "half fail for 10 minutes": (1, [Phase(90), Phase(10, bad=300), Phase(100)]),
    "10 % fail for 40 minutes": (1, [Phase(90), Phase(40, bad=60), Phase(100)]),
    "2 % fail for 3 hours": (1, [Phase(90), Phase(180, bad=12), Phase(100)]),
    "all are slow for 20 minutes": (1, [Phase(90), Phase(20, slow=600), Phase(100)]),
    "a tenth is slow for 4 hours": (1, [Phase(90), Phase(240, slow=60), Phase(60)]),
    "1.2 % are slow for an hour": (1, [Phase(90), Phase(60, slow=7.2), Phase(60)]),
    "half fail and the rest is slow": (1, [Phase(90), Phase(30, bad=300, slow=300), Phase(60)]),
    "two in a thousand fail for days": (30, [Phase(DAY), Phase(2 * DAY, bad=1.2), Phase(DAY)]),
    "three quarters slow for two days": (
        30, [Phase(3 * DAY), Phase(2 * DAY, slow=450), Phase(DAY)]
    ),
    "a sixth is slow for a day": (30, [Phase(3 * DAY), Phase(DAY, slow=102), Phase(DAY)]),
    "four of four fail": (5, [_QUIET, Phase(5, total=0.8, bad=0.8), _LATER]),
    "five of five fail": (5, [_QUIET, Phase(5, total=1, bad=1), _LATER]),
    "four requests are slow": (5, [_QUIET, Phase(5, total=0.8, slow=0.8), _LATER]),
    "five requests are slow": (5, [_QUIET, Phase(5, total=1, slow=1), _LATER]),
    "one a minute, and all fail": (1, [Phase(20, total=1, bad=1), Phase(20)]),
    "nine in ten minutes, and all fail": (1, [Phase(20, total=0.9, bad=0.9), Phase(20)]),
    "one a minute, and all are slow": (1, [Phase(20, total=1, slow=1), Phase(20)]),
    "nine in ten minutes, and all are slow": (1, [Phase(20, total=0.9, slow=0.9), Phase(20)]),
    "clients err as often as they like": (1, [Phase(90), Phase(60, client=60_000), Phase(60)]),
    "one in a hundred fails among many client errors": (
        1, [Phase(90), Phase(60, bad=6, client=60_000), Phase(60)]
    ),
    "no requests at night": (5, [Phase(90), Phase(300, total=0, client=0), Phase(60)]),
}  # fmt: skip


_WEEK = Phase(7 * DAY + 60, total=394)
# How many requests, how many bad, and how many slow: for each row of the matrix one bad request
# too few for it and just enough; for the last row, which begins after its bound, one more.
_ROWS = [
    (_WEEK.minutes * 394, 0, 0),
    (3_999_999, 999, 0), (4_000_000, 1000, 0),
    (4_003_999, 2001, 0), (4_004_000, 2002, 0),
    (4_007_999, 3005, 0), (4_008_000, 3006, 0), (4_008_001, 3007, 0),
    # From here on the slow ones, of all but 3007.
    (4_011_006, 3007, 10_019), (4_011_007, 3007, 10_020),
    (4_023_006, 3007, 20_099), (4_023_007, 3007, 20_100),
    (4_043_006, 3007, 30_299), (4_043_007, 3007, 30_300), (4_043_008, 3007, 30_301),
]  # fmt: skip


def _one_by_one() -> Iterator[Phase]:
    """Phases that lead from each state to the next, and stay there for two samples."""
    for before, after in pairwise(_ROWS):
        total, bad, slow = ((now - then) / 5 for now, then in zip(after, before, strict=True))
        yield Phase(5, total=total, bad=bad, slow=slow)
        yield Phase(10, total=0)


WEEKS: dict[str, Life] = {
    "overspent on the first day": (
        5, [Phase(DAY, total=100, bad=1, slow=10), Phase(6 * DAY + 60, total=100)]
    ),
    "ten thousand requests after a week": (
        5, [Phase(7 * DAY + 600, total=0.95, bad=0.00085 * 0.95, slow=0.0085 * 0.95)]
    ),
    "each row of the matrix is reached by one request": (
        5, [_WEEK, *_one_by_one()]
    ),
}  # fmt: skip
"""Those that need the week without which a budget means nothing; a minute of promtool's each."""
