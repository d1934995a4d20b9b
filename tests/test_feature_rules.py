"""Recorded feature statistics, shares and correlations in real promtool: numpy's numbers on the rows of a faulty fleet."""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from otel_mlmon import catalog
from otel_mlmon.bundle.rules import RuleOptions, render
from otel_mlmon.thresholds import CORRELATION_SIGMAS, MARGIN
from tests.promql import faulty
from tests.promql.promtool import close, expectation, failures, run
from tests.servers import SERIES, require

OPTIONS = RuleOptions(windows=("5m", "1h"), pairs=(("5m", "1h"),), previous="21m", drift_interval="1m")
LAST = faulty.MINUTES - 1
QUANTILES = {"p05": 0.05, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95}
WHO = 'model_name="m", model_version="{}", feature="x", window="{}"'


def quantile(values: faulty.Floats, share: float) -> float:
    """By straight lines between the bounds of the histogram."""
    bounds = np.array(faulty.BOUNDS)
    reached = [(values <= bound).mean() for bound in bounds]
    return float(np.interp(share, reached, bounds))  # below the first bound and above the last one, that bound


def _close(series: str, value: float, tolerance: float = 1e-9) -> dict[str, Any]:
    _, _, labels = series.partition("{")
    return close(series, value, LAST, "{" + labels, tolerance * max(abs(value), 1.0))


def _statistics(truth: faulty.Truth, window: str, late: slice) -> Iterator[dict[str, Any]]:
    for version in faulty.VERSIONS:
        x = truth.rows(version, late)
        values = {"mean": x.mean(), "std": x.std()} | {name: quantile(x, share) for name, share in QUANTILES.items()}
        if version == "1":
            # What a failed scrape would have shown is lost; gauges are read without delay.
            seen = np.concatenate(truth.seen[late.start + 1 : late.stop + 1])
            values |= {"min": seen.min(), "max": seen.max()}
        for name, value in values.items():
            yield _close(f'mlmon:feature:statistic{{{WHO.format(version, window)}, statistic="{name}"}}', value)


def _shares(truth: faulty.Truth, window: str, span: slice) -> Iterator[dict[str, Any]]:
    rows = len(truth.rows("1", span))
    sums = {name: values[span].sum() for name, values in truth.shares.items()}
    ratios = {
        "missing": sums["missing"] / (rows + sums["missing"]),
        "invalid": 0.0,
        "outliers": sums["outliers"] / rows,
        "out_of_range": sums["out_of_range"] / rows,
    }
    for name, value in ratios.items():
        yield _close(f"mlmon:feature_{name}:ratio{{{WHO.format('1', window)}}}", value, 1e-14)
    colours = truth.colours[span].sum(axis=0)
    who = WHO.format("1", window).replace('"x"', '"c"')
    yield _close(f"mlmon:feature_unseen:ratio{{{who}}}", colours[2] / colours.sum(), 1e-14)


def _correlations(truth: faulty.Truth, window: str, late: slice) -> Iterator[dict[str, Any]]:
    x, score, profile = truth.rows("1", late), np.concatenate(truth.score[late]), faulty.VERSIONS["1"]
    ranks = faulty.midranks((1, 1, 1, 1))[np.searchsorted(faulty.SCORE_EDGES, score, side="right")]
    for space, (f, y), variance in (("z", (x, score), 1.0), ("u", (profile.u(x), ranks), 1.06)):
        who = f'{WHO.format("1", window)}, target="@score", space="{space}"'
        r = np.corrcoef(f, y)[0, 1]
        difference = np.arctanh(r) - np.arctanh(faulty.CORRELATION)
        error = np.sqrt(variance * (1 / (len(x) - 3) + 1 / (faulty.CORRELATION_SAMPLES - 3)))
        yield _close(f"mlmon:feature_correlation{{{who}}}", r)
        yield _close(f"mlmon:feature_correlation:samples{{{who}}}", len(x), 1e-12)
        yield _close(f"mlmon:feature_correlation:shift{{{who}}}", abs(difference))
        yield _close(f"mlmon:feature_correlation:z{{{who}}}", difference / error)
        for severity, shipped in (("warning", 0.2), ("critical", 0.4)):
            limit = f'mlmon:feature_correlation:threshold{{{who}, severity="{severity}"}}'
            level = {"5m": 0.0, "1h": 0.9}[window]  # only the longer window is calibrated
            value = max(shipped, MARGIN[severity] * level, MARGIN[severity] * CORRELATION_SIGMAS * error)
            yield _close(limit, value) if space == "u" else expectation(limit, LAST, {})


@functools.cache
def _verdict(series: str, folder: Path) -> str:
    replicas, truth = faulty.fleet()
    for replica in replicas:
        replica.gauge(catalog.REFERENCE_CORRELATION_THRESHOLD, 0.9, feature="x", target=catalog.SCORE, space="u", window="1h")
    expectations: list[dict[str, Any]] = []
    for window, length in (("5m", 5), ("1h", 60)):
        span = slice(LAST - length, LAST)  # an evaluation sees the scrape of the minute before
        expectations += [*_statistics(truth, window, span), *_correlations(truth, window, span), *_shares(truth, window, span)]
    return run(require("promtool", series), folder, render(OPTIONS), replicas, expectations)


@pytest.mark.parametrize("series", SERIES)
@pytest.mark.parametrize(
    "what", ["feature:statistic", "missing:ratio", "invalid:ratio", "outliers", "out_of_range", "unseen", "correlation"]
)
def test_a_faulty_fleet_gives_numpys_numbers(what: str, series: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Restart, vanished and late replica, failed scrapes, texts of bounds that differ by replica."""
    folder = tmp_path_factory.getbasetemp() / f"features-{series}"
    folder.mkdir(exist_ok=True)
    assert not failures(_verdict(series, folder), lambda expression: what in expression)
