"""The service as a program: `python -m dumbkv_http`."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import ssl
import sys
from types import FrameType

import dumbkv
from dumbkv_http._access_log import AccessLog
from dumbkv_http.config import TOKENS_VARIABLE, Config, ConfigError, add_options
from dumbkv_http.server import Server
from dumbkv_http.service import address, build, is_loopback, url
from dumbkv_http.tls import server_context
from dumbkv_http.tokens import Tokens, parse_tokens, read_tokens

_log = logging.getLogger("dumbkv_http")

_EXAMPLES = """
examples:
  python -m dumbkv_http                        serve on http://127.0.0.1:8080
  python -m dumbkv_http --port 0               take a free port and say which
  python -m dumbkv_http --max-value 8MiB       accept larger values than 1 MiB
  python -m dumbkv_http --max-bytes 1GiB --eviction lru
                                               be a cache
  python -m dumbkv_http --data /var/lib/kv     keep it on disk, a second's worth behind at most
  python -m dumbkv_http --unix /run/kv.sock --unix-mode 0660
                                               serve this machine's programs only
  python -m dumbkv_http --host 0.0.0.0 --token-file tokens --tls-cert cert.pem --tls-key key.pem
                                               let other machines in, with a token, over https
  python -m dumbkv_http --check-config         show every setting and where it comes from

  python -m dumbkv_http slo --help             objectives: alerts, dashboards, reports

then, from another shell:
  curl -T photo.jpg http://127.0.0.1:8080/v1/kv/photo        store a file
  curl -d hello -X PUT 'http://127.0.0.1:8080/v1/kv/a?ttl=60'  store for a minute
  curl http://127.0.0.1:8080/v1/kv/a                         read it
  curl -X DELETE http://127.0.0.1:8080/v1/kv/a               delete it
  curl http://127.0.0.1:8080/metrics                         what Prometheus scrapes

Every option is also an environment variable: DUMBKV_ and the name, in capitals. An option on the
command line goes before its variable, a variable before the default. Tokens are never options:
they come from --token-file, or as lines in DUMBKV_TOKENS.

Without --data everything is in memory only and gone when the process ends. SIGTERM and Ctrl-C
finish the answers under way and exit with status 0. SIGHUP reads tokens and certificate anew and
reopens the log.
"""


def main(arguments: list[str] | None = None) -> int:
    """Runs the service until a signal; the answer is the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["slo"]:
        return _objectives(given[1:])
    parser = _parser()
    options = vars(parser.parse_args(given))
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    try:
        config = Config(options, os.environ)
        _agrees(config)
        tokens = _tokens(config)
        tls = _tls(config)
    except (ValueError, OSError) as error:
        print(f"dumbkv_http: {_said(error)}", file=sys.stderr)
        return 2
    if options["check_config"]:
        print("\n".join(config.lines()))
        return 0
    try:
        store = dumbkv.open(
            config["data"],
            fsync=config["fsync"],
            ordered=True,
            backend=config["backend"],
            max_value=config["max-value"],
            max_bytes=config["max-bytes"],
            eviction=config["eviction"],
        )
    except (RuntimeError, ValueError, OSError, dumbkv.DumbKVError) as error:
        print(f"dumbkv_http: {error}", file=sys.stderr)
        return 1
    try:
        with store:
            return _run(store, config, tokens, tls)
    except dumbkv.DumbKVError as error:  # the disk failed to keep what the store held at its end
        print(f"dumbkv_http: {error}", file=sys.stderr)
        return 1


def _kept(config: Config) -> str:
    if not config["data"]:
        return "data in memory only, gone when the process ends"
    return f"data in {config['data']}, fsync {config['fsync']}"


def _objectives(arguments: list[str]) -> int:
    try:
        from dumbkv_http.slo import program
    except ModuleNotFoundError as error:
        print(
            f"dumbkv_http: slo needs {error.name}: pip install 'dumbkv[slo]'",
            file=sys.stderr,
        )
        return 1
    return program.main(arguments)


def _run(
    store: dumbkv.Store, config: Config, tokens: Tokens | None, tls: ssl.SSLContext | None
) -> int:
    log = None
    try:
        if config["access-log"]:
            log = AccessLog(config["access-log"], targets=config["access-log-targets"])
    except OSError as error:
        print(f"dumbkv_http: {config.source('access-log')}: {_said(error)}", file=sys.stderr)
        return 1
    try:
        server = build(
            store,
            config["host"],
            config["port"],
            max_body=config["max-value"],
            limits=config.limits(),
            allow_hosts=config["allow-host"],
            insecure=config["insecure"],
            unix=config["unix"],
            unix_mode=config["unix-mode"],
            tls=tls,
            tokens=tokens,
            open_metrics=config["open-metrics"],
            access_log=log,
        )
    except OSError as error:
        where = config["unix"] or url(config["host"], config["port"], tls=tls is not None)
        print(
            f"dumbkv_http: cannot listen on {where}: {error.strerror or error}; "
            "choose another address with --host or --port (0 takes a free one), or --unix",
            file=sys.stderr,
        )
        return 1

    def stop(number: int, frame: FrameType | None) -> None:
        server.request_shutdown()

    def again(number: int, frame: FrameType | None) -> None:
        server.call_soon(lambda: _reload(server, config))

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGHUP, again)
    print(
        f"DumbKV {dumbkv.__version__} listens on {url(*address(server), tls=tls is not None)} "
        f"(back end: {store.backend}; {_kept(config)})",
        flush=True,
    )
    server.serve_forever()
    server.server_close()
    server.app.close()
    if log is not None:
        log.close()
    return 0


def _agrees(config: Config) -> None:
    """Raises ConfigError for settings that are fine alone and not together."""
    if config["max-value"] > config["body-budget"]:
        raise ConfigError(
            config.source("max-value"),
            f"expected at most --body-budget, {config['body-budget']} bytes",
        )
    if (config["tls-cert"] is None) != (config["tls-key"] is None):
        name = "tls-key" if config["tls-key"] else "tls-cert"
        raise ConfigError(config.source(name), "expected --tls-cert and --tls-key, got one of them")
    if config["token-file"] and config.tokens_text:
        raise ConfigError(
            config.source("token-file"), f"expected tokens here or in {TOKENS_VARIABLE}, got both"
        )
    if (
        config["unix"] is None
        and not is_loopback(config["host"])
        and not (config["insecure"] or config["token-file"] or config.tokens_text)
    ):
        raise ConfigError(
            config.source("host"),
            f"expected a loopback address such as 127.0.0.1, got {config['host']!r}, which lets "
            "other machines read and write the store: add --token-file, or --insecure",
        )


def _tokens(config: Config) -> Tokens | None:
    if config["token-file"]:
        return read_tokens(config["token-file"])
    if config.tokens_text:
        return parse_tokens("\n".join(config.tokens_text.split()), TOKENS_VARIABLE)
    return None


def _tls(config: Config) -> ssl.SSLContext | None:
    return server_context(config["tls-cert"], config["tls-key"]) if config["tls-cert"] else None


def _reload(server: Server, config: Config) -> None:
    """Takes up tokens and certificate as they are now; what cannot be read stays as it was."""
    failed = False
    try:
        tokens = _tokens(config)
    except (ValueError, OSError) as error:
        failed = True
        _log.error("the tokens stay as they were: %s", _said(error))
    else:
        server.set_tokens(tokens)
    try:
        server.tls = _tls(config)
    except (ValueError, OSError) as error:
        failed = True
        _log.error("the certificate stays as it was: %s", _said(error))
    if server.access_log is not None:
        server.access_log.reopen()
    server.metrics.reloads["failed" if failed else "ok"] += 1
    if not failed:
        _log.warning("reloaded: %s", server.app.tokens or "no tokens")


def _said(error: Exception) -> str:
    """The error in one line, with the file's name where it is about one."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dumbkv_http",
        description="Serve an in-memory DumbKV store over HTTP.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_options(parser)
    parser.add_argument(
        "--check-config",
        dest="check_config",
        action="store_true",
        help="print every setting, its value and where that came from, and exit",
    )
    parser.add_argument("--version", action="version", version=f"DumbKV {dumbkv.__version__}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
