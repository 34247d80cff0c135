"""One line on stderr that says what is being measured, when somebody is there to read it."""

import sys
import time
from collections.abc import Callable
from typing import TypeAlias

Tell: TypeAlias = Callable[[str], None]


def teller() -> Tell:
    """Writes over its own line on a terminal, and nothing anywhere else."""
    if not sys.stderr.isatty():
        return silence
    begin = time.monotonic()

    def tell(what: str) -> None:
        spent = int(time.monotonic() - begin)
        sys.stderr.write(f"\r\x1b[K{spent // 60}:{spent % 60:02d}  {what}")
        sys.stderr.flush()

    return tell


def silence(what: str) -> None:
    """Say nothing."""
