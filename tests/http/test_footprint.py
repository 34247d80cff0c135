"""What a million entries take in the memory of the service."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys

ENTRIES = 1_000_000
MOST = 430_000_000
"""Bytes resident, the process and the sorted index with it: what a thread a connection over a
dict takes, which has no index."""

SERVE = """
import sys, dumbkv, dumbkv_http

store = dumbkv.open(backend="c", max_bytes=400 << 20)
for start in range(0, int(sys.argv[1]), 1000):
    # In no order, as keys that come sorted would be the easy case for an index.
    names = (n * 0x9E3779B97F4A7C15 % 2**64 for n in range(start, start + 1000))
    store.set_many({b"%016x" % name: b"v" * 256 for name in names})
with dumbkv_http.serve(store) as service:
    print(service.port, flush=True)
    sys.stdin.read()
"""


def test_a_million_entries_with_their_index_fit() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(ENTRIES)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        connection = http.client.HTTPConnection("127.0.0.1", int(process.stdout.readline()))
        assert json.loads(read(connection, "/v1/count?prefix=")) == {"count": ENTRIES}
        assert len(json.loads(read(connection, "/v1/scan?limit=2"))["items"]) == 2
        for n in range(1000):
            read(connection, f"/v1/kv/{n * 0x9E3779B97F4A7C15 % 2**64:016x}")
        metrics = read(connection, "/metrics").decode()
        connection.close()
    found = re.search(r"^process_resident_memory_bytes (\S+)$", metrics, re.MULTILINE)
    assert found is not None
    print(f"\n{float(found[1]) / 1e6:.0f} MB resident with {ENTRIES} entries")
    assert float(found[1]) <= MOST


def read(connection: http.client.HTTPConnection, target: str) -> bytes:
    connection.request("GET", target)
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 200, body
    return body
