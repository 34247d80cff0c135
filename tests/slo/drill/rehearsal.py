"""Brings about all faults at once, each in its world, and keeps what was heard of them."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from tests.slo.drill.faults import FAULTS, Fault
from tests.slo.drill.inbox import Inbox, Message
from tests.slo.drill.world import World
from tests.slo.model import Alert

__all__ = ["Record", "rehearse"]


@dataclass
class Record:
    """What one fault led to; times are on the monotonic clock.

    `began` and `ended` are of the fault, `fired` all alerts that did since then, `left` those that
    still do in the end, `messages` what the receivers were told.
    """

    fault: Fault
    began: float = 0.0
    ended: float = 0.0
    fired: set[Alert] = field(default_factory=set)
    left: set[Alert] = field(default_factory=set)
    messages: list[Message] = field(default_factory=list)

    def lines(self) -> list[str]:
        """One for each alert that somebody heard of after the fault began."""
        found: dict[tuple[str, Alert], list[str]] = {}
        for receiver, alert, status, at in self.messages:
            if at >= self.began:
                times = found.setdefault((receiver, alert), [])
                times.append(f"{status} {at - self.began:5.1f} s")
        return [
            f"{self.fault.name:>16}  {_words(alert):<52} {receiver:<16} {', '.join(times)}"
            for (receiver, alert), times in found.items()
        ]


def rehearse(place: Path, faults: tuple[Fault, ...] = FAULTS) -> dict[str, Record]:
    """Plays all faults; what is no fault lasts as long as the others."""
    inbox, over = Inbox(), Event()
    records = {fault.name: Record(fault) for fault in faults}
    try:
        with ThreadPoolExecutor(len(faults)) as pool:
            running = [
                pool.submit(_play, record, inbox, place, over if not record.fault.fires else None)
                for record in records.values()
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


def _play(record: Record, inbox: Inbox, place: Path, over: Event | None) -> None:
    fault = record.fault
    folder = place / fault.name
    folder.mkdir()
    command = [*fault.command, *(("--data", str(folder / "store")) if fault.on_disk else ())]
    with World(fault.name, command, inbox, folder) as world:
        world.wait(world.well)  # While Prometheus begins there is no server that it knows of.
        record.began = time.monotonic()

        def fired() -> set[Alert]:
            return world.firing(1 + int(time.monotonic() - record.began))

        fault.begin(world)
        world.wait(
            lambda: (
                fault.fires | fault.hushed <= fired()
                and fault.fires - fault.late <= world.heard(record.began)
            )
        )
        if over is not None:
            over.wait()
        record.ended = time.monotonic()
        fault.end(world)
        world.wait(lambda: world.well() and fault.fires <= world.told("resolved"))
        record.fired, record.left = fired(), world.firing()
        record.messages = world.messages()
    print("", *record.lines(), sep="\n", flush=True)


def _words(alert: Alert) -> str:
    labels = dict(alert)
    return " ".join([labels.pop("alertname"), *labels.values()])
