"""What goes wrong in a drill, and who has to hear of it.

Every fault has a world of its own, whose other alerts have to stay silent. `begin` brings it about,
`end` takes it away when all its alerts have fired.
"""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

from dumbkv._recovery import name
from tests.slo.drill.traffic import BUSY, CALM, PUT, Stream, put, send
from tests.slo.drill.world import EMBEDDING, SERVICE, World
from tests.slo.model import Alert, alert

__all__ = ["FAULTS", "Fault"]


def _burns(slo: str, *windows: str) -> set[Alert]:
    severity = {"1h": "page", "6h": "page", "1d": "ticket", "3d": "ticket"}
    name = "HighErrorBudgetBurn"
    return {alert(name, slo=slo, window=each, severity=severity[each]) for each in windows}


def _row(number: int) -> Alert:
    return alert(
        "ErrorBudgetLevel", slo="availability", severity="policy", budget_level=str(number)
    )


_RATE = alert("HighErrorRate", slo="availability", severity="ticket")
_FULL = alert("DumbKVStoreFull", severity="ticket")
_DOWN = alert("DumbKVDown", severity="page")
_FDS = alert("DumbKVFileDescriptorsHigh", severity="page")
_GC = alert("DumbKVGCPressure", severity="ticket")
_START = {_DOWN, _GC}
"""What a start may bring about: here the seconds of the imports are minutes."""
_ALL = ("1h", "6h", "1d", "3d")
_FAILING = _burns("availability", *_ALL)


def _nothing(world: World) -> None:
    """It is over by itself."""


@dataclass(frozen=True)
class Fault:
    """`fires` is all that has to fire, reach its receiver, and resolve.

    `hushed` has to fire, and may be kept quiet by a page or a higher row of the matrix; `also` may
    fire, because of how the fault is taken away; `brief` of all those may end before that.
    """

    name: str
    fires: set[Alert]
    begin: Callable[[World], None]
    end: Callable[[World], None] = _nothing
    command: Sequence[str] = SERVICE
    hushed: set[Alert] = field(default_factory=set)
    also: set[Alert] = field(default_factory=set)
    brief: set[Alert] = field(default_factory=set)
    on_disk: bool = False

    @property
    def late(self) -> set[Alert]:
        """Those of `fires` that are not heard of before a page of the same objective has ended."""
        paged = {dict(each).get("slo") for each in self.fires if _is(each, "page")} - {None}
        return {
            each for each in self.fires if _is(each, "ticket") and dict(each).get("slo") in paged
        }


def _is(which: Alert, severity: str) -> bool:
    return dict(which)["severity"] == severity


# A store so small that it is full; what does not fit is refused with a real 507.
_SMALL = (*SERVICE, "--max-bytes", "64KiB")
_BAD = put("large", 100_000)
_ROOMY = (*SERVICE, "--max-bytes", "1GiB")


def _refuse(world: World) -> None:
    """All requests are refused."""
    world.traffic.change(Stream(_BAD, pause=0.05))


def _healthy(world: World) -> None:
    """Requests all the time, and nothing wrong with any of them."""
    world.traffic.change(BUSY)


def _calm(world: World) -> None:
    world.traffic.change(CALM)


def _refuse_a_few(world: World) -> None:
    """A quarter of a percent, once: too little to wake someone."""
    send(world.port, [PUT] * 2400 + [_BAD] * 6)


def _use_up_the_budget(world: World) -> None:
    """A row of the matrix after the other, and never five failures within an hour."""
    recent = 'slo:bad:increase1h{slo="availability"}'
    send(world.port, [PUT] * 10_500)
    for row in (_row(1), _row(2), _row(3)):
        send(world.port, [_BAD] * 3)
        world.wait(partial(_is_told, world, row))
        world.wait(lambda: world.value(recent) == 0)


def _is_told(world: World, which: Alert) -> bool:
    return which in world.told("firing")


def _so_many_more(world: World) -> None:
    """What was too much for the requests so far is not for these."""
    send(world.port, [PUT] * 45_000)


def _slow_disk(world: World) -> None:
    world.tell("slow", True)
    world.traffic.change(Stream(PUT, clients=10, pause=0.05))


def _usual_disk(world: World) -> None:
    world.tell("slow", False)
    _calm(world)


def _broken_disk(world: World) -> None:
    world.tell("broken", True)
    world.traffic.change(BUSY)


def _again(world: World) -> None:
    """Started anew: a disk that works shows only to a store that is opened again, and memory that
    was freed may stay with the process."""
    _calm(world)
    world.kill()
    world.start()


def _flip(world: World) -> None:
    """Turns a bit of the first large value in the log, on the disk."""
    with (world.place / "store" / name(1)).open("r+b") as file:
        file.seek(500_000)
        was = file.read(1)[0]
        file.seek(500_000)
        file.write(bytes([was ^ 1]))


def _damaged_log(world: World) -> None:
    """A log that is to be written anew, and whose first file is not what it was."""
    large = put("large", 1_000_000)
    send(world.port, [large])
    _flip(world)
    for _ in range(10):
        send(world.port, [large])


def _mended_log(world: World) -> None:
    _flip(world)
    _again(world)


_VALUES = [str(number) for number in range(1840)]
"""Keys for 460 MiB."""


def _much_data(world: World) -> None:
    for key in _VALUES:  # One by one, or the service would have no time for anybody else.
        send(world.port, [put(key, 256 * 1024)])


_IDLE: dict[str, ExitStack] = {}


def _open(world: World) -> list[int]:
    return sorted(map(int, os.listdir(f"/proc/{world.process.pid}/fd")))


def _limit(world: World, number: int) -> None:
    """Lets so many descriptors be open, from now on."""
    hard = resource.prlimit(world.process.pid, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(world.process.pid, resource.RLIMIT_NOFILE, (number, hard))


def _many_connections(world: World) -> None:
    stack = _IDLE[world.name] = ExitStack()
    for _ in range(100):
        stack.enter_context(socket.create_connection(("127.0.0.1", world.port), timeout=10))
    world.wait(lambda: len(_open(world)) > 100)
    _limit(world, len(_open(world)) * 100 // 85)


def _few_connections(world: World) -> None:
    _IDLE.pop(world.name).close()


def _no_descriptor(world: World) -> None:
    """The table is full while Prometheus alone is there; then clients come, each anew."""
    world.traffic.change(Stream(PUT, clients=0))
    world.wait(lambda: world.value("dumbkv_http_connections") == 1)
    free = (place for place, number in enumerate(_open(world)) if place != number)
    _limit(world, next(free, len(_open(world))))
    world.traffic.change(Stream(PUT, pause=0.1, new=True))


def _descriptors(world: World) -> None:
    _limit(world, 256)
    _calm(world)


def _switch(fault: str, on: bool) -> Callable[[World], None]:
    return lambda world: world.tell(fault, on)


FAULTS = (
    Fault("none", set(), _healthy),
    Fault("refused", {*_FAILING, _FULL}, _refuse, _calm, _SMALL, hushed={_RATE}),
    Fault(
        "few-refused",
        {_RATE, _FULL, *_burns("availability", "3d")},
        _refuse_a_few,
        _nothing,
        _SMALL,
        brief={_RATE, _FULL},
    ),
    Fault(
        "budget",
        {_row(1), _row(2), _row(3), _FULL},
        _use_up_the_budget,
        _so_many_more,
        _SMALL,
        brief={_FULL},
    ),
    Fault(
        "slow-disk",
        {
            *_burns("latency-p99", *_ALL),
            *_burns("latency-p95", "1d", "3d"),
            *_burns("latency-p50", "3d"),
            alert("CriticalLatencySLO", slo="latency-p99", severity="page"),
        },
        _slow_disk,
        _usual_disk,
        EMBEDDING,
        on_disk=True,
    ),
    Fault(
        "broken-disk",
        {*_FAILING, alert("DumbKVLogPoisoned", severity="page")},
        _broken_disk,
        _again,
        EMBEDDING,
        hushed={_RATE},
        also=_START,
        on_disk=True,
    ),
    Fault(
        "damaged-log",
        {alert("DumbKVLogNotCleaned", severity="ticket")},
        _damaged_log,
        _mended_log,
        also=_START,
        on_disk=True,
    ),
    Fault(
        "much-data",
        {alert("DumbKVMemoryHigh", severity="ticket"), alert("DumbKVDataLarge", severity="ticket")},
        _much_data,
        _again,
        _ROOMY,
        also=_START,
    ),
    Fault("many-connections", {_FDS}, _many_connections, _few_connections),
    Fault("no-descriptor", {*_FAILING, _FDS}, _no_descriptor, _descriptors, hushed={_RATE}),
    Fault(
        "collections",
        {_GC},
        _switch("collect", True),
        _switch("collect", False),
        EMBEDDING,
    ),
    Fault(
        "uncollectable",
        {alert("DumbKVUncollectableObjects", severity="ticket")},
        _switch("lose", True),
        _nothing,
        EMBEDDING,
    ),
    Fault(
        "blind",
        {alert("DumbKVProcessMetricsMissing", severity="ticket")},
        _switch("blind", True),
        _switch("blind", False),
        EMBEDDING,
    ),
    Fault("killed", {_DOWN}, World.kill, World.start, also=_START),
    Fault(
        "forgotten",
        {alert("DumbKVAbsent", severity="page")},
        lambda world: world.watch(False),
        lambda world: world.watch(True),
    ),
)
