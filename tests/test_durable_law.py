"""The law for stores on disk: what a store has is what it has when it was opened again, on each
table, and the two write the same bytes."""

import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import settings
from hypothesis.stateful import precondition, rule

import dumbkv
from tests.conftest import BACKENDS
from tests.disk import bodies, clock_stopped
from tests.law import MONOTONIC, WALL
from tests.test_one_law import Law


class DurableLaw(Law):
    def __init__(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.paths = [Path(self.directory.name, backend) for backend in BACKENDS]
        self.disk = mock.patch.multiple("os", fsync=mock.DEFAULT, fdatasync=mock.DEFAULT)
        self.disk.start()  # what reaches the disk is no matter here, and takes most of the time
        super().__init__()
        self.open_all()

    def teardown(self) -> None:
        super().teardown()
        self.disk.stop()
        self.directory.cleanup()

    def open_all(self) -> None:
        options: dict[str, Any] = {"max_key": 24, "max_value": 40, "fsync": "never"}
        with clock_stopped(MONOTONIC + self.now, WALL + self.now):
            for store in self.stores:
                store.close()
            self.stores = [
                dumbkv.open(path, backend=backend, **options)  # type: ignore[arg-type]  # names
                for path, backend in zip(self.paths, BACKENDS, strict=True)
            ]

    @precondition(lambda self: not self.watches)
    @rule()
    def all_are_opened_again(self) -> None:
        entries = [[store.entry(key) for key in sorted(self.model)] for store in self.stores]
        last = [store._last_version() for store in self.stores]
        self.open_all()
        assert bodies(self.paths[0]) == bodies(self.paths[-1])
        again = [[store.entry(key) for key in sorted(self.model)] for store in self.stores]
        assert again == entries
        for store, before in zip(self.stores, last, strict=True):
            assert store._last_version() >= before


TestDurableLaw = DurableLaw.TestCase
TestDurableLaw.settings = settings(max_examples=settings.default.max_examples // 3)  # type: ignore[union-attr]  # a profile is loaded
