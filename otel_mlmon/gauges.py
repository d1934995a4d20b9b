"""Gauges that stand still: what the model is, its reference, its thresholds."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from otel_mlmon import catalog
from otel_mlmon.catalog import MetricFamily
from otel_mlmon.profiling.profile import FeatureProfile
from otel_mlmon.reference import Reference
from otel_mlmon.settings import History, Threshold
from otel_mlmon.store import SeriesStore
from otel_mlmon.thresholds import HISTORIES

Rows = Iterable[tuple[tuple[str, ...], float]]


def expose_info(store: SeriesStore, model: tuple[str, str], task: str | None, library: str, reference: Reference | None) -> None:
    """Write what is known of the training: ``mlmon_model_info``, times, evaluation metrics, validation results."""
    metadata = reference.metadata if reference is not None else None
    labels = (
        *model,
        task or "",
        library,
        reference.digest if reference is not None else "",
        metadata.code_revision if metadata else "",
        metadata.dataset if metadata else "",
        metadata.feature_version if metadata else "",
        metadata.environment if metadata else "",
    )
    _put(store, catalog.MODEL_INFO, [(labels, 1.0)])
    if metadata is not None and not math.isnan(metadata.trained_time):
        _put(store, catalog.MODEL_TRAINED_TIME, [(model, metadata.trained_time)])
    if metadata is not None:
        _put(store, catalog.MODEL_EVALUATION, [((*model, name), value) for name, value in metadata.metrics.items()])
        _put(store, catalog.MODEL_VALIDATION, [((*model, name, str(result)), 1.0) for name, result in metadata.validation.items()])
    if reference is not None:
        _put(store, catalog.REFERENCE_CREATED_TIME, [(model, reference.created)])


def expose_thresholds(
    store: SeriesStore, model: tuple[str, str], thresholds: Sequence[Threshold], learn_normal: History | None
) -> None:
    """Write the thresholds set in code, and how much history the rules shall learn from."""
    _put(store, catalog.THRESHOLD, [((*model, one.statistic, one.severity, one.feature), one.value) for one in thresholds])
    if learn_normal is not None:
        _put(store, catalog.NORMAL_HISTORY, [(model, HISTORIES[learn_normal])])


def expose_reference(store: SeriesStore, model: tuple[str, str], reference: Reference) -> None:
    """Write the reference: counts and weights by bin, levels, noise floors, correlations and statistics by feature."""
    for profile in reference.profiles:
        feature = (*model, profile.feature)
        _put(
            store,
            catalog.REFERENCE_BIN_COUNT,
            [((*feature, label), count) for label, count in zip(profile.bins, profile.counts, strict=True)],
        )
        _put(
            store,
            catalog.REFERENCE_BIN_WEIGHT,
            [((*feature, label), weight) for label, weight in zip(profile.bins, profile.weights, strict=False)],
        )
        _put(store, catalog.REFERENCE_NOISE, [((*feature, statistic), floor) for statistic, floor in profile.noise.items()])
        levels = [
            (statistic, window, level) for statistic, by_window in profile.thresholds.items() for window, level in by_window.items()
        ]
        _put(store, catalog.REFERENCE_THRESHOLD, [((*feature, statistic, window), level) for statistic, window, level in levels])
        _put(store, catalog.REFERENCE_CORRELATION, [((*feature, c.target, c.space), c.r) for c in profile.correlations])
        _put(
            store, catalog.REFERENCE_CORRELATION_SAMPLES, [((*feature, c.target, c.space), c.samples) for c in profile.correlations]
        )
        shifts = [(c.target, c.space, window, level) for c in profile.correlations for window, level in c.thresholds.items()]
        _put(store, catalog.REFERENCE_CORRELATION_THRESHOLD, [((*feature, *where), level) for *where, level in shifts])
        _put(
            store,
            catalog.REFERENCE_STATISTIC,
            [((*feature, name), value) for name, value in _statistics(profile) if math.isfinite(value)],
        )
        if profile.rows:
            _put(store, catalog.REFERENCE_MISSING, [(feature, profile.missing / profile.rows)])
        if profile.kind == "categorical" and profile.samples:
            _put(store, catalog.REFERENCE_UNSEEN, [(feature, profile.unseen_ratio)])
        if profile.kind == "numeric" and profile.samples:
            _put(store, catalog.REFERENCE_OUTLIERS, [(feature, profile.outliers / profile.samples)])


def _statistics(profile: FeatureProfile) -> list[tuple[str, float]]:
    return [
        ("mean", profile.mean),
        ("std", profile.std),
        ("min", profile.minimum),
        ("max", profile.maximum),
        ("median", profile.median),
    ]


def _put(store: SeriesStore, family: MetricFamily, rows: Rows) -> None:
    rows = list(rows)
    if rows:
        start = store.allocate(family, [labels for labels, _ in rows])
        store.put(start, np.array([value for _, value in rows], dtype=np.float64))
