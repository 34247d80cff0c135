"""Imports run one way, and the two tables have the same face."""

import ast
import inspect
import sys
from pathlib import Path

import pytest

import dumbkv
from dumbkv import _table

ROOT = Path(__file__).parent.parent

# What each module may import of the project, from the leaves up.
LAYERS: dict[str, set[str]] = {
    "dumbkv.errors": set(),
    "dumbkv._entry": set(),
    "dumbkv._arguments": {"dumbkv.errors"},
    "dumbkv._news": set(),
    "dumbkv._cells": {"dumbkv._arguments", "dumbkv._news", "dumbkv.errors"},
    "dumbkv._waiting": set(),
    "dumbkv._recorder": {"dumbkv._cells", "dumbkv._record", "dumbkv._waiting", "dumbkv.errors"},
    "dumbkv._logtable": {
        *{"dumbkv._arguments", "dumbkv._cells", "dumbkv._record", "dumbkv._recorder"},
        "dumbkv.errors",
    },
    "dumbkv._changing": {
        *{"dumbkv._arguments", "dumbkv._cells", "dumbkv._logtable"},
        *{"dumbkv._record", "dumbkv._recorder", "dumbkv.errors"},
    },
    "dumbkv._internals": {
        *{"dumbkv._arguments", "dumbkv._cells", "dumbkv._changing", "dumbkv._recorder"},
        "dumbkv.errors",
    },
    "dumbkv._table": {
        *{"dumbkv._arguments", "dumbkv._cells", "dumbkv._changing", "dumbkv._entry"},
        *{"dumbkv._internals", "dumbkv._record", "dumbkv._recorder", "dumbkv.errors"},
    },
    "dumbkv._ctable": {"dumbkv._native", "dumbkv.errors"},
    "dumbkv._sweeper": {"dumbkv.errors"},
    "dumbkv._fork": set(),
    "dumbkv._order": {"dumbkv.errors"},
    "dumbkv._scan": {"dumbkv._arguments", "dumbkv._order"},
    "dumbkv._batch": {"dumbkv._arguments", "dumbkv._entry", "dumbkv.errors"},
    "dumbkv._watch": {"dumbkv._arguments", "dumbkv._scan", "dumbkv.errors"},
    "dumbkv._flight": {"dumbkv._arguments", "dumbkv.errors"},
    "dumbkv._modify": {"dumbkv._arguments"},
    "dumbkv._codec": {"dumbkv._arguments", "dumbkv.errors"},
    "dumbkv._view_batch": {"dumbkv._batch", "dumbkv._codec"},
    "dumbkv._view_watch": {"dumbkv._codec", "dumbkv._watch"},
    "dumbkv._view_read": {"dumbkv._codec"},
    "dumbkv._view_write": {"dumbkv._arguments", "dumbkv._view_read", "dumbkv.errors"},
    "dumbkv._view": {
        *{"dumbkv._arguments", "dumbkv._codec", "dumbkv.errors", "dumbkv._view_batch"},
        *{"dumbkv._view_read", "dumbkv._view_watch", "dumbkv._view_write"},
    },
    "dumbkv._record": {"dumbkv.errors"},
    "dumbkv._files": set(),
    "dumbkv._logscan": {"dumbkv._record", "dumbkv.errors"},
    "dumbkv._recovery": {
        *{"dumbkv._files", "dumbkv._logscan", "dumbkv._record", "dumbkv.errors"},
    },
    "dumbkv._lockfile": {"dumbkv.errors"},
    "dumbkv._sync": {"dumbkv.errors"},
    "dumbkv._keeper": set(),
    "dumbkv._log": {
        *{"dumbkv._files", "dumbkv._record", "dumbkv._recovery", "dumbkv._sync", "dumbkv.errors"},
    },
    "dumbkv._clean": {"dumbkv._files", "dumbkv._log", "dumbkv._record", "dumbkv.errors"},
    "dumbkv._opening": {
        *{"dumbkv._clean", "dumbkv._files", "dumbkv._log", "dumbkv._record", "dumbkv._recovery"},
        "dumbkv.errors",
    },
    "dumbkv._durable": {
        *{"dumbkv._clean", "dumbkv._entry", "dumbkv._files", "dumbkv._keeper"},
        *{"dumbkv._lockfile", "dumbkv._log", "dumbkv._opening", "dumbkv.errors"},
    },
    "dumbkv._dumpfile": {
        *{"dumbkv._arguments", "dumbkv._files", "dumbkv._record", "dumbkv.errors"},
    },
    "dumbkv._salvage": {
        *{"dumbkv._dumpfile", "dumbkv._files", "dumbkv._logscan"},
        *{"dumbkv._record", "dumbkv._recovery", "dumbkv.errors"},
    },
    "dumbkv._dump": {"dumbkv._dumpfile", "dumbkv._files", "dumbkv._record", "dumbkv.errors"},
    "dumbkv._store": {
        *{"dumbkv._table", "dumbkv._ctable", "dumbkv._entry"},
        *{"dumbkv._sweeper", "dumbkv._fork", "dumbkv._order"},
        *{"dumbkv._scan", "dumbkv._batch", "dumbkv._watch"},
        *{"dumbkv._flight", "dumbkv._modify", "dumbkv._view", "dumbkv._dump", "dumbkv._durable"},
    },
    "dumbkv.metrics": {"dumbkv._store", "dumbkv.errors"},
    "dumbkv": {
        *{"dumbkv._entry", "dumbkv._store", "dumbkv.errors"},
        *{"dumbkv._scan", "dumbkv._batch", "dumbkv._watch"},
        *{"dumbkv._codec", "dumbkv._view"},
    },
    "dumbkv.__main__": {"dumbkv.cli.program"},
}

# The same for the command line, without its package's name, and what it may import of dumbkv.
CLI_LAYERS: dict[str, set[str]] = {
    "__init__": set(),
    "bar": set(),
    "bench": set(),
    "lock": set(),
    "ndjson": set(),
    "place": {"bar", "lock"},
    "commands": {"bar", "bench", "ndjson", "place"},
    "health": {"bar", "place"},
    "arguments": {"commands", "health"},
    "program": {"arguments", "ndjson"},
}
CLI_TAKES = {
    "dumbkv",
    *(f"dumbkv.{n}" for n in ["_arguments", "_dumpfile", "_files", "_record", "errors"]),
    *(f"dumbkv.{n}" for n in ["_dump", "_logscan", "_opening", "_recovery", "_salvage"]),
}

# The same for the service, without its package's name.
HTTP_LAYERS: dict[str, set[str]] = {
    "limits": set(),
    "response": set(),
    "problems": set(),
    "tokens": set(),
    "tls": set(),
    "_access_log": set(),
    "_unix": set(),
    "config": {"limits"},
    "_process": set(),
    "wire": set(),
    "metrics": {"_process"},
    "body": {"wire"},
    "keys": {"response", "wire"},
    "parameters": {"response", "wire"},
    "conditions": {"response", "wire"},
    "_json": {"response", "wire"},
    "kv": {"_json", "conditions", "response", "wire"},
    "scan": {"_json", "response", "wire"},
    "batch": {"_json", "kv", "response", "wire"},
    "watch": {"_json", "parameters", "response", "wire"},
    "openapi": {"_json", "parameters", "problems"},
    "routes": {
        *{"_json", "batch", "keys", "kv", "metrics", "openapi", "parameters"},
        *{"response", "scan", "wire"},
    },
    "_svg": set(),
    "_html": set(),
    "_history": {"metrics", "slo.reading"},
    "_status_charts": {
        *{"_history", "_html", "_svg", "slo.objectives", "slo.reading", "slo.standing"},
    },
    "status": {
        *{"_history", "_html", "_status_charts", "metrics", "response"},
        *{"slo.reading", "slo.standing"},
    },
    "_holding": {"response"},
    "app": {
        "_holding",
        *{"keys", "kv", "metrics", "response", "routes", "status", "tokens", "watch", "wire"},
    },
    "_later": {"response", "wire"},
    "_rendering": {"metrics", "response", "routes", "wire"},
    "_connection": {"_later", "_rendering", "body", "response", "tls", "wire"},
    "_accepting": {"_connection", "limits", "tls"},
    "_plain": {"app", "kv", "response", "wire"},
    "server": {
        *{"_accepting", "_access_log", "_connection", "_later", "_plain", "_unix", "app"},
        *{"limits", "response", "tls", "tokens"},
    },
    "_transport": set(),
    "_client_errors": {"_transport"},
    "_client_batch": {"_json"},
    "_client_watch": {"_client_errors", "_json", "_transport"},
    "_client_base": {"_client_errors", "_json", "_transport"},
    "client": {
        *{"_client_base", "_client_batch", "_client_errors", "_client_watch"},
        *{"_json", "_transport"},
    },
    "service": {"_access_log", "app", "limits", "server", "tokens"},
    "__init__": {
        *{"_access_log", "_client_errors", "app", "client", "limits", "server", "service"},
        *{"tls", "tokens"},
    },
    "__main__": {
        *{"_access_log", "config", "server", "service", "slo.program", "tls", "tokens"},
    },
}

# The same for the objectives, and what they may import of the service.
SLO_LAYERS: dict[str, set[str]] = {
    "reading": set(),
    "standing": {"objectives", "reading"},
    "periods": set(),
    "prometheus": set(),
    "minutes": {"objectives", "periods", "prometheus"},
    "incidents": {"minutes", "objectives"},
    "latency": {"reading"},
    "results": {"incidents", "minutes", "objectives", "standing"},
    "fatigue": {"incidents", "minutes", "periods", "prometheus"},
    "history": {"periods", "standing"},
    "advice": {"history", "objectives", "results", "standing"},
    "report": {
        *{"advice", "fatigue", "history", "incidents", "latency", "minutes"},
        *{"objectives", "periods", "prometheus", "results", "standing"},
    },
    "charts": {"objectives", "periods", "report", "standing"},
    "document": {
        *{"charts", "latency", "objectives", "periods", "report", "results", "standing"},
    },
    "markup": {"document", "objectives", "report", "standing"},
    "budget": {"document", "objectives", "prometheus", "standing"},
    "look": {"reading", "standing"},
    "reports_cli": {
        *{"budget", "charts", "document", "look", "markup", "objectives", "periods"},
        *{"prometheus", "report", "results", "standing"},
    },
    "__init__": set(),
    "objectives": set(),
    "spans": set(),
    "published": set(),
    "yamlfile": set(),
    "faults": {"objectives"},
    "rules": {"faults", "objectives", "published", "spans"},
    "alertmanager": {"objectives", "spans"},
    "scrape": {"objectives", "spans"},
    "panels": {"objectives", "spans"},
    "grafana": {"panels"},
    "console": {"objectives", "panels"},
    "openslo": {"objectives", "spans"},
    "generate": {
        *{"alertmanager", "console", "grafana", "openslo", "rules", "scrape", "yamlfile"},
    },
    "program": {"alertmanager", "generate", "reports_cli", "scrape"},
}
SLO_TAKES = {"dumbkv_http.metrics", "dumbkv_http._html", "dumbkv_http._svg"}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


class WithoutTypes(ast.NodeTransformer):
    """Takes out what only a type checker imports."""

    def visit_If(self, node: ast.If) -> ast.AST | None:
        return None if "TYPE_CHECKING" in ast.unparse(node.test) else self.generic_visit(node)


def imports(path: Path) -> set[str]:
    """The modules of a file's import statements; `from a import b` is a.b where that is one."""
    found = set()
    for node in ast.walk(WithoutTypes().visit(ast.parse(path.read_text()))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                file = ROOT / node.module.replace(".", "/") / alias.name
                module = file.with_suffix(".py").exists() or file.with_suffix(".pyi").exists()
                found.add(f"{node.module}.{alias.name}" if module else node.module)
    return found


def test_the_stores_modules_import_only_what_stands_below_them() -> None:
    for path in (ROOT / "dumbkv").glob("*.py"):
        ours = {name for name in imports(path) if name.startswith("dumbkv")}
        assert ours <= LAYERS[module_name(path)], path


def test_the_services_modules_import_only_what_stands_below_them() -> None:
    for path in (ROOT / "dumbkv_http").glob("*.py"):
        ours = {name for name in imports(path) if name.startswith("dumbkv_http")}
        allowed = {f"dumbkv_http.{name}" for name in HTTP_LAYERS[path.stem]}
        assert ours <= allowed, path


def test_the_commands_modules_import_only_what_stands_below_them() -> None:
    for path in (ROOT / "dumbkv" / "cli").glob("*.py"):
        ours = {name for name in imports(path) if name.startswith("dumbkv")}
        cli = {f"dumbkv.cli.{name}" for name in CLI_LAYERS[path.stem]}
        assert ours <= cli | CLI_TAKES | ({"dumbkv.cli"} if cli else set()), path


def test_the_objectives_modules_import_only_what_stands_below_them() -> None:
    for path in (ROOT / "dumbkv_http" / "slo").glob("*.py"):
        ours = {name for name in imports(path) if name.startswith("dumbkv_http")}
        allowed = {f"dumbkv_http.slo.{name}" for name in SLO_LAYERS[path.stem]}
        assert ours <= allowed | SLO_TAKES | {"dumbkv_http.slo"}, path


def test_prometheus_is_imported_by_metrics_alone() -> None:
    for path in (ROOT / "dumbkv").glob("*.py"):
        if path.name != "metrics.py":
            assert not {name for name in imports(path) if "prometheus" in name}, path


# The client is the store once more: what it is given is checked by the same code, and what is
# built on a store's methods is built on its own.
CLIENT_TAKES = {f"dumbkv.{n}" for n in ["_arguments", "_flight", "_modify", "_scan"]}
CLIENT_TAKES |= {"dumbkv._view", "dumbkv._watch"}


def test_the_service_uses_the_stores_public_names_only() -> None:
    public = {"dumbkv", "dumbkv.errors", "dumbkv.metrics"}
    for path in (ROOT / "dumbkv_http").rglob("*.py"):
        stores = {n for n in imports(path) if n == "dumbkv" or n.startswith("dumbkv.")}
        assert stores <= public | (CLIENT_TAKES if "client" in path.stem else set()), path


@pytest.mark.skipif("dumbkv._ctable" not in sys.modules, reason="the C table was not built")
def test_both_tables_have_the_same_methods_with_the_same_arguments() -> None:
    from dumbkv import _ctable

    for name, _ in inspect.getmembers(_table.Table, inspect.isfunction):
        if not name.startswith("_"):
            assert callable(getattr(_ctable.Table, name)), name
    assert dumbkv.open(backend="c").max_key == dumbkv.open(backend="python").max_key
    assert dumbkv.open(backend="c").max_value == dumbkv.open(backend="python").max_value
