"""The files that are made from the objectives, and whether those that are there are still those.

They are committed, so that they can be read, reviewed and used without running anything; whoever
changes an objective writes them anew.
"""

from __future__ import annotations

import difflib
import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

from dumbkv_http.slo.alertmanager import WEBHOOK, alertmanager
from dumbkv_http.slo.console import console
from dumbkv_http.slo.grafana import grafana
from dumbkv_http.slo.openslo import openslo
from dumbkv_http.slo.rules import rules, verbatim
from dumbkv_http.slo.scrape import ALERTMANAGER, RETENTION, TARGET, prometheus
from dumbkv_http.slo.yamlfile import dump, dump_all

__all__ = ["GENERATED", "differences", "files", "folder", "write"]

GENERATED = Path(__file__).parent / "generated"
"""Where the committed files are."""

_MADE = "Made by `python -m dumbkv_http slo generate` from dumbkv_http/slo/objectives.py."


def files() -> dict[str, str]:
    """Name and content of each generated file."""
    return {name: make() for name, make in _MAKERS.items()}


def differences(place: Path = GENERATED) -> str:
    """How the files in a directory differ from what would be written there; empty if not at all."""
    found: list[str] = []
    for name, new in files().items():
        path = place / name
        old = path.read_text() if path.exists() else ""
        lines = old.splitlines(keepends=True), new.splitlines(keepends=True)
        found += difflib.unified_diff(*lines, f"{name} as it is", f"{name} as it would be")
    known = set(files())
    extra = [path.name for path in place.glob("*") if path.name not in known]
    return "".join(found) + "".join(f"{name}: nothing makes this file\n" for name in sorted(extra))


def write(place: Path = GENERATED) -> list[Path]:
    """Writes all generated files to a directory."""
    place.mkdir(parents=True, exist_ok=True)
    for name, content in files().items():
        (place / name).write_text(content)
    return [place / name for name in files()]


def folder(
    place: Path,
    *,
    target: str = TARGET,
    alertmanager_address: str = ALERTMANAGER,
    webhook: str = WEBHOOK,
) -> list[str]:
    """Writes what Prometheus and Alertmanager need to a directory: the two commands to start them.

    Raises FileExistsError when there is already something of those names: it may have been edited.
    """
    written = {
        "prometheus.yml": _prometheus(target, alertmanager_address),
        "dumbkv.rules.yml": _rules(),
        "alertmanager.yml": _alertmanager(webhook),
        "consoles/dumbkv.html": console(),
        "grafana-dashboard.json": _grafana(),
    }
    for name in written:
        if (place / name).exists():
            raise FileExistsError(f"{place / name} is there already: take an empty directory")
    for name, content in written.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(content)
    alerts = "alertmanager" if shutil.which("alertmanager") else "prometheus-alertmanager"
    where = shlex.quote(str(place))
    return [
        f"prometheus --config.file={where}/prometheus.yml --storage.tsdb.path={where}/data "
        f"--storage.tsdb.retention.time={RETENTION} --web.listen-address=127.0.0.1:9090 "
        f"--web.console.templates={where}/consoles",
        # It has to remember for longer than the week after which it tells the team again.
        f"{alerts} --config.file={where}/alertmanager.yml "
        f"--storage.path={where}/alertmanager --data.retention=400h "
        f"--web.listen-address={alertmanager_address} --cluster.listen-address=",
    ]


def _rules() -> str:
    return dump(rules(), _MADE)


def _verbatim() -> str:
    return (
        f"# {_MADE}\n"
        "# The document's alerts, word for word. Not to be loaded: the first one fires at a\n"
        "# fiftieth of the errors that the objective allows, and none of them sees an outage.\n"
        f"{verbatim()}"
    )


def _alertmanager(webhook: str = WEBHOOK) -> str:
    return dump(
        alertmanager(webhook),
        f"{_MADE}\nWhere alerts go is for you to say: any of Alertmanager's receivers will do.",
    )


def _prometheus(target: str = TARGET, address: str = ALERTMANAGER) -> str:
    return dump(
        prometheus(target, address),
        f"{_MADE}\nStart with --storage.tsdb.retention.time={RETENTION}: by itself Prometheus "
        "keeps 15 days,\nand a budget is over 30.",
    )


def _grafana() -> str:
    return json.dumps(grafana(), indent=2) + "\n"


def _openslo() -> str:
    return dump_all(openslo(), _MADE)


_MAKERS: dict[str, Callable[[], str]] = {
    "verbatim.rules.yml": _verbatim,
    "dumbkv.rules.yml": _rules,
    "alertmanager.yml": _alertmanager,
    "prometheus.yml": _prometheus,
    "grafana-dashboard.json": _grafana,
    "console.html": console,
    "openslo.yaml": _openslo,
}
