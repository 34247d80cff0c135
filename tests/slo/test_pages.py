"""The status page and the HTML report in a real browser: what they show, and that nothing fails."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, ViewportSize

import dumbkv
import dumbkv_http
from dumbkv_http.slo.generate import GENERATED
from dumbkv_http.slo.markup import as_html
from dumbkv_http.slo.objectives import RATIOS, THRESHOLDS
from dumbkv_http.slo.periods import week
from dumbkv_http.slo.report import make
from tests.http.client import RawClient, get, put
from tests.slo.backfill import History, Incident
from tests.slo.conftest import Months, over

WIDE = ViewportSize(width=1180, height=900)
PHONE = ViewportSize(width=360, height=780)
VIEWS = [(scheme, size) for scheme in ("light", "dark") for size in (WIDE, PHONE)]

# Every element that holds text directly, with the contrast of its ink to what is behind it.
CONTRASTS = """() => {
  const part = c => { c /= 255; return c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4; };
  const light = c => .2126 * part(c[0]) + .7152 * part(c[1]) + .0722 * part(c[2]);
  const read = text => text.match(/[\\d.]+/g).map(Number);
  const found = [];
  for (const each of document.querySelectorAll("body *")) {
    const own = [...each.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    const unseen = each.closest("style, script, .vh, .skip") || !each.getClientRects().length;
    if (!own || unseen) continue;
    const ink = getComputedStyle(each);
    let behind = each, paper;
    do {
      paper = read(getComputedStyle(behind).backgroundColor);
      behind = behind.parentElement;
    } while (paper[3] === 0 && behind);
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    if (paper[3] === 0) paper = dark ? [18, 18, 18] : [255, 255, 255];  // The browser's own.
    const inks = read(each instanceof SVGElement ? ink.fill : ink.color);
    const [a, b] = [light(inks), light(paper)].sort((x, y) => y - x);
    found.push([(a + .05) / (b + .05), each.tagName + ": " + each.textContent.trim()]);
  }
  return found;
}"""


class Window:
    """A page in a browser, and all that it complained of."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.loaded: list[str] = []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.loaded.append(request.url))


@pytest.fixture(params=VIEWS, ids=lambda view: f"{view[0]}-{view[1]['width']}")
def view(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Window]:
    """A page in a light or a dark scheme, on a wide screen or a phone's; it may not complain."""
    scheme, size = request.param
    context = browser.new_context(color_scheme=scheme, viewport=size)
    window = Window(context.new_page())
    yield window
    keep(window.page, request.node.name)
    context.close()
    assert window.complaints == []


@pytest.fixture
def window(browser: Browser) -> Iterator[Window]:
    context = browser.new_context(viewport=WIDE)
    found = Window(context.new_page())
    yield found
    context.close()


@pytest.fixture
def service() -> Iterator[dumbkv_http.Service]:
    with dumbkv.open() as store, dumbkv_http.serve(store) as running:
        with RawClient(running) as client:
            client.ask(put("secret-key", b"secret-value"))
            for _ in range(30):
                client.ask(get("secret-key"))
        yield running


@pytest.fixture(scope="module")
def report(months: Months, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a week with an incident, as a file."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(as_html(make(months.prometheus, week("2026-W15"))))
    return path


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The console of a Prometheus that has seen two days up to now, the last hour of them bad."""
    folder = tmp_path_factory.mktemp("console")
    (folder / "consoles").mkdir()
    (folder / "consoles" / "dumbkv.html").write_text((GENERATED / "console.html").read_text())
    start = int(time.time()) // 60 * 60 - 2 * 86400
    history = History(start, 2.001, (Incident(47 * 60, 70, "errors", 0.05),))
    with over(history, folder, f"--web.console.templates={folder / 'consoles'}") as prometheus:
        yield f"{prometheus.url}/consoles/dumbkv.html"


def keep(page: Page, name: str) -> None:
    """A picture for whoever wants to look: DUMBKV_SCREENSHOTS names the folder."""
    folder = os.environ.get("DUMBKV_SCREENSHOTS")
    if folder:
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)


def fits(page: Page) -> bool:
    """Whether there is nothing to scroll to sideways, but inside tables."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def faint(page: Page) -> list[str]:
    """Text with less contrast than 4.5 to 1, as WCAG 2 asks for."""
    return [what for contrast, what in page.evaluate(CONTRASTS) if contrast < 4.5]


def test_the_status_page_shows_the_objectives(service: dumbkv_http.Service, view: Window) -> None:
    page = view.page
    page.goto(service.url)
    assert page.title() == "\u2713 DumbKV: all objectives are met now"
    rows = page.locator("table.standing tbody tr")
    assert rows.count() == len((*RATIOS, *THRESHOLDS))
    for row, objective in zip(rows.all(), (*RATIOS, *THRESHOLDS), strict=True):
        assert row.locator("th").inner_text().startswith(objective.title)
        assert row.locator("td.met").count() == 3
    charts = page.get_by_role("img")
    assert charts.count() == 4
    for chart in charts.all():
        box = chart.bounding_box()
        assert box is not None
        assert box["height"] > 100
        assert chart.locator("path.line").count() >= 1
    assert fits(page)
    assert faint(page) == []
    assert "secret" not in page.content()
    assert view.loaded == [service.url + "/"]


def test_the_status_page_is_told_by_its_roles(service: dumbkv_http.Service, window: Window) -> None:
    page = window.page
    page.goto(service.url)
    assert page.get_by_role("main").count() == 1
    assert page.get_by_role("heading", level=1).inner_text() == "DumbKV"
    assert page.get_by_role("img", name="Latency over the last ten minutes").count() == 1
    assert page.get_by_role("rowheader", name="Availability").count() == 1
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    summary = page.get_by_text("Latency as a table")
    summary.click()
    assert page.locator("#latency-table table tbody tr").count() == 12


def test_the_status_page_brings_itself_up_to_date(
    service: dumbkv_http.Service, window: Window
) -> None:
    page = window.page
    page.clock.install()
    page.goto(service.url)
    page.locator("#memory-table summary").click()
    page.evaluate("document.activeElement.blur()")
    service.server.metrics.count("GET", "kv", 500)
    service.server.app.status._made = -1.0
    page.clock.run_for(10_500)
    page.get_by_text("1 objective missed now").wait_for()
    assert page.locator("#memory-table").get_attribute("open") is not None
    assert page.title() == "\u2717 DumbKV: 1 objective missed now"
    page.get_by_role("button", name="Pause updates").click()
    seen = len(window.loaded)
    page.clock.run_for(30_500)
    assert len(window.loaded) == seen
    page.get_by_role("button", name="Resume updates").click()
    service.close()
    page.clock.run_for(10_500)
    page.get_by_text("No answer from the server").wait_for()


def test_the_status_page_needs_no_script(service: dumbkv_http.Service, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(service.url)
    assert page.get_by_text("All objectives are met now").is_visible()
    assert not page.get_by_role("button").is_visible()
    page.get_by_text("Memory as a table").click()
    assert page.locator("#memory-table table").is_visible()
    context.close()


def test_the_report_is_one_file_that_loads_nothing(report: Path, view: Window) -> None:
    page = view.page
    page.goto(report.as_uri())
    assert page.get_by_role("heading", level=1).inner_text().endswith("week 2026-W15")
    assert page.get_by_text("All objectives were met").is_visible()
    assert page.get_by_role("row", name="2026-04-07 01:01 UTC 10 min Availability").count() == 1
    assert page.get_by_role("img").count() == 7
    assert page.get_by_role("heading", level=2).all_inner_texts() == [
        "Objectives", "Error budget", "Incidents", "Latency", "Resources", "Alerts",
        "Success criteria", "Recommendations", "Day by day", "How this was counted",
    ]  # fmt: skip
    assert fits(page)
    assert faint(page) == []
    assert view.loaded == [report.as_uri()]


def test_the_console_is_rendered_by_prometheus(console: str, view: Window) -> None:
    page = view.page
    page.goto(console)
    assert page.get_by_role("heading", level=1).inner_text().startswith("DumbKV")
    verdicts = dict(
        zip(
            page.locator("#objectives tr th:first-child").all_inner_texts()[1:],
            page.locator("#objectives tr td:last-child").all_inner_texts(),
            strict=True,
        )
    )
    expected = {each.title: "met" for each in (*RATIOS, *THRESHOLDS)}
    assert verdicts == {**expected, "Availability": "missed"}
    figures = page.locator("#figures").inner_text()
    for unrendered in ("{{", "no value", "error", "NaN"):
        assert unrendered not in figures
    assert page.locator("#alerts").get_by_text("None.").count() == 1
    assert fits(page)
    assert faint(page) == []
    assert view.loaded == [console]
