"""Real input: the standard library's sources, through HTTP and back."""

from __future__ import annotations

import http.client
import sysconfig
import threading
from pathlib import Path
from urllib.parse import quote

import dumbkv
from tests.http.conftest import Serve, counted

CONNECTIONS = 16


def test_the_standard_library_comes_back_byte_for_byte_over_16_connections(
    fast_store: dumbkv.Store, serve: Serve
) -> None:
    root = Path(sysconfig.get_path("stdlib"))
    sources = sorted(path for path in root.rglob("*.py") if "site-packages" not in path.parts)
    assert len(sources) > 500
    service = serve(fast_store, max_body=max(path.stat().st_size for path in sources))
    started = threading.Barrier(CONNECTIONS)
    failures: list[str] = []

    def carry(share: list[Path]) -> None:
        connection = http.client.HTTPConnection(service.host, service.port, timeout=30)
        started.wait(30)
        for method, expected in (("PUT", {201}), ("GET", {200})):
            for path in share:
                target = "/v1/kv/" + quote(str(path.relative_to(root)))
                data = path.read_bytes()
                connection.request(method, target, data if method == "PUT" else None)
                response = connection.getresponse()
                body = response.read()
                if response.status not in expected or (method == "GET" and body != data):
                    failures.append(f"{method} {target}: {response.status}")
        connection.close()

    threads = [
        threading.Thread(target=carry, args=(sources[n::CONNECTIONS],)) for n in range(CONNECTIONS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    assert failures == []
    assert counted(service, 201) == counted(service, 200) == len(sources) == len(fast_store)
    assert counted(service) == 2 * len(sources)
