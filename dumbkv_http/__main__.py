"""The service as a program: `python -m dumbkv_http`."""

from __future__ import annotations

import argparse
import logging
import re
import signal
import sys
from types import FrameType

import dumbkv
from dumbkv_http.app import MAX_BODY
from dumbkv_http.limits import Limits
from dumbkv_http.service import build, url

_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_SIZE = re.compile(r"([0-9]{1,12}) ?([kmg]?)(?:i?b)?", re.IGNORECASE)
# With this much data, and all buffers of all connections in use, the process stays below the
# 450 MiB of its memory objective.
_MAX_BYTES = 256 * 1024**2

_EXAMPLES = """
examples:
  python -m dumbkv_http                        serve on http://127.0.0.1:8080
  python -m dumbkv_http --port 0               take a free port and say which
  python -m dumbkv_http --max-value 8MiB       accept larger values than 1 MiB
  python -m dumbkv_http --max-bytes 1GiB --eviction lru
                                               be a cache
  python -m dumbkv_http --host 0.0.0.0 --insecure
                                               let other machines in; there is no password

then, from another shell:
  curl -T photo.jpg http://127.0.0.1:8080/v1/kv/photo        store a file
  curl -d hello -X PUT 'http://127.0.0.1:8080/v1/kv/a?ttl=60'  store for a minute
  curl http://127.0.0.1:8080/v1/kv/a                         read it
  curl -X DELETE http://127.0.0.1:8080/v1/kv/a               delete it
  curl http://127.0.0.1:8080/metrics                         what Prometheus scrapes

Data is in memory only and is gone when the process ends. SIGTERM and Ctrl-C finish the answers
under way and exit with status 0.
"""


def main(arguments: list[str] | None = None) -> int:
    """Runs the service until a signal; the answer is the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    if options.max_value > Limits().body_budget:
        parser.error(f"--max-value: expected at most {Limits().body_budget} bytes")
    try:
        store = dumbkv.open(
            backend=options.backend,
            max_value=options.max_value,
            max_bytes=options.max_bytes,
            eviction=options.eviction,
        )
    except (RuntimeError, ValueError) as error:
        print(f"dumbkv_http: {error}", file=sys.stderr)
        return 1
    with store:
        return _run(store, options)


def _run(store: dumbkv.Store, options: argparse.Namespace) -> int:
    try:
        server = build(
            store,
            options.host,
            options.port,
            max_body=options.max_value,
            limits=Limits(connections=options.max_connections),
            allow_hosts=options.allow_host,
            insecure=options.insecure,
        )
    except ValueError as error:
        print(f"dumbkv_http: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        where = url(options.host, options.port)
        print(
            f"dumbkv_http: cannot listen on {where}: {error.strerror or error}; "
            "choose another address with --host or --port (0 takes a free one)",
            file=sys.stderr,
        )
        return 1

    def stop(number: int, frame: FrameType | None) -> None:
        server.request_shutdown()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    host, port = server.server_address[:2]
    print(
        f"DumbKV {dumbkv.__version__} listens on {url(str(host), int(port))} "
        f"(back end: {store.backend}; data in memory only, gone when the process ends)",
        flush=True,
    )
    server.serve_forever()
    server.server_close()
    server.app.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dumbkv_http",
        description="Serve an in-memory DumbKV store over HTTP.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add("--port", type=_port, default=8080, help="port, 0 for any free one (default: %(default)s)")
    add(
        "--backend",
        choices=("auto", "c", "python"),
        default=None,
        help="the table that serves: c is an error where it is not built "
        "(default: DUMBKV_BACKEND, else auto)",
    )
    add(
        "--max-value",
        type=_size,
        default=MAX_BODY,
        metavar="SIZE",
        help="largest value, in bytes or as 512KiB, 8MiB (default: 1MiB)",
    )
    add(
        "--max-bytes",
        type=_size,
        default=_MAX_BYTES,
        metavar="SIZE",
        help="memory for keys, values and what holds them (default: 256MiB)",
    )
    add(
        "--eviction",
        choices=("reject", "lru"),
        default="reject",
        help="when that is full: refuse writes with 507, or drop what was not read lately "
        "(default: %(default)s)",
    )
    add(
        "--max-connections",
        type=_positive,
        default=Limits().connections,
        metavar="N",
        help="connections at once; also held to 70 %% of the descriptor limit, less 16 "
        "(default: %(default)s)",
    )
    add(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="also answer requests whose Host is NAME; repeatable",
    )
    add(
        "--insecure",
        action="store_true",
        help="allow a --host that other machines can reach, without a password",
    )
    add("--version", action="version", version=f"DumbKV {dumbkv.__version__}")
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"expected a port from 0 to 65535, got {text!r}")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return int(text)


def _size(text: str) -> int:
    found = _SIZE.fullmatch(text)
    if found is None or not int(found[1]):
        raise argparse.ArgumentTypeError(f"expected a size such as 512KiB or 8MiB, got {text!r}")
    return int(found[1]) * _UNITS[found[2].lower()]


if __name__ == "__main__":
    sys.exit(main())
