"""The thread of a store on disk: it brings writes to the disk in time, and cleans the log.

It ends with the store's close, or when nobody has the store any more.
"""

import threading
import weakref
from typing import Protocol

PAUSE = 0.5
"""Seconds between two looks. What was written after one is asked for at the next, so it is on the
disk within a second."""


class Kept(Protocol):
    """What the keeper asks of a store."""

    def _log_tick(self) -> bool: ...


class Keeper:
    """The thread, and how to hurry and to end it."""

    def __init__(self, store: Kept) -> None:
        self._hurry = threading.Event()
        self._ended = False
        self._thread = threading.Thread(
            target=_run, args=(weakref.ref(store), self), name="dumbkv-keeper", daemon=True
        )
        self._thread.start()

    @property
    def ident(self) -> int | None:
        """Of its thread."""
        return self._thread.ident

    def hurry(self) -> None:
        """Look now."""
        self._hurry.set()

    def end(self) -> None:
        """Come to an end; returns when it has, unless it is the keeper that asks."""
        self._ended = True
        self._hurry.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def wait(self) -> bool:
        """Until it is time for another look; False at the end."""
        self._hurry.wait(PAUSE)
        self._hurry.clear()
        return not self._ended


def _run(reference: "weakref.ref[Kept]", keeper: Keeper) -> None:
    while keeper.wait():
        store = reference()
        if store is None or not store._log_tick():
            return
        del store  # what is waited for may be forgotten meanwhile
