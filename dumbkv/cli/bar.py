"""A progress bar, where there is a terminal to draw it on and tqdm to draw it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from dumbkv._dumpfile import Progress

_DELAY = 0.3
"""Seconds: a task that is over before draws nothing."""


@contextmanager
def bar(title: str) -> Iterator[Progress | None]:
    """What a long task may call as it goes on, or None where nobody would see it."""
    if not sys.stderr.isatty():
        yield None
        return
    try:
        from tqdm import tqdm
    except ImportError:
        yield None
        return
    with tqdm(desc=title, unit_scale=True, delay=_DELAY, leave=False, file=sys.stderr) as shown:

        def progress(done: int, total: int) -> None:
            shown.total = total
            shown.update(done - shown.n)

        yield progress
