"""Several stores in one process, each behind its own door; and a program that has its own web."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from pathlib import Path

import dumbkv
from dumbkv_http import Client
from tests.http.asking import ask
from tests.http.conftest import Serve, counted

EXAMPLE = Path(__file__).parents[2] / "examples" / "beside_flask.py"


def test_stores_of_one_process_have_registries_of_their_own(serve: Serve) -> None:
    with dumbkv.open() as one, dumbkv.open(backend="python") as other:
        services = [serve(one), serve(other)]
        one[b"a"] = b"1"
        ask(services[0], "GET", "/v1/kv/a")
        assert ask(services[1], "GET", "/v1/kv/a").status == 404
        assert [counted(each) for each in services] == [1, 1]
        pages = [ask(each, "GET", "/metrics").body.decode() for each in services]
        assert 'dumbkv_entries{store="default"} 1.0' in pages[0]
        assert 'dumbkv_entries{store="default"} 0.0' in pages[1]
        registries = {id(each.server.metrics.registry) for each in services}
        assert len(registries) == 2
        services[0].close()
        assert ask(services[1], "GET", "/healthz").status == 200


def test_a_store_beside_flask_is_one_store_with_two_doors() -> None:
    program = subprocess.Popen(
        [sys.executable, str(EXAMPLE), "0"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert program.stdout is not None
        site, store = program.stdout.readline().split()
        for n in range(1, 4):
            with urllib.request.urlopen(site, timeout=10) as answer:
                assert answer.read() == b"visit %d\n" % n
        with Client(store) as client:
            assert client[b"visits"] == b"3"
            client[b"visits"] = b"10"
        with urllib.request.urlopen(site, timeout=10) as answer:
            assert answer.read() == b"visit 11\n"
    finally:
        program.terminate()
        program.communicate(timeout=10)
