"""verify and repair: what is damaged, what of it can still be read, and what to do next."""

import errno
import os
import shlex
import sys
from argparse import Namespace
from collections.abc import Iterator
from itertools import chain, islice
from typing import TypeVar

from dumbkv._dumpfile import Contents, Progress, write
from dumbkv._files import reading
from dumbkv._logscan import read
from dumbkv._recovery import Survey, survey
from dumbkv._salvage import Gap, Salvaged, entries, logs, write_logs
from dumbkv.cli.bar import bar
from dumbkv.cli.place import expect_logs, inspect, say, settled
from dumbkv.errors import CorruptError

WHOLE, DAMAGED = 0, 1
_MOST = 20
"""So many damaged places are told one by one."""

T = TypeVar("T")


def verify(options: Namespace) -> int:
    path: str = options.file
    try:
        whole = _whole_directory(path) if os.path.isdir(path) else _whole_dump(path)
    except CorruptError as error:
        return _explain(path, error)
    for line in whole:
        say(line)
    return WHOLE


def repair(options: Namespace) -> int:
    path, new = options.file, options.new
    if os.path.lexists(new):
        raise FileExistsError(errno.EEXIST, "is there already: give a path for a new one", new)
    found = Salvaged()
    with bar("repairing") as progress:
        if os.path.isdir(path):
            expect_logs(path)
            write_logs(new, _readable(logs(path, found, progress), found))
            what = f"{found.records} records of {found.files} files"
        else:
            count = write(new, _readable(entries(path, found, progress), found))
            what = f"{count} entries"
    for gap in found.gaps:
        say(f"left out: {_shown(gap)}")
    say(f"{what} are in {new}; {path} is as it was")
    if found.gaps and os.path.isdir(path):
        say("a key that was changed or deleted in what is left out is as it was before that")
    return DAMAGED if found.gaps else WHOLE


def _readable(parts: Iterator[T], found: Salvaged) -> Iterator[T]:
    """The same parts; CorruptError when nothing can be read, before anything is written."""
    first = list(islice(parts, 1))
    if not found.files:
        raise CorruptError(*found.gaps[0][:2], found.gaps[0].what)
    return chain(first, parts)


def _whole_dump(path: str) -> list[str]:
    found = Contents()
    inspect(path, found)
    return [
        f"{path}: whole: {found.entries} entries, {found.data_bytes} bytes of keys and values, "
        f"{found.file_bytes} bytes in the file"
    ]


def _whole_directory(path: str) -> list[str]:
    with bar("checking") as progress:
        found, size = settled(path, lambda: _look(path, progress))
    records = sum(file.records for file in found.files)
    lines = [f"{path}: whole: {len(found.files)} files, {records} records, {size} bytes"]
    for file in found.files:
        if file.torn is not None:
            lines.append(
                f"{file.path}: the last {file.torn.size} bytes, from byte {file.valid_end} on, are "
                "no whole record: they are being written, or were when the process or the machine "
                "stopped; in that case the next open leaves them out"
            )
            if file.torn.whole:
                lines.append(
                    f"{file.torn.whole} whole records are among them, behind a hole: repair keeps "
                    "those too, and open saves them in a file beside it"
                )
    if found.headless is not None:
        lines.append(f"{found.headless}: was just being made; the next open removes it")
    lines += [
        f"{os.path.join(path, each)}: not a part of the store: what stood behind a hole in "
        f"{each[:-4]} after a crash; delete it when you do not need it"
        for each in sorted(os.listdir(path))
        if each.endswith(".log.cut")
    ]
    return lines


def _look(path: str, progress: Progress | None) -> tuple[Survey, int]:
    found = survey(path)
    total = sum(file.valid_end for file in found.files)
    done = 0
    for file in found.files:
        with reading(file.path) as opened:
            for at, _ in read(opened, file.path, file.valid_end):
                if progress is not None:
                    progress(done + at, total)
        done += file.valid_end
    return found, total


def _explain(path: str, error: CorruptError) -> int:
    found = Salvaged()
    directory = os.path.isdir(path)
    with bar("looking for what can be read") as progress:
        if directory:
            for log in logs(path, found, progress):
                for _ in log.records:
                    pass
            readable = f"{found.records} records of {found.files} files"
        else:
            readable = f"{sum(1 for _ in entries(path, found, progress))} entries"
    print(f"dumbkv: {error}", file=sys.stderr)
    for gap in found.gaps[:_MOST]:
        print(f"cannot be read: {_shown(gap)}", file=sys.stderr)
    if len(found.gaps) > _MOST:
        print(f"and {len(found.gaps) - _MOST} more places", file=sys.stderr)
    what = "directory" if directory else "file"
    command = f"python -m dumbkv repair {shlex.quote(path)} NEW"
    print(
        f"{readable} can be read: restore the {what} from a copy, or let {command} write what can "
        f"be read to a new {what}",
        file=sys.stderr,
    )
    return DAMAGED


def _shown(gap: Gap) -> str:
    if not gap.size:
        return f"{gap.path}: at byte {gap.offset}: {gap.what}"
    end = gap.offset + gap.size
    return f"{gap.path}: bytes {gap.offset} to {end} ({gap.size} bytes): {gap.what}"
