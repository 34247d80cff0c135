"""A fork under load leaves a working store in parent and child."""

import sys

import pytest

from tests.conftest import BACKENDS
from tests.test_threads import run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")


@pytest.mark.parametrize("backend", BACKENDS)
class TestFork:
    def test_parent_and_child_go_on_after_a_fork_under_load(self, backend: str) -> None:
        run(
            backend,
            """
            import os, warnings
            warnings.simplefilter("ignore", DeprecationWarning)  # threads and fork: the point
            stop = threading.Event()
            def write(n):
                i = 0
                while not stop.is_set():
                    i += 1
                    store.set(b"%d %d" % (n, i % 900), bytes(i % 3000), ttl=(None, 0.01)[i % 2])
                    store.sweep(), store.get(b"0 1"), len(store)
            def fork(n):
                try:
                    for _ in range(25):
                        child = os.fork()
                        if not child:
                            try:
                                store._check()
                                before = len(store)
                                store.incr(b"child"); store[b"long"] = bytes(5000)
                                store.clear()
                                store.set(b"a", b"1", ttl=60)
                                os._exit(0 if len(store) == 1 else 3)
                            finally:
                                os._exit(4)
                        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
                        assert b"child" not in store
                finally:
                    stop.set()
            together(write, write, write, fork)
            """,
        )

    def test_the_child_sweeps_for_itself(self, backend: str) -> None:
        run(
            backend,
            """
            import os, time
            store.set(b"a", b"1", ttl=0.3)
            child = os.fork()
            if not child:
                end = time.monotonic() + 10
                while store._next_expiry() is not None and time.monotonic() < end:
                    time.sleep(0.01)
                os._exit(0 if store._next_expiry() is None else 3)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            """,
        )
