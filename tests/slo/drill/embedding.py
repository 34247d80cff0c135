"""A program with the service embedded, which misbehaves as lines on stdin tell it to.

The store, its log and the service are the real ones. What a drill cannot have is a disk that is
slow or fails: its answer is given here in its place.

    slow ON       the disk takes 150 ms for each request to keep what was written
    broken ON     the disk fails to
    collect ON    a hundred garbage collections a second
    lose 1        an object that the garbage collector gives up on
    blind ON      the process cannot read about itself
"""

from __future__ import annotations

import argparse
import errno
import gc
import sys
import threading
from unittest import mock

import dumbkv
import dumbkv_http
from dumbkv._sync import datasync

SLOW = 0.15


class Faults:
    """What is switched on."""

    def __init__(self, service: dumbkv_http.Service) -> None:
        self._metrics = service.server.app.metrics
        self._slow = self._broken = False
        self._over = threading.Event()
        self._collect = threading.Event()
        threading.Thread(target=self._collects, daemon=True).start()

    def datasync(self, descriptor: int) -> None:
        """The disk."""
        if self._broken:
            raise OSError(errno.EIO, "Input/output error")
        if self._slow:
            self._over.wait(SLOW)
        datasync(descriptor)

    def slow(self, on: bool) -> None:
        self._slow = on
        self._over.clear()

    def broken(self, on: bool) -> None:
        self._broken = on

    def collect(self, on: bool) -> None:
        (self._collect.set if on else self._collect.clear)()

    def lose(self, on: bool) -> None:
        # Only types with the slot of old do it; Python's own tests have one.
        from _testcapi import with_tp_del  # type: ignore[import-not-found]

        lost = with_tp_del(type("Lost", (), {"__tp_del__": lambda self: None}))()
        lost.itself = lost
        del lost
        gc.collect()

    def blind(self, on: bool) -> None:
        registry = self._metrics.registry
        (registry.unregister if on else registry.register)(self._metrics.process)

    def _collects(self) -> None:
        pause = threading.Event()
        while self._collect.wait():
            gc.collect(0)
            pause.wait(0.01)


def main() -> None:
    """Serves until stdin ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--data")
    options = parser.parse_args()
    with (
        dumbkv.open(options.data, fsync="always") if options.data else dumbkv.open() as store,
        dumbkv_http.serve(store, port=options.port) as service,
    ):
        faults = Faults(service)
        with mock.patch("dumbkv._sync.datasync", faults.datasync):
            print(service.url, flush=True)
            for line in sys.stdin:
                name, on = line.split()
                getattr(faults, name)(on == "1")
                print("done", flush=True)


if __name__ == "__main__":
    main()
