"""What each command takes, and the help that teaches it."""

import argparse
import base64
import math
from collections.abc import Callable

import dumbkv
from dumbkv.cli import commands, health

_EPILOG = """
first steps:
  python -m dumbkv set colours.dump sky blue        # make a file, or change it
  python -m dumbkv get colours.dump sky             # blue
  python -m dumbkv scan colours.dump                # all keys and values, in order
  python -m dumbkv get --help                       # more about one command

FILE is a dump: what these commands and Store.dump() write, for its owner alone to read. A
command that changes it writes a new file and puts that in its place, whole or not at all; all
entries get new versions. Or it is a data directory, which dumbkv.open(path) writes: it is read
without a change, also while a store has it open, and changed as by a store; set and load make
one when FILE ends with a slash.

exit status: 0 done, 1 the key is not there or verify or repair found damage, 2 wrong usage, 3 an
error of a file or its data.
"""
_KEYS = """
A KEY is text and stored as UTF-8; with --hex or --base64 it is any bytes. One that begins with
a dash goes after --.
"""
_GET = """
examples:
  python -m dumbkv get colours.dump sky             # blue, with no line end
  python -m dumbkv get --newline colours.dump sky   # blue, and a line end
  python -m dumbkv get photos.dump cat.jpg >cat.jpg # any bytes come out as they are
  python -m dumbkv get --hex colours.dump ff00      # the key of the bytes 255 and 0

exit status: 1 when the key is not there.
"""
_SET = """
examples:
  python -m dumbkv set colours.dump sky blue        # makes the file when it is not there
  python -m dumbkv set --ttl 60 a.dump token abc    # gone in a minute
  python -m dumbkv set photos.dump cat.jpg @cat.jpg # what the file cat.jpg holds
  date | python -m dumbkv set a.dump now -          # what comes on stdin, any bytes
  printf @home | python -m dumbkv set a.dump at -   # text that begins with @, or is a dash
"""
_DEL = """
examples:
  python -m dumbkv del colours.dump sky grass
  python -m dumbkv del --base64 colours.dump /wA=   # the key of the bytes 255 and 0

exit status: 1 when one was not there; the others are gone all the same.
"""
_SCAN = """
Each key and its value come as KEY, a tab, VALUE and a line end, in the order of the keys' bytes.
Where they may hold tabs or line ends use --json, or -0.

examples:
  python -m dumbkv scan colours.dump
  python -m dumbkv scan --prefix user: --limit 10 a.dump
  python -m dumbkv scan --after user:41 --limit 10 a.dump     # the next page
  python -m dumbkv scan --start 2026-01 --end 2026-02 a.dump  # from this key up to before that
  python -m dumbkv scan --keys-only -0 a.dump | xargs -0 -n1 echo
  python -m dumbkv scan --json a.dump | jq .value
"""
_COUNT = """
examples:
  python -m dumbkv count colours.dump
  python -m dumbkv count --prefix user: a.dump
"""
_DUMP = """
Entries keep their versions; those that have expired are left out. With --ndjson each is a line

  {"key": "sky", "value": {"base64": "/wA="}, "version": 1800000000000000, "expires_at": null}

with text where the bytes are UTF-8 and base64 where they are not.

examples:
  python -m dumbkv dump colours.dump copy.dump
  python -m dumbkv dump --ndjson colours.dump - | jq .key
  python -m dumbkv dump --ndjson colours.dump colours.ndjson
"""
_LOAD = """
IN is looked at as a whole first: with an error in it nothing is changed. Its entries get new
versions; those that have expired are left out. A line of --ndjson is what dump --ndjson writes,
of which only key and value are needed.

examples:
  python -m dumbkv load all.dump some.dump             # beside what is there
  python -m dumbkv load --replace all.dump some.dump   # instead of what is there
  python -m dumbkv load --ndjson all.dump lines.ndjson
  echo '{"key": "sky", "value": "blue"}' | python -m dumbkv load --ndjson all.dump -
"""
_VERIFY = """
Reads every byte and changes nothing, also while another process has the store open. Says how
much is whole, or where what is damaged, how much can be read all the same, and what to do.

examples:
  python -m dumbkv verify colours.dump
  python -m dumbkv verify data/                        # a data directory

exit status: 1 for damage.
"""
_REPAIR = """
Writes all that can be read of PATH, in order, to NEW: a data directory for a data directory, a
dump for a dump. PATH is not changed. Says which bytes were left out: a key that was changed or
deleted there has its value from before.

examples:
  python -m dumbkv repair damaged.dump whole.dump
  python -m dumbkv repair data/ repaired/

exit status: 1 when something was left out.
"""
_STATS = """
examples:
  python -m dumbkv stats colours.dump
  python -m dumbkv stats --json colours.dump | jq .entries
"""
_BENCH = """
Takes a few seconds and no file. DUMBKV_BACKEND=python measures the table in pure Python.

examples:
  python -m dumbkv bench
  python -m dumbkv bench --entries 1000000
"""


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options of one command and, as `run`, the command; exits with 2 for wrong ones."""
    options = _parser().parse_args(arguments)
    for name in ("key", "keys", "prefix", "start", "end", "after"):
        given = getattr(options, name, None)
        if given is not None:
            try:
                setattr(options, name, _decoded(given, options.form))
            except ValueError as error:
                options.parser.error(f"{name}: expected {options.form}: {error}")
    return options


def _decoded(given: str | list[str], form: str) -> bytes | list[bytes]:
    if isinstance(given, list):
        return [_KEY_FORMS[form](each) for each in given]
    return _KEY_FORMS[form](given)


_KEY_FORMS: dict[str, Callable[[str], bytes]] = {
    "text": lambda text: text.encode("utf-8", "surrogateescape"),
    "hex": bytes.fromhex,
    "base64": lambda text: base64.b64decode(text, validate=True),
}


def _parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m dumbkv",
        description="Look into a file of keys and values, and change it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"DumbKV {dumbkv.__version__}")
    command = _Commands(top)

    get = command("get", commands.get, "print the value of a key", _GET + _KEYS)
    _file(get)
    _key(get)
    get.add_argument("--newline", action="store_true", help="end the output with a line end")

    put = command("set", commands.put, "store a value under a key", _SET + _KEYS)
    _file(put)
    _key(put)
    put.add_argument("value", metavar="VALUE", help="text, - for stdin, or @PATH for a file")
    put.add_argument("--ttl", type=_seconds, metavar="SECONDS", help="let it expire")
    _wait(put)

    delete = command("del", commands.delete, "remove keys", _DEL + _KEYS)
    _file(delete)
    _key(delete, "keys", nargs="+")
    _wait(delete)

    scan = command("scan", commands.scan, "list keys and values in order", _SCAN)
    _file(scan)
    _forms(scan)
    scan.add_argument("--prefix", default="", help="only keys that begin like this")
    scan.add_argument("--start", metavar="KEY", help="from this key on")
    scan.add_argument("--end", metavar="KEY", help="up to before this key")
    scan.add_argument("--after", metavar="KEY", help="behind this key, in the order of the scan")
    scan.add_argument("--limit", type=_whole, metavar="N", help="at most so many")
    scan.add_argument("--reverse", action="store_true", help="from the last key to the first")
    scan.add_argument("--keys-only", action="store_true", help="no values")
    form = scan.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object a line")
    form.add_argument(
        "-0", "--null", action="store_true", help="end each key and each value with a NUL"
    )

    count = command("count", commands.count, "count keys", _COUNT)
    _file(count)
    _forms(count)
    count.add_argument("--prefix", default="", help="only keys that begin like this")

    dump = command("dump", commands.dump, "copy to another file, or to lines of JSON", _DUMP)
    _file(dump)
    dump.add_argument("out", metavar="OUT", help="the file to write; - for stdout, with --ndjson")
    dump.add_argument("--ndjson", action="store_true", help="write one JSON object a line")

    load = command("load", commands.load, "add the entries of another file", _LOAD)
    _file(load)
    load.add_argument("source", metavar="IN", help="the file to read; - for stdin, with --ndjson")
    load.add_argument("--ndjson", action="store_true", help="read one JSON object a line")
    load.add_argument("--replace", action="store_true", help="remove everything else")
    _wait(load)

    verify = command("verify", health.verify, "look for damage", _VERIFY)
    verify.add_argument("file", metavar="PATH", help="a dump or a data directory")

    repair = command("repair", health.repair, "write anew what can be read", _REPAIR)
    repair.add_argument("file", metavar="PATH", help="a dump or a data directory")
    repair.add_argument("new", metavar="NEW", help="what to write; nothing may be there")

    stats = command("stats", commands.stats, "say what a file holds", _STATS)
    _file(stats)
    stats.add_argument("--json", action="store_true", help="as one JSON object")

    bench = command("bench", commands.bench, "measure this machine", _BENCH)
    bench.add_argument(
        "--entries", type=_whole, default=100_000, metavar="N", help="keys (default: %(default)s)"
    )
    return top


class _Commands:
    """Makes the parser of one command after the other."""

    def __init__(self, top: argparse.ArgumentParser) -> None:
        self._all = top.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def __call__(
        self, name: str, run: Callable[[argparse.Namespace], int], what: str, epilog: str
    ) -> argparse.ArgumentParser:
        parser = self._all.add_parser(
            name,
            help=what,
            description=what[0].upper() + what[1:] + ".",
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.set_defaults(run=run, parser=parser)
        return parser


def _file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a dump or a data directory")


def _key(parser: argparse.ArgumentParser, name: str = "key", nargs: str | None = None) -> None:
    parser.add_argument(name, metavar="KEY", nargs=nargs, help="text, stored as UTF-8")
    _forms(parser)


def _forms(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group()
    for form in ("hex", "base64"):
        group.add_argument(
            f"--{form}",
            dest="form",
            action="store_const",
            const=form,
            help=f"keys among the arguments are {form}",
        )
    parser.set_defaults(form="text")


def _wait(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--wait",
        type=_seconds,
        default=5.0,
        metavar="SECONDS",
        help="how long to wait for another process that changes FILE (default: %(default)g)",
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= 1e10:
        raise argparse.ArgumentTypeError(f"expected seconds above 0, got {text!r}")
    return seconds


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or not 0 < int(text) <= 10**12:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return int(text)
