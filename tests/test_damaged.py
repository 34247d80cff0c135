"""A store on damaged files: a state it once had or a refusal, never another value."""

import os
import random
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import dumbkv
from dumbkv import _clean, _keeper, _log
from dumbkv._recovery import name
from tests.conftest import BACKENDS
from tests.workload import State, contents, do, new_seed, small, states, steps

EVERY = int(os.environ.get("DUMBKV_DAMAGE_EVERY", "97"))
"""One byte of so many is changed, and the file is cut there."""
STEPS = 30


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (_log, _clean, _keeper):
        for each in ("LEAST_FILE", "LEAST_ROOM", "MOST_ROOM", "FLOOR", "SLICE", "REST", "PAUSE"):
            if hasattr(module, each):
                monkeypatch.setattr(module, each, getattr(module, each))
    small()


def written(path: Path, backend: str, seed: int, closed: bool) -> None:
    """A data directory after some steps, as it is when the store was closed, or was not."""
    original = path.with_name("original")
    with dumbkv.open(original, backend=backend, fsync="never") as store:  # type: ignore[arg-type]  # one of both
        for number, step in zip(range(STEPS), steps(seed), strict=False):
            do(store, step)
            if number == STEPS // 2:
                store.sync()
        if not closed:
            assert store._log is not None
            store._log.keeper.end()  # or it cleans a file away while it is copied
            shutil.copytree(original, path)
    if closed:
        original.rename(path)


def damages(path: Path, chance: random.Random) -> Iterator[tuple[str, Path, int]]:
    """A directory damaged in one place after another: how, in which file, and where."""
    for log in sorted(path.glob("*.log")):
        whole = log.read_bytes()
        for begin in range(0, len(whole), EVERY):
            at = min(len(whole) - 1, begin + chance.randrange(EVERY))
            changed = bytearray(whole)
            changed[at] ^= 1 << chance.randrange(8)
            for how, data in (("flip", changed), ("cut", whole[:at])):
                log.write_bytes(data)
                yield how, log, at
            for each in path.glob("*.cut"):
                each.unlink()
        log.write_bytes(whole)


def reopened(path: Path, backend: str) -> State | None:
    """What a copy of the directory holds, or None when it is refused; then nothing is changed."""
    copy = path.with_name("copy")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(path, copy)
    try:
        with dumbkv.open(copy, backend=backend, fsync="never") as store:  # type: ignore[arg-type]  # one of both
            return contents(store)
    except dumbkv.CorruptError as error:
        where = Path(error.path)
    assert where.parent == copy
    names = {each.name for each in path.glob("*.log")}
    assert {each.name for each in copy.glob("*.log*")} == names
    assert all((copy / each).read_bytes() == (path / each).read_bytes() for each in names)
    return None


def expect_past(found: State, past: list[State], path: Path) -> None:
    """That this is a state the store once had. When a file was cleaned away, what it held stands
    once more in a later one, and is lost where that was cut: then each value was once there."""
    cleaned = not (path / name(1)).exists()
    once = {key: {each.get(key) for each in past} for key in found}
    assert found in past or (cleaned and all(found[key] in once[key] for key in found))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_flip_in_a_closed_store_is_refused_and_a_cut_is_a_prefix_or_refused(
    tmp_path: Path, backend: str
) -> None:
    seed = new_seed()
    path = tmp_path / "data"
    written(path, backend, seed, closed=True)
    newest = max(path.glob("*.log"))
    end = newest.stat().st_size - 26
    state = states(seed)
    past = [state(number) for number in range(STEPS + 1)]
    refused = 0
    for how, log, at in damages(path, random.Random(seed)):
        found = reopened(path, backend)
        refused += found is None
        if how == "flip":
            # The record that closes a log says nothing but that: when it is lost, the log is one
            # that was not closed.
            assert found is None or (log == newest and at >= end and found == past[-1]), (log, at)
        else:
            assert found is None or log == newest, (log, at)
            expect_past(found or {}, past, path)
    assert refused > 10
    assert reopened(path, backend) == past[-1]


@pytest.mark.parametrize("backend", BACKENDS)
def test_damage_in_a_store_that_was_not_closed_is_refused_or_a_prefix(
    tmp_path: Path, backend: str
) -> None:
    seed = new_seed()
    path = tmp_path / "data"
    written(path, backend, seed, closed=False)
    state = states(seed)
    past = [state(number) for number in range(STEPS + 1)]
    newest = max(path.glob("*.log"))
    kept = 0
    for _, log, at in damages(path, random.Random(seed)):
        found = reopened(path, backend)
        assert found is None or log == newest, (log, at)
        expect_past(found or {}, past, path)
        kept += found is not None
    assert kept
    assert reopened(path, backend) == past[-1]


@pytest.mark.parametrize("backend", BACKENDS)
def test_damage_takes_no_memory_for_lengths_that_are_lies(tmp_path: Path, backend: str) -> None:
    path = tmp_path / "data"
    with dumbkv.open(path, backend=backend) as store:  # type: ignore[arg-type]  # one of both
        store[b"a"] = bytes(1000)
    log = next(path.glob("*.log"))
    data = bytearray(log.read_bytes())
    data[40:44] = b"\x00\x00\x00\x08"  # 128 MiB
    log.write_bytes(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(dumbkv.CorruptError, match="the file ends in the middle of a record"):
        dumbkv.open(path, backend=backend)  # type: ignore[arg-type]  # one of both
    os.truncate(log, 2**28)  # holes, which are as good as zeros
    with pytest.raises(dumbkv.CorruptError):
        dumbkv.open(path, backend=backend)  # type: ignore[arg-type]  # one of both
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB
