"""What a store on disk has beside its table: the log, who brings it to the disk, and who cleans it.

The table writes the log and says when it needs something (``csrc/pylog.h``): the methods of
`Durable` that begin with ``_log_`` answer it. A store in memory has no `Disk`, and none of this
is called.
"""

import contextlib
import os
import secrets
import shutil
import threading
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from dumbkv import _clean, _opening
from dumbkv._entry import Stats
from dumbkv._files import sync_directory
from dumbkv._keeper import Keeper
from dumbkv._lockfile import LockFile
from dumbkv._log import needed
from dumbkv._opening import logger
from dumbkv.errors import ClosedError, CorruptError, DiskFullError, ForkedError, PoisonedError

if TYPE_CHECKING:
    from dumbkv._table import Table
    from dumbkv._watch import Bell

    class _Base(Table):
        _bell: Bell

        def stats(self) -> Stats: ...
else:

    class _Base:
        __slots__ = ()


Fsync = Literal["always", "everysec", "never"]
FSYNC = ("always", "everysec", "never")
ALMOST = 1.05
"""A log of so many times what is needed is not worth writing anew."""


class Disk:
    """A store's data directory, and what is done about it."""

    def __init__(self, store: "Durable", path: str, fsync: Fsync, room: int | None) -> None:
        self.path = path
        self.fsync = fsync
        self.process = os.getpid()
        self.forked = False
        self._local = threading.local()
        _opening.make_directory(path)
        self._lock = LockFile(path)
        try:
            store._log_begin(fsync == "always")
            self.log, self.cut_bytes = _opening.recover(store, path, room)
        except BaseException:
            self._lock.release()
            raise
        self.recovered_entries = len(store)
        self.syncs = self.log.syncs
        self.cleaner = _clean.Cleaner(self.log)
        self.keeper = Keeper(store)
        if fsync != "always":  # there, whoever wrote waits to hear
            self.syncs.alone = self.keeper.ident
        self._finalizer = weakref.finalize(store, self._abandon)
        self._finalizer.atexit = False

    def _abandon(self) -> None:
        """Let go of the files and write nothing more: nobody has the store, or it is a child's."""
        self.log.abandon()
        self._lock.release()

    # What the table asks for, in a writer's turn

    def room(self, store: "Durable", need: int) -> None:
        long = self.cleaner.share(store)
        if long >= _clean.PAY:
            self._clean_if_it_can(lambda: self.cleaner.pay(store))
        self.log.room(store, need, little=long >= _clean.PAY)
        if long >= _clean.BEGIN or self.log.is_long(store):
            self.keeper.hurry()

    def _clean_if_it_can(self, clean: Callable[[], object]) -> None:
        """Whoever writes is not to fail because the log cannot be cleaned."""
        try:
            clean()
        except DiskFullError:
            pass  # later there may be room
        except (OSError, CorruptError) as error:
            self.cleaner.failed = True
            logger.error("%s: the log is not cleaned any more: %s", self.path, error)

    def refuse(self) -> NoReturn:
        if self.forked:
            raise ForkedError(
                f"{self.path} was opened by process {self.process}, and this is a child of it: "
                "open the store again here once it is closed there"
            )
        self.syncs.expect_sound()
        raise ClosedError("the store is closed")

    # What waits for the disk

    def wait(self, store: "Durable", end: int) -> None:
        unwaited: Unwaited | None = getattr(self._local, "unwaited", None)
        if unwaited is not None:
            unwaited.end = end
        else:
            self.syncs.wait(store, end)

    def when_synced(self, end: int, done: Callable[[Exception | None], object]) -> None:
        """Call `done` with None once all up to `end`, of an :class:`Unwaited`, is on the disk, or
        with PoisonedError when that cannot be: at once, or from another thread. It must neither
        wait nor raise."""
        self.syncs.when_synced(end, done)
        self.keeper.hurry()

    def sync(self, store: "Durable") -> None:
        if self.forked:
            self.refuse()
        self.syncs.wait(store, written(store))

    # The keeper's work

    def tick(self, store: "Durable") -> bool:
        """Bring to the disk what is due, and clean; False when there is nothing left to keep."""
        try:
            if store.closed or self.syncs.error is not None:
                return False
            self._sync_due(store)
            self._go_on_in_another_file(store)
            self._clean_if_it_can(lambda: self._clean(store))
        except PoisonedError as error:
            logger.error("%s", error)
        return self.syncs.error is None

    def _sync_due(self, store: "Durable") -> None:
        due = written(store) if self.fsync == "everysec" else self.syncs.waited_for
        if due > self.syncs.position:
            self.syncs.wait(store, due)

    def _go_on_in_another_file(self, store: "Durable") -> None:
        """If the newest is long. What is left of it for a turn is what was written while the disk
        was asked for what was written while it was asked for the most."""
        if not self.log.is_long(store):
            return
        for _ in range(2):
            self.syncs.wait(store, written(store))
        with _turn(store):
            if store.closed or self.syncs.error is not None or not self.log.is_long(store):
                return
            try:
                self.log.close_file(store)
                self.log.begin_file(store)
            except (OSError, DiskFullError) as error:  # whoever writes next tries again
                logger.error("%s: no other file could be begun: %s", self.path, error)

    def _clean(self, store: "Durable") -> None:
        if self.cleaner.share(store) < _clean.BEGIN:
            return
        while not store.closed and self.cleaner.share(store) > _clean.END:
            oldest = min(self.log.sizes)
            self.cleaner.clean(store, min(oldest + 1, self.log.newest))
            self._sync_due(store)
            if min(self.log.sizes) == oldest:
                return

    # Snapshots

    def compact(self, store: "Durable") -> None:
        """Leave nothing in the log that is not needed."""
        with _turn(store):
            entries, data = store._counters()[:2]
            if self.log.used(store) <= ALMOST * needed(entries, data):
                return
            self._next_file(store)
            before = self.log.newest
        self.cleaner.clean(store, before)

    def copy(self, store: "Durable", path: str) -> None:
        """Make `path` a data directory with all there is now."""
        if os.path.lexists(path):
            raise FileExistsError(17, "there is something already", path)
        directory, base = os.path.split(os.path.abspath(path))
        beside = os.path.join(directory, f".{base}.{secrets.token_hex(4)}.tmp")
        with _turn(store):
            self._next_file(store)
            numbers = [number for number in self.log.sizes if number < self.log.newest]
            self.cleaner.pinned += 1
        try:
            os.mkdir(beside, 0o700)
            for number in numbers:
                _link(self.log.path(number), beside)
            sync_directory(beside)
            os.rename(beside, path)
            sync_directory(directory)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
        finally:
            with _turn(store):
                self.cleaner.pinned -= 1

    def _next_file(self, store: "Durable") -> None:
        """In a turn: from here on another file is written to."""
        if self.forked or self.syncs.error is not None:
            self.refuse()
        if store.closed:
            raise ClosedError("the store is closed")
        if self.log.is_open:
            self.log.close_file(store)
        self.log.begin_file(store)

    # Its end

    def close(self, store: "Durable") -> None:
        """Bring all to the disk and let go of the directory; what fails is raised at the end."""
        if self.forked:
            store._close_table()
            return
        self.cleaner.pinned += 1  # the keeper may be at it, which can take long
        self.keeper.end()
        with _turn(store):
            if store.closed:
                return
            try:
                if self.syncs.unheard is not None:
                    raise self.syncs.unheard
                if self.log.is_open and self.syncs.error is None:
                    self.log.end(store, store._bell.watched)
            finally:
                store._close_table()
                store._log_refuses(True)
                self._finalizer()

    def in_child(self, store: "Durable") -> None:
        self.forked = True
        store._log_refuses(True)
        self._finalizer()


class Unwaited:
    """Changes that this thread makes in a block and does not wait for; `end` is to be given to
    ``when_synced``."""

    def __init__(self, disk: Disk | None, store: "Durable") -> None:
        self._local = None if disk is None else disk._local
        self._store = store
        self.end = 0

    def __enter__(self) -> "Unwaited":
        if self._local is not None:
            self._local.unwaited = self
            self._store._log_unwaited(True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._local is not None:
            self._store._log_unwaited(False)
            self._local.unwaited = None


@contextlib.contextmanager
def _turn(store: "Durable") -> Any:
    store._log_lock()
    try:
        yield
    finally:
        store._log_unlock()


def written(store: "Durable") -> int:
    """How far the log is written."""
    with _turn(store):
        return store._log_state()[1]


def _link(path: str, directory: str) -> None:
    """The same file in another directory; a copy of it on another file system."""
    to = os.path.join(directory, os.path.basename(path))
    try:
        os.link(path, to, follow_symlinks=False)
    except OSError:
        shutil.copyfile(path, to, follow_symlinks=False)
        os.chmod(to, 0o600)
        with open(to, "rb") as copy:
            os.fsync(copy.fileno())


class Durable(_Base):
    """What a store has for its data directory."""

    __slots__ = ()
    _log: Disk | None

    @property
    def path(self) -> str | None:
        """The data directory, or None for a store in memory."""
        return None if self._log is None else self._log.path

    def sync(self) -> None:
        """Return when everything that was written so far is on the disk.

        PoisonedError when the disk failed to keep it. Nothing to do for a store in memory.
        """
        if self.closed:
            raise ClosedError("the store is closed")
        if self._log is not None:
            self._log.sync(self)

    def snapshot(self, path: str | os.PathLike[str] | None = None) -> None:
        """Write the log anew without what is not needed any more; or, with `path`, make that a
        data directory of its own, with all that is in the store at one moment of the call. O(n).

        Other threads go on meanwhile. A copy costs next to nothing on the same file system: it
        shares the files. ValueError for a store in memory, FileExistsError for a `path` that is
        there, OSError for whatever the system refuses.

        >>> import dumbkv, os, tempfile
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     path, copy = os.path.join(directory, "data"), os.path.join(directory, "copy")
        ...     with dumbkv.open(path) as store:
        ...         store[b"sky"] = b"blue"
        ...         store.snapshot(copy)
        ...         store[b"sky"] = b"grey"
        ...     with dumbkv.open(copy) as before, dumbkv.open(path) as now:
        ...         before[b"sky"], now[b"sky"]
        (b'blue', b'grey')
        """
        if self._log is None:
            raise ValueError("a store in memory has no path: dump() writes one to a file")
        if path is None:
            self._log.compact(self)
        else:
            self._log.copy(self, os.fsdecode(path))

    def close(self) -> None:
        """Give the memory back; every later call but `close` raises ClosedError. What a store on
        disk has written is on the disk then, or PoisonedError says that it is not."""
        if self._log is None:
            self._close_table()
        else:
            self._log.close(self)

    def _close_table(self) -> None:
        super().close()

    def _unwaited(self) -> Unwaited:
        """A block in which this thread's changes do not wait for the disk, with ``fsync="always"``:
        ``with store._unwaited() as w: ...``, and then ``store._log.when_synced(w.end, done)``."""
        return Unwaited(self._log, self)

    def _disk_stats(self) -> tuple[Any, ...]:
        """The fields of Stats from `log_bytes` on."""
        disk = self._log
        if disk is None:
            return ()
        syncs = disk.syncs
        return (
            *(disk.log.size, len(disk.log.sizes), disk.recovered_entries, disk.cut_bytes),
            *(syncs.requests, syncs.last, int(syncs.error is not None)),
            int(disk.cleaner.failed),
        )

    def _disk_waits(self) -> tuple[list[tuple[str, float]], float]:
        """Of a store on disk, how long it waited for it: see ``Syncs.waits``."""
        assert self._log is not None
        return self._log.syncs.waits()

    # What the table and the keeper ask

    def _log_room(self, need: int) -> None:
        assert self._log is not None
        self._log.room(self, need)

    def _log_failed(self, number: int) -> None:
        assert self._log is not None
        self._log.log.failed(self, number)

    def _log_wait(self, end: int) -> None:
        assert self._log is not None
        self._log.wait(self, end)

    def _log_flush(self) -> None:
        assert self._log is not None
        if self._log.fsync == "always":
            self._log.syncs.in_turn(self)

    def _log_refuse(self, unused: int) -> None:
        assert self._log is not None
        self._log.refuse()

    def _log_tick(self) -> bool:
        return self._log is not None and self._log.tick(self)
