"""The page at `/`: what it says, that it loads nothing, and the hour of counters behind it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dumbkv
from dumbkv_http import Service
from dumbkv_http._history import HOUR, INTERVAL, History, since
from dumbkv_http._html import script, source_hash, style
from dumbkv_http._status_charts import Charts
from dumbkv_http._svg import Curve, chart, linear, logarithmic
from dumbkv_http.app import App
from dumbkv_http.metrics import DURATION_BOUNDS
from dumbkv_http.slo.objectives import RATIOS, THRESHOLDS
from dumbkv_http.slo.reading import Reading, quantile, tally, window
from dumbkv_http.slo.standing import standings
from tests.http.client import RawClient, get, put
from tests.http.conftest import Serve, wait_until

PAGE = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
ZERO = Reading(
    at=0.0,
    requests=0,
    failures=0,
    bounds=DURATION_BOUNDS,
    durations=(0,) * (len(DURATION_BOUNDS) + 1),
    resident=1024.0,
    open_fds=8.0,
    max_fds=1024.0,
    collections=0,
    uncollectable=0,
)


class Outline(HTMLParser):
    """The elements of a page with their attributes, and its text without style and script."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag

    def handle_data(self, data: str) -> None:
        if self._inside not in ("style", "script"):
            self.text += data


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def fast_app(fast_store: dumbkv.Store) -> Iterator[App]:
    app = App(fast_store)
    yield app
    app.close()


def page_of(app: App) -> str:
    return app.status.answer(app.draining).body.decode()


def cells(page: str) -> list[str]:
    return re.findall(r'<td class="(met|missed|unknown)">', page)


def test_the_page_tells_every_objective_over_three_spans(service: Service) -> None:
    with RawClient(service) as client:
        client.ask(put("a", b"1"))
        for _ in range(20):
            client.ask(get("a"))
        answer = client.ask(PAGE)
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    page = answer.body.decode()
    text = Outline(page).text
    for objective in (*RATIOS, *THRESHOLDS):
        assert objective.title in text
    assert cells(page) == ["met"] * (3 * len((*RATIOS, *THRESHOLDS)))
    assert "0 of 21 requests failed" in text
    assert "All objectives are met now" in text


def test_before_any_request_nothing_is_called_met_that_is_not_known(service: Service) -> None:
    with RawClient(service) as client:
        page = client.ask(PAGE).body.decode()
    assert cells(page)[:12] == ["unknown"] * 12
    assert "None is missed; too few requests to tell of all" in page


def test_the_page_may_load_nothing_and_run_only_its_own_script(service: Service) -> None:
    with RawClient(service) as client:
        answer = client.ask(PAGE)
    page = answer.body.decode()
    policy = dict(
        each.split(" ", 1) for each in answer.headers["content-security-policy"].split("; ")
    )
    (shown_style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    (shown_script,) = re.findall(r"<script[^>]*>(.*?)</script>", page, re.DOTALL)
    assert policy == {
        "default-src": "'none'",
        "style-src": source_hash(shown_style),
        "script-src": source_hash(shown_script),
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert (shown_style, shown_script) == (style(), script())
    for tag, attributes in Outline(page).elements:
        assert not {name for name in attributes if name == "style" or name.startswith("on")}
        for name in ("src", "href", "srcset", "action"):
            value = attributes.get(name) or ""
            assert not re.match(r"[a-z]+:|//", value.replace("data:,", "")), (tag, value)


def test_charts_have_words_and_tables_for_those_who_do_not_see_them(service: Service) -> None:
    with RawClient(service) as client:
        client.ask(get("a"))
        page = client.ask(PAGE).body.decode()
    elements = Outline(page).elements
    ids = [found["id"] for _, found in elements if "id" in found]
    assert len(ids) == len(set(ids))
    charts = [found for tag, found in elements if tag == "svg" and found.get("role") == "img"]
    assert len(charts) == 4
    for found in charts:
        assert {*(found["aria-labelledby"] or "").split()} <= {*ids}
    assert [tag for tag, _ in elements].count("table") == len(charts) + 1
    assert all("scope" in found for tag, found in elements if tag == "th")
    assert dict(elements)["html"] == {"lang": "en"}
    for tag in ("main", "header", "footer", "h1"):
        assert [each for each, _ in elements].count(tag) == 1


def test_looking_is_no_traffic_and_changes_nothing(fast_store: dumbkv.Store, serve: Serve) -> None:
    service = serve(fast_store)
    before = fast_store.stats()
    with RawClient(service) as client:
        length = client.ask(PAGE).headers["content-length"]
        head = client.ask(b"HEAD" + PAGE[3:], head_only=True)
        assert (head.status, head.headers["content-length"]) == (200, length)
        assert client.ask(b"POST" + PAGE[3:]).status == 405
        assert client.ask(PAGE.replace(b"/ ", b"/?a=1 ")).kind == "unknown-parameter"
        assert client.ask(PAGE.replace(b"/ ", b"/a ")).status == 404
    assert fast_store.stats() == before
    requests = service.server.metrics.requests
    assert requests["GET", "health", 200] == requests["HEAD", "health", 200] == 1
    assert tally(requests) == (0, 0)


def test_a_store_whose_disk_failed_is_told(fast_app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = fast_app.store.stats()._replace(poisoned=1)
    monkeypatch.setattr(type(fast_app.store), "stats", lambda store: failed)
    assert "No more writes: the disk failed" in page_of(fast_app)


def test_a_closed_store_and_a_server_that_drains_are_told(fast_app: App) -> None:
    fast_app.draining = True
    assert "Shutting down" in page_of(fast_app)
    fast_app.draining = False
    fast_app.status._made = -1.0
    fast_app.store.close()
    assert "The store is closed" in page_of(fast_app)


def test_one_page_serves_all_readers_of_a_second(fast_app: App) -> None:
    clock = fast_app.status.history.clock = Clock()
    first = page_of(fast_app)
    fast_app.metrics.count("GET", "kv", 500)
    clock.now += 0.9
    assert page_of(fast_app) == first
    clock.now += 0.2
    assert "1 of 1 requests failed" in page_of(fast_app)


def test_an_hour_is_kept_and_no_more(fast_app: App) -> None:
    clock = Clock()
    history = History(fast_app.metrics, clock)
    for _ in range(3 * 360):
        history.tick(clock.now)
        history.tick(clock.now + INTERVAL / 2)  # Not yet time for another.
        clock.now += INTERVAL
        fast_app.metrics.count("GET", "kv", 200)
    readings = history.readings()
    assert len(readings) == HOUR / INTERVAL + 2
    assert readings[-1].at == clock.now
    last_hour = window(since(HOUR, readings))
    assert (last_hour.seconds, last_hour.requests) == (HOUR, 360)
    assert history.since_start(readings[-1]).requests == 3 * 360


def test_the_highest_memory_and_descriptors_since_the_start_are_kept(
    fast_app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    history = History(fast_app.metrics, clock)
    for resident, used in ((100, 5.0), (900, 9.0), (200, 3.0)):
        monkeypatch.setattr(fast_app.metrics.process, "resident", lambda value=resident: value)
        monkeypatch.setattr(
            fast_app.metrics.process, "descriptors", lambda value=used: (value, 10.0)
        )
        history.tick(clock.now)
        clock.now += INTERVAL
    found = history.since_start(history.readings()[-1])
    assert (found.resident, found.descriptors) == (900, 0.9)


def test_the_loop_samples_by_itself(fast_store: dumbkv.Store, serve: Serve) -> None:
    service = serve(fast_store)
    history = service.server.app.status.history
    wait_until(lambda: history._ring)
    assert history._first is history._ring[0]


def test_faults_and_slow_answers_are_missed_objectives() -> None:
    durations = list(ZERO.durations)
    durations[DURATION_BOUNDS.index(0.005)] = 980
    durations[DURATION_BOUNDS.index(0.25)] = 20
    later = ZERO._replace(
        at=600.0,
        requests=1000,
        failures=2,
        durations=tuple(durations),
        resident=450.0 * 1024**2,
        open_fds=819.0,
        collections=12_000,
        uncollectable=1,
    )
    found = {each.title: (each.state, each.value) for each in standings(window((ZERO, later)))}
    assert found == {
        "Availability": ("missed", "99.80 %"),
        "P99 latency": ("missed", "188 ms"),
        "P95 latency": ("met", "4.92 ms"),
        "P50 latency": ("met", "3.78 ms"),
        "Resident memory": ("missed", "450 MiB"),
        "File descriptors": ("met", "80.0 %"),
        "Uncollectable objects": ("missed", "1"),
        "Garbage collections": ("missed", "20.0 /s"),
    }


@given(
    st.lists(st.integers(0, 1000), min_size=21, max_size=21).filter(any),
    st.sampled_from([0.5, 0.95, 0.99, 0.999]),
)
def test_a_quantile_lies_in_the_bucket_that_its_rank_falls_into(
    durations: list[int], part: float
) -> None:
    value = quantile(part, DURATION_BOUNDS, tuple(durations))
    assert value is not None
    bounds = (0.0, *DURATION_BOUNDS, DURATION_BOUNDS[-1])
    rank = part * sum(durations)
    fits = [
        low <= value <= high
        for place, (low, high) in enumerate(pairwise(bounds))
        if sum(durations[:place]) <= rank <= sum(durations[: place + 1])
    ]
    assert any(fits)


@given(st.floats(0, 1e12))
def test_a_scale_holds_its_highest_value_and_few_lines(highest: float) -> None:
    scale = linear(highest, str)
    assert 0 <= scale.place(highest) <= 1 + 1e-9
    assert scale.place(highest) > 0.45 or highest < 1
    assert 3 <= len(scale.ticks) <= 5
    assert [tick.part for tick in scale.ticks] == sorted(tick.part for tick in scale.ticks)


@given(st.lists(st.one_of(st.none(), st.floats(0, 1e9)), max_size=80), st.booleans())
def test_curves_stay_inside_their_chart_and_break_where_nothing_is_known(
    values: list[float | None], filled: bool
) -> None:
    curve = Curve("a", values, filled)
    for scale in (linear(1e9, str), logarithmic(0.001, 10.0, str)):
        drawn = chart("n", "t", "d", [curve], scale, [])
        numbers = re.findall(r'class="(?:line|area) a" d="([^"]*)"', drawn)
        for path in numbers:
            assert all(0 <= float(each) <= 1000.1 for each in re.findall(r"-?[\d.]+", path))
        runs = sum(
            value is not None and (place == 0 or values[place - 1] is None)
            for place, value in enumerate(values)
        )
        assert numbers[-1].count("M") == runs


def test_what_is_written_into_a_chart_is_text() -> None:
    drawn = chart("n", "<t>", "a & b", [], linear(1.0, lambda value: "<i>"), [])
    assert "<i>" not in drawn
    assert "<t>" not in drawn
    assert "a &amp; b" in drawn


def test_a_young_server_shows_ten_minutes_and_an_older_one_an_hour() -> None:
    def readings(minutes: int) -> list[Reading]:
        return [ZERO._replace(at=60.0 * n, requests=30 * n) for n in range(minutes + 1)]

    young, older = Charts(readings(9)), Charts(readings(90))
    assert (young.span, older.span) == (600.0, 3600.0)
    drawn = older.requests()
    assert "Requests a second over the last hour" in drawn
    assert "1,800 requests, at most 0.5 a second" in drawn
    assert drawn.count("<tr>") == 13
    assert re.findall(r'<th scope="row">(.*?)</th>', drawn)[0] == "55 min ago"
