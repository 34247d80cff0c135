"""Who is told: the escalation matrix as Alertmanager routes, inhibition and receivers.

A higher row of the matrix silences the lower ones of the same objective, so a jump to 80 % of a
budget tells the executives and not all four. A page silences the tickets of its own objective. What
no route knows goes to the team.
"""

from __future__ import annotations

from typing import Any

from dumbkv_http.slo.objectives import DAY, HOUR, LEVELS, MINUTE, RECEIVERS
from dumbkv_http.slo.spans import span

__all__ = ["WEBHOOK", "alertmanager"]

WEBHOOK = "http://127.0.0.1:9095"
"""Where alerts are posted, below it at the receiver's name, until someone says where to."""


def alertmanager(webhook: str = WEBHOOK, scale: int = 1) -> dict[str, Any]:
    """The content of alertmanager.yml; `scale` divides its waits, for a drill."""
    rows = [
        {"matchers": [f'budget_level="{level.number}"'], "receiver": level.receiver}
        for level in LEVELS[1:]
    ]
    return {
        "route": {
            "receiver": LEVELS[0].receiver,
            "group_by": ["alertname", "slo", "instance"],
            "group_wait": _wait(10, scale),
            "group_interval": _wait(5 * MINUTE, scale),
            "repeat_interval": _wait(4 * HOUR, scale),
            "routes": [
                {
                    "matchers": ['severity="policy"'],
                    "receiver": LEVELS[0].receiver,
                    "repeat_interval": _wait(7 * DAY, scale),
                    "group_by": ["alertname", "slo", "budget_level"],
                    "routes": rows,
                },
                {"matchers": ['severity="page"'], "receiver": "page"},
                {
                    "matchers": ['severity="ticket"'],
                    "receiver": "ticket",
                    "repeat_interval": _wait(DAY, scale),
                },
            ],
        },
        "inhibit_rules": [
            *(_silences_lower(level.number) for level in LEVELS[1:]),
            {
                "source_matchers": ['severity="page"', 'slo!=""'],
                "target_matchers": ['severity="ticket"', 'slo!=""'],
                "equal": ["slo"],
            },
        ],
        "receivers": [
            {
                "name": receiver.name,
                "webhook_configs": [{"url": f"{webhook}/{receiver.name}", "send_resolved": True}],
            }
            for receiver in RECEIVERS
        ],
    }


def _silences_lower(number: int) -> dict[str, Any]:
    lower = "|".join(str(level.number) for level in LEVELS if level.number < number)
    return {
        "source_matchers": ['severity="policy"', f'budget_level="{number}"'],
        "target_matchers": ['severity="policy"', f'budget_level=~"{lower}"'],
        "equal": ["slo"],
    }


def _wait(seconds: int, scale: int) -> str:
    return span(max(1, seconds // scale))
