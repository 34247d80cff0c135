"""Reading, changing and writing one key as one step.

The caller's function runs with no lock held, on a value that may be old by the time it returns.
So what it returns is written only at the version that was read, and otherwise all begins anew.
A version does not come back, not even with its key. The expiry has no version: to keep it is
left to the write itself (``keep_ttl``), which knows the one of that moment.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from dumbkv._arguments import Buffer, check_expiry_now, key_from, value_from

if TYPE_CHECKING:
    from dumbkv._table import Table as _Base
else:

    class _Base:
        __slots__ = ()


class Modifies(_Base):
    """What a store has for changing a value by a function."""

    __slots__ = ()

    def modify(
        self,
        key: Buffer,
        fn: Callable[[bytes | None], Buffer | None],
        *,
        ttl: float | None = None,
        expire_at: float | None = None,
    ) -> bytes | None:
        """Put what ``fn(value)`` returns in the place of `value`, as one atomic step; the new
        value.

        `fn` gets None when the key is absent, and returns None to have it absent. It runs with
        nothing locked, and again whenever another writer has changed the key meanwhile: so it
        may be called several times, and must not write the key itself. A key that is there
        keeps its expiry unless `ttl` or `expire_at` is given; a new one has the store's default.

        >>> import dumbkv
        >>> store = dumbkv.open()
        >>> store.modify(b"log", lambda log: (log or b"") + b"one,")
        b'one,'
        >>> store.modify(b"log", lambda log: (log or b"") + b"two,")
        b'one,two,'
        """
        check_expiry_now(ttl, expire_at)
        key = key_from(key, self.max_key)
        keep_ttl = ttl is None and expire_at is None
        while True:
            entry = self.entry(key)
            new = fn(None if entry is None else entry.value)
            value = None if new is None else value_from(new, self.max_value)
            done: int | None
            if entry is None:
                done = value is None or self.add(key, value, ttl=ttl, expire_at=expire_at)
            elif value is None:
                done = self.delete(key, if_version=entry.version)
            else:
                done = self.set(
                    key,
                    value,
                    ttl=ttl,
                    expire_at=expire_at,
                    keep_ttl=keep_ttl,
                    if_version=entry.version,
                )
            if done:
                return value
