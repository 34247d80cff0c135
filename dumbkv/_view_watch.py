"""A view's watch: the store's own for the view's keys, which come out decoded."""

from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from dumbkv._codec import Coded
from dumbkv._watch import Watch

K = TypeVar("K")

if TYPE_CHECKING:
    from dumbkv._watch import Kind

    # At run time it is the store's own, which takes no parameter before Python 3.11.
    class Event(NamedTuple, Generic[K]):
        kind: Kind
        key: K | None
        version: int


class ViewWatch(Iterator["Event[K]"], Generic[K]):
    """What ``view.watch()`` gives: see there."""

    __slots__ = ("_coded", "_watch")

    def __init__(self, watch: Watch, coded: Coded[K, Any]) -> None:
        self._watch = watch
        self._coded = coded

    def get(self, timeout: float | None = None) -> "Event[K] | None":
        """The next event, or None after `timeout` seconds without one; None waits for ever.

        Raises WatchLostError when more happened than is kept, ClosedError when the watch or
        the store is closed, DecodeError for a key the codec cannot read; the next call then
        goes on behind that one.
        """
        event = self._watch.get(timeout)
        return None if event is None else self._decoded(event)

    def __next__(self) -> "Event[K]":
        return self._decoded(next(self._watch))

    def __iter__(self) -> "ViewWatch[K]":
        return self

    def close(self) -> None:
        """End the watch; when it was the last, the table keeps no more events."""
        self._watch.close()

    def __enter__(self) -> "ViewWatch[K]":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _decoded(self, event: Any) -> "Event[K]":
        # The empty key of a "clear" is no key, and a namespace has a key that is empty.
        key = None if event.kind == "clear" else self._coded._key(event.key)
        return event._replace(key=key)  # type: ignore[no-any-return]  # the parameter is ours
