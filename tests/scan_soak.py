"""Threads set, delete, expire and remove by prefix while others scan, for some seconds.

Run as a program: the table, whether it keeps its order, seconds. Ends with an error at the
first scan that is wrong, and prints how many there were.
"""

import faulthandler
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import dumbkv

STAYING = [b"%06d" % n for n in range(0, 400_000, 100)]


class Soak:
    def __init__(self, store: dumbkv.Store, seconds: float) -> None:
        self.store = store
        self.end = time.monotonic() + seconds
        self.errors: list[BaseException] = []
        self.done: Counter[str] = Counter()
        store.set_many((key, b"0") for key in STAYING)

    def run(self) -> None:
        works = [self.overwrite, self.come_and_go, self.expire, self.remove_prefixes]
        threads = [
            threading.Thread(target=self.repeat, args=(work, random.Random(n)))
            for n, work in enumerate([*works, *[self.scan] * 3])
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.errors:
            raise self.errors[0]

    def repeat(self, work: Callable[[random.Random], None], chance: random.Random) -> None:
        try:
            while time.monotonic() < self.end and not self.errors:
                work(chance)
                self.done[work.__name__] += 1
        except BaseException as error:
            self.errors.append(error)

    def overwrite(self, chance: random.Random) -> None:
        for _ in range(100):
            self.store[chance.choice(STAYING)] = b"%d" % chance.randrange(10**9)

    def come_and_go(self, chance: random.Random) -> None:
        keys = [b"%06d-%d" % (chance.randrange(400_000), n) for n in range(100)]
        for key in keys:
            self.store[key] = b""
        self.store.delete_many(keys[:50])
        for key in keys[50:]:
            del self.store[key]

    def expire(self, chance: random.Random) -> None:
        for _ in range(100):
            ttl = chance.choice([0.0005, 0.005, 0.05])
            until = time.time() + ttl
            key = b"%06d+" % chance.randrange(400_000)
            self.store.set(key, b"%f" % until, expire_at=until)

    def remove_prefixes(self, chance: random.Random) -> None:
        prefix = b"%06d/" % chance.randrange(400_000)
        for n in range(100):
            self.store[prefix + b"%d" % n] = b""
        assert self.store.delete_prefix(prefix) == 100

    def scan(self, chance: random.Random) -> None:
        first, last = sorted(chance.choices(STAYING, k=2))
        backwards = chance.random() < 0.5
        kind = chance.choice([self.pages, self.pairs, self.keys])
        found = list(kind(first, last, backwards))
        assert found == sorted(found, reverse=backwards), "out of order"
        assert len(set(found)) == len(found), "a key came twice"
        staying = [key for key in found if len(key) == 6]
        expected = STAYING[STAYING.index(first) : STAYING.index(last)]
        assert staying == (expected[::-1] if backwards else expected), "a key was missed"

    def pages(self, first: bytes, last: bytes, backwards: bool) -> Iterator[bytes]:
        after = None
        while True:
            now = time.time()
            page = self.store.scan(start=first, end=last, after=after, limit=97, reverse=backwards)
            for key, value in page.items:
                # The store counts on another clock from the moment of the set.
                assert not key.endswith(b"+") or float(value) > now - 0.001, "a key came late"
                yield key
            after = page.next
            if after is None:
                return

    def pairs(self, first: bytes, last: bytes, backwards: bool) -> Iterator[bytes]:
        for key, _ in self.store.iter_scan(start=first, end=last, reverse=backwards):
            yield key

    def keys(self, first: bytes, last: bytes, backwards: bool) -> Iterator[bytes]:
        return self.store.scan_keys(start=first, end=last, reverse=backwards)


def main(backend: str, ordered: str, seconds: str) -> None:
    faulthandler.dump_traceback_later(float(seconds) + 40, exit=True)
    sys.setswitchinterval(1e-4)
    store = dumbkv.open(backend=backend, ordered=ordered == "1")  # type: ignore[arg-type]  # a name
    with store:
        soak = Soak(store, float(seconds))
        soak.run()
        store._check()
    assert len(soak.done) == 5  # each of them did something
    print(f"{backend}: {dict(soak.done)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
