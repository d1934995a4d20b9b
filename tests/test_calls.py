"""Calls and requests: how many, how long, how they ended, under labels that stay bounded."""

import math
import time
from collections.abc import Iterator

import numpy as np
import pytest

from otel_mlmon import Feature, Monitor, Schema, catalog
from otel_mlmon.calls import DURATION_BOUNDS
from otel_mlmon.settings import Settings
from tests.readings import buckets, reading, readings

NAN = float("nan")
SETTINGS = Settings(system_seconds=0, drain_seconds=30, max_error_types=3, max_routes=3)


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    with Monitor("m", schema=Schema((Feature("a"),)), settings=SETTINGS) as one:
        yield one


def error_of(name: str) -> Exception:
    kind: type[Exception] = type(name, (Exception,), {})
    return kind()


def test_calls_count_by_how_they_ended(monitor: Monitor) -> None:
    for _ in range(3):
        monitor.observe({"a": 1.0}, 0.5)
    monitor.observe({"a": 1.0}, error=KeyError("a"))
    assert monitor.flush()
    assert monitor.snapshot().calls == {"ok": 3, "error": 1, "cancelled": 0}
    assert readings(monitor, catalog.CALL_ERRORS) == {("KeyError",): 1}


def test_only_rows_of_calls_that_succeeded_are_predictions(monitor: Monitor) -> None:
    monitor.observe(np.ones((5, 1)), np.ones(5))
    monitor.observe(np.ones((7, 1)), error=ValueError())
    assert monitor.flush()
    assert reading(monitor, catalog.PREDICTIONS) == 5


def test_a_call_of_many_rows_is_one_call(monitor: Monitor) -> None:
    """It queues in parts of 1,024 rows."""
    monitor.observe(np.ones((5000, 1)), np.ones(5000), duration=0.25)
    assert monitor.flush()
    assert monitor.snapshot().calls["ok"] == 1
    assert reading(monitor, catalog.PREDICTIONS) == 5000
    assert sum(buckets(monitor, catalog.CALL_DURATION)[:-1]) == 1


def test_durations_fall_into_the_buckets_that_numpy_says(monitor: Monitor) -> None:
    """Bounds are inclusive above (``le``), so the mirrored values go through numpy's half-open bins."""
    rng = np.random.default_rng(3)
    durations = np.concatenate([10 ** rng.uniform(-5, 3, size=2000), DURATION_BOUNDS, [0.0]])
    for duration in durations:
        monitor.observe({"a": 1.0}, duration=duration)
    assert monitor.flush()
    *counts, total = buckets(monitor, catalog.CALL_DURATION)
    edges = -np.array([np.inf, *DURATION_BOUNDS[::-1], -np.inf])
    assert counts == np.histogram(-durations, edges)[0][::-1].tolist()
    assert math.isclose(total, math.fsum(durations))


@pytest.mark.parametrize("duration", [NAN, math.inf, -1.0])
def test_what_is_no_duration_is_in_no_bucket_but_the_call_counts(monitor: Monitor, duration: float) -> None:
    """The sum of a histogram must neither fall nor become infinite."""
    monitor.observe({"a": 1.0}, duration=duration)
    assert monitor.flush()
    assert buckets(monitor, catalog.CALL_DURATION) == [0.0] * (len(DURATION_BOUNDS) + 2)
    assert monitor.snapshot().calls["ok"] == 1


def test_a_watched_call_lasts_as_long_as_it_lasts(monitor: Monitor) -> None:
    """The callers' own clock is the bound on both sides."""
    inside = outside = 0.0

    @monitor.watch
    def predict(row: dict[str, float]) -> float:
        nonlocal inside
        began = time.perf_counter()
        sum(range(100_000))
        inside += time.perf_counter() - began
        return 0.5

    for _ in range(5):
        began = time.perf_counter()
        predict({"a": 1.0})
        outside += time.perf_counter() - began
    assert monitor.flush()
    *counts, total = buckets(monitor, catalog.CALL_DURATION)
    assert inside <= total <= outside
    assert sum(counts) == 5


def test_error_types_are_bounded_and_the_rest_is_other(monitor: Monitor) -> None:
    for turn in range(2):
        for number in range(10):
            monitor.observe({"a": 1.0}, error=error_of(f"Error{number}"))
        assert monitor.flush(), turn
    counts = readings(monitor, catalog.CALL_ERRORS)
    assert counts == {("Error0",): 2, ("Error1",): 2, ("Error2",): 2, ("__other__",): 14}


def test_the_last_call_time_is_that_of_the_last_call(monitor: Monitor) -> None:
    assert math.isnan(reading(monitor, catalog.LAST_CALL_TIME))
    before = time.time()
    monitor.observe({"a": 1.0})
    between = time.time()
    assert monitor.flush()
    first = reading(monitor, catalog.LAST_CALL_TIME)
    assert before <= first <= between
    monitor.observe({"a": 1.0}, error=KeyError())
    assert monitor.flush()
    assert between <= reading(monitor, catalog.LAST_CALL_TIME) <= time.time()


def test_requests_count_by_route_method_and_status_class(monitor: Monitor) -> None:
    for method, route, status in [
        ("GET", "/items/{id}", 200),
        ("GET", "/items/{id}", 204),
        ("POST", "/predict", 422),
        ("POST", "/predict", 500),
        ("GET", "", 404),
        ("GET", "/items/{id}", 0),
        ("get", "/items/{id}", 999),
        ("PROPFIND-7", "/items/{id}", 100),
    ]:
        monitor.request(method).end(route=route, status=status)
    assert monitor.flush()
    assert readings(monitor, catalog.HTTP_REQUESTS) == {
        ("/items/{id}", "GET", "2xx"): 2,
        ("/predict", "POST", "4xx"): 1,
        ("/predict", "POST", "5xx"): 1,
        ("__other__", "GET", "4xx"): 1,
        ("/items/{id}", "GET", "__other__"): 1,
        ("/items/{id}", "_OTHER", "__other__"): 1,
        ("/items/{id}", "_OTHER", "1xx"): 1,
    }
    assert sum(buckets(monitor, catalog.HTTP_REQUEST_DURATION, "/items/{id}", "GET")[:-1]) == 3
    assert monitor.snapshot().calls == {"ok": 0, "error": 0, "cancelled": 0}


def test_routes_are_bounded_and_the_rest_is_other(monitor: Monitor) -> None:
    for number in range(50):
        monitor.request("GET").end(route=f"/user/{number}", status=200)
    assert monitor.flush()
    counts = readings(monitor, catalog.HTTP_REQUESTS)
    assert sum(counts.values()) == 50
    assert {route for route, _, _ in counts} == {"/user/0", "/user/1", "/user/2", "__other__"}


def test_a_request_is_active_until_it_ends_and_ends_once(monitor: Monitor) -> None:
    first, second = monitor.request("GET"), monitor.request("POST")
    assert reading(monitor, catalog.HTTP_REQUESTS_ACTIVE) == 2
    for _ in range(3):
        first.end(route="/", status=200)
    assert reading(monitor, catalog.HTTP_REQUESTS_ACTIVE) == 1
    second.end(route="/", status=200)
    assert monitor.flush()
    assert reading(monitor, catalog.HTTP_REQUESTS_ACTIVE) == 0
    assert sum(readings(monitor, catalog.HTTP_REQUESTS).values()) == 2
