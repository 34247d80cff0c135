"""TLS: versions, handshakes that do not come, large answers, and a certificate that changes."""

from __future__ import annotations

import http.client
import socket
import ssl
import subprocess
import threading
import warnings
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

import dumbkv
from dumbkv_http import Limits, Service, server_context
from dumbkv_http._connection import IDLE, SHAKE
from dumbkv_http.tls import TlsSocket
from tests.http.client import RawClient, get, put
from tests.http.conftest import Serve, wait_until


class Pair:
    """A certificate for localhost that signs itself, and its key."""

    def __init__(self, directory: Path, name: str = "localhost") -> None:
        self.certificate = str(directory / f"{name}.pem")
        self.key = str(directory / f"{name}.key")
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"),
                *("ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={name}"),
                *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
                *("-keyout", self.key, "-out", self.certificate),
            ],
            check=True,
            capture_output=True,
        )
        Path(self.key).chmod(0o600)

    def context(self) -> ssl.SSLContext:
        return server_context(self.certificate, self.key)

    def trusting(self) -> ssl.SSLContext:
        """A client's context that trusts this certificate and no other."""
        return ssl.create_default_context(cafile=self.certificate)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(tmp_path_factory.mktemp("tls"))


class TlsClient(RawClient):
    """A RawClient that speaks through TLS."""

    def __init__(self, service: Service, context: ssl.SSLContext) -> None:
        super().__init__(service)
        self.sock = context.wrap_socket(self.sock, server_hostname="localhost")


def test_a_standard_client_is_served_over_https(
    store: dumbkv.Store, serve: Serve, pair: Pair
) -> None:
    service = serve(store, tls=pair.context())
    assert service.url == f"https://127.0.0.1:{service.port}"
    client = http.client.HTTPSConnection(
        "127.0.0.1", service.port, timeout=10, context=pair.trusting()
    )
    value = bytes(range(256)) * 2048
    client.request("PUT", "/v1/kv/a", value)
    answer = client.getresponse()
    assert (answer.status, answer.read()) == (201, b"")
    client.request("GET", "/v1/kv/a")
    assert client.getresponse().read() == value
    client.request("GET", "/v1/kv/a", headers={"Connection": "close"})
    assert client.getresponse().read() == value
    client.close()


def test_pipelines_and_answers_larger_than_the_socket_go_through(
    fast_store: dumbkv.Store, serve: Serve, pair: Pair
) -> None:
    fast_store[b"large"] = value = bytes(range(256)) * 4096 * 8
    service = serve(fast_store, tls=pair.context(), max_body=len(value))
    with TlsClient(service, pair.trusting()) as client:
        client.send(get("large") * 3 + put("b", b"1") + get("b"))
        for _ in range(3):
            assert client.answer().body == value
        assert client.answer().status == 201
        assert client.answer().body == b"1"
        assert client.ask(put("large", value[1:])).status == 204
        assert client.ask(get("large")).body == value[1:]


def test_one_send_is_bounded_however_fast_the_client_reads(pair: Pair) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        server = TlsSocket(ours, pair.context())

        def read() -> None:
            client = pair.trusting().wrap_socket(theirs, server_hostname="localhost")
            while client.recv(1 << 20):
                pass
            client.close()

        reader = threading.Thread(target=read)
        reader.start()
        wait_until(server.handshake)
        for _ in range(20):
            with suppress(BlockingIOError):
                assert 0 < server.send(bytes(8 << 20)) <= 256 * 1024
        server.shutdown(socket.SHUT_WR)
        reader.join(10)
        server.close()


def test_nothing_is_left_unread_in_openssl(
    fast_store: dumbkv.Store, serve: Serve, pair: Pair
) -> None:
    """Records of all sizes, several in one packet: none waits for more to come."""
    service = serve(fast_store, tls=pair.context())
    with TlsClient(service, pair.trusting()) as client:
        for size in (1, 100, 16_383, 16_384, 16_385, 32_768, 100_000):
            data = put("a", bytes(size))
            client.send(data[:60]).send(data[60:])
            assert client.answer().status in (201, 204)
        client.send(get("x") * 1000)
        for _ in range(1000):
            assert client.answer().status == 404


def test_the_request_may_come_with_the_end_of_the_handshake(
    fast_store: dumbkv.Store, serve: Serve, pair: Pair
) -> None:
    service = serve(fast_store, tls=pair.context())
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = pair.trusting().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection((service.host, service.port), timeout=10) as sock:
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                sock.sendall(outgoing.read())
                incoming.write(sock.recv(65536))
        tls.write(get("a"))
        sock.sendall(outgoing.read())  # Our last handshake message and the request, as one.
        answer = b""
        while b"\r\n\r\n" not in answer:
            incoming.write(sock.recv(65536))
            try:
                answer += tls.read(65536)
            except ssl.SSLWantReadError:
                continue
    assert answer.startswith(b"HTTP/1.1 404 ")


def test_the_last_answer_ends_with_a_goodbye(
    fast_store: dumbkv.Store, serve: Serve, pair: Pair
) -> None:
    context = pair.trusting()
    service = serve(fast_store, tls=pair.context())
    with TlsClient(service, context) as client:
        client.sock.suppress_ragged_eofs = False  # type: ignore[attr-defined]  # an SSLSocket
        assert client.ask(get("a", "Connection: close\r\n")).status == 404
        assert client.rest() == b""  # A bare end of the stream would raise SSLEOFError.


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_and_1_3_are_spoken(
    version: ssl.TLSVersion, fast_store: dumbkv.Store, serve: Serve, pair: Pair
) -> None:
    service = serve(fast_store, tls=pair.context())
    context = pair.trusting()
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2", "http/1.1"])
    with TlsClient(service, context) as client:
        assert client.ask(get("a")).status == 404
        assert client.sock.selected_alpn_protocol() == "http/1.1"  # type: ignore[attr-defined]  # an SSLSocket


def test_older_versions_are_refused_and_counted(
    fast_store: dumbkv.Store, serve: Serve, pair: Pair
) -> None:
    service = serve(fast_store, tls=pair.context())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError) as refused:
        TlsClient(service, context)
    assert refused.value.reason == "TLSV1_ALERT_PROTOCOL_VERSION"  # The server has said so.
    wait_until(lambda: service.server.metrics.tls_failures == 1)


def test_plain_http_on_a_tls_port_is_closed_and_nothing_of_it_is_a_request(
    fast_store: dumbkv.Store, serve: Serve, pair: Pair
) -> None:
    service = serve(fast_store, tls=pair.context())
    with RawClient(service) as client:
        client.send(put("a", b"1"))
        assert not client.rest().startswith(b"HTTP/")
    assert len(fast_store) == 0
    assert service.server.metrics.tls_failures == 1


def test_a_handshake_that_does_not_come_has_a_deadline_and_holds_nobody_up(
    fast_store: dumbkv.Store, serve: Serve, pair: Pair
) -> None:
    service = serve(fast_store, tls=pair.context(), limits=Limits(head_timeout=0.3))
    with ExitStack() as stack:
        silent = [stack.enter_context(RawClient(service)) for _ in range(20)]
        dripping = stack.enter_context(RawClient(service))
        dripping.send(b"\x16\x03\x01")
        wait_until(lambda: service.server.metrics.connections() == 21)
        other = stack.enter_context(TlsClient(service, pair.trusting()))
        assert other.ask(get("a")).status == 404
        for client in (*silent, dripping):
            assert client.rest() == b""
        assert other.ask(get("a")).status == 404
    assert service.server.metrics.tls_failures == 21


def test_after_its_handshake_a_connection_may_be_idle_for_longer(
    fast_store: dumbkv.Store, serve: Serve, pair: Pair
) -> None:
    service = serve(fast_store, tls=pair.context(), limits=Limits(head_timeout=5))
    with RawClient(service) as client:
        wait_until(lambda: service.server.metrics.connections() == 1)
        (connection,) = service.server._connections
        assert connection.state == SHAKE
        assert connection.deadline <= service.server.clock() + 5
        client.sock = pair.trusting().wrap_socket(client.sock, server_hostname="localhost")
        wait_until(lambda: connection.state == IDLE)
        assert connection.deadline > service.server.clock() + 30


def test_at_the_cap_a_handshake_goes_before_an_idle_connection(
    fast_store: dumbkv.Store, serve: Serve, pair: Pair
) -> None:
    service = serve(fast_store, tls=pair.context(), limits=Limits(connections=2))
    with ExitStack() as stack:
        used = stack.enter_context(TlsClient(service, pair.trusting()))
        assert used.ask(get("a")).status == 404
        silent = stack.enter_context(RawClient(service))
        wait_until(lambda: service.server.metrics.connections() == 2)
        newcomer = stack.enter_context(TlsClient(service, pair.trusting()))
        assert newcomer.ask(get("a")).status == 404
        assert silent.rest() == b""
        assert used.ask(get("a")).status == 404


def test_at_the_cap_with_none_idle_a_newcomer_is_cut_off_and_counted(
    fast_store: dumbkv.Store, serve: Serve, pair: Pair
) -> None:
    service = serve(fast_store, tls=pair.context(), limits=Limits(connections=1))
    with TlsClient(service, pair.trusting()) as busy:
        busy.send(put("a", b"hello")[:-1])
        wait_until(lambda: service.server.metrics.in_flight() == 1)
        with RawClient(service) as refused:
            assert refused.rest() == b""
        assert service.server.metrics.refused == 1
        assert busy.ask(b"o").status == 201


def test_a_new_certificate_serves_new_connections_and_old_ones_go_on(
    fast_store: dumbkv.Store, serve: Serve, pair: Pair, tmp_path: Path
) -> None:
    service = serve(fast_store, tls=pair.context())
    other = Pair(tmp_path)
    with TlsClient(service, pair.trusting()) as old:
        service.server.tls = other.context()
        with TlsClient(service, other.trusting()) as new:
            assert new.ask(get("a")).status == old.ask(get("a")).status == 404
        with pytest.raises(ssl.SSLCertVerificationError):
            TlsClient(service, pair.trusting())


def test_files_that_cannot_serve_are_refused_in_one_sentence(pair: Pair, tmp_path: Path) -> None:
    other = Pair(tmp_path, "other")
    with pytest.raises(ValueError, match="expected a certificate and its key"):
        server_context(pair.certificate, other.key)
    with pytest.raises(FileNotFoundError):
        server_context(str(tmp_path / "absent"), pair.key)
    locked = tmp_path / "locked.key"
    subprocess.run(
        ["openssl", "ec", "-in", other.key, "-aes256", "-passout", "pass:x", "-out", str(locked)],
        check=True,
        capture_output=True,
    )
    locked.chmod(0o600)
    with pytest.raises(ValueError, match="without a password"):
        server_context(other.certificate, str(locked))
    Path(other.key).chmod(0o604)
    with pytest.raises(ValueError, match=r"chmod 640.*0604"):
        server_context(other.certificate, other.key)
