"""Brings about all faults at once, each in its world, and keeps what was heard of them."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from threading import Barrier, Event

from tests.slo.drill.faults import FAULTS, Fault
from tests.slo.drill.inbox import Inbox, Message
from tests.slo.drill.world import PATIENCE, World
from tests.slo.model import LEVEL_0, Alert

__all__ = ["Record", "rehearse"]


@dataclass
class Record:
    """What one fault led to; times are those of `time.time()`.

    `began` and `ended` are of the fault, `fired` all alerts that did since then and when at first,
    `left` those that still do in the end, `messages` what the receivers were told.
    """

    fault: Fault
    began: float = 0.0
    ended: float = 0.0
    fired: dict[Alert, float] = field(default_factory=dict)
    left: set[Alert] = field(default_factory=set)
    messages: list[Message] = field(default_factory=list)

    def lines(self) -> list[str]:
        """When each alert fired, and who was told of it when; without those that always fire."""
        lines = []
        for which, at in sorted(self.fired.items(), key=lambda each: each[1]):
            told = [
                f"{each.receiver} told of {each.status} {each.at - self.began:.1f} s"
                for each in self.messages
                if each.alert == which and each.at > self.began
            ]
            if which not in LEVEL_0:
                words = [self.fault.name, _words(which), f"fired {at - self.began:.1f} s", *told]
                lines.append(", ".join(words))
        return lines or [f"{self.fault.name}, nothing fired in {self.ended - self.began:.0f} s"]


def rehearse(place: Path, faults: tuple[Fault, ...] = FAULTS) -> dict[str, Record]:
    """Plays all faults; what is no fault lasts as long as the others."""
    inbox, ready, over = Inbox(), Barrier(len(faults)), Event()
    records = {fault.name: Record(fault) for fault in faults}
    try:
        with ThreadPoolExecutor(len(faults)) as pool:
            running = [
                pool.submit(_play, record, inbox, place, ready, over) for record in records.values()
            ]
            for record, each in zip(records.values(), running, strict=True):
                if record.fault.fires:
                    wait([each])
            over.set()
        for each in running:
            each.result()
    finally:
        inbox.close()
    return records


def _play(record: Record, inbox: Inbox, place: Path, ready: Barrier, over: Event) -> None:
    fault = record.fault
    folder = place / fault.name
    folder.mkdir()
    command = [*fault.command, *(("--data", str(folder / "store")) if fault.on_disk else ())]
    with World(fault.name, command, inbox, folder) as world:
        # While all that begins there are no targets and little time, and alerts say so.
        world.wait(world.well)
        ready.wait(PATIENCE)
        record.began = time.time()
        fault.begin(world)
        world.wait(
            lambda: (
                fault.fires | fault.hushed <= world.fired(record.began).keys()
                and fault.fires - fault.late <= world.heard(record.began)
            )
        )
        if not fault.fires:
            over.wait()
        record.ended = time.time()
        fault.end(world)
        world.wait(lambda: world.well() and fault.fires <= world.told("resolved"))
        record.fired, record.left = world.fired(record.began), world.firing()
        record.messages = world.messages()
    print(*record.lines(), sep="\n", flush=True)


def _words(alert: Alert) -> str:
    labels = dict(alert)
    return " ".join([labels.pop("alertname"), *labels.values()])
