"""The commands, each from its options to an exit status."""

import json
import sys
import time
from argparse import Namespace
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from itertools import islice

import dumbkv
from dumbkv._dumpfile import Contents, write
from dumbkv._files import replacing
from dumbkv._record import VERSION, Set
from dumbkv.cli import ndjson
from dumbkv.cli.bar import bar
from dumbkv.cli.bench import measured
from dumbkv.cli.place import changing, entries, inspect, opened, say

DONE, ABSENT = 0, 1


def get(options: Namespace) -> int:
    with opened(options.file) as store:
        value = store.get(options.key)
    if value is None:
        return _absent(options.file, options.key)
    sys.stdout.buffer.write(value + b"\n" if options.newline else value)
    return DONE


def put(options: Namespace) -> int:
    value = _value(options.value)
    with changing(options.file, options.wait, create=True) as store:
        store.set(options.key, value, ttl=options.ttl)
    return DONE


def delete(options: Namespace) -> int:
    with changing(options.file, options.wait) as store:
        absent = [key for key in options.keys if not store.delete(key)]
    return _absent(options.file, absent[0]) if absent else DONE


def scan(options: Namespace) -> int:
    with opened(options.file) as store:
        for row in islice(_rows(store, options), options.limit):
            sys.stdout.buffer.write(row)
    return DONE


def count(options: Namespace) -> int:
    with opened(options.file) as store:
        say(str(store.count(options.prefix)))
    return DONE


def dump(options: Namespace) -> int:
    if options.out == "-" and not options.ndjson:
        options.parser.error("OUT is -: give --ndjson with it, or a path")
    with entries(options.file) as (found, total), bar("writing") as progress:
        if options.out == "-":
            sys.stdout.buffer.writelines(map(ndjson.line, found))
            return DONE
        if options.ndjson:
            written = _write_lines(options.out, found)
        else:
            written = write(options.out, found, total, progress)
    say(f"{written} entries are in {options.out}")
    return DONE


def load(options: Namespace) -> int:
    if options.source == "-" and not options.ndjson:
        options.parser.error("IN is -: give --ndjson with it, or a path")
    with changing(options.file, options.wait, create=True) as store:
        if not options.ndjson:
            with bar("loading") as progress:
                loaded = store.load(options.source, replace=options.replace, progress=progress)
        else:
            if options.replace:
                store.clear()
            loaded = _load_lines(store, options.source)
    say(f"{loaded} entries loaded into {options.file}")
    return DONE


def stats(options: Namespace) -> int:
    found = Contents()
    inspect(options.file, found)
    assert found.header is not None, "what was inspected has a header"
    table = {
        "entries": found.entries,
        "entries with an expiry": found.expiring,
        "entries expired": found.expired,
        "bytes of keys and values": found.data_bytes,
        "bytes in the file": found.file_bytes,
        "longest key": found.longest_key,
        "longest value": found.longest_value,
        "format version": VERSION,
        "written": _moment(found.header.created),
    }
    if options.json:
        say(json.dumps({name.replace(" ", "_"): value for name, value in table.items()}))
    else:
        for name, value in table.items():
            say(f"{name:26}{value}")
    return DONE


def bench(options: Namespace) -> int:
    for line in measured(options.entries):
        say(line)
        sys.stdout.flush()
    return DONE


def _absent(path: str, key: bytes) -> int:
    shown = repr(key)[1:]
    what = f"{path} has no key {shown}: python -m dumbkv scan --keys-only lists those it has"
    print(f"dumbkv: {what}", file=sys.stderr)
    return ABSENT


def _value(given: str) -> bytes:
    if given == "-":
        return sys.stdin.buffer.read()
    if given.startswith("@"):
        with open(given[1:], "rb") as file:
            return file.read()
    return given.encode("utf-8", "surrogateescape")


def _rows(store: dumbkv.Store, options: Namespace) -> Iterator[bytes]:
    where = {name: getattr(options, name) for name in ("prefix", "start", "end", "after")}
    where["reverse"] = options.reverse
    end = b"\0" if options.null else b"\n"
    if options.json:
        for key in store.scan_keys(**where):
            entry = store.entry(key)
            if entry is not None:  # it has not expired meanwhile
                yield _object(entry, options.keys_only)
    elif options.keys_only:
        for key in store.scan_keys(**where):
            yield key + end
    else:
        middle = b"\0" if options.null else b"\t"
        for key, value in store.iter_scan(**where):
            yield key + middle + value + end


def _object(entry: dumbkv.Entry, key_only: bool) -> bytes:
    fields: dict[str, object] = {"key": ndjson.text(entry.key)}
    if not key_only:
        fields |= {"value": ndjson.text(entry.value), "expires_at": entry.expires_at}
    return json.dumps(fields, ensure_ascii=False).encode() + b"\n"


def _write_lines(path: str, found: Iterable[Set]) -> int:
    written = 0
    with replacing(path) as file:
        for entry in found:
            file.write(ndjson.line(entry))
            written += 1
    return written


def _load_lines(store: dumbkv.Store, source: str) -> int:
    if source == "-":
        return _load_from(store, sys.stdin.buffer, "stdin")
    with open(source, "rb") as lines:
        return _load_from(store, lines, source)


def _load_from(store: dumbkv.Store, lines: Iterable[bytes], name: str) -> int:
    loaded = 0
    now = time.time_ns() // 1000
    for entry in ndjson.entries(lines, name):
        if entry.expiry and entry.expiry <= now:
            continue
        store.set(entry.key, entry.value, expire_at=entry.expiry / 1e6 if entry.expiry else None)
        loaded += 1
    return loaded


def _moment(microseconds: int) -> str:
    try:
        moment = datetime.fromtimestamp(microseconds / 1e6, timezone.utc)
    except (OverflowError, ValueError, OSError):
        return f"{microseconds} microseconds after 1970"
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")
