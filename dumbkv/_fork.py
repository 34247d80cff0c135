"""Stores across os.fork().

A fork copies one thread and all locks; a lock that another thread had would stay locked in
the child for ever. So the forking thread takes every store's locks first and gives them back
on both sides. The child then has a store of its own with the same contents, in memory.
"""

import itertools
import os
import threading
import weakref
from typing import Protocol


class Forkable(Protocol):
    """What a fork asks of a store."""

    def _before_fork(self) -> None: ...
    def _after_fork(self) -> None: ...
    def _in_child(self) -> None: ...


# By number and not as a set: a mapping has no hash.
_stores: "weakref.WeakValueDictionary[int, Forkable]" = weakref.WeakValueDictionary()
_numbers = itertools.count()
_lock = threading.RLock()
_locked: list[Forkable] = []


def keep(store: Forkable) -> None:
    """Take care of `store` at every fork, for as long as it exists."""
    with _lock:
        _stores[next(_numbers)] = store


def _before() -> None:
    _lock.acquire()
    _locked[:] = _stores.values()
    for store in _locked:
        store._before_fork()


def _after_in_parent() -> None:
    for store in _locked:
        store._after_fork()
    _locked.clear()
    _lock.release()


def _after_in_child() -> None:
    stores = list(_locked)
    _after_in_parent()
    for store in stores:
        store._in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child
    )
