"""The first page of the admin: how it all goes, in figures and plots, for those who may look at chats.

Each plot is a value that Chart.js draws, as it ships with the admin's own scripts. It shows what
`chat/admin/figures.py` has read at that moment; the page is read again by loading it again.
"""

import json
from collections.abc import Sequence
from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from chat.admin import figures
from chat.admin.figures import WAITS, Census, Waiting, Worker
from chat.admin.readonly import age, badge, link
from chat.minutes import Minute, quantile

BLUE, ORANGE, RED, GREEN = "#3b82f6", "#f59e0b", "#ef4444", "#22c55e"
GREY = "rgb(148, 163, 184)"
EMPTY = "Nothing to show now."


def fill(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """What the template needs beyond Django's own; nothing for who may not look at chats."""
    if not request.user.has_perm("chat.view_chat"):
        return context
    census, waiting, workers, minutes = figures.census(), figures.waiting(), figures.workers(), figures.minutes()
    return {
        **context,
        "cards": _cards(census, waiting, workers),
        "plots": [
            _states(census),
            _waits(waiting),
            *(() if minutes is None else (_turns(minutes), _first_parts(minutes))),
        ],
        "redis_is_away": minutes is None,
        "workers": _workers(workers),
    }


# --- cards -------------------------------------------------------------------------------------------------------


def _cards(census: Census, waiting: Waiting, workers: Sequence[Worker]) -> list[dict[str, Any]]:
    taking = [worker for worker in workers if worker.alive and not worker.draining]
    running = census.of("running") + census.of("interrupting")
    slots = sum(worker.slots for worker in taking)
    return [
        _card("Running", running, f"of {slots} slots" if taking else "no worker takes chats", "is=running"),
        _card(
            "Waiting for a worker",
            waiting.chats,
            f"the first for {age(waiting.oldest)}" if waiting.chats else "nobody waits",
            "is=unowned",
        ),
        _card("Waiting for a client", census.of("requires_action"), "for results of its tools", "is=requires_action"),
        _card("Stopped on an error", census.of("error"), "until somebody goes on", "is=error"),
    ]


def _card(title: str, number: int, note: str, query: str) -> dict[str, Any]:
    where = f"{reverse('admin:chat_chat_changelist')}?{query}"
    return {"title": title, "number": f"{number:,}", "note": note, "url": where}


# --- plots -------------------------------------------------------------------------------------------------------

_STATES = (
    ("idle", "waiting", False),
    ("running", "running", False),
    ("interrupting", "interrupting", False),
    ("client", "requires_action", False),
    ("error", "error", False),
)


def _states(census: Census) -> dict[str, Any]:
    archived = sum(count for (_, archived), count in census.chats.items() if archived)
    archived_with_queue = sum(count for (_, archived), count in census.with_queue.items() if archived)
    counts = [census.of(status, archived=put_away) for _, status, put_away in _STATES] + [archived]
    queued = [census.with_queue.get((status, put_away), 0) for _, status, put_away in _STATES] + [archived_with_queue]
    names = [name for name, *_ in _STATES] + ["archived"]
    labels = [[name, f"{count:,}"] for name, count in zip(names, counts, strict=True)]
    return _plot(
        "Chats by state",
        "Logarithmic." if census.is_exact else "Logarithmic. Idle and archived ones are estimated.",
        "bar",
        labels,
        [("all", counts, BLUE), ("with a queue", queued, ORANGE)],
        logarithmic=True,
    )


def _waits(waiting: Waiting) -> dict[str, Any]:
    edges = [f"{end} s" for end in WAITS]
    labels = [f"below {edges[0]}", *(f"{edges[i]} to {edges[i + 1]}" for i in range(len(edges) - 1)), "longer"]
    return _plot(
        "Waiting chats, by how long",
        "A worker with a free slot takes them within a second or two.",
        "bar",
        labels,
        [("chats", list(waiting.by_wait), ORANGE)],
    )


def _turns(minutes: Sequence[Minute]) -> dict[str, Any]:
    return _plot(
        "Turns and failures per minute",
        "Of all workers, in the last hour.",
        "line",
        _ages(minutes),
        [
            ("turns", [minute.turns for minute in minutes], GREEN),
            ("retries", [minute.retries for minute in minutes], ORANGE),
            ("failures", [minute.failures for minute in minutes], RED),
        ],
    )


def _first_parts(minutes: Sequence[Minute]) -> dict[str, Any]:
    def seconds(share: float) -> list[float | None]:
        found = (quantile(minute.first_parts, share) for minute in minutes)
        return [None if value is None else round(value, 3) for value in found]

    return _plot(
        "Time to first part, in seconds",
        "From the call of the model; half of the calls, and 95 of 100, took no longer.",
        "line",
        _ages(minutes),
        [("median", seconds(0.5), BLUE), ("95 %", seconds(0.95), GREY)],
        whole=False,
    )


def _ages(minutes: Sequence[Minute]) -> list[str]:
    return ["now" if ago == 0 else f"-{ago} min" for ago in range(len(minutes) - 1, -1, -1)]


def _plot(
    title: str,
    note: str,
    kind: str,
    labels: Sequence[Any],
    series: Sequence[tuple[str, Sequence[Any], str]],
    *,
    logarithmic: bool = False,
    whole: bool = True,
) -> dict[str, Any]:
    """`series`: (name, one value per label or None, color); `whole`: the values are numbers of something."""
    datasets = [
        {"label": name, "data": values, "borderColor": color, "backgroundColor": color, "spanGaps": True}
        for name, values, color in series
    ]
    return {
        "title": title,
        "note": note if any(value for _, values, _ in series for value in values) else f"{note} {EMPTY}",
        "kind": kind,
        "data": json.dumps({"labels": labels, "datasets": datasets}),
        "options": json.dumps(_options(kind, legend=len(series) > 1, logarithmic=logarithmic, whole=whole)),
    }


def _options(kind: str, *, legend: bool, logarithmic: bool, whole: bool) -> dict[str, Any]:
    ticks = {"color": GREY, "maxTicksLimit": 7, "maxRotation": 0, "autoSkip": kind == "line"}
    numbers = (
        {"precision": 0, "format": {"notation": "compact", "minimumFractionDigits": 0, "maximumFractionDigits": 1}}
        if whole
        else {}
    )
    return {
        "animation": False,
        "responsive": True,
        "maintainAspectRatio": False,
        "maxBarThickness": 28,
        "interaction": {"mode": "index", "intersect": False},
        "datasets": {"line": {"borderWidth": 2, "pointRadius": 1.5}, "bar": {"borderRadius": 4}},
        "plugins": {
            "legend": {"display": legend, "align": "end", "labels": {"color": GREY, "boxWidth": 8, "boxHeight": 8}}
        },
        "scales": {
            "x": {"ticks": ticks, "grid": {"display": False}, "border": {"width": 0}},
            "y": {
                "type": "logarithmic" if logarithmic else "linear",
                "min": 0.5 if logarithmic else 0,
                "suggestedMax": 10 if logarithmic else 1 if whole else 0.1,
                "ticks": {"color": GREY, "maxTicksLimit": 6, **numbers},
                "grid": {"tickWidth": 0},
                "border": {"width": 0, "dash": [5, 5]},
            },
        },
    }


# --- workers -----------------------------------------------------------------------------------------------------


def _workers(workers: Sequence[Worker]) -> list[dict[str, Any]]:
    return [
        {
            "name": link("chat_workerprocess", worker.worker_id, str(worker.worker_id)[:8]),
            "where": f"process {worker.pid} on {worker.host}",
            "state": _health(worker),
            "chats": worker.chats,
            "slots": worker.slots,
            "share": min(100, round(100 * worker.chats / worker.slots)) if worker.slots else 0,
            "heartbeat": age(worker.heartbeat_age),
        }
        for worker in workers
    ]


def _health(worker: Worker) -> str:
    if not worker.alive:
        return badge("dead", "danger")
    return badge("draining", "warning") if worker.draining else badge("alive", "success")
