"""`python -m benchmarks.http_peers`: the service beside other servers, under wrk, in one run.

Every server gets the same load for the same time, one after another for each kind of load, with
256 bytes under each of a hundred keys. What is compared is a ratio within the run. Rewrites
benchmarks/http_results.json, docs/http-benchmarks.md and its picture.
"""

import argparse
import base64
import json
import os
import platform
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from benchmarks import http_page

SUBJECT = "DumbKV"
LOADS = ("1", "16", "64", "256", "close")
RESULTS = Path(__file__).with_name("http_results.json")
Figures = dict[str, dict[str, dict[str, float]]]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def process(*command: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    running = subprocess.Popen(command, text=True, **options)
    try:
        yield running
    finally:
        running.terminate()
        running.communicate()


def answers(url: str) -> str:
    """The URL, once something there answers."""
    end = time.monotonic() + 20
    while True:
        try:
            urlopen(url, timeout=1).close()
        except OSError as error:
            if hasattr(error, "code"):
                return url
            assert time.monotonic() < end, f"{url} does not answer"
            time.sleep(0.05)
        else:
            return url


@contextmanager
def printing(*command: str) -> Iterator[str]:
    """A server that prints its URL."""
    with process(sys.executable, *command, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        found = re.search(r"http://[\d.]+:\d+", running.stdout.readline())
        assert found is not None
        yield found[0]


@contextmanager
def uvicorn() -> Iterator[str]:
    port = str(free_port())
    command = [sys.executable, "-m", "uvicorn", "benchmarks.asgi_server:app", "--port", port]
    options = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "error"]
    with process(*command, *options):
        yield answers(f"http://127.0.0.1:{port}")


@contextmanager
def webdis() -> Iterator[str]:
    redis, port = free_port(), free_port()
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        config = {
            "redis_host": "127.0.0.1", "redis_port": redis, "http_host": "127.0.0.1",
            "http_port": port, "threads": 2, "pool_size": 20, "daemonize": False, "verbosity": 0,
            "database": 0, "logfile": "/dev/null", "acl": [{"enabled": ["*"]}],
        }  # fmt: skip
        Path(directory, "webdis.json").write_text(json.dumps(config))
        stack.enter_context(
            process("redis-server", "--port", str(redis), "--save", "", cwd=directory,
                    stdout=subprocess.DEVNULL)
        )  # fmt: skip
        stack.enter_context(
            process("webdis", "webdis.json", cwd=directory, stderr=subprocess.DEVNULL)
        )
        yield answers(f"http://127.0.0.1:{port}")


@contextmanager
def etcd() -> Iterator[str]:
    client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    with tempfile.TemporaryDirectory() as directory:
        urls = ["--listen-client-urls", client, "--advertise-client-urls", client]
        urls += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
        urls += [
            "--initial-cluster",
            f"default={peer}",
            "--log-level",
            "error",
            "--unsafe-no-fsync",
        ]
        with process("etcd", "--data-dir", directory, *urls, stderr=subprocess.DEVNULL):
            yield answers(client)


PEERS: dict[str, Callable[[], Any]] = {
    SUBJECT: lambda: printing("-m", "dumbkv_http", "--port", "0", "--max-connections", "300"),
    "http.server": lambda: printing("-m", "benchmarks.stock_server"),
    "uvicorn": uvicorn,
    "asyncio.Protocol": lambda: printing("-m", "benchmarks.protocol_server"),
    "webdis": webdis,
    "etcd": etcd,
}
NEEDS = {"webdis": "webdis", "etcd": "etcd"}


def load(url: str, peer: str, method: str, how: str, seconds: float) -> dict[str, float]:
    connections = 64 if how == "close" else int(how)
    script = Path(__file__).with_name("http_peer_load.lua")
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "-s", str(script), url, "--"]
    names = [base64.b64encode(b"key%d" % n).decode() for n in range(100)]
    done = subprocess.run(
        [*command, peer, method, how, *names], capture_output=True, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout.split("JSON ")[1])
    return found


def fill(url: str, peer: str) -> None:
    if peer not in NEEDS:
        for n in range(100):
            urlopen(Request(f"{url}/v1/kv/key{n}", bytes(256), method="PUT"), timeout=10).close()
    else:
        load(url, peer, "PUT", "1", 1)


def measure(peers: list[str], loads: list[str], rounds: int, seconds: int) -> Figures:
    figures: Figures = {}
    with ExitStack() as stack:
        urls = {peer: stack.enter_context(PEERS[peer]()) for peer in peers}
        for peer, url in urls.items():
            fill(url, peer)
        for method in ("GET", "PUT"):
            for how in loads:
                runs: dict[str, list[dict[str, float]]] = {peer: [] for peer in peers}
                for _ in range(rounds):
                    for peer, url in urls.items():
                        runs[peer].append(load(url, peer, method, how, seconds))
                for peer in peers:
                    names = ("per_second", "p50", "p99", "errors")
                    figures.setdefault(f"{method} {how}", {})[peer] = {
                        name: statistics.median(run[name] for run in runs[peer]) for name in names
                    }
                    shown = figures[f"{method} {how}"][peer]
                    print(
                        f"{method} {how:>5} {peer:18} {shown['per_second']:8.0f}/s  "
                        f"p99 {shown['p99'] * 1e3:8.2f} ms  {shown['errors']:.0f} errors",
                        flush=True,
                    )
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.http_peers", description=__doc__)
    parser.add_argument("--peer", choices=PEERS, action="append", help="only these; writes nothing")
    parser.add_argument("--load", choices=LOADS, action="append", help="only these; writes nothing")
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--draw", action="store_true", help="page and picture of what there is")
    args = parser.parse_args()
    if not args.draw:
        missing = [name for name in NEEDS.values() if not shutil.which(name)]
        if missing and not args.peer:
            parser.error(f"a full run wants {', '.join(missing)}: install it, or use --peer")
        figures = measure(
            args.peer or list(PEERS), args.load or list(LOADS), args.rounds, args.seconds
        )
        if args.peer or args.load:
            return
        about = {
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
            "cores": os.cpu_count(),
            "date": time.strftime("%Y-%m-%d"),
            "seconds": args.seconds * args.rounds,
        }
        RESULTS.write_text(json.dumps({"about": about, "figures": figures}, indent=1) + "\n")
    http_page.write(json.loads(RESULTS.read_text()))


if __name__ == "__main__":
    main()
