"""Plants bugs in the C table, one at a time, and sees its tests go red.

Each bug is a few words of the sources replaced in a copy of them. The tests of that copy
have to fail, crash, be stopped by a sanitizer or hang. A bug whose words are not to be
found, or found twice, is an error: it has to follow the code. Bugs of threads are looked
for by the thread tests under ThreadSanitizer, all others by the tests of the table.

    python csrc/planted.py          all of them
    python csrc/planted.py 5        every fifth, beginning anywhere
"""

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-UNDEBUG", "-g", "-O1", "-w"]
TURNS = 3
LONGEST = 60
"""Seconds of a test."""
LONGER = 4
"""A test that takes so many times longer than with no bug, and ten seconds more, hangs."""
TABLE = [
    path.name for path in HERE.glob("*.c") if not path.name.startswith(("test_", "fuzz_", "py"))
]


TESTS = [
    ("test_table", ["1"]),
    ("test_many", []),
    ("test_journal", []),
    ("test_events", []),
    ("test_record", []),
    ("test_pool", []),
    ("test_log", []),
    ("test_failing", []),
]


THREADS = ["test_threads", "test_threads_news", "test_threads_limit"]


class Bug(NamedTuple):
    what: str
    file: str
    before: str
    after: str
    threads: bool = False


BUGS = [
    Bug("probing ends one slot early", "shard.c", "slot + 1 == cap", "slot + 2 == cap"),
    Bug(
        "a removed entry leaves no tombstone",
        "shard.c",
        "s->slots[slot] = TOMBSTONE;\n    if (",
        "s->slots[slot] = EMPTY;\n    s->used--;\n    return;\n    if (",
    ),
    Bug(
        "a removed entry's slot counts as free behind a chain",
        "shard.c",
        "if (s->slots[after(slot, s->cap)] != EMPTY)\n        return;",
        "",
    ),
    Bug(
        "keys are compared by tag and length",
        "shard.c",
        "e->key_len == key_len && memcmp(dkv_entry_key(e), key, key_len) == 0",
        "e->key_len == key_len",
    ),
    Bug(
        "a value is refilled into a smaller cell",
        "entry.c",
        "dkv_cell_capacity(size_of(e)) == dkv_cell_capacity(new)",
        "dkv_cell_capacity(size_of(e)) <= dkv_cell_capacity(new)",
    ),
    Bug(
        "a refilled value's bytes are not counted",
        "shard.c",
        "    s->data_bytes += value.len - e->value_len;\n",
        "",
    ),
    Bug("the array is filled to the last slot", "shard.c", "cap * 4 / 5", "cap"),
    Bug(
        "entries are lost when the array grows",
        "shard.c",
        "while (slots[to] != EMPTY)\n            to",
        "if (slots[to] != EMPTY)\n            to",
    ),
    Bug(
        "a replaced entry's memory stays on the account",
        "shard.c",
        "        s->memory -= dkv_entry_memory(place.entry);\n",
        "",
    ),
    Bug(
        "the deadline is the last moment",
        "hold.h",
        "h->deadline <= (now",
        "h->deadline < (now",
    ),
    Bug(
        "a sweep takes what has not expired",
        "shard.c",
        "if (deadline <= now)\n            dkv_shard_drop",
        "if (deadline >= now)\n            dkv_shard_drop",
    ),
    Bug(
        "a new deadline is not noted",
        "shard.c",
        "    if (deadline < s->next_deadline)\n        s->next_deadline = deadline;\n",
        "",
    ),
    Bug(
        "a sweep in slices forgets deadlines set meanwhile",
        "shard.c",
        "    if (deadline < s->sweep_deadline)\n        s->sweep_deadline = deadline;\n",
        "",
    ),
    Bug("eviction takes the entry that is held", "shard.c", " || entry_in(*slot) == keep", ""),
    Bug("eviction looks at one slot for ever", "shard.c", "--*slot;\n", ";\n"),
    Bug(
        "an owner is let go of twice",
        "table.c",
        "let_go(dkv_entry_value(first).owner);",
        "let_go(dkv_entry_value(first).owner);\n        let_go(dkv_entry_value(first).owner);",
    ),
    Bug(
        "a new deadline lets go of the owner",
        "one.c",
        "    h->gone = gone;\n    return rc;",
        "    return rc;",
    ),
    Bug(
        "a failed growth goes unnoticed",
        "one.c",
        "        if (moved < 0)\n            return DKV_ENOMEM;",
        "        if (moved < 0)\n            moved = 1;",
    ),
    Bug(
        "a version is told before there is memory for its entry",
        "one.c",
        "    if (!e)\n        return DKV_ENOMEM;\n    /* Before",
        "    if (!e)\n        return dkv_shard_stamp(s, DKV_SET, h->key, h->key_len), DKV_ENOMEM;\n"
        "    /* Before",
    ),
    Bug(
        "many entries are leaked when one fails",
        "many.c",
        "while (n--) {",
        "while (n-- > 1) {",
    ),
    Bug(
        "an owner that a write took out is forgotten",
        "one.c",
        "    if (gone.owner)\n        h->gone = gone;\n",
        "    (void)gone;\n",
    ),
    Bug(
        "a hold gives back one owner and forgets another",
        "one.c",
        " && !(h->gone.owner && h->value.owner)",
        "",
    ),
    Bug(
        "an owned value's other size is not counted",
        "shard.c",
        "        s->memory += dkv_entry_cost(e->key_len, value, deadline) - dkv_entry_memory(e);\n",
        "        ;\n",
    ),
    Bug(
        "versions stand still",
        "events.c",
        "next = last + 1 > wall ? last + 1 : wall;",
        "next = wall;",
    ),
    Bug(
        "an overwritten value keeps its version",
        "one.c",
        "    h->entry->version = dkv_shard_stamp(h->shard, DKV_SET, h->key, h->key_len);\n",
        "",
    ),
    Bug(
        "the limit is settled with the wrong sign",
        "locks.h",
        "s->memory - s->settled, memory",
        "s->settled - s->memory, memory",
    ),
    Bug(
        "the place found before slots moved is written to",
        "one.c",
        "place.slot == SIZE_MAX || moved || t->evict",
        "place.slot == SIZE_MAX || t->evict",
    ),
    Bug(
        "the place of an expired entry is written to",
        "one.c",
        "place.slot == SIZE_MAX || moved",
        "moved",
    ),
    Bug(
        "a closed table goes on",
        "one.c",
        "    if (dkv_closed(t)) {\n        dkv_unlock(t, h->shard);",
        "    if (false) {\n        dkv_unlock(t, h->shard);",
    ),
    Bug(
        "a cell is given out twice",
        "slab.c",
        "        page->freed = *(uint16_t *)(void *)cell;\n",
        "",
    ),
    Bug(
        "a cell is one step too small",
        "slab.c",
        "(size + STEP - 1) / STEP - 1",
        "size / STEP - (size > 15)",
    ),
    Bug("a page is given out twice", "pool.c", "    set[i] &= set[i] - 1;\n", ""),
    Bug(
        "memory of pages in use is given back",
        "pool.c",
        "page < r->pages && has(r->idle, page)",
        "page < r->pages && !has(r->absent, page)",
    ),
    Bug("the memory of idle pages stays", "pool.c", "(void)madvise(r->base +", "(void)(r->base +"),
    Bug("what is emptied gives back each page", "pool.c", " && pool->took &&", " &&"),
    Bug(
        "a moved entry's slot points at its old cell",
        "shard.c",
        "s->slots[i] = word_for(to, hash) | (s->slots[i] & USE_BITS);\n",
        "",
    ),
    Bug("a minus sign is lost", "decimal.h", "negative ? (int64_t)(0 - magnitude) : ", ""),
    Bug("zeros may lead", "decimal.h", " || (digits[i] == '0' && n != 1)", ""),
    Bug(
        "a lock is given back before it is taken",
        "lock.h",
        "atomic_exchange_explicit(word, 1, memory_order_acquire)",
        "atomic_exchange_explicit(word, 0, memory_order_acquire)",
        threads=True,
    ),
    Bug(
        "an unlocked shard shows no more than its lock",
        "lock.h",
        "atomic_store_explicit(word, 0, memory_order_release)",
        "atomic_store_explicit(word, 0, memory_order_relaxed)",
        threads=True,
    ),
    Bug(
        "a shard stays locked after a close",
        "one.c",
        "    if (dkv_closed(t)) {\n        dkv_unlock(t, h->shard);",
        "    if (dkv_closed(t)) {",
        threads=True,
    ),
    Bug(
        "a commit does what it says though a check failed",
        "many.c",
        "for (size_t i = 0; i < n && rc == 0; i++)\n        apply(&span, i);",
        "for (size_t i = 0; i < n; i++)\n        apply(&span, i);",
    ),
    Bug(
        "a key that vanishes is not in the journal",
        "shard.c",
        "    note_change(s, e);\n    s->data_bytes -=",
        "    s->data_bytes -=",
    ),
    Bug(
        "shards are merged by their later keys",
        "sorted.c",
        "compare(runs[child + 1].next, runs[child].next) < 0",
        "compare(runs[child + 1].next, runs[child].next) > 0",
    ),
    Bug(
        "the last key of a shard is not merged",
        "sorted.c",
        "if (first->next == first->end)",
        "if (first->next + 1 >= first->end)",
    ),
    Bug(
        "an event that was overwritten is read",
        "events.c",
        "if (*at < events->begin)\n        return DKV_ELOST;",
        "",
    ),
    Bug(
        "another thread's shard is evicted from",
        "room.c",
        "if (!held && !dkv_try_lock(s))",
        "if (!held && !dkv_try_lock(s) && false)",
        threads=True,
    ),
    Bug(
        "the sum of used bytes is read, then written",
        "room.c",
        "atomic_compare_exchange_weak(&t->used, &used, used + bytes)",
        "(t->used = used + bytes)",
        threads=True,
    ),
    Bug(
        "many keys settle one shard after another",
        "many.c",
        "    dkv_span_settle(&span);\n",
        "",
        threads=True,
    ),
]


def run(command: list[str], where: Path, seconds: float) -> bool:
    """Whether it succeeds in time."""
    try:
        done = subprocess.run(
            command,
            cwd=where,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=seconds,
            env=os.environ | {"ASAN_OPTIONS": "detect_leaks=1"},
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def compile_all(where: Path, sources: list[str], sanitizers: str, *more: str) -> None:
    """A bug that does not compile is no bug."""
    command = ["gcc", *FLAGS, f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all"]
    subprocess.run([*command, *sources, *more], cwd=where, check=True)


def with_threads(where: Path) -> Iterator[list[str]]:
    """The commands of the tests with threads, which come with the table in files of its own."""
    compile_all(where, TABLE, "thread", "-c")
    table = [name.replace(".c", ".o") for name in TABLE]
    for test in THREADS:
        compile_all(where, [f"{test}.c", *table], "thread", "-pthread", "-o", test)
        yield ["setarch", "-R", f"./{test}", "4000"]


def alone(where: Path) -> Iterator[list[str]]:
    """The commands of those in one thread, which have the table within them."""
    for test, arguments in TESTS:
        compile_all(where, [f"{test}.c"], "address,undefined", "-o", test)
        yield [f"./{test}", *arguments]


def survives(bug: Bug | None, threads: bool, usual: dict[str, float]) -> bool:
    """Whether all tests pass on a copy with the bug in it; without one, notes their seconds."""
    with tempfile.TemporaryDirectory() as directory:
        where = Path(directory) / "csrc"
        shutil.copytree(HERE, where, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
        if bug:
            path = where / bug.file
            path.write_text(path.read_text().replace(bug.before, bug.after))
        for command in with_threads(where) if threads else alone(where):
            seconds = 10 + LONGER * usual.get(" ".join(command), LONGEST)
            began = time.monotonic()
            turns = TURNS if bug and threads else 1  # a race may be lost once
            if not all(run(command, where, seconds) for _ in range(turns)):
                return False
            usual.setdefault(" ".join(command), time.monotonic() - began)
        return True


def expect_words() -> None:
    """Every bug has a place in the sources as they are, and one only."""
    for bug in BUGS:
        times = (HERE / bug.file).read_text().count(bug.before)
        if times != 1:
            raise SystemExit(
                f"planted: {bug.what}: its words stand {times} times in {bug.file}: expected once"
            )


def main() -> int:
    expect_words()
    every = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    chosen = BUGS[random.randrange(every) :: every]
    began = time.monotonic()
    failed = 0
    usual: dict[str, float] = {}
    for threads in (False, True):
        if not survives(None, threads, usual):
            print("planted: the tests are red with no bug planted")
            return 1
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda bug: survives(bug, bug.threads, usual), chosen)
        for bug, survived in zip(chosen, results, strict=True):
            failed += survived
            print(f"planted: {bug.what}: {'NOT SEEN' if survived else 'seen'}", flush=True)
    seconds = time.monotonic() - began
    print(f"planted: {len(chosen) - failed} passed, {failed} failed in {seconds:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
