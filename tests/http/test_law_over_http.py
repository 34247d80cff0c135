"""The law of the store holds for a client of the service, word for word.

The same machine that drives the tables drives a store in this process and a client of a server
over another, and they agree. Left out are files, which a client does not have, and watching: what
comes over a socket comes a little later, and a server goes on watching for those who come back.
"""

from __future__ import annotations

import os
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

import dumbkv
import dumbkv_http
from dumbkv_http import Client
from tests import test_one_law
from tests.conftest import BACKENDS
from tests.law import WALL, expiries, flags, keys, outcome, values

different = st.lists(st.tuples(keys, values), max_size=4, unique_by=lambda pair: bytes(pair[0]))


class Served(Client):
    """A client that can stop the clock of the store behind it."""

    def __init__(self) -> None:
        options: dict[str, Any] = {"max_key": 24, "max_value": 40, "backend": BACKENDS[-1]}
        self._store = dumbkv.open(**options)
        self._service = dumbkv_http.serve(self._store)
        super().__init__(self._service.url)

    def _set_clock(self, monotonic: int, wall: int) -> None:
        self._store._set_clock(monotonic, wall)

    def close(self) -> None:
        super().close()
        self._service.close()
        self._store.close()


class LawOverHttp(test_one_law.Law):
    def __init__(self) -> None:
        super().__init__()
        for store in self.stores[1:]:
            store.close()
        self.stores[1:] = [Served()]  # type: ignore[list-item]  # it is what this is about
        self.set_clocks()

    dump_and_load = None  # type: ignore[assignment]
    begin_to_watch = None  # type: ignore[assignment]
    look_at_what_happened = None  # type: ignore[assignment]
    namespace_watch = None  # type: ignore[assignment]

    # A key that is written twice in one update is written once in a batch: one version less.

    @rule(pairs=different, as_mapping=flags)
    def update(self, pairs: Any, as_mapping: bool) -> None:
        super().update(pairs, as_mapping)

    @rule(pairs=different, expiry=expiries)
    def set_many(self, pairs: Any, expiry: Any) -> None:
        super().set_many(pairs, expiry)

    @invariant()
    def contents_agree(self) -> None:
        expected = {key: value for key, (value, _) in self.model.items()}
        for store in self.stores:
            assert dict(store.items()) == expected
        entries = [[store.entry(key) for key in sorted(expected)] for store in self.stores]
        assert entries[0] == entries[1]
        for entry in entries[0]:
            assert entry is not None
            deadline = self.model[entry.key][1]
            assert entry.expires_at == (None if deadline is None else (deadline + WALL) / 1e6)

    @rule()
    def views_of_all_agree(self) -> None:
        for name in ("keys", "values", "items"):
            seen = [sorted(getattr(store, name)()) for store in self.stores]
            assert seen[0] == seen[1]
        assert [len(store) for store in self.stores] == [len(self.model)] * 2
        stats = [outcome(store.stats)[1] for store in self.stores]
        assert stats[0].entries == stats[1].entries == len(self.model)
        assert stats[0].data_bytes == stats[1].data_bytes


TestLawOverHttp = LawOverHttp.TestCase
if os.environ.get("HYPOTHESIS_PROFILE", "ci") == "ci":
    # Each step is some dozen requests.
    TestLawOverHttp.settings = settings(max_examples=25, stateful_step_count=30)
