"""A Prometheus that holds simulated time: what it would have scraped, and what the bundled rules make of it."""

import contextlib
import json
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml

from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.rules import render
from otel_mlmon.demo.stack import Series
from tests.pictures.evaluate import Rule, evaluate, rules
from tests.pictures.recorder import Target
from tests.pictures.remote_write import History, write
from tests.servers import Server, prometheus

_LONGER = ("mlmon-history.rules",)
"""Groups that learn from 14 days or more. They read what the groups record that read them: no order of one after the other."""

_FLAGS = (
    "--web.enable-remote-write-receiver",
    "--web.enable-admin-api",
    # One head that holds everything: each series is written whole, one after the other.
    "--storage.tsdb.min-block-duration=60d",
    "--storage.tsdb.max-block-duration=60d",
    "--storage.tsdb.retention.time=100y",
    "--query.timeout=10m",
    "--query.max-samples=500000000",
    "--web.cors.origin=.*",
)


@contextlib.contextmanager
def server(folder: Path, *, series: Series = "new") -> Iterator[Server]:
    """A Prometheus that scrapes nothing; its data lies under ``folder / "prometheus"``."""
    with prometheus(folder, series=series, flags=_FLAGS) as started:
        yield started


def scraped(receiver: Server, targets: Iterable[tuple[Target, bool]]) -> int:
    """Write what was scraped.

    Args:
        receiver: From ``server``.
        targets: What ``replay`` returns.

    Returns:
        The number of samples.
    """
    return write(receiver, (history for target, ended in targets for history in target.histories(ended=ended)))


def ruled(holder: Server, options: RuleOptions, *spans: tuple[int, int]) -> dict[str, float]:
    """Evaluate the bundled rules over what was scraped.

    Args:
        holder: From ``server``, with what was scraped.
        options: Of the rules; their interval is the scrapes'.
        spans: Times of interest, (first, last) in Unix time, in order: see ``evaluate``.

    Returns:
        Seconds by group, all evaluations together.
    """
    found = [rule for rule in rules(map(yaml.safe_load, render(options).values())) if rule.group not in _LONGER]
    start, end = spans[0][0], spans[-1][1]
    write(holder, _of_prometheus(found, start, end))
    spent = evaluate(holder, found, [(1000 * first, 1000 * last) for first, last in spans])
    write(holder, _durations(found, spent, start, end))
    return spent


def _of_prometheus(found: Sequence[Rule], start: int, end: int) -> Iterator[History]:
    """What Prometheus says of its own rules: how often they ought to run; none failed, none was missed."""
    for group, interval in _intervals(found).items():
        yield _steady(n.RULE_INTERVAL, group, interval / 1000, start, end)
        yield _steady(n.RULE_FAILURES, group, 0.0, start, end)
        yield _steady(n.RULES_MISSED, group, 0.0, start, end)


def _durations(found: Sequence[Rule], spent: Mapping[str, float], start: int, end: int) -> Iterator[History]:
    """The mean time of one evaluation, as it was measured here, over ranges: an instant evaluation costs more."""
    for group, interval in _intervals(found).items():
        yield _steady(n.RULE_DURATION, group, spent[group] / max(1, 1000 * (end - start) // interval), start, end)


def _intervals(found: Sequence[Rule]) -> dict[str, int]:
    return {rule.group: rule.interval for rule in found}


def _steady(name: str, group: str, value: float, start: int, end: int) -> History:
    times = np.arange(1000 * start, 1000 * end + 1, 60_000)
    labels = {"__name__": name, "rule_group": f"/etc/prometheus/rules/{group.split('.')[0]}.yml;{group}", "job": "prometheus"}
    return History(labels | {"instance": "prometheus:9090"}, times, np.full(len(times), value))


def snapshot(holder: Server, folder: Path, target: Path) -> None:
    """Keep what a server holds as a folder that any Prometheus serves.

    Args:
        holder: From ``server``.
        folder: The folder that was given there.
        target: Where to; must not exist.
    """
    request = urllib.request.Request(holder.url + "/api/v1/admin/tsdb/snapshot", b"")  # noqa: S310  loopback
    with urllib.request.urlopen(request, timeout=600) as answer:  # noqa: S310  loopback
        name = json.load(answer)["data"]["name"]
    (folder / "prometheus" / "snapshots" / name).rename(target)
