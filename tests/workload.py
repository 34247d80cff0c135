"""A program that writes to a store on disk and says what was acknowledged, for tests that stop it.

What it does depends on a seed alone, so whoever knows the seed and how many steps were done knows
what the store holds. Each step is one call, and atomic. A number is written to stdout when the
call of that number has returned; ``synced N`` when a sync that began after N steps has.
"""

import argparse
import os
import random
from collections.abc import Callable, Iterator
from typing import Any

import dumbkv
from dumbkv import _clean, _keeper, _log

FAR = 4_000_000_000
"""Seconds since 1970: what expires then is still there."""

State = dict[bytes, tuple[bytes, int | None]]
Step = tuple[Any, ...]
NAMES = ("set", "set", "set", "set_many", "delete", "delete_many", "touch", "incr", "batch")


def new_seed() -> int:
    """A seed by chance, or that of a test that failed; what is printed is shown when one does."""
    seed = int(os.environ.get("DUMBKV_SEED", random.randrange(10**9)))
    print(f"DUMBKV_SEED={seed}")
    return seed


def small() -> None:
    """Let files be so small that a few hundred steps begin new ones and clean old ones."""
    _log.LEAST_FILE, _log.LEAST_ROOM, _log.MOST_ROOM = 6000, 1000, 4000
    _clean.FLOOR, _clean.SLICE, _clean.REST = 8000, 1000, 0
    _keeper.PAUSE = 0.01


def steps(seed: int) -> Iterator[Step]:
    """Without end."""
    chance = random.Random(seed)

    def key() -> bytes:
        return b"key %d" % chance.randrange(30)

    def value() -> bytes:
        if chance.random() < 0.1:
            return bytes(chance.randrange(600))
        return chance.randbytes(chance.choice([0, 10, 100, 300, 2000]))

    while True:
        name = chance.choice(NAMES) if chance.random() > 0.01 else "clear"
        match name:
            case "set":
                yield name, key(), value(), chance.choice([None, None, FAR])
            case "set_many":
                yield name, [(key(), value()) for _ in range(chance.randrange(1, 6))]
            case "delete":
                yield name, key()
            case "delete_many":
                yield name, [key() for _ in range(3)]
            case "touch":
                yield name, key(), FAR + chance.randrange(100)
            case "incr":
                yield name, b"counter %d" % chance.randrange(3), chance.randrange(1, 9)
            case "clear":
                yield (name,)
            case "batch":
                yield name, [(key(), value()) for _ in range(3)], [key() for _ in range(2)]


def do(store: dumbkv.Store, step: Step) -> None:
    match step:
        case "set", key, value, expire_at:
            store.set(key, value, expire_at=expire_at)
        case "set_many", pairs:
            store.set_many(pairs)
        case "delete", key:
            store.delete(key)
        case "delete_many", keys:
            store.delete_many(keys)
        case "touch", key, expire_at:
            store.touch(key, expire_at=expire_at)
        case "incr", key, by:
            store.incr(key, by)
        case ("clear",):
            store.clear()
        case "batch", pairs, keys:
            with store.batch() as batch:
                for key, value in pairs:
                    batch.set(key, value)
                for key in keys:
                    batch.delete(key)


def model(state: State, step: Step) -> None:
    """What the same step makes of a dict."""
    match step:
        case "set", key, value, expire_at:
            state[key] = (value, expire_at)
        case "set_many", pairs:
            state.update((key, (value, None)) for key, value in pairs)
        case "delete", key:
            state.pop(key, None)
        case "delete_many", keys:
            for key in keys:
                state.pop(key, None)
        case "touch", key, expire_at:
            if key in state:
                state[key] = (state[key][0], expire_at)
        case "incr", key, by:
            state[key] = (b"%d" % (int(state.get(key, (b"0",))[0]) + by), None)
        case ("clear",):
            state.clear()
        case "batch", pairs, keys:
            state.update((key, (value, None)) for key, value in pairs)
            for key in keys:
                state.pop(key, None)


def states(seed: int) -> Callable[[int], State]:
    """What there is after so many steps; numbers asked for may only grow by little, or fall."""
    after: list[State] = [{}]
    coming = steps(seed)

    def state(number: int) -> State:
        while len(after) <= number:
            after.append(dict(after[-1]))
            model(after[-1], next(coming))
        return after[number]

    return state


def contents(store: dumbkv.Store) -> State:
    found: State = {}
    for key in store:
        entry = store.entry(key)
        if entry is not None:
            # An expiry is kept on two clocks, of which one moves a little.
            expiry = entry.expires_at
            found[key] = (entry.value, None if expiry is None else round(expiry))
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("path")
    parser.add_argument("--fsync", default="everysec")
    parser.add_argument("--backend", default="python")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="so many steps are done already")
    parser.add_argument("--steps", type=int, default=10**9)
    parser.add_argument("--sync", type=int, default=0, help="sync after every so many steps")
    parser.add_argument("--errors", action="store_true", help="tell of them and go on")
    given = parser.parse_args()
    small()
    try:
        run(given)
    except (OSError, dumbkv.DumbKVError) as error:
        if not given.errors:
            raise
        say(f"failed {type(error).__name__}: {error}")


def run(given: argparse.Namespace) -> None:
    options: dict[str, Any] = {"fsync": given.fsync, "backend": given.backend}
    with dumbkv.open(given.path, **options) as store:
        say("open")
        for number, step in enumerate(steps(given.seed)):
            if number >= given.steps:
                break
            if number < given.first:
                continue
            if given.errors:
                attempt(store, number + 1, step)
            else:
                do(store, step)
                say(number + 1)
            if given.sync and (number + 1) % given.sync == 0:
                store.sync()
                say(f"synced {number + 1}")
        say("closing")
    say("closed")


def attempt(store: dumbkv.Store, number: int, step: Step) -> None:
    """Do a step, or tell that it failed, and that this changed nothing."""
    before = contents(store)
    try:
        do(store, step)
    except (OSError, dumbkv.DumbKVError) as error:
        same = "same" if contents(store) == before else "changed"
        say(f"failed {number} {same} {type(error).__name__}: {error}")
    else:
        say(number)


def say(what: object) -> None:
    os.write(1, f"{what}\n".encode())


if __name__ == "__main__":
    main()
