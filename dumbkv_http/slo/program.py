"""`python -m dumbkv_http slo`: what there is to do with the objectives from a shell."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dumbkv_http.slo import generate, reports_cli
from dumbkv_http.slo.alertmanager import WEBHOOK
from dumbkv_http.slo.scrape import ALERTMANAGER, TARGET

__all__ = ["main"]

_EXAMPLES = """
examples:
  python -m dumbkv_http slo up slo            a folder with all that Prometheus needs
  python -m dumbkv_http slo generate          after a change to objectives.py: write the files anew
  python -m dumbkv_http slo generate --check  are they those of the objectives?
  python -m dumbkv_http slo check --url http://127.0.0.1:8080       how a server stands now
  python -m dumbkv_http slo budget --prometheus http://127.0.0.1:9090     the last 30 days
  python -m dumbkv_http slo report --prometheus http://127.0.0.1:9090 --month 2026-10
"""


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; the answer is the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m dumbkv_http slo",
        description="Service level objectives: rules, alerts, dashboards.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_generate(commands.add_parser("generate", help="write what follows from the objectives"))
    _add_up(commands.add_parser("up", help="write a folder to start Prometheus from"))
    reports_cli.add_parsers(commands)
    options = parser.parse_args(arguments)
    try:
        status: int = options.run(options)
    except OSError as error:
        print(f"dumbkv_http slo: {error}", file=sys.stderr)
        return 1
    return status


def _add_generate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing: print how the files differ, and exit with 1 if they do",
    )
    parser.add_argument(
        "--to",
        type=Path,
        default=generate.GENERATED,
        metavar="DIR",
        help="another directory than the committed one",
    )
    parser.set_defaults(run=_generate)


def _generate(options: argparse.Namespace) -> int:
    if options.check:
        found = generate.differences(options.to)
        if found:
            print(found, end="")
            print(
                "the files are not those of the objectives: run python -m dumbkv_http slo generate",
                file=sys.stderr,
            )
        return 1 if found else 0
    for path in generate.write(options.to):
        print(path)
    return 0


def _add_up(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR", help="a directory, made if need be")
    parser.add_argument(
        "--target",
        default=TARGET,
        metavar="HOST:PORT",
        help="the service to watch (default: %(default)s)",
    )
    parser.add_argument(
        "--alertmanager",
        default=ALERTMANAGER,
        metavar="HOST:PORT",
        help="where Alertmanager will listen (default: %(default)s)",
    )
    parser.add_argument(
        "--webhook",
        default=WEBHOOK,
        metavar="URL",
        help="where alerts are posted, below it at the receiver's name (default: %(default)s)",
    )
    parser.set_defaults(run=_up)


def _up(options: argparse.Namespace) -> int:
    commands = generate.folder(
        options.folder,
        target=options.target,
        alertmanager_address=options.alertmanager,
        webhook=options.webhook,
    )
    print("Start these two, each in a shell of its own:\n")
    print("\n\n".join(commands))
    print(
        f"\nThen http://127.0.0.1:9090/consoles/dumbkv.html shows how the objectives stand."
        f"\nAlerts are posted to {options.webhook}/RECEIVER; change that in "
        f"{options.folder}/alertmanager.yml."
    )
    return 0
