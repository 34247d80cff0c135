"""docs/objectives.md: every alert is explained, and every query is one that Prometheus reads."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.request
from pathlib import Path

import pytest

import dumbkv
import dumbkv_http
from dumbkv_http.slo.generate import GENERATED, differences
from dumbkv_http.slo.objectives import (
    BURNS,
    LEVELS,
    RATIOS,
    RECEIVERS,
    THRESHOLDS,
    Availability,
    Latency,
    Threshold,
)
from dumbkv_http.slo.program import main
from tests.slo.conftest import program

PAGE = Path(__file__).parents[2] / "docs" / "objectives.md"
TEXT = PAGE.read_text()
PROSE = re.sub(r"^```.*?^```", "", TEXT, flags=re.DOTALL | re.MULTILINE)
HEADINGS = re.findall(r"^(#+) (.+)$", PROSE, re.MULTILINE)
QUERIES = re.findall(r"^```promql\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
RULES = (GENERATED / "dumbkv.rules.yml").read_text()
ALERTS = sorted(set(re.findall(r"^ *- alert: (\S+)$", RULES, re.MULTILINE)))


def anchors() -> set[str]:
    """The anchors that GitHub gives to the headings."""
    found: dict[str, int] = {}
    names = set()
    for _, heading in HEADINGS:
        name = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        again = found.get(name, 0)
        found[name] = again + 1
        names.add(f"{name}-{again}" if again else name)
    return names


def runbook() -> dict[str, str]:
    """The sections of the runbook by their headings."""
    chapter = TEXT.split("\n## Runbook\n")[1].split("\n## ")[0]
    parts = re.split(r"^### (.+)$", chapter, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def squeezed(text: str) -> str:
    return " ".join(text.split())


def rows() -> list[list[str]]:
    """The cells of all tables."""
    lines = re.findall(r"^\|(.+)\|$", TEXT, re.MULTILINE)
    return [[cell.strip() for cell in line.split("|")] for line in lines]


def test_the_runbook_has_a_section_for_every_alert_and_no_other() -> None:
    assert len(ALERTS) >= 15
    assert sorted(runbook()) == ALERTS


@pytest.mark.parametrize("alert", ALERTS)
def test_a_section_says_what_it_means_how_to_see_it_and_what_comes_first(alert: str) -> None:
    section = runbook()[alert]
    places = [section.index(f"**{part}:**") for part in ("It means", "See it", "First")]
    assert places == sorted(places)
    assert "```promql" in section


def test_every_alert_names_an_anchor_that_is_there() -> None:
    named = re.findall(
        r"- alert: (\S+)\n(?:(?! *- alert:).*\n)*? +runbook: docs/objectives\.md#(\S+)$",
        RULES,
        re.MULTILINE,
    )
    assert len(named) == RULES.count("- alert: ")
    for alert, anchor in named:
        assert anchor in anchors(), alert
        assert anchor == alert.lower()


def test_links_go_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        file, _, anchor = target.partition("#")
        assert not file or (PAGE.parent / file).exists(), target
        assert not anchor or anchor in anchors(), target


def test_promtool_reads_every_query(tmp_path: Path) -> None:
    assert len(QUERIES) >= 24
    for number, query in enumerate(QUERIES):
        content = {"groups": [{"name": "page", "rules": [{"record": "page:query", "expr": query}]}]}
        path = tmp_path / f"{number}.json"  # JSON is YAML.
        path.write_text(json.dumps(content))
        done = subprocess.run(
            [program("promtool"), "check", "rules", str(path)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{query}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("objective", [*RATIOS, *THRESHOLDS], ids=lambda each: str(each.name))
def test_an_objective_is_shown_with_its_target_and_its_query(
    objective: Availability | Latency | Threshold,
) -> None:
    section = TEXT.split(f"\n### {objective.title}\n")[1].split("\n##")[0]
    shown = re.findall(r"```promql\n(.*?)```", section, re.DOTALL)
    assert [squeezed(query) for query in shown] == [squeezed(objective.query())]
    assert "\nWhy: " in section
    assert "\nWhen it is missed: " in section
    assert [objective.title, objective.promise] in [row[:2] for row in rows()]


def test_every_figure_in_a_query_is_one_that_there_is(tmp_path: Path) -> None:
    with (
        dumbkv.open(tmp_path / "data", max_bytes=1 << 20) as store,
        dumbkv_http.serve(store) as service,
        urllib.request.urlopen(f"{service.url}/metrics", timeout=30) as answer,
    ):
        shown = answer.read().decode()
    known = {"up", *re.findall(r"^([a-z_]+)[{ ]", shown, re.MULTILINE)}
    known |= set(re.findall(r"^ *- record: (\S+)$", RULES, re.MULTILINE))
    names = {
        name
        for query in QUERIES
        for name in re.findall(r"\b(?:up|(?:dumbkv|http|process|python|slo)[_:][\w:]+)", query)
    }
    assert len(names) >= 15
    assert names <= known


def test_the_matrix_and_the_burns_are_those_of_the_objectives() -> None:
    who = {each.name: each.who for each in RECEIVERS}
    for level in LEVELS:
        row = next(row for row in rows() if row[1] == level.action)
        assert row[2:] == [who[level.receiver], f"`{level.receiver}`"]
    after = TEXT.split("| severity | burns |")[1]
    shares = re.findall(r"^\| (page|ticket) .*?\| (\d+) % \| more than ([\d.]+) %", after, re.M)
    assert shares == [
        (burn.severity, f"{burn.spent * 100:g}", f"{burn.factor * RATIOS[0].budget * 100:g}")
        for burn in BURNS
    ]


def test_the_committed_files_are_those_of_the_objectives(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert differences() == ""
    assert main(["generate", "--check"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["generate", "--to", str(tmp_path)]) == 0
    rules = tmp_path / "dumbkv.rules.yml"
    rules.write_text(rules.read_text().replace("> 0.0144", "> 0.02"))
    assert main(["generate", "--check", "--to", str(tmp_path)]) == 1
    assert "> 0.02" in capsys.readouterr().out


def test_up_writes_the_files_that_the_page_names_and_never_over_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "slo"
    assert main(["up", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert "--storage.tsdb.retention.time=400d" in printed
    written = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    chapter = TEXT.split("\n## The files\n")[1].split("\n## ")[0]
    assert len(written) == 5
    for path in written:
        assert f"`{path}`" in chapter
    assert main(["up", str(folder)]) == 1
    assert "is there already" in capsys.readouterr().err
