"""docs/benchmarks.svg: every contender a dot on every row, on a logarithmic scale.

The background is transparent and the ink follows the reader's colour scheme; the colours of
the contenders are ones that show on white and on black.
"""

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import FuncFormatter, NullFormatter

from benchmarks.peers.contenders import BASELINE, SUBJECT
from benchmarks.peers.results import Case, Figure, Results

PATH = Path(__file__).parents[2] / "docs" / "benchmarks.svg"

INK, FAINT = "#1f2328", "#d0d7de"
"""Of text and lines where the reader's scheme is light; in a dark one they give way to these."""
DARK = {INK: "#e6edf3", FAINT: "#30363d"}
MARKS = {
    "dict": ("o", "#8b949e"),
    SUBJECT: ("D", "#f0601a"),
    "dumbkv (Python)": ("d", "#d9a21b"),
    "LRUCache + Lock": ("s", "#2da44e"),
    "TTLCache + Lock": ("p", "#14a3a3"),
    "SortedDict + Lock": ("h", "#3b82f6"),
    "LMDB": ("^", "#a855f7"),
    "diskcache": ("v", "#d946a6"),
    "Redis": ("P", "#dc2f3c"),
}


def draw(results: Results, path: Path = PATH) -> None:
    with mpl.rc_context(
        {
            "svg.fonttype": "none",  # text stays text: sharp, searchable, and read aloud
            "svg.hashsalt": "benchmarks",
            "font.family": "sans-serif",
            "font.sans-serif": ["DejaVu Sans", "Verdana", "sans-serif"],
            "font.size": 10,
            "text.color": INK,
            "axes.labelcolor": INK,
            "axes.titlesize": 11,
            "xtick.color": INK,
            "ytick.color": INK,
        }
    ):
        drawing = Drawing(figsize=(11, 9.6), layout="constrained")
        axes = drawing.subplots(2, 2)
        panels = panels_of(results)
        for place, (title, rows) in zip(axes.flat, panels.items(), strict=True):
            panel(place, title, rows)
        handles, labels = axes[0][0].get_legend_handles_labels()
        drawing.legend(handles, labels, loc="outside upper center", ncols=5, frameon=False)
        path.parent.mkdir(exist_ok=True)
        drawing.savefig(path, transparent=True, metadata={"Date": None, "Title": TITLE})
    path.write_text(themed(path.read_text()))


TITLE = "DumbKV beside its peers, as multiples of a dict behind a lock; left is better"
Row = tuple[str, Figure]


def panels_of(results: Results) -> dict[str, list[Row]]:
    single = [each for each in results.figures if each.case.section == "single"]
    found: dict[str, list[Row]] = {
        f"One thread, 100,000 entries of {value_bytes} B: time": [
            (each.case.name, each)
            for each in single
            if (each.case.entries, each.case.value_bytes) == (100_000, value_bytes)
        ]
        for value_bytes in (256, 4096)
    }
    found["100,000 entries of 256 B: time of all threads together"] = [
        (each.case.label, each)
        for each in results.figures
        if each.case.section == "threads" and worth_a_row(each.case)
    ]
    found["1,000,000 entries: memory and pauses"] = [
        (f"{each.case.name}, {each.case.value_bytes} B", each)
        for each in results.figures
        if each.case.section in ("memory", "pause")
    ]
    return found


def worth_a_row(case: Case) -> bool:
    return case.threads == 8 or "p99.9" not in case.name


def panel(axes: Axes, title: str, rows: list[Row]) -> None:
    """One row a figure from the top down, a dot for each contender, and a line at 1."""
    axes.set_title(title, loc="left")
    axes.set_xscale("log")
    axes.axvline(1, color=INK, linewidth=1.2, label=f"{BASELINE} = 1", zorder=1)
    for name, (mark, colour) in MARKS.items():
        places = [
            (each.ratios[name], -turn) for turn, (_, each) in enumerate(rows) if name in each.ratios
        ]
        axes.plot(
            [x for x, _ in places],
            [y for _, y in places],
            mark,
            color=colour,
            markersize=9 if name == SUBJECT else 6.5,
            markeredgewidth=0,
            label=name,
            zorder=3 if name == SUBJECT else 2,
        )
    axes.set_yticks([-turn for turn in range(len(rows))], [label for label, _ in rows])
    axes.set_ylim(-len(rows) + 0.4, 0.6)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(f"times {BASELINE}, left is better")
    axes.grid(axis="both", color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, which="both")
    axes.spines[:].set_visible(False)


def themed(svg: str) -> str:
    """The same picture with what a dark scheme changes."""
    rules = "".join(
        f'[style*="{what}: {light}"] {{ {what}: {dark} !important }}\n'
        for light, dark in DARK.items()
        for what in ("fill", "stroke")
    )
    style = f"<style>\n@media (prefers-color-scheme: dark) {{\n{rules}}}\n</style>\n"
    head, mark, rest = svg.partition("<defs>")
    return head + style + mark + rest
