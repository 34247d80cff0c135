"""get_or_set calls one factory for all who ask, and nobody waits for what will not come."""

import gc
import sys
import textwrap
import weakref
from typing import Any

import pytest

import dumbkv
from dumbkv._flight import Flights
from tests.conftest import BACKENDS, OpenStore
from tests.test_threads import run

WAITING = """
import time, traceback
def waiting():
    "How many threads wait for a flight to land."
    stacks = [traceback.extract_stack(frame) for frame in sys._current_frames().values()]
    return sum(
        stack[-1].name == "wait" and any(f.filename.endswith("_flight.py") for f in stack)
        for stack in stacks
    )
"""


def fly(backend: str, scenario: str) -> None:
    run(backend, WAITING + textwrap.dedent(scenario) + "\nassert not len(store._flights)\n")


def never() -> bytes:
    raise AssertionError("the factory was called")


@pytest.mark.parametrize("backend", BACKENDS)
class TestTogether:
    def test_of_64_threads_one_calls_its_factory_and_all_get_its_value(self, backend: str) -> None:
        fly(
            backend,
            """
            made, got = [], []
            def make():
                while waiting() < 63: time.sleep(0)
                made.append(threading.get_ident())
                return b"%d" % len(made)
            def work(n): got.append(store.get_or_set(b"key", make))
            together(*[work] * 64)
            assert len(made) == 1 and got == [b"1"] * 64
            """,
        )

    def test_each_key_is_made_once_however_threads_meet(self, backend: str) -> None:
        fly(
            backend,
            """
            made = []
            def work(n):
                for i in range(3000):
                    key = b"%d" % (i * (1, -1)[n % 2] % 3000)
                    def make():
                        made.append(key)
                        return key * 2
                    assert store.get_or_set(key, make) == key * 2
            together(*[work] * 4)
            assert len(made) == len(set(made)) == len(store) == 3000
            """,
        )

    def test_an_error_reaches_all_who_waited_for_that_call_and_no_one_else(
        self, backend: str
    ) -> None:
        fly(
            backend,
            """
            import gc, weakref
            gc.disable()
            made, caught = [], []
            class NoPageError(LookupError): pass
            def make():
                while waiting() < 15: time.sleep(0)
                made.append(1)
                raise NoPageError
            def work(n):
                try:
                    store.get_or_set(b"key", make)
                except LookupError as error:
                    caught.append(error)
            together(*[work] * 16)
            assert len(made) == 1 and len(caught) == 16 and len(set(map(id, caught))) == 1
            assert store.get_or_set(b"key", lambda: b"anew") == b"anew"
            gone = weakref.ref(caught[0])
            caught.clear()
            assert gone() is None or sys.implementation.name != "cpython"
            """,
        )

    def test_a_wrong_value_is_everybodys_error(self, backend: str) -> None:
        fly(
            backend,
            """
            caught = []
            def make():
                while waiting() < 3: time.sleep(0)
                return 5
            def work(n):
                try:
                    store.get_or_set(b"key", make)
                except TypeError as error:
                    caught.append(str(error))
            together(*[work] * 4)
            assert caught == ["value must be bytes-like, not int"] * 4, caught
            assert not store
            """,
        )

    def test_what_ends_the_leaders_thread_does_not_end_the_others(self, backend: str) -> None:
        fly(
            backend,
            """
            made, got = [], []
            def make():
                made.append(1)
                if len(made) == 1:
                    while waiting() < 7: time.sleep(0)
                    raise SystemExit
                return b"value"
            def work(n):
                try:
                    got.append(store.get_or_set(b"key", make))
                except SystemExit:
                    got.append(None)
            together(*[work] * 8)
            assert len(made) == 2 and sorted(map(str, got)) == ["None"] + ["b'value'"] * 7, got
            """,
        )

    def test_a_wait_ends_at_its_timeout_and_the_call_goes_on(self, backend: str) -> None:
        fly(
            backend,
            """
            inside, go = threading.Event(), threading.Event()
            def make():
                inside.set()
                assert go.wait(40)
                return b"late"
            def lead(n): assert store.get_or_set(b"key", make) == b"late"
            def wait(n):
                assert inside.wait(40)
                for timeout in (0, 0.01):
                    try:
                        store.get_or_set(b"key", bytes, timeout=timeout)
                    except TimeoutError as error:
                        assert f"b'key' was not there within timeout={timeout}" in str(error)
                    else:
                        raise AssertionError("there was a value")
                assert store.get_or_set(b"other", lambda: b"1", timeout=0) == b"1"
                go.set()
                assert store.get_or_set(b"key", bytes, timeout=float("inf")) == b"late"
            together(lead, wait)
            """,
        )

    def test_one_who_waits_gets_what_another_writer_stored(self, backend: str) -> None:
        fly(
            backend,
            """
            got = []
            def make():
                while waiting() < 3: time.sleep(0)
                store.set(b"key", b"theirs")
                return b"mine"
            def work(n): got.append(store.get_or_set(b"key", make))
            together(*[work] * 4)
            assert got == [b"theirs"] * 4 and store[b"key"] == b"theirs"
            """,
        )

    @pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
    def test_a_child_does_not_wait_for_threads_it_has_not(self, backend: str) -> None:
        fly(
            backend,
            """
            import os, warnings
            warnings.simplefilter("ignore", DeprecationWarning)  # threads and fork: the point
            inside, go = threading.Event(), threading.Event()
            def make():
                inside.set()
                assert go.wait(40)
                return b"parents"
            def lead(n): assert store.get_or_set(b"key", make) == b"parents"
            def fork(n):
                assert inside.wait(40)
                child = os.fork()
                if not child:
                    try:
                        made = store.get_or_set(b"key", lambda: b"childs", timeout=20)
                        os._exit(0 if made == store[b"key"] == b"childs" else 3)
                    finally:
                        os._exit(4)
                assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
                go.set()
            together(lead, fork)
            """,
        )

    @pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
    def test_a_factory_that_forks_returns_twice(self, backend: str) -> None:
        fly(
            backend,
            """
            import os, warnings
            warnings.simplefilter("ignore", DeprecationWarning)
            children = []
            def make():
                while waiting() < 3: time.sleep(0)
                children.append(os.fork())
                return b"made"
            def work(n):
                try:
                    assert store.get_or_set(b"key", make) == b"made"
                finally:
                    if children == [0]:
                        os._exit(0 if store[b"key"] == b"made" and not len(store._flights) else 3)
            together(*[work] * 4)
            assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0
            """,
        )


def test_a_present_key_costs_one_get(store: dumbkv.Store) -> None:
    store[b"a"] = b"1"
    assert store.get_or_set(b"a", never) == b"1"
    assert store.get_or_set(bytearray(b"a"), never, ttl=5, timeout=1) == b"1"
    assert store.ttl(b"a") is None
    assert store.stats()[3:5] == (3, 0)


def test_the_value_is_stored_with_the_expiry_asked_for(open_store: OpenStore) -> None:
    store = open_store(default_ttl=60)
    store._set_clock(10**9, 1_700_000_000_000_000)
    store.get_or_set(b"a", lambda: b"", ttl=5)
    store.get_or_set(b"b", lambda: b"", expire_at=1_700_000_007)
    store.get_or_set(b"c", lambda: b"")
    assert [store.ttl(key) for key in (b"a", b"b", b"c")] == [5, 7, 60]
    assert store.get_or_set(b"d", lambda: b"gone at once", expire_at=0) == b"gone at once"
    assert b"d" not in store


def test_the_value_is_a_copy_of_what_the_factory_gave(store: dumbkv.Store) -> None:
    value = bytearray(b"value")
    got = store.get_or_set(memoryview(b"key"), lambda: value)
    value[:] = b"VALUE"
    assert type(got) is bytes
    assert got == store[b"key"] == b"value"


def test_a_factory_that_asks_for_its_own_key_is_told_so(store: dumbkv.Store) -> None:
    def ask() -> bytes:
        return store.get_or_set(b"a", lambda: b"1")

    with pytest.raises(RuntimeError, match="the factory for key b'a' asks for that key itself"):
        store.get_or_set(b"a", ask)
    with pytest.raises(RuntimeError, match="the factory for key b'a' asks for that key itself"):
        store.get_or_set(b"a", lambda: store.get_or_set(b"b", ask))
    assert not store
    assert store.get_or_set(b"b", ask) == store[b"a"] == store[b"b"] == b"1"


def test_errors_leave_nothing_behind(open_store: OpenStore) -> None:
    store = open_store(max_value=4)
    calls: list[tuple[Any, type[Exception], str]] = [
        (lambda: 1 / 0, ZeroDivisionError, "division by zero"),
        (lambda: None, TypeError, "value must be bytes-like, not NoneType"),
        (lambda: "text", TypeError, "value must be bytes-like, not str: encode it first, or"),
        (lambda: b"12345", dumbkv.TooLargeError, "the value has 5 bytes: expected at most 4"),
        (b"1234", TypeError, "not callable"),
    ]
    for factory, error, message in calls:
        with pytest.raises(error, match=message):
            store.get_or_set(b"a", factory)
        assert not len(store._flights)
    assert not store
    assert store.get_or_set(b"a", lambda: b"1") == b"1"
    assert not len(store._flights)


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="it counts references")
def test_an_error_dies_with_its_last_user(store: dumbkv.Store) -> None:
    class Witness:
        """What a frame keeps for as long as a traceback keeps the frame."""

    seen = []

    def fail() -> bytes:
        witness = Witness()
        seen.append(weakref.ref(witness))
        raise LookupError

    def ask() -> bytes:
        witness = Witness()
        seen.append(weakref.ref(witness))
        return store.get_or_set(b"a", fail)

    gc.disable()
    try:
        for factory in (fail, ask):
            with pytest.raises((LookupError, RuntimeError)) as caught:
                store.get_or_set(b"a", factory)
            assert seen[-1]() is not None
            del caught
        assert [each() for each in seen] == [None, None]
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"timeout": -1}, ValueError, "timeout is -1: expected seconds from 0 on, or None"),
        ({"timeout": float("nan")}, ValueError, "timeout is nan"),
        ({"timeout": "1"}, TypeError, "timeout must be a number of seconds, not str"),
        ({"timeout": True}, TypeError, "timeout must be a number of seconds, not bool"),
        ({"ttl": 0}, ValueError, "ttl is 0"),
        ({"expire_at": -1}, ValueError, "expire_at is -1"),
        ({"ttl": 1, "expire_at": 1}, ValueError, "at most one of ttl, expire_at"),
    ],
)
def test_bad_options_are_named_whether_the_key_is_there_or_not(
    store: dumbkv.Store, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    store[b"there"] = b""
    for key in (b"there", b"absent"):
        with pytest.raises(error, match=message):
            store.get_or_set(key, never, **options)
    assert store.get_or_set(b"there", never, timeout=10**400) == b""


def test_bad_keys_are_refused_before_the_call(store: dumbkv.Store) -> None:
    bad: Any
    for bad in (b"", "text", bytes(1025), None):
        with pytest.raises((TypeError, dumbkv.InvalidKeyError), match="key"):
            store.get_or_set(bad, never)


def test_a_closed_store_says_so(store: dumbkv.Store) -> None:
    store.close()
    with pytest.raises(dumbkv.ClosedError):
        store.get_or_set(b"a", never)


class Scripted:
    """A store whose reads and writes come out as written down."""

    max_key = max_value = 10

    def __init__(self, gets: list[bytes | None], adds: list[int | None]) -> None:
        self.gets = gets
        self.adds = adds

    def get(self, key: Any) -> bytes | None:
        return self.gets.pop(0)

    def add(self, key: Any, value: Any, *, ttl: Any, expire_at: Any) -> int | None:
        return self.adds.pop(0)


def test_a_leader_looks_again_for_the_flight_it_may_have_missed() -> None:
    store = Scripted(gets=[None, b"landed"], adds=[])
    assert Flights().get_or_set(store, b"a", never, None, None, None) == b"landed"


def test_a_value_that_came_first_and_is_gone_again_is_no_answer() -> None:
    store = Scripted(gets=[None, None, None], adds=[None, 7])
    assert Flights().get_or_set(store, b"a", lambda: b"made", None, None, None) == b"made"
    assert not store.gets
    assert not store.adds


def test_a_store_is_freed_with_its_flights(open_store: OpenStore) -> None:
    store = dumbkv.open(backend=open_store().backend)
    with pytest.raises(ZeroDivisionError):
        store.get_or_set(b"a", lambda: 1 // 0)  # type: ignore[arg-type,return-value]  # it raises
    gone = weakref.ref(store)
    del store
    gc.collect()
    assert gone() is None


def test_flights_of_one_store_are_not_those_of_another(open_store: OpenStore) -> None:
    first, second = open_store(), open_store()
    assert first.get_or_set(b"a", lambda: second.get_or_set(b"a", lambda: b"1")) == b"1"
