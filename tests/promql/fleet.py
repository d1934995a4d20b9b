"""Exporters for ``promtool test rules``: every series that a replica would expose, minute by minute."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from otel_mlmon import catalog
from otel_mlmon.catalog import MetricFamily

MINUTE = 60


class Replica:
    """One exporter, scraped at every full minute.

    Args:
        minutes: How long the case lasts.
        model, version, instance: Its labels.
        begin: Minute of its first scrape; it started in the minute before.
        end: Minute from which on it is gone.
        failed: Minutes at which its scrape failed.
        restarts: Minutes before whose scrape it restarted: its counters begin anew.
    """

    def __init__(
        self,
        minutes: int,
        *,
        model: str = "m",
        version: str = "1",
        instance: str = "a",
        begin: int = 0,
        end: int | None = None,
        failed: Iterable[int] = (),
        restarts: Iterable[int] = (),
    ) -> None:
        self._minutes = minutes
        self._labels = {"model_name": model, "model_version": version, "instance": instance, "job": "mlmon"}
        self._starts = sorted({begin, *restarts})
        self._end = minutes if end is None else end
        self._failed = set(failed)
        self.series: list[dict[str, str]] = []
        started = [max((each for each in self._starts if each <= minute), default=0) * MINUTE for minute in range(minutes)]
        self._put(catalog.START_TIME, "", started, {})

    def counter(self, family: MetricFamily, increments: npt.ArrayLike, *, suffix: str = "", **labels: str) -> None:
        """Add a counter by what it grows a minute: one number, or one for each minute."""
        grows = np.broadcast_to(np.asarray(increments, dtype=float), (self._minutes,))
        values, value = [], 0.0
        for minute in range(self._minutes):
            value = grows[minute] + (0.0 if minute in self._starts else value)
            values.append(value)
        self._put(family, suffix, values, labels)

    def gauge(self, family: MetricFamily, value: npt.ArrayLike, **labels: str) -> None:
        """Add a gauge: one number, or one for each minute."""
        self._put(family, "", np.broadcast_to(np.asarray(value, dtype=float), (self._minutes,)).tolist(), labels)

    def feature(
        self,
        name: str,
        reference: Mapping[str, float],
        traffic: npt.ArrayLike,
        *,
        weights: Sequence[float] = (),
        mean_shift: npt.ArrayLike = 0.0,
        noise: Mapping[str, float] | None = None,
        levels: Mapping[tuple[str, str], float] | None = None,
        missing: npt.ArrayLike = 0.0,
        reference_missing: float = 0.0,
        reference_unseen: float = 0.0,
    ) -> None:
        """Add all series of a feature.

        Args:
            name: The feature.
            reference: Bin -> count in the reference.
            traffic: Values a minute per bin, shape ``(bins,)`` or ``(minutes, bins)``.
            weights: Per bin but the last; numeric features.
            mean_shift: Mean of z, standard deviations: one number, or one for each minute.
            noise: Statistic -> floor at one row against one.
            levels: (statistic, window) -> calibrated level.
            missing: Missing values a minute.
            reference_missing: Their share in the reference.
            reference_unseen: Share of values in new categories that the reference lets expect; categorical features.
        """
        grows = np.broadcast_to(np.asarray(traffic, dtype=float), (self._minutes, len(reference)))
        for number, (label, count) in enumerate(reference.items()):
            self.counter(catalog.FEATURE_BIN, grows[:, number], feature=name, bin=label)
            self.gauge(catalog.REFERENCE_BIN_COUNT, count, feature=name, bin=label)
        for label, weight in zip(reference, weights, strict=False):
            self.gauge(catalog.REFERENCE_BIN_WEIGHT, weight, feature=name, bin=label)
        rows = grows.sum(axis=1)
        if weights:
            where = {"feature": name, "target": "", "space": "z"}
            self.counter(catalog.FEATURE_MOMENT, rows, moment="n", **where)
            self.counter(catalog.FEATURE_MOMENT, rows * (8 + np.asarray(mean_shift)), moment="f", **where)
        for statistic, floor in ({"psi": 15.0, "wasserstein": 1.9} if noise is None else noise).items():
            self.gauge(catalog.REFERENCE_NOISE, floor, feature=name, statistic=statistic)
        for (statistic, window), level in (levels or {}).items():
            self.gauge(catalog.REFERENCE_THRESHOLD, level, feature=name, statistic=statistic, window=window)
        self.counter(catalog.FEATURE_MISSING, missing, feature=name)
        self.gauge(catalog.REFERENCE_MISSING, reference_missing, feature=name)
        if catalog.UNSEEN in reference:
            self.gauge(catalog.REFERENCE_UNSEEN, reference_unseen, feature=name)
        self.counter(catalog.FEATURE_INVALID, 0.0, feature=name, reason="type")

    def threshold(self, statistic: str, value: npt.ArrayLike, *, severity: str = "warning", feature: str = "") -> None:
        """Set a threshold in code."""
        self.gauge(catalog.THRESHOLD, value, statistic=statistic, severity=severity, feature=feature)

    def traffic(
        self, rows: npt.ArrayLike, *, failed: npt.ArrayLike = 0.0, durations: Mapping[str, npt.ArrayLike] | None = None
    ) -> None:
        """Add calls of one row each, calls that raised, and calls by upper bound of their duration (not cumulative)."""
        self.counter(catalog.PREDICTIONS, rows)
        self.counter(catalog.CALLS, rows, status="ok")
        self.counter(catalog.CALLS, failed, status="error")
        cumulative: Any = 0.0
        for bound, calls in (durations or {}).items():
            cumulative = cumulative + np.asarray(calls, dtype=float)
            self.counter(catalog.CALL_DURATION, cumulative, suffix="_bucket", le=bound)

    def _put(self, family: MetricFamily, suffix: str, values: Sequence[float], labels: Mapping[str, str]) -> None:
        expected = set(family.prometheus_labels) - {"model_name", "model_version"} | ({"le"} if suffix else set())
        assert set(labels) == expected, f"{family.name}: labels {sorted(labels)}, the catalogue says {sorted(expected)}"
        # Prometheus knows no empty label: it is an absent one.
        written = ", ".join(f'{label}="{value}"' for label, value in {**self._labels, **labels}.items() if value)
        points = []
        for minute, value in enumerate(values):
            if minute < self._starts[0] or minute > self._end:
                points.append("_")
            elif minute == self._end or minute in self._failed:
                points.append("stale")  # what Prometheus notes when a scrape fails
            else:
                points.append(f"{float(value)!r}")
        self.series.append({"series": f"{family.prometheus_name}{suffix}{{{written}}}", "values": " ".join(points)})
