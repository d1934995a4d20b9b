"""Bundled rules over a history, by Prometheus's own engine: each rule over the whole range, after those whose series it reads."""

import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from graphlib import TopologicalSorter
from itertools import chain
from typing import Any

import numpy as np

from otel_mlmon.bundle.options import milliseconds
from tests.pictures.remote_write import STALE, History, write
from tests.servers import Server

Labels = dict[str, str]
ALERTS, ALERTS_SINCE = "ALERTS", "ALERTS_FOR_STATE"

Span = tuple[int, int]

_AT_ONCE = 2
_LONG = 30 * 60_000

_SELECTOR = re.compile(r"\b(mlmon:[a-z0-9_:]+|ALERTS)(?:_FOR_STATE)?\b(\{[^}]*\})?")
_RANGE = re.compile(r"\b(mlmon:[a-z0-9_:]+)(\{[^}]*\})?\[(\w+)\]")
_MATCHER = re.compile(r'([a-z_]+)\s*(=~|!~|!=|=)\s*"([^"]*)"')


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        group: Name of its group.
        interval: Milliseconds between evaluations.
        content: As the rule file says it.
    """

    group: str
    interval: int
    content: Mapping[str, Any]

    @property
    def writes(self) -> str:
        """Name of the series that it writes."""
        return str(self.content["record"]) if "record" in self.content else ALERTS

    def reads(self, other: "Rule") -> bool:
        """Whether its expression selects what another rule writes."""
        labels = {**other.content.get("labels", {}), **({"alertname": other.content["alert"]} if "alert" in other.content else {})}
        return any(
            name == other.writes
            and all(
                _matches(labels[label], operator, value) for label, operator, value in _MATCHER.findall(matchers) if label in labels
            )
            for name, matchers in _SELECTOR.findall(self.content["expr"])
        )


def _matches(value: str, operator: str, wanted: str) -> bool:
    found = value == wanted if operator in ("=", "!=") else re.fullmatch(wanted, value) is not None
    return found != operator.startswith("!")


def rules(files: Iterable[Mapping[str, Any]]) -> list[Rule]:
    """All rules of some rule files, in the order of the files."""
    return [
        Rule(group["name"], milliseconds(group["interval"]), content)
        for file in files
        for group in file["groups"]
        for content in group["rules"]
    ]


def dependencies(found: Sequence[Rule]) -> dict[int, list[int]]:
    """Of each rule, by its place, those that must be evaluated before it.

    A rule reads what those before it in its group have just written; of those after it, what they wrote the time before. An alert
    that reads other alerts reads what they were the time before.
    """
    return {
        number: [
            other
            for other, writer in enumerate(found)
            if rule.reads(writer)
            and (other < number if rule.group == writer.group else rule.writes != ALERTS or writer.writes != ALERTS)
        ]
        for number, rule in enumerate(found)
    }


def looked_back_on(found: Sequence[Rule], before: Mapping[int, Sequence[int]]) -> set[int]:
    """Rules of which others read half an hour or more at once, and all that those build on; by their places."""
    names = {name for rule in found for name, _, length in _RANGE.findall(rule.content["expr"]) if milliseconds(length) >= _LONG}
    known: set[int] = set()
    new = {number for number, rule in enumerate(found) if rule.writes in names}
    while new:
        known |= new
        new = {other for number in new for other in before[number]} - known
    return known


def evaluate(server: Server, found: Sequence[Rule], spans: Sequence[Span]) -> dict[str, float]:
    """Evaluate rules, each over all of its time at once, and write their series back.

    Args:
        server: Holds what the rules read.
        found: The rules.
        spans: Times of interest, (first, last) in milliseconds, in order; rules that others look back on are evaluated in between,
            too.

    Returns:
        Seconds by group.

    Raises:
        graphlib.CycleError: If two rules read each other: they cannot be evaluated one after the other.
        RuntimeError: If Prometheus refuses an expression.
    """
    spent: dict[str, float] = {}
    before = dependencies(found)
    throughout = looked_back_on(found, before)

    def one(number: int) -> tuple[int, float]:
        rule, began = found[number], time.perf_counter()
        for start, end in [(spans[0][0], spans[-1][1])] if number in throughout else spans:
            asked = (query_range(server, rule.content["expr"], *piece, rule.interval) for piece in _pieces(rule, start, end))
            results = chain.from_iterable(asked)
            write(server, _alerts(rule, results, end) if rule.writes == ALERTS else _records(rule, results, end))
        return number, time.perf_counter() - began

    order = TopologicalSorter(before)
    order.prepare()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        running: set[Future[tuple[int, float]]] = set()
        while order.is_active():
            running |= {pool.submit(one, number) for number in order.get_ready()}
            ended, running = wait(running, return_when=FIRST_COMPLETED)
            for each in ended:
                number, seconds = each.result()
                spent[found[number].group] = spent.get(found[number].group, 0.0) + seconds
                order.done(number)
    return spent


def _pieces(rule: Rule, start: int, end: int) -> Sequence[Span]:
    """Prometheus 2.42 loses labels of ``count_values`` behind the first step of a range: such rules one step at a time."""
    return (
        [(now, now) for now in range(start, end + 1, rule.interval)] if "count_values" in rule.content["expr"] else [(start, end)]
    )


def query_range(server: Server, expression: str, start: int, end: int, step: int) -> Iterator[History]:
    """What an expression gives at each step of a range (milliseconds), the ends included.

    Raises:
        RuntimeError: If Prometheus refuses it.
    """
    parameters = {"query": expression, "start": f"{start / 1000}", "end": f"{end / 1000}", "step": f"{step / 1000}"}
    try:
        body = urllib.parse.urlencode(parameters).encode()
        with urllib.request.urlopen(server.url + "/api/v1/query_range", body, timeout=600) as answer:  # noqa: S310  loopback
            text: bytes = answer.read()
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{error.read().decode()}: {expression}") from error
    # Numbers are most of it, by the million: numpy reads them many times faster than a JSON parser does.
    _, *parts = text.split(b'{"metric":')
    for part in parts:
        labels, _, values = part.partition(b',"values":')
        pairs = np.fromstring(values[: values.index(b"]]")].translate(None, b'["]').decode(), sep=",").reshape(-1, 2)
        yield History(json.loads(labels), np.rint(pairs[:, 0] * 1000).astype(np.int64), pairs[:, 1].copy())


def _records(rule: Rule, results: Iterable[History], end: int) -> Iterator[History]:
    for one in _joined(results, {"__name__": rule.writes, **rule.content.get("labels", {})}):
        yield _marked(one, rule.interval, end)


def _joined(results: Iterable[History], labels: Labels) -> Iterator[History]:
    """Results with the labels that a rule sets: what told two of them apart at different times may be gone then."""
    found: dict[frozenset[tuple[str, str]], list[History]] = {}
    for one in results:
        found.setdefault(frozenset({**one.labels, **labels}.items()), []).append(one)
    for key, parts in found.items():
        times, values = np.concatenate([part.times for part in parts]), np.concatenate([part.values for part in parts])
        order = np.argsort(times)
        yield History(dict(key), times[order], values[order])


def _marked(series: History, step: int, end: int) -> History:
    """The series with a stale mark where an evaluation gave nothing after one that gave something."""
    times, values = series.times, series.values
    gaps = np.flatnonzero(np.diff(times, append=max(end + 1, times[-1])) > step)
    return History(series.labels, np.insert(times, gaps + 1, times[gaps] + step), np.insert(values, gaps + 1, STALE))


def _alerts(rule: Rule, results: Iterable[History], end: int) -> Iterator[History]:
    """ALERTS as Prometheus writes it: pending, firing after ``for``, and on for ``keep_firing_for`` after the last result."""
    content, step = rule.content, rule.interval
    hold, keep = (milliseconds(content[key]) if key in content else 0 for key in ("for", "keep_firing_for"))
    labels = {"__name__": ALERTS, **content.get("labels", {}), "alertname": content["alert"]}
    if any("{{" in value for value in labels.values()):
        raise ValueError(f"alert {content['alert']!r}: labels must be fixed texts, got {labels!r}")
    for one in _joined(results, labels):
        states = _states(one.times.tolist(), step, hold, keep, end)
        for state in ("pending", "firing"):
            at = np.array([now for now, _, is_now in states if is_now == state], dtype=np.int64)
            if len(at):
                yield _marked(History({**one.labels, "alertstate": state}, at, np.ones(len(at))), step, end)
        at, since = (np.array([state[place] for state in states], dtype=np.int64) for place in (0, 1))
        yield _marked(History({**one.labels, "__name__": ALERTS_SINCE}, at, (since // 1000).astype(float)), step, end)


def _states(times: Sequence[int], step: int, hold: int, keep: int, end: int) -> list[tuple[int, int, str]]:
    """Time, time at which it became active, and state of an alert whose expression holds at some times."""
    states: list[tuple[int, int, str]] = []
    holds = set(times)
    since = gone = None  # when it became active, and when its expression ceased to hold
    firing = False
    for now in range(times[0], min(times[-1] + keep + step, end) + 1, step):
        if now in holds:
            since, gone = now if since is None else since, None
        elif firing:
            gone = now if gone is None else gone
            if now - gone >= keep:
                since, firing = None, False
        else:
            since = None
        if since is not None:
            firing = firing or now - since >= hold
            states.append((now, since, "firing" if firing else "pending"))
    return states
