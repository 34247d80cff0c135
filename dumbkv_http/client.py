"""A store behind the service, with the store's own methods.

Each method is one request, and as atomic as the store's; errors are the store's own, word for word
where they are about arguments. `modify` and `get_or_set` run their function here and ask again when
another writer was faster; so do `pop`, `popitem` and `setdefault`, which have no request of their
own. What goes through many requests says so.
"""

from __future__ import annotations

import ssl
from base64 import urlsafe_b64encode
from collections.abc import (
    Callable,
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    MutableMapping,
    ValuesView,
)
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, overload
from urllib.parse import quote_from_bytes, urlencode

from dumbkv import Codec, Entry, Stats, View
from dumbkv._arguments import (
    NEVER,
    Buffer,
    check_expiry,
    check_version,
    epoch_microseconds,
    microseconds,
    pairs_from,
    step_from,
)
from dumbkv._flight import Fills, Flights
from dumbkv._modify import Modifies
from dumbkv._scan import text
from dumbkv._view import Viewed
from dumbkv_http._client_base import Scans, result_of
from dumbkv_http._client_batch import Batch
from dumbkv_http._client_errors import raise_for
from dumbkv_http._client_watch import Watch
from dumbkv_http._json import member, read
from dumbkv_http._transport import Answer, Transport

__all__ = ["Client"]

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")
_MISSING: Any = object()
_PAGE = 1000
_MOST_IN_PAGE = 10_000


if TYPE_CHECKING:

    class _Inherited(MutableMapping[bytes, bytes]):
        """What a client has from the store's own code, which asks for no more than it has."""

        def namespace(self, prefix: Buffer) -> View[bytes, bytes]: ...
        def text(self) -> View[str, str]: ...
        def json(self) -> View[str, Any]: ...
        def view(self, key_codec: Codec[K], value_codec: Codec[V]) -> View[K, V]: ...
        def modify(
            self,
            key: Buffer,
            fn: Callable[[bytes | None], Buffer | None],
            *,
            ttl: float | None = None,
            expire_at: float | None = None,
        ) -> bytes | None: ...
        def get_or_set(
            self,
            key: Buffer,
            factory: Callable[[], Buffer],
            *,
            ttl: float | None = None,
            expire_at: float | None = None,
            timeout: float | None = None,
        ) -> bytes: ...
else:

    class _Inherited(Viewed, Fills, Modifies, MutableMapping):
        pass


class Client(Scans, _Inherited):
    """The store behind the service at `url`; for any number of threads.

    `url` is `http://host:port`, `https://…` (with an SSLContext as `context`, if the usual one
    will not do) or `http+unix://%2Fpath%2Fof%2Fsocket`; `token` is sent as a bearer token;
    `timeout` is in seconds, for connecting and for each wait. Nothing is sent before the first
    call. Connections are kept and used again.

    Raises what a store raises, and OSError when there is no answer. Reads are then tried again by
    themselves. A write is not, once anything of it was sent: it may have been done.

    >>> import dumbkv, dumbkv_http
    >>> with dumbkv.open() as store, dumbkv_http.serve(store) as service:
    ...     with dumbkv_http.Client(service.url) as client:
    ...         client[b"colour"] = b"green"
    ...         version = client.set(b"colour", b"blue", ttl=60)
    ...         client.set(b"colour", b"red", if_version=version) is not None
    ...         client.json()["user"] = {"name": "Ann"}
    ...         client.incr(b"visits"), client.scan(limit=1).items, dict(store)[b"user"]
    True
    (1, [(b'colour', b'red')], b'{"name":"Ann"}')
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout: float = 30.0,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._transport = Transport(url, token, timeout, context)
        self._flights = Flights()

    # Reading

    def __getitem__(self, key: Buffer) -> bytes:
        key = self._key(key)
        value = self._value_of(key)
        if value is None:
            raise KeyError(key)
        return value

    @overload
    def get(self, key: Buffer) -> bytes | None: ...
    @overload
    def get(self, key: Buffer, default: T) -> bytes | T: ...
    def get(self, key: Buffer, default: Any = None) -> Any:
        """The value of `key`, or `default`."""
        value = self._value_of(self._key(key))
        return default if value is None else value

    def __contains__(self, key: object) -> bool:
        answer = self._ask("HEAD", _target("kv", self._key(key)))
        if answer.status == 404:
            return False
        return answer.status == 200 or raise_for(answer)

    def __len__(self) -> int:
        return self.count()

    def __iter__(self) -> Iterator[bytes]:
        return self.scan_keys()

    def keys(self) -> KeysView[bytes]:
        """A live view of the keys; iterating over it is `scan_keys`."""
        return KeysView(self)

    def values(self) -> ValuesView[bytes]:
        """A live view of the values, in the order of their keys."""
        return _Values(self)

    def items(self) -> ItemsView[bytes, bytes]:
        """A live view of the pairs; iterating over it is `iter_scan`."""
        return _Items(self)

    def entry(self, key: Buffer) -> Entry | None:
        """The key with value, version and expiry, or None when it is not there."""
        key = self._key(key)
        answer = self._ask("GET", _target("kv", key))
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise_for(answer)
        expires_at = answer.headers.get("DumbKV-Expires-At")
        return Entry(
            key,
            answer.body,
            _version(answer),
            None if expires_at is None else float(expires_at),
        )

    def get_many(self, keys: Iterable[Buffer]) -> dict[bytes, bytes]:
        """The values of those of `keys` that are there, by key, read in one step."""
        wanted = [member("key", self._key(key)) for key in keys]
        if not wanted:
            return {}
        document = {
            "keys": [text for name, text in wanted if name == "key"],
            "keys_b64": [text for name, text in wanted if name != "key"],
        }
        found = self._post("/v1/mget", document)["items"]
        return {read(each, "key"): read(each, "value") for each in found}

    def ttl(self, key: Buffer) -> float | None:
        """Seconds until `key` expires, or None when it never does; KeyError when absent."""
        key = self._key(key)
        answer = self._ask("GET", _target("ttl", key))
        if answer.status == 404:
            raise KeyError(key)
        ttl: float | None = result_of(answer)["ttl"]
        return ttl

    # Writing

    def __setitem__(self, key: Buffer, value: Buffer) -> None:
        self._put(self._key(key), self._value(value), "", {})

    def set(
        self,
        key: Buffer,
        value: Buffer,
        *,
        ttl: float | None = None,
        expire_at: float | None = None,
        keep_ttl: bool = False,
        nx: bool = False,
        xx: bool = False,
        if_version: int | None = None,
    ) -> int | None:
        """Store `value` under `key`; the new version, or None when a condition failed. The
        options are those of ``Store.set``."""
        key, value = self._key(key), self._value(value)
        check_expiry(ttl, expire_at, keep_ttl)
        query = _expiry(ttl, expire_at)
        if keep_ttl:
            query = "?keep_ttl=1"
        if nx and (xx or if_version is not None):
            raise ValueError("nx writes only absent keys: expected no xx or if_version beside it")
        headers = {}
        if if_version is not None:
            check_version(if_version)
            headers["If-Match"] = f'"{if_version}"'
        elif xx:
            headers["If-Match"] = "*"
        elif nx:
            headers["If-None-Match"] = "*"
        return self._put(key, value, query, headers)

    def add(
        self,
        key: Buffer,
        value: Buffer,
        *,
        ttl: float | None = None,
        expire_at: float | None = None,
    ) -> int | None:
        """Store `value` only when `key` is absent; the version, or None when it was there."""
        return self.set(key, value, ttl=ttl, expire_at=expire_at, nx=True)

    def setdefault(self, key: Buffer, default: Buffer) -> bytes:
        """The value of `key`, after storing `default` when it was absent."""
        key, value = self._key(key), self._value(default)
        while self.add(key, value) is None:
            here = self._value_of(key)
            if here is not None:
                return here
        return value

    def update(self, other: Mapping[Any, Any] | Iterable[Any] = (), /) -> None:  # type: ignore[override]  # no keywords: keys are bytes
        """Store every pair of a mapping or of an iterable of pairs: all of them or none."""
        self._set_many("update", other, {})

    def set_many(
        self,
        items: Mapping[Any, Any] | Iterable[Any],
        *,
        ttl: float | None = None,
        expire_at: float | None = None,
    ) -> None:
        """Store every pair of a mapping or of an iterable of pairs, all with one expiry: all
        of them or none, in one step."""
        check_expiry(ttl, expire_at)
        _expiry(ttl, expire_at)
        self._set_many("set_many", items, {"ttl": ttl, "expire_at": expire_at})

    def incr(self, key: Buffer, by: int = 1, *, ttl: float | None = None) -> int:
        """Add `by` to the decimal integer at `key` and return the sum; as ``Store.incr``."""
        return self._add(key, by, 1, ttl)

    def decr(self, key: Buffer, by: int = 1, *, ttl: float | None = None) -> int:
        """Subtract `by`: ``incr`` with the sign turned."""
        return self._add(key, by, -1, ttl)

    def touch(
        self, key: Buffer, ttl: float | None = None, *, expire_at: float | None = None
    ) -> bool:
        """Give `key` a new expiry and leave its value and version; False when absent."""
        key = self._key(key)
        if (ttl is None) == (expire_at is None):
            raise ValueError("touch needs either ttl or expire_at")
        answer = self._ask("POST", _target("touch", key) + _expiry(ttl, expire_at))
        return bool(result_of(answer)["touched"])

    def persist(self, key: Buffer) -> bool:
        """Take the expiry off `key`; whether it had one."""
        return bool(result_of(self._ask("DELETE", _target("ttl", self._key(key))))["persisted"])

    # Removing

    def __delitem__(self, key: Buffer) -> None:
        if not self.delete(key):
            raise KeyError(bytes(key))

    def delete(self, key: Buffer, *, if_version: int | None = None) -> bool:
        """Remove `key`; whether it was there (and, if asked, at that version)."""
        key = self._key(key)
        wanted = "*"
        if if_version is not None:
            check_version(if_version)
            wanted = f'"{if_version}"'
        answer = self._ask("DELETE", _target("kv", key), headers={"If-Match": wanted})
        if answer.status == 412:
            return False
        return answer.status == 204 or raise_for(answer)

    def delete_many(self, keys: Iterable[Buffer]) -> int:
        """Remove those of `keys` that are there, in one step; how many there were."""
        batch = self.batch()
        with batch:
            for key in keys:
                batch.delete(key)
        return sum(batch.results)

    @overload
    def pop(self, key: Buffer) -> bytes: ...
    @overload
    def pop(self, key: Buffer, default: T) -> bytes | T: ...
    def pop(self, key: Buffer, default: Any = _MISSING) -> Any:
        """Remove `key` and return its value, or `default`; KeyError without one."""
        while True:
            entry = self.entry(key)
            if entry is None:
                if default is _MISSING:
                    raise KeyError(bytes(key))
                return default
            if self.delete(key, if_version=entry.version):
                return entry.value

    def popitem(self) -> tuple[bytes, bytes]:
        """Remove the first key and return it with its value; KeyError when there is none."""
        while True:
            first = self.scan(limit=1).items
            if not first:
                raise KeyError("popitem(): the store is empty")
            entry = self.entry(first[0][0])
            if entry is not None and self.delete(entry.key, if_version=entry.version):
                return entry.key, entry.value

    def clear(self) -> None:
        """Remove every key at once."""
        result_of(self._ask("DELETE", "/v1/scan?prefix="))

    # Together

    def batch(self) -> Batch:
        """Changes that are done together when the block ends: all of them or none; as
        ``Store.batch``."""
        return Batch(self.max_key, self.max_value, self._commit)

    def watch(
        self, prefix: Buffer = b"", *, since: int | None = None, timeout: float | None = None
    ) -> Watch:
        """Events of the keys that begin with `prefix`; as ``Store.watch``. It has a connection of
        its own, and when that is lost goes on behind the last event on another."""
        return Watch(self._transport, text(prefix), since, timeout)

    def stats(self) -> Stats:
        """The store's counters since it was opened."""
        found = self._get("/v1/stats")
        return Stats(*(found[name] for name in Stats._fields))

    def __repr__(self) -> str:
        return f"<dumbkv_http.Client: {'closed' if self.closed else self._transport.url}>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Client is neither copied nor pickled: make another with its url")

    # Requests

    def _commit(self, document: Any) -> list[Any]:
        results: list[dict[str, Any]] = self._post("/v1/batch", document)["results"]
        return [value for each in results for value in each.values()]

    def _value_of(self, key: bytes) -> bytes | None:
        answer = self._ask("GET", _target("kv", key))
        if answer.status == 404:
            return None
        return answer.body if answer.status == 200 else raise_for(answer)

    def _put(self, key: bytes, value: bytes, query: str, headers: dict[str, str]) -> int | None:
        answer = self._ask("PUT", _target("kv", key) + query, value, headers)
        if answer.status == 412:
            return None
        return _version(answer) if answer.status in (201, 204) else raise_for(answer)

    def _add(self, key: Buffer, by: int, sign: int, ttl: float | None) -> int:
        key = self._key(key)
        query = urlencode({"by": step_from(by, sign)})
        expiry = _expiry(ttl, None)
        if expiry:
            query += f"&{expiry[1:]}"
        total: int = result_of(self._ask("POST", f"{_target('incr', key)}?{query}"))["value"]
        return total

    def _set_many(self, function: str, items: Any, expiry: dict[str, Any]) -> None:
        pairs = [(self._key(k), self._value(v)) for k, v in pairs_from(function, items)]
        batch = self.batch()
        with batch:
            for key, value in pairs:
                batch.set(key, value, **expiry)


class _Values(ValuesView[bytes]):
    _mapping: Client

    def __iter__(self) -> Iterator[bytes]:
        return (value for _, value in self._mapping.iter_scan())

    def __contains__(self, value: object) -> bool:
        return any(value == each for each in self)


class _Items(ItemsView[bytes, bytes]):
    _mapping: Client

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return self._mapping.iter_scan()


def _target(route: str, key: bytes) -> str:
    """The path of a key; dots alone would be resolved away on the way there."""
    if key in (b".", b".."):
        return f"/v1/{route}64/{urlsafe_b64encode(key).decode().rstrip('=')}"
    return f"/v1/{route}/{quote_from_bytes(key, safe='')}"


def _expiry(ttl: float | None, expire_at: float | None) -> str:
    """The query that says when a key expires, to the microsecond."""
    if ttl is not None:
        return f"?ttl={_seconds(microseconds('ttl', ttl))}"
    if expire_at is not None:
        return f"?expire_at={_seconds(epoch_microseconds(expire_at))}"
    return ""


def _seconds(given: int) -> str:
    return "never" if given == NEVER else f"{given // 10**6}.{given % 10**6:06d}"


def _version(answer: Answer) -> int:
    tag = answer.headers["ETag"]
    if tag is None:
        raise ConnectionError("the answer of the server was cut off, or is not DumbKV's: no ETag")
    return int(tag.strip('"'))
