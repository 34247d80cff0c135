"""The dashboard as a console template, which Prometheus itself renders, without a Grafana.

A template is HTML with Go's `{{ }}`: queries are asked when the page is opened, and it has no
script. Values are escaped by Prometheus.
"""

from __future__ import annotations

import html

from dumbkv_http.slo.objectives import RATIOS, THRESHOLDS
from dumbkv_http.slo.panels import PANELS, Panel, Query

__all__ = ["console"]

_SHOWN = {
    "percentunit": '{{ value . | printf "%.4f" | humanizePercentage }}',
    "percent": '{{ value . | printf "%.1f" }} %',
    "reqps": '{{ value . | printf "%.2f" }} /s',
    "ops": '{{ value . | printf "%.3f" }} /s',
    "s": "{{ value . | humanizeDuration }}",
    "mbytes": '{{ value . | printf "%.1f" }} MB',
    "none": '{{ value . | printf "%.2f" }}',
}

_HEAD = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,">
<title>DumbKV: service level objectives</title>
<style>
:root { color-scheme: light dark; --line: #8886; --good: #1a7f37; --bad: #cf222e; }
@media (prefers-color-scheme: dark) { :root { --good: #3fb950; --bad: #ff7b72; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; margin: 0 0 2rem; }
caption { text-align: left; font-size: 1.25rem; font-weight: 600; padding: .5rem 0; }
th, td { text-align: left; padding: .4rem .8rem .4rem 0; border-top: 1px solid var(--line);
  vertical-align: top; }
td.value { font-variant-numeric: tabular-nums; white-space: nowrap; }
.good { color: var(--good); } .bad { color: var(--bad); font-weight: 600; }
small { opacity: .75; display: block; }
</style>
</head>
<body>
<h1>DumbKV: service level objectives</h1>
"""

_ALERTS = """\
<table id="alerts">
<caption>Firing alerts</caption>
<tr><th>Alert</th><th>Severity</th><th>Objective</th></tr>
{{ range query `count by (alertname, severity, slo) \
(ALERTS{alertstate="firing",budget_level!="0"})` | sortByLabel "alertname" }}
<tr><td class="bad">{{ .Labels.alertname }}</td><td>{{ .Labels.severity }}</td>\
<td>{{ .Labels.slo }}</td></tr>
{{ else }}
<tr><td class="good" colspan="3">None.</td></tr>
{{ end }}
</table>
"""


def console() -> str:
    """The template's text; Prometheus serves it below /consoles/."""
    objectives = "".join(
        _objective(each.title, each.promise, each.query()) for each in (*RATIOS, *THRESHOLDS)
    )
    figures = "".join(_figure(panel, query) for panel in _figures() for query in panel.queries)
    return (
        f"{_HEAD}"
        '<table id="objectives">\n<caption>Objectives, over the last minutes</caption>\n'
        f"<tr><th>Objective</th><th>Promise</th><th>Now</th></tr>\n{objectives}</table>\n"
        '<table id="figures">\n<caption>Figures</caption>\n'
        f"<tr><th>What</th><th>Value</th></tr>\n{figures}</table>\n"
        f"{_ALERTS}</body>\n</html>\n"
    )


def _objective(title: str, promise: str, query: str) -> str:
    return (
        f"<tr><th>{html.escape(title)}</th><td>{html.escape(promise)}</td>"
        f"<td>{{{{ range query `min({query})` }}}}"
        '{{ if eq (value .) 1.0 }}<span class="good">met</span>'
        '{{ else }}<span class="bad">missed</span>{{ end }}'
        "{{ else }}no data{{ end }}</td></tr>\n"
    )


def _figures() -> list[Panel]:
    return [panel for panel in PANELS if panel.row != "Alerts"]


def _figure(panel: Panel, query: Query) -> str:
    expression = query.expression.replace("$__rate_interval", "5m")
    name = query.legend
    for label in ("instance", "slo", "status"):
        name = name.replace(f"{{{{{label}}}}}", f"{{{{ .Labels.{label} }}}}")
    shown = _SHOWN[panel.unit]
    title = html.escape(panel.title)
    return (
        f"{{{{ range query `{expression}` }}}}"
        f'<tr><th>{title}<small>{name}</small></th><td class="value">{shown}</td></tr>\n'
        f"{{{{ else }}}}<tr><th>{title}</th><td>no data</td></tr>\n{{{{ end }}}}"
    )
