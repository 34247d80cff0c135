"""docs/http-benchmarks.md and its picture, from the figures of `benchmarks.http_peers`."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks.peers.picture import FAINT, INK, themed

DOCS = Path(__file__).parents[1] / "docs"
COLOURS = {
    "DumbKV": "#f0601a",
    "http.server": "#8b949e",
    "uvicorn": "#2da44e",
    "asyncio.Protocol": "#3b82f6",
    "webdis": "#dc2f3c",
    "etcd": "#a855f7",
}
TITLE = "Requests a second of DumbKV and other servers; more is better"
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "benchmarks",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "sans-serif"],
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}
TEXT = """# The service beside other servers

![Requests a second of DumbKV and five others]({picture})

`wrk` with one thread, 256 bytes under each of a hundred keys, at 1, 16, 64 and 256 kept-alive
connections, and with 64 that each make a new connection for every request ("close"). Client and
server share the machine's cores, so what to compare is a ratio within this run:
`python -m benchmarks.http_peers` makes it anew and rewrites this page. Measured on {date}:
CPython {python}, {system}, {cores} cores, {seconds} seconds each.

`http.server` is the standard library's at its best: a thread a connection, TCP_NODELAY, one write
an answer. uvicorn runs a bare ASGI application, on uvloop and httptools. `asyncio.Protocol` splits
at spaces and checks nothing. webdis stands before a Redis without a disk, etcd's gateway before an
etcd that does not wait for one.
"""


def write(results: dict[str, Any]) -> None:
    figures = results["figures"]
    draw(figures, DOCS / "http-benchmarks.svg")
    parts = [TEXT.format(picture="http-benchmarks.svg", **results["about"])]
    for title, name, scale in (
        ("Requests a second", "per_second", 1.0),
        ("The slowest of a hundred, in milliseconds", "p99", 1e3),
    ):
        parts.append(f"## {title}\n\n{table(figures, name, scale)}\n")
    (DOCS / "http-benchmarks.md").write_text("\n".join(parts))


def table(figures: dict[str, Any], name: str, scale: float) -> str:
    peers = list(COLOURS)
    lines = [f"| | {' | '.join(peers)} |", "|---|" + "---:|" * len(peers)]
    for load, row in figures.items():
        cells = [f"{row[peer][name] * scale:,.{0 if scale == 1 else 1}f}" for peer in peers]
        lines.append(f"| {load} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(figures: dict[str, Any], path: Path) -> None:
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]  # the keys are what it takes
        drawing = Figure(figsize=(11, 4.6), layout="constrained")
        for axes, method in zip(drawing.subplots(1, 2), ("GET", "PUT"), strict=True):
            rows = {load[4:]: row for load, row in figures.items() if load.startswith(method)}
            for name, colour in COLOURS.items():
                rates = [row[name]["per_second"] for row in rows.values()]
                width = 2.5 if name == "DumbKV" else 1.4
                axes.plot(list(rows), rates, "o-", color=colour, label=name, linewidth=width)
            axes.set_title(method, loc="left")
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,.0f}"))
            axes.set_xlabel("connections")
            axes.set_ylabel("requests a second")
            axes.grid(axis="both", which="both", color=FAINT, linewidth=0.6)
            axes.tick_params(length=0, which="both")
            axes.spines[:].set_visible(False)
        handles, labels = drawing.axes[0].get_legend_handles_labels()
        drawing.legend(handles, labels, loc="outside upper center", ncols=6, frameon=False)
        drawing.savefig(path, transparent=True, metadata={"Date": None, "Title": TITLE})
    path.write_text(themed(path.read_text()))
