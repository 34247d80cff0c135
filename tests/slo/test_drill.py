"""Each alert fires for its fault and for no other, reaches its receiver, and resolves with it."""

from __future__ import annotations

import pytest

from dumbkv_http.slo.rules import rules
from tests.slo.drill.faults import FAULTS, Fault
from tests.slo.drill.inbox import named
from tests.slo.drill.rehearsal import Record, rehearse
from tests.slo.model import LEVEL_0, Alert, alert

ROWS = {"0": "team", "1": "engineering-lead", "2": "director", "3": "executive"}
"""The document's escalation matrix; a page and a ticket have receivers of those names."""

LEFT_OUT = {
    alert("DumbKVMemoryRising", severity="ticket"): "compares with numbers of hours, not ranges",
    **{
        alert("ErrorBudgetLevel", slo="latency-p99", severity="policy", budget_level=row): (
            "so many slow requests at a drill's pace burn the budget as well"
        )
        for row in ("1", "2", "3")
    },
}
"""What is in no drill, and why; `test_conditions` and `test_ratio_alerts` have them."""


def receiver(which: Alert) -> str:
    labels = dict(which)
    severity = labels["severity"]
    return ROWS[labels["budget_level"]] if severity == "policy" else severity


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Record]:
    return rehearse(tmp_path_factory.mktemp("drill"))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_these_alerts_fire_and_no_others(fault: Fault, records: dict[str, Record]) -> None:
    record = records[fault.name]
    assert record.fired.keys() - (fault.also - fault.fires) == LEVEL_0 | fault.fires | fault.hushed
    assert record.left == LEVEL_0


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_each_reaches_its_receiver_and_resolves(fault: Fault, records: dict[str, Record]) -> None:
    record = records[fault.name]
    heard = {
        each.alert
        for each in record.messages
        if each.status == "firing" and (each.at > record.began or each.alert in LEVEL_0)
    }
    assert LEVEL_0 | fault.fires <= heard <= LEVEL_0 | fault.fires | fault.hushed | fault.also
    for message in record.messages:
        assert message.receiver == receiver(message.alert)
    for which in fault.fires:
        mine = [each for each in record.messages if each.alert == which]
        assert mine[-1].status == "resolved"
        assert mine[-1].at > (record.began if which in fault.brief else record.ended)
    for which in LEVEL_0:
        assert all(each.status == "firing" for each in record.messages if each.alert == which)


def test_every_alert_is_in_the_drill_or_has_a_reason_why_not() -> None:
    alerts = {
        named({"alertname": rule["alert"], **rule["labels"]})
        for group in rules()["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    assert alerts == LEVEL_0.union(*(each.fires | each.hushed for each in FAULTS)) | set(LEFT_OUT)
