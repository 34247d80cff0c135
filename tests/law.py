"""What the rules of the law share: stores of every table, a plain model, and their agreement.

Clocks stand still unless the machine moves them, so versions and expiries are the same
numbers everywhere. An operation's outcome is its result or its exception with the whole
message; the model gives what results it can know, and the two tables must also agree
word for word on every error.
"""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

import dumbkv
from tests.conftest import BACKENDS

WALL = 1_700_000_000_000_000
MONOTONIC = 5_000_000_000

# Few keys, so that operations meet; bytes-like ones of other types among them.
keys = st.one_of(
    st.just(b"a"),
    st.just(b"b"),
    st.sampled_from([b"a", bytearray(b"a"), memoryview(b"b"), b"\x00", b"k" * 24, b"counter"]),
    st.binary(min_size=1, max_size=24),
)
values = st.one_of(
    st.binary(max_size=40),
    st.integers(-(2**63), 2**63 - 1).map(lambda n: b"%d" % n),
    st.sampled_from([b"", b"0", b"-0", b"007", b"-", b"9223372036854775808", b" 1"]),
    st.builds(bytearray, st.binary(max_size=8)),
)
bad_keys = st.sampled_from(["text", b"", b"x" * 25, None, 7, ["a"]])
bad_values = st.sampled_from(["text", b"x" * 41, None, 7, [b"a"]])
good_ttls = st.floats(0.000001, 30) | st.integers(10, 60) | st.just(float("inf"))
good_epochs = st.floats(WALL / 1e6 - 5, WALL / 1e6 + 60) | st.sampled_from([0, float("inf")])
expiries: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"ttl": good_ttls}),
    st.fixed_dictionaries({"expire_at": good_epochs}),
)
bad_ttls = st.sampled_from(
    [0, -1, float("nan"), -float("inf"), 1e11, 10**400, -(10**400), "5", True]
)
bad_epochs = st.sampled_from([-1.0, float("nan"), -float("inf"), 1e12, 10**400, "now", False])
anything = {
    "ttl": st.none() | good_ttls | bad_ttls,
    "expire_at": st.none() | good_epochs | bad_epochs,
    "keep_ttl": st.booleans(),
    "nx": st.booleans(),
    "xx": st.booleans(),
    "if_version": st.sampled_from([None, 1, 2**62, 0, -1, 2**64, "v", 1.0, True]),
}
flags = st.booleans()


def outcome(call: Callable[..., Any], *args: Any, **options: Any) -> tuple[str, Any]:
    try:
        return "gave", call(*args, **options)
    except Exception as error:
        return "raised", (type(error), str(error))


class Base(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        options: dict[str, Any] = {"max_key": 24, "max_value": 40}
        self.stores = [dumbkv.open(backend=b, **options) for b in BACKENDS]  # type: ignore[arg-type]  # names
        self.model: dict[bytes, tuple[bytes, int | None]] = {}
        self.now = 0
        self.versions: list[int] = []
        self.set_clocks()

    def teardown(self) -> None:
        for store in self.stores:
            store.close()

    def set_clocks(self) -> None:
        for store in self.stores:
            store._set_clock(MONOTONIC + self.now, WALL + self.now)
        self.model = {k: (v, d) for k, (v, d) in self.model.items() if d is None or d > self.now}

    def all_agree(self, name: str, *args: Any, **options: Any) -> tuple[str, Any]:
        outcomes = [outcome(getattr(store, name), *args, **options) for store in self.stores]
        assert all(each == outcomes[0] for each in outcomes), outcomes
        return outcomes[0]

    def deadline(self, ttl: Any = None, expire_at: Any = None) -> int | None:
        if ttl is not None:
            return None if ttl == float("inf") else self.now + max(1, int(ttl * 1e6 + 0.5))
        if expire_at is not None:
            return None if expire_at == float("inf") else int(expire_at * 1e6 + 0.5) - WALL
        return None

    def write(self, key: Any, value: Any, deadline: int | None) -> None:
        self.model[bytes(key)] = (bytes(value), deadline)
        self.set_clocks()
