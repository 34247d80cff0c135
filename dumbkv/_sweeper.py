"""The thread that gives the memory of expired keys back.

A key is absent from its deadline on, whoever looks; what remains of it is cleared away by
the next call that meets it, or by this thread. It is there only while a store has keys that
can expire: the store starts it when it comes to hold such a key, and it ends with the last
of them, with the store's close, or when nobody has the store any more.
"""

import threading
import time
import weakref
from typing import Protocol

from dumbkv.errors import ClosedError

LONGEST_WAIT = 1.0
SHARE = 20
"""It rests this many times longer than it works."""


class Sweepable(Protocol):
    """What the sweeper asks of a store."""

    def sweep(self) -> int: ...
    def _next_expiry(self) -> float | None: ...
    def _rest(self) -> bool: ...


def start(store: Sweepable) -> None:
    """Sweep `store` in a thread of its own for as long as it has something to expire."""
    thread = threading.Thread(
        target=_run, args=(weakref.ref(store),), name="dumbkv-sweeper", daemon=True
    )
    try:
        thread.start()
    except RuntimeError:  # no more threads, or the interpreter is ending: calls clear away alone
        store._rest()


def _run(reference: "weakref.ref[Sweepable]") -> None:
    while True:
        store = reference()
        if store is None:
            return
        began = time.thread_time()  # to wait for the GIL is no work
        try:
            left = store._next_expiry()
            if left == 0:
                store.sweep()
                left = store._next_expiry()
        except ClosedError:
            return
        if left is None and store._rest():
            return
        del store  # what is waited for may be forgotten meanwhile
        worked = time.thread_time() - began
        time.sleep(max(worked * SHARE, min(left or 0.0, LONGEST_WAIT), 0.01))
