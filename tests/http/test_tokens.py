"""Bearer tokens over real sockets: who gets in, who may write, and what is said of it."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dumbkv
import dumbkv_http
from dumbkv_http import Tokens, read_tokens
from dumbkv_http.routes import ROUTES
from dumbkv_http.tokens import Role, parse_tokens
from tests.http.client import RawClient, get, put
from tests.http.conftest import Serve
from tests.http.test_metrics import SCRAPE, samples

WRITER, OTHER_WRITER = "correct-horse-battery", "staple-staple-staple"
READER, OTHER_READER = "only-for-the-scraper", "and-for-the-dashboard"
TOKENS = Tokens([WRITER, OTHER_WRITER], [READER, OTHER_READER])


def plain(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def bearer(token: str) -> str:
    return f"Authorization: Bearer {token}\r\n"


def test_without_a_token_nothing_but_the_probes_answers(store: dumbkv.Store, serve: Serve) -> None:
    store[b"a"] = b"secret"
    service = serve(store, tokens=TOKENS)
    with RawClient(service) as client:
        for request in (get("a"), get("absent"), SCRAPE, plain("/")):
            answer = client.ask(request)
            assert (answer.status, answer.kind) == (401, "unauthorized")
            assert answer.headers["www-authenticate"] == 'Bearer realm="dumbkv"'
            assert b"secret" not in answer.body
        for path in ("healthz", "readyz"):
            assert client.ask(plain("/" + path)).status == 200
    assert service.server.metrics.denied["missing-token"] == 4


def test_each_read_write_token_reads_and_writes(store: dumbkv.Store, serve: Serve) -> None:
    service = serve(store, tokens=TOKENS)
    with RawClient(service) as client:
        for token in (WRITER, OTHER_WRITER):
            assert client.ask(put(token, b"1", bearer(token))).status == 201
            assert client.ask(get(token, bearer(token))).body == b"1"


def test_each_read_only_token_reads_and_its_writes_are_403(
    store: dumbkv.Store, serve: Serve
) -> None:
    store[b"a"] = b"1"
    service = serve(store, tokens=TOKENS)
    for token in (READER, OTHER_READER):
        with RawClient(service) as client:
            assert client.ask(get("a", bearer(token))).body == b"1"
            deletion = get("a", bearer(token)).replace(b"GET", b"DELETE")
            answer = client.ask(deletion)
            assert (answer.status, answer.kind) == (403, "read-only")
            assert "insufficient_scope" in answer.headers["www-authenticate"]
            answer = client.ask(put("a", b"2", bearer(token)))
            assert (answer.status, answer.headers["connection"]) == (403, "close")
            assert client.rest() == b""
    assert store[b"a"] == b"1"
    assert service.server.metrics.denied["read-only-token"] == 4


WRONG = [
    "Bearer",
    "Bearer ",
    "Bearer something-else-of-16",
    f"Bearer {WRITER[:-1]}",
    f"Bearer {WRITER}x",
    f"Bearer {WRITER} {WRITER}",
    f"Bearer {WRITER},{READER}",
    f"Bearer\t{WRITER}",
    f"Bearer{WRITER}",
    f"Basic {WRITER}",
    f"Token {WRITER}",
    WRITER,
    WRITER.upper(),
    f'Bearer "{WRITER}"',
    "Bearer caf\xc3\xa9-caf\xc3\xa9-caf\xc3\xa9-caf",
]


@pytest.mark.parametrize("value", WRONG)
def test_a_wrong_token_is_401_and_the_body_behind_it_is_no_request(
    value: str, fast_store: dumbkv.Store, serve: Serve
) -> None:
    service = serve(fast_store, tokens=TOKENS)
    line = f"Authorization: {value}\r\n"
    with RawClient(service) as client:
        head, _, _ = get("a", "X").partition(b"X")
        request = head + line.encode("latin-1") + b"\r\n"
        answer = client.ask(request)
        assert (answer.status, answer.kind) == (401, "unauthorized")
        assert "invalid_token" in answer.headers["www-authenticate"]
        assert client.ask(get("a", bearer(WRITER))).status == 404  # The connection goes on.
        upload = request.replace(b"GET", b"PUT", 1)
        upload = upload.replace(b"\r\nHost", b"\r\nContent-Length: 99\r\nHost", 1)
        client.send(upload + put("smuggled", b"1", bearer(WRITER)))
        assert client.answer().status == 401
        assert client.rest() == b""
    assert len(fast_store) == 0


def test_the_scheme_has_no_case_and_a_token_has(fast_store: dumbkv.Store, serve: Serve) -> None:
    service = serve(fast_store, tokens=TOKENS)
    with RawClient(service) as client:
        for scheme in ("bearer", "BEARER", "Bearer "):
            assert client.ask(get("a", f"Authorization: {scheme} {WRITER}\r\n")).status == 404


def test_two_authorization_fields_are_refused_before_either_is_looked_at(
    fast_store: dumbkv.Store, serve: Serve
) -> None:
    service = serve(fast_store, tokens=TOKENS)
    with RawClient(service) as client:
        answer = client.ask(get("a", bearer(WRITER) + bearer(READER)))
        assert (answer.status, answer.headers["connection"]) == (400, "close")


def test_a_token_in_the_target_is_no_token(fast_store: dumbkv.Store, serve: Serve) -> None:
    service = serve(fast_store, tokens=TOKENS)
    with RawClient(service) as client:
        for target in (f"a?access_token={WRITER}", f"a?token={WRITER}"):
            assert client.ask(get(target)).status == 401


def test_the_metrics_can_be_opened_and_nothing_else_with_them(
    fast_store: dumbkv.Store, serve: Serve
) -> None:
    service = serve(fast_store, tokens=TOKENS, open_metrics=True)
    with RawClient(service) as client:
        assert client.ask(SCRAPE).status == 200
        assert client.ask(get("a")).status == 401
    found = samples(service)
    assert found['dumbkv_http_denied_total{reason="missing-token"}'] == 1
    assert found['http_requests_total{handler="kv",method="GET",status="401"}'] == 1


def test_the_short_way_never_lets_in_what_the_long_way_would_not(
    fast_store: dumbkv.Store, serve: Serve
) -> None:
    fast_store[b"a"] = b"1"
    service = serve(fast_store, tokens=TOKENS)
    with RawClient(service) as client:
        for _ in range(3):  # From the second on it is the short way.
            assert client.ask(get("a", bearer(READER))).body == b"1"
            assert client.ask(get("a")).status == 401
            assert client.ask(get("a", bearer(READER[:-1] + "x"))).status == 401
        assert service.server.plain.answer(get("a", bearer(READER)), b"now", 0) is not None
        for request in (get("a"), get("a", bearer(READER)[:-3] + "\r\n")):
            assert service.server.plain.answer(request, b"now", 0) is None


def test_changed_tokens_count_from_the_next_request_on_the_short_way_too(
    fast_store: dumbkv.Store, serve: Serve
) -> None:
    fast_store[b"a"] = b"1"
    service = serve(fast_store, tokens=TOKENS)
    server = service.server
    with RawClient(service) as client:
        for _ in range(3):
            assert client.ask(get("a", bearer(READER))).status == 200
        server.call_soon(lambda: server.set_tokens(Tokens(["another-token-altogether"])))
        answers = [client.ask(get("a", bearer(READER))).status for _ in range(2)]
        assert answers[-1] == 401
        assert client.ask(get("a", bearer("another-token-altogether"))).status == 200


def test_changed_tokens_end_what_was_begun_with_the_old_ones(
    fast_store: dumbkv.Store, serve: Serve
) -> None:
    service = serve(fast_store, tokens=TOKENS)
    server = service.server
    watch = b"GET /v1/watch HTTP/1.1\r\nHost: localhost\r\n"
    with RawClient(service) as watching, RawClient(service) as other:
        assert watching.ask(watch + bearer(READER).encode() + b"\r\n", head_only=True).status == 200
        assert other.ask(put("a", b"1", bearer(WRITER))).status == 201
        server.call_soon(lambda: server.set_tokens(Tokens(["another-token-altogether"])))
        assert b'"key":"a"' in watching.rest()


def test_a_read_only_token_reads_with_post_where_post_reads(
    fast_store: dumbkv.Store, serve: Serve
) -> None:
    fast_store[b"a"] = b"1"
    service = serve(fast_store, tokens=TOKENS)
    lines = bearer(READER) + "Host: localhost\r\nContent-Type: application/json\r\n"
    reading = f'POST /v1/mget HTTP/1.1\r\n{lines}Content-Length: 14\r\n\r\n{{"keys":["a"]}}'
    writing = f'POST /v1/batch HTTP/1.1\r\n{lines}Content-Length: 10\r\n\r\n{{"ops":[]}}'
    adding = f"POST /v1/incr/n HTTP/1.1\r\n{lines}\r\n"
    with RawClient(service) as client:
        assert client.ask(reading.encode()).body.startswith(b'{"items":[{"key":"a"')
        assert client.ask(adding.encode()).kind == "read-only"
        assert client.ask(writing.encode()).kind == "read-only"


def test_every_route_but_the_probes_wants_a_token_and_every_writer_a_read_write_one(
    fast_store: dumbkv.Store, serve: Serve
) -> None:
    service = serve(fast_store, tokens=TOKENS)
    for route in ROUTES:
        path = route.path.decode() + ("YQ" if route.path.endswith(b"/") else "")
        for method in route.methods:
            answers = []
            for line in ("", bearer(READER)):
                with RawClient(service) as client:
                    request = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{line}\r\n"
                    answers.append(client.ask(request.encode(), head_only=True).status)
            reads = method in ("GET", "HEAD") or (method, path) == ("POST", "/v1/mget")
            assert answers[0] == (200 if path in ("/healthz", "/readyz") else 401), (method, path)
            assert (answers[1] == 403) == (not reads), (method, path)


def test_no_token_is_ever_logged_or_shown(
    fast_store: dumbkv.Store, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    service = serve(fast_store, tokens=TOKENS)
    with caplog.at_level(logging.DEBUG), RawClient(service) as client:
        for line in (bearer(WRITER), bearer(READER), bearer("wrong-wrong-wrong-wrong")):
            body = client.ask(get("a/..", line)).body + client.ask(SCRAPE).body
            assert b"correct-horse" not in body
            assert b"wrong-wrong" not in body
    shown = caplog.text + repr(TOKENS)
    assert "correct-horse" not in shown
    assert "scraper" not in shown


def test_an_address_others_can_reach_needs_a_token(fast_store: dumbkv.Store, serve: Serve) -> None:
    with pytest.raises(ValueError, match="token"):
        dumbkv_http.serve(fast_store, "0.0.0.0")
    service = serve(fast_store, host="0.0.0.0", tokens=TOKENS)
    with RawClient(service) as client:
        assert client.ask(get("a")).status == 401


@given(st.binary(max_size=60))
def test_any_bytes_have_a_role_and_only_the_tokens_one_that_counts(value: bytes) -> None:
    assert TOKENS.role(value) is Role.NOBODY
    assert TOKENS.role(b"Bearer " + value) is Role.NOBODY


def test_every_token_is_compared_whether_or_not_one_has_matched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared = []

    def digest(ours: bytes, theirs: bytes) -> bool:
        compared.append(ours)
        return ours == theirs

    monkeypatch.setattr("dumbkv_http.tokens.hmac.compare_digest", digest)
    for token in (WRITER, OTHER_READER, "no-token-of-this-kind"):
        TOKENS.role(b"Bearer " + token.encode())
        assert len(compared) == 4
        compared.clear()


def private(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_a_file_has_several_tokens_of_each_kind(tmp_path: Path) -> None:
    text = f"# mine\nrw:{WRITER}\n\n  ro:{READER}  \nro:{OTHER_READER}\nrw:{OTHER_WRITER}\n"
    tokens = read_tokens(private(tmp_path / "tokens", text))
    assert repr(tokens) == "<Tokens: 2 read-write, 2 read-only>"
    assert tokens.role(b"Bearer " + OTHER_READER.encode()) is Role.READER


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o620, 0o601, 0o660])
def test_a_file_that_others_can_use_is_refused(mode: int, tmp_path: Path) -> None:
    path = private(tmp_path / "tokens", f"rw:{WRITER}\n")
    path.chmod(mode)
    with pytest.raises(ValueError, match=f"chmod 600.*{mode:04o}"):
        read_tokens(path)


def test_a_credential_of_systemd_may_have_the_mode_its_access_list_gives_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = private(tmp_path / "tokens", f"rw:{WRITER}\n")
    path.chmod(0o440)
    with pytest.raises(ValueError, match="chmod 600"):
        read_tokens(path)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_tokens(path).role(b"Bearer " + WRITER.encode()) is Role.WRITER
    path.chmod(0o444)
    with pytest.raises(ValueError, match="chmod 600"):
        read_tokens(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="regular file"):
        read_tokens(tmp_path)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ValueError, match="regular file"):
        read_tokens(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError):
        read_tokens(tmp_path / "absent")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at least one token"),
        ("# nothing\n", "at least one token"),
        (f"{WRITER}\n", "line 1: expected rw:TOKEN or ro:TOKEN"),
        (f"rw:{WRITER}\nadmin:{READER}\n", "line 2: expected rw:TOKEN"),
        ("rw:short\n", "line 1: expected a token of 16 to 4096 characters, got 5"),
        (f"rw:{WRITER} {READER}\n", "line 1: expected a token of letters"),
        (f"rw: {WRITER}\n", "line 1: expected a token of letters"),
        (f"rw:{'é' * 20}\n", "line 1: expected a token of letters"),
        (f"rw:{WRITER}\nro:{WRITER}\n", "got one twice"),
    ],
)
def test_a_malformed_file_is_refused_with_its_line_and_without_its_tokens(
    text: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        parse_tokens(text, "tokens")
    assert "tokens" in str(caught.value)
    assert "correct-horse" not in str(caught.value)
