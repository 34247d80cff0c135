"""Answers to changes that are held until the disk has them, while the loop goes on.

A store on disk with ``fsync="always"`` returns from a change when it is on the disk. The loop has
no time to wait for that: it makes the change without waiting, and the answer becomes one that
waits, for the disk to have everything up to there. Many such answers wait for one request to the
disk, and reads go on meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

from dumbkv import Store
from dumbkv_http.response import Deferred, Response

__all__ = ["Holding"]


class Holding:
    """What holds the answers of one store back; `wake` is to be called from any thread."""

    def __init__(self, store: Store, wake: Callable[[], object]) -> None:
        self._store = store
        self._wake = wake

    @staticmethod
    def wanted(store: Store) -> bool:
        """Whether the store's changes wait for the disk."""
        return store._log is not None and store._log.fsync == "always"

    def answer(self, make: Callable[[], Response]) -> Response:
        """What `make` answers, at once when it changed nothing."""
        with self._store._unwaited() as unwaited:
            response = make()
        if type(response) is Deferred:
            return Deferred(self._turns(response.turns))
        return Deferred(self._kept(response, unwaited.end)) if unwaited.end else response

    def _turns(self, turns: Generator[bool, None, Response]) -> Generator[bool, None, Response]:
        end = 0
        while True:
            with self._store._unwaited() as unwaited:
                try:
                    again = next(turns)
                except StopIteration as made:
                    response: Response = made.value
                    break
            end = max(end, unwaited.end)
            yield again
        end = max(end, unwaited.end)
        return (yield from self._kept(response, end)) if end else response

    def _kept(self, response: Response, end: int) -> Generator[bool, None, Response]:
        """`response`, once all up to `end` is on the disk; raises PoisonedError if it never is."""
        log = self._store._log
        assert log is not None
        told: list[Exception | None] = []

        def tell(error: Exception | None) -> None:
            told.append(error)
            self._wake()

        log.when_synced(end, tell)
        while not told:
            yield False
        if told[0] is not None:
            raise told[0]
        return response
