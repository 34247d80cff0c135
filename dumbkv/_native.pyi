"""The compiled module. Its type is held to the pure table by one suite of tests."""

from typing import Any

from dumbkv import _table

ffi: Any
lib: Any

class Table(_table.Table):
    def _handle(self) -> int: ...
    def _reap(self) -> bool: ...
    def _logs(self) -> bool: ...
    def _sorted(self, handle: int, most: int) -> list[bytes]: ...
