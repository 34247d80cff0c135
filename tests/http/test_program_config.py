"""The program with tokens, a socket, TLS and a log: how it starts, reloads and refuses."""

from __future__ import annotations

import json
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.http.conftest import wait_until
from tests.http.test_program import COMMAND, program, run
from tests.http.test_tls import Pair

WRITER, READER = "correct-horse-battery", "only-for-the-scraper"


def status(port: int, extra: str = "", method: str = "GET") -> int:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        request = (
            f"{method} /v1/kv/a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{extra}\r\n"
        )
        client.sendall(request.encode())
        return int(client.recv(100).split(b" ")[1])


def bearer(token: str) -> str:
    return f"Authorization: Bearer {token}\r\n"


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text(f"rw:{WRITER}\nro:{READER}\n")
    path.chmod(0o600)
    return path


@contextmanager
def errors(process: subprocess.Popen[str]) -> Iterator[list[str]]:
    """The lines a process writes on stderr, as they come."""
    lines: list[str] = []

    def read() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line)  # One by one, for those who wait.

    thread = threading.Thread(target=read)
    thread.start()
    yield lines
    process.kill()
    thread.join(10)


def test_a_token_file_lets_in_and_sighup_reads_it_anew(token_file: Path) -> None:
    with program("--token-file", str(token_file)) as (process, _, port), errors(process) as said:
        assert status(port) == 401
        assert status(port, bearer(WRITER), "DELETE") == 204
        assert status(port, bearer(READER)) == 404
        assert status(port, bearer(READER), "DELETE") == 403
        token_file.write_text("rw:another-token-altogether\n")
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: [line for line in said if "reloaded" in line])
        assert status(port, bearer(WRITER)) == 401
        assert status(port, bearer("another-token-altogether"), "DELETE") == 204
        process.terminate()
        assert process.wait(10) == 0
    assert "another-token" not in "".join(said)


@pytest.mark.parametrize("damage", ["malformed", "empty", "readable", "gone"])
def test_a_bad_file_keeps_the_old_tokens_and_says_so(damage: str, token_file: Path) -> None:
    with program("--token-file", str(token_file)) as (process, _, port), errors(process) as said:
        if damage == "gone":
            token_file.unlink()
        elif damage == "readable":
            token_file.chmod(0o644)
        else:
            token_file.write_text("" if damage == "empty" else "rw:new-token-new-token\nnonsense\n")
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: [line for line in said if "stay as they were" in line])
        assert str(token_file) in "".join(said)
        assert status(port, bearer(WRITER), "DELETE") == 204
        assert status(port, bearer("new-token-new-token")) == 401
        assert status(port) == 401
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(f"GET /metrics HTTP/1.0\r\n{bearer(READER)}\r\n".encode())
            page = b""
            while data := client.recv(65536):
                page += data
        assert b'dumbkv_http_reloads_total{result="failed"} 1.0' in page


def test_tokens_may_come_from_the_environment_and_never_from_the_command_line() -> None:
    tokens = f"rw:{WRITER} ro:{READER}"
    with program(DUMBKV_TOKENS=tokens) as (_, _, port):
        assert status(port) == 401
        assert status(port, bearer(READER)) == 404
    assert run("--token", WRITER).returncode == 2
    assert run("--tokens", WRITER).returncode == 2


def test_an_address_others_can_reach_is_fine_with_a_token(token_file: Path) -> None:
    done = run("--host", "0.0.0.0", "--token-file", str(token_file), "--check-config")
    assert (done.returncode, done.stderr) == (0, "")
    done = run("--host", "0.0.0.0", "--check-config")
    assert done.returncode == 2
    assert "--token-file" in done.stderr


REFUSED = {
    "one of the pair": (("--tls-cert", "a"), "expected --tls-cert and --tls-key"),
    "no such token file": (("--token-file", "/no/such"), "/no/such: No such file"),
    "no such certificate": (("--tls-cert", "/no/such", "--tls-key", "/no/such"), "/no/such: No"),
    "no such folder": (("--access-log", "/no/such/log", "--port", "0"), "/no/such/log: No such"),
    "a socket nowhere": (("--unix", "/no/such/socket"), "cannot listen on /no/such/socket"),
    "a socket too long": (("--unix", "/" + "x" * 200), "path too long"),
    "a value over the budget": (("--body-budget", "1KiB"), "expected at most --body-budget"),
    "an abbreviation": (("--tok", "x"), "unrecognized arguments"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_done_is_one_clear_line(name: str) -> None:
    arguments, message = REFUSED[name]
    done = run(*arguments)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_tokens_from_two_places_are_refused(token_file: Path) -> None:
    done = run("--token-file", str(token_file), DUMBKV_TOKENS=f"rw:{WRITER}")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "got both" in done.stderr
    assert WRITER not in done.stderr


def test_check_config_shows_every_setting_and_its_source_and_serves_nothing() -> None:
    done = run("--check-config", "--grace", "2", DUMBKV_PORT="9001", DUMBKV_IDLE_TIMEOUT="7.5")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^port +9001 +DUMBKV_PORT$", done.stdout, re.MULTILINE)
    assert re.search(r"^grace +2 +--grace$", done.stdout, re.MULTILINE)
    assert re.search(r"^idle-timeout +7.5 +DUMBKV_IDLE_TIMEOUT$", done.stdout, re.MULTILINE)
    assert re.search(r"^max-bytes +256MiB +default$", done.stdout, re.MULTILINE)


def test_help_names_every_variable_and_says_which_goes_first() -> None:
    from dumbkv_http.config import OPTIONS

    shown = run("--help").stdout
    for option in OPTIONS.values():
        assert option.variable in shown
    words = " ".join(shown.split())
    assert "An option on the command line goes before its variable" in words


def test_the_program_serves_on_a_unix_socket_and_takes_over_what_a_killed_one_left() -> None:
    with TemporaryDirectory(prefix="dkv") as directory:
        path = f"{directory}/kv.sock"
        for _ in range(2):
            process = subprocess.Popen(
                [*COMMAND, "--unix", path, "--unix-mode", "0660"],
                stdout=subprocess.PIPE,
                text=True,
            )
            assert process.stdout is not None
            assert "http+unix://" in process.stdout.readline()
            assert Path(path).stat().st_mode & 0o777 == 0o660
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(10)
                client.connect(path)
                client.sendall(b"GET /healthz HTTP/1.1\r\nHost: any.example\r\n\r\n")
                assert client.recv(100).startswith(b"HTTP/1.1 200 ")
            process.kill()  # So that the file stays.
            process.communicate(timeout=10)
            assert Path(path).is_socket()


def test_sighup_takes_up_a_new_certificate_and_reopens_the_log(tmp_path: Path) -> None:
    first = Pair(tmp_path)
    log = tmp_path / "log"
    options = ("--tls-cert", first.certificate, "--tls-key", first.key, "--access-log", str(log))
    with (
        program(*options, scheme="https") as (process, _, port),
        errors(process) as said,
    ):
        old = first.trusting()
        assert tls_status(port, old) == 404
        wait_until(lambda: log.exists() and log.read_text().count("\n") == 1)
        log.rename(tmp_path / "log.1")
        fresh = Pair(tmp_path)  # Over the old files.
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: [line for line in said if "reloaded" in line])
        assert tls_status(port, fresh.trusting()) == 404
        wait_until(lambda: log.exists() and log.read_text().count("\n") == 1)
        with pytest.raises(ssl.SSLCertVerificationError):
            tls_status(port, old)
        Path(fresh.certificate).write_text("nonsense")
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: [line for line in said if "certificate stays as it was" in line])
        assert json.loads(log.read_text().splitlines()[0])["status"] == 404


def tls_status(port: int, context: ssl.SSLContext) -> int:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as client,
    ):
        client.sendall(b"GET /v1/kv/a HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return int(client.recv(100).split(b" ")[1])


def test_a_log_on_standard_output_comes_after_the_start_line() -> None:
    with program("--access-log", "-") as (process, _, port):
        assert status(port) == 404
        process.terminate()
        output, _ = process.communicate(timeout=10)
    assert json.loads(output)["route"] == "/v1/kv/{key}"


def test_the_command_shown_to_other_users_has_no_token(token_file: Path) -> None:
    with program("--token-file", str(token_file)) as (process, _, _):
        command = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        assert sys.executable.encode() in command
        assert WRITER.encode() not in command
