"""What a disk may hold when the power fails: a model, fed with what a program asked of the system.

strace writes down every call that changes a directory. From that the model makes images: what
was there at a moment, as a disk may have it that keeps its promises and nothing more. Everything
that was synced is there. Of the rest each sector of 512 bytes is there or not, by itself; the
sizes of a file change in order, and may lag behind; each name that was made or taken away since
the directory was synced may be so or not.
"""

import os
import random
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

SECTOR = 512
CALLS = "openat,pwrite64,write,ftruncate,fallocate,fdatasync,fsync,rename,unlink,mkdir,rmdir"
CALLS += ",link,linkat"
_LINE = re.compile(r"(\d+) +(.*)")
_BEGUN = re.compile(r"(\w+)\((.*)")
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)", re.DOTALL)
_TEXT = re.compile(r'<((?:\\x[0-9a-f]{2})+)>|"((?:\\x[0-9a-f]{2})*)"')

Image = dict[str, bytes] | None
"""Files by name; None when the directory itself is not there."""


@dataclass
class Call:
    """A call that the system answered without an error."""

    begun: int
    ended: int
    """Lines of the record, which stand for moments."""
    name: str
    texts: list[bytes]
    numbers: list[int]
    flags: str


@dataclass
class Change:
    begun: int
    ended: int
    kind: str
    at: int = 0
    data: bytes = b""
    """Of a write; a size is in `at`."""


@dataclass
class File:
    base: bytes = b""
    changes: list[Change] = field(default_factory=list)
    syncs: list[Change] = field(default_factory=list)
    position: int = 0


@dataclass
class Naming:
    begun: int
    ended: int
    name: str
    file: File | None
    """None: the name is taken away."""


@dataclass
class Record:
    """What a program did to a directory, and what it said meanwhile."""

    said: list[tuple[int, str]] = field(default_factory=list)
    made: Change | None = None
    """The making of the directory itself, when it was not there."""
    made_synced: list[Change] = field(default_factory=list)
    base: dict[str, File] = field(default_factory=dict)
    names: list[Naming] = field(default_factory=list)
    syncs: list[Change] = field(default_factory=list)
    end: int = 0

    def moments(self) -> list[int]:
        """All moments at which something changed."""
        files = [*self.base.values(), *(each.file for each in self.names if each.file)]
        changes = [each for file in files for each in (*file.changes, *file.syncs)]
        every: Iterable[Change | Naming] = [*changes, *self.names, *self.syncs]
        return sorted({moment for each in every for moment in (each.begun, each.ended)})

    def synced_before(self, moment: int) -> int:
        """The beginning of the last sync of a log that had ended by then, or -1."""
        files = [*self.base.values(), *(each.file for each in self.names if each.file)]
        syncs = [each for file in files for each in file.syncs if each.ended <= moment]
        return max((each.begun for each in syncs), default=-1)


def record(command: list[str], directory: Path, trace: Path, status: int | None = 0) -> Record:
    """Run a Python program's module and arguments, and write down what it does to a directory."""
    words = ["strace", "-f", "-qq", "-y", "-xx", "-s", "1000000", "-o", str(trace)]
    words += ["-e", f"trace={CALLS}", "-e", "signal=none", sys.executable, *command]
    done = Record()
    if directory.exists():
        done.base = {each.name: File(each.read_bytes()) for each in directory.iterdir()}
    else:
        done.made = Change(0, 0, "never")
    ran = subprocess.run(words, stdout=subprocess.DEVNULL, timeout=120)
    assert status is None or ran.returncode == status, ran
    _follow(done, calls(trace.read_text()), os.fsencode(directory))
    done.end = 1 + max([each for each, _ in done.said] + done.moments(), default=0)
    return done


def calls(text: str) -> Iterator[Call]:
    """The calls in a record of strace, in the order in which they began."""
    found: list[Call] = []
    open_calls: dict[str, Call] = {}
    for number, line in enumerate(text.splitlines()):
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        thread, rest = match.groups()
        if (resumed := _RESUMED.match(rest)) is not None:
            call = open_calls.pop(thread)
            rest = resumed[2]
        elif (begun := _BEGUN.match(rest)) is not None:
            call = Call(number, number, begun[1], [], [], "")
            found.append(call)
        else:
            continue
        arguments, _, result = rest.rpartition(" = ")
        call.texts += [
            bytes.fromhex((path or data).replace("\\x", ""))
            for path, data in _TEXT.findall(arguments or rest)
        ]
        bare = _TEXT.sub("", arguments or rest)
        call.numbers += [int(each) for each in re.findall(r"(?<![\w.])-?\d+(?!\w)", bare)]
        call.flags += bare
        if "<unfinished ...>" in rest:
            call.ended = sys.maxsize
            open_calls[thread] = call
        else:
            call.ended = number
            if result.startswith(("-1", "?")):
                found.remove(call)
    yield from found


def _follow(record: Record, every: Iterable[Call], directory: bytes) -> None:
    names = dict(record.base)
    parent = os.path.dirname(directory)

    def inside(path: bytes) -> str | None:
        return (
            os.fsdecode(path[len(directory) + 1 :]) if os.path.dirname(path) == directory else None
        )

    for call in every:
        begun, ended = call.begun, call.ended
        match call.name, call.texts:
            case "write", [_, data] if call.numbers[0] == 1:
                record.said += [(begun, each) for each in data.decode().splitlines()]
            case "mkdir", [path, *_] if path == directory:
                record.made = Change(begun, ended, "mkdir")
            case "fsync", [path] if path == directory:
                record.syncs.append(Change(begun, ended, "sync"))
            case "fsync", [path] if path == parent:
                record.made_synced.append(Change(begun, ended, "sync"))
            case "openat", [_, path, *_] if (name := inside(path)) and "O_CREAT" in call.flags:
                if name not in names:
                    names[name] = File()
                    record.names.append(Naming(begun, ended, name, names[name]))
            case "rename", [old, new, *_] if (name := inside(old)) and (other := inside(new)):
                names[other] = names.pop(name)
                record.names.append(Naming(begun, ended, other, names[other]))
                record.names.append(Naming(begun, ended, name, None))
            case "unlink", [path, *_] if name := inside(path):
                del names[name]
                record.names.append(Naming(begun, ended, name, None))
            case _, [path, *rest] if (name := inside(path)) and name in names:
                _change(names[name], call, rest)


def _change(file: File, call: Call, rest: list[bytes]) -> None:
    begun, ended = call.begun, call.ended
    match call.name:
        case "fsync" | "fdatasync":
            file.syncs.append(Change(begun, ended, "sync"))
        case "pwrite64":
            file.changes.append(Change(begun, ended, "write", call.numbers[-1], rest[0]))
        case "write":
            file.changes.append(Change(begun, ended, "write", file.position, rest[0]))
            file.position += len(rest[0])
        case "ftruncate":
            file.changes.append(Change(begun, ended, "size", call.numbers[-1]))
        case "fallocate":
            file.changes.append(Change(begun, ended, "room", sum(call.numbers[-2:])))


def image(record: Record, moment: int, chance: random.Random) -> Image:
    """What the disk may hold when the power fails at this moment."""
    if record.made is not None and record.made.begun <= moment:
        lasting = any(record.made.ended < s.begun and s.ended <= moment for s in record.made_synced)
        if not lasting and chance.random() < 0.3:
            return None
    names: dict[str, File] = dict(record.base)
    covered = _covered(record.syncs, moment)
    happens = chance.choice([0.0, 0.5, 1.0])
    for each in record.names:
        if each.begun <= moment and (each.ended < covered or chance.random() < happens):
            if each.file is None:
                names.pop(each.name, None)
            else:
                names[each.name] = each.file
    return {name: _content(file, moment, chance) for name, file in names.items()}


def _covered(syncs: list[Change], moment: int) -> int:
    return max((each.begun for each in syncs if each.ended <= moment), default=-1)


def _content(file: File, moment: int, chance: random.Random) -> bytes:
    covered = _covered(file.syncs, moment)
    content = bytearray(file.base)
    pending = []
    for change in file.changes:
        if change.ended < covered:
            _apply(content, change)
        elif change.begun <= moment:
            pending.append(change)
    sizes = len(pending) if chance.random() < 0.5 else chance.randrange(len(pending) + 1)
    happens = chance.choice([0.0, 0.1, 0.5, 0.9, 1.0])
    hole = chance.randrange(len(pending) + 1) if chance.random() < 0.3 else None
    size = len(content)
    for index, change in enumerate(pending):
        if change.kind == "write":
            end = change.at + len(change.data)
            for begin in range(change.at - change.at % SECTOR, end, SECTOR):
                if index != hole and chance.random() < happens:
                    first, last = max(begin, change.at), min(begin + SECTOR, end)
                    part = change.data[first - change.at : last - change.at]
                    _apply(content, Change(0, 0, "write", first, part))
            size = max(size, end) if index < sizes else size
        elif index < sizes:
            _apply(content, change)
            size = change.at if change.kind == "size" else max(size, change.at)
    return bytes(content[:size]).ljust(size, b"\0")


def _apply(content: bytearray, change: Change) -> None:
    end = change.at + len(change.data)
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    if change.kind == "size":
        del content[change.at :]
    content[change.at : end] = change.data


def put(found: Image, directory: Path) -> None:
    """Make a directory hold just this."""
    directory.mkdir(mode=0o700, exist_ok=True)
    for each in directory.iterdir():
        each.unlink()
    for name, data in (found or {}).items():
        (directory / name).write_bytes(data)
