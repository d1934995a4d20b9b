"""Recorded statistics in real promtool: SciPy's numbers on numpy's counts, for a faulty fleet and for the edges of each formula."""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import yaml
from scipy import special, stats
from scipy.spatial import distance

from otel_mlmon.bundle.options import STATISTICS
from otel_mlmon.bundle.rules import RECORDING_FILE, RuleOptions, render
from otel_mlmon.bundle.significance_rules import MAX_DF
from tests.promql import cases, faulty
from tests.promql.fleet import Replica
from tests.promql.promtool import close, expectation, failures, run
from tests.servers import SERIES, require

OPTIONS = RuleOptions(windows=("5m", "1h"), pairs=(("5m", "1h"),), previous="21m", drift_interval="1m", statistics=STATISTICS)
LAST = faulty.MINUTES - 1
SOON = ("psi", "wasserstein")
"""Statistics against the training data that alerts rest on: recorded at once, all others behind."""

Counts = npt.NDArray[np.float64]


def oracle(statistic: str, reference: Counts, current: Counts) -> float:
    """What SciPy says; NaN where there is nothing to say."""
    p, q = current / current.sum(), reference / reference.sum()
    smooth_p, smooth_q = ((counts + 0.5) / (counts + 0.5).sum() for counts in (current, reference))
    seen = (current + reference) > 0
    if statistic.startswith("chi2") or statistic == "cramers_v":
        table = np.array([current[seen], reference[seen]])
        test = stats.chi2_contingency(table, correction=False)
        return float({"chi2": test.statistic, "chi2_pvalue": test.pvalue}.get(statistic, np.sqrt(test.statistic / table.sum())))
    ks = distance.chebyshev(np.cumsum(p), np.cumsum(q))
    root = np.sqrt(current.sum() * reference.sum() / (current.sum() + reference.sum()))
    middle = (p + q) / 2
    divergence = (stats.entropy(p, middle) + stats.entropy(q, middle)) / 2
    values: dict[str, Callable[[], float]] = {
        "psi": lambda: stats.entropy(smooth_p, smooth_q) + stats.entropy(smooth_q, smooth_p),
        "kl": lambda: stats.entropy(smooth_p, smooth_q),
        "js_divergence": lambda: divergence,
        "js_distance": lambda: np.sqrt(divergence / np.log(2)),
        "hellinger": lambda: distance.euclidean(np.sqrt(p), np.sqrt(q)) / np.sqrt(2),
        "total_variation": lambda: distance.cityblock(p, q) / 2,
        "l_infinity": lambda: distance.chebyshev(p, q),
        "ks": lambda: ks,
        "ks_pvalue": lambda: special.kolmogorov((root + 0.12 + 0.11 / root) * ks),
    }
    return float(values[statistic]())


def wasserstein(reference: Counts, current: Counts, weights: tuple[float, ...]) -> float:
    """SciPy's distance of the bins' means."""
    places = np.concatenate([[0.0], np.cumsum(weights)])
    return float(stats.wasserstein_distance(places, places, current, reference))


def tolerance(statistic: str, value: float) -> float:
    """Relative 1e-9 beside rounding, which the root of a difference of sums magnifies; p-values 1e-6 above 1e-12."""
    if statistic.endswith("pvalue"):
        return max(1e-6 * value, 1e-12)
    return 1e-9 * value + (np.sqrt(value**2 + 1e-15) - value if statistic == "js_distance" else 1e-14)


def _drift(minute: int, who: str, statistics: Iterable[str], reference: Counts, current: Counts) -> Iterator[dict[str, Any]]:
    """What is expected of some statistics against one baseline."""
    for statistic in statistics:
        series = f'mlmon:feature_drift{{{who}, statistic="{statistic}"}}'
        if current.sum() and reference.sum():
            value = oracle(statistic, reference, current)
            labels = series.removeprefix("mlmon:feature_drift")
            yield close(series, value, minute, labels, tolerance(statistic, value))
        else:
            yield expectation(series, minute, {})


def _wasserstein(minute: int, who: str, value: float) -> dict[str, Any]:
    labels = f'{{{who}, statistic="wasserstein"}}'
    return close("mlmon:feature_drift" + labels, value, minute, labels, 1e-9 * value)


@functools.cache
def _faulty(series: str, folder: Path) -> str:
    """What promtool says of the fleet with every fault."""
    replicas, truth = faulty.fleet()
    expectations: list[dict[str, Any]] = []
    for window, length in (("5m", 5), ("1h", 60)):
        who = f'model_name="m", model_version="{{}}", feature="{{}}", window="{window}", baseline="{{}}"'
        # An evaluation sees the scrape of the minute before.
        span = slice(LAST - length, LAST)
        before = slice(max(span.start - 21, 0), span.stop - 21)
        for version, profile in faulty.VERSIONS.items():
            training, now, then = np.array(profile.reference, float), truth.rows(version, span), truth.rows(version, before)
            for baseline, counts, mean in (
                ("training", training, 0.0),
                ("previous", profile.count(then), profile.z(then).mean() if len(then) else 0.0),
            ):
                expected = _drift(LAST, who.format(version, "x", baseline), ("psi", *STATISTICS), counts, profile.count(now))
                expectations += expected
                value = max(wasserstein(counts, profile.count(now), profile.weights), abs(profile.z(now).mean() - mean))
                expectations.append(_wasserstein(LAST, who.format(version, "x", baseline), value))
        colours, bins = who.format("1", "c", "{}"), [name for name in STATISTICS if not name.startswith("ks")]
        training, now, then = (
            np.array(list(faulty.COLOURS.values()), float),
            *(truth.colours[s].sum(axis=0) for s in (span, before)),
        )
        expectations += _drift(LAST, colours.format("training"), bins, training, now)
        expectations += _drift(LAST, colours.format("previous"), ["psi", *bins], then, now)
        for baseline in ("training", "previous"):
            # No order, no distribution function.
            for name in ("ks", "ks_pvalue", "wasserstein"):
                absent = f'mlmon:feature_drift{{{colours.format(baseline)}, statistic="{name}"}}'
                expectations.append(expectation(absent, LAST, {}))
    return run(require("promtool", series), folder, render(OPTIONS), replicas, expectations)


@dataclass(frozen=True)
class Edge:
    """Counts per bin: of the reference, of a minute long ago, of a minute just now."""

    reference: Sequence[float]
    before: Sequence[float]
    now: Sequence[float]
    ordered: bool = True


def _edges() -> dict[str, Edge]:
    edges = {
        "empty in the window": Edge((300, 200, 100, 50), (0, 0, 0, 1), (0, 20, 0, 4)),
        "empty in the reference": Edge((300, 0, 100, 0), (2, 3, 0, 0), (5, 5, 5, 5)),
        "empty in both": Edge((300, 0, 100, 50), (3, 0, 0, 1), (5, 0, 5, 0)),
        "one row": Edge((300, 200, 100, 50), (0, 0, 0, 0), (0, 1, 0, 0)),
        "one row before": Edge((300, 200, 100, 50), (0, 0, 1, 0), (0, 0, 0, 9)),
        "many": Edge((3e9, 2e9, 1e9), (3e8, 2e8, 1e8), (3.0002e9, 2e9, 1.0001e9)),
        "same": Edge((3, 2, 1), (300, 200, 100), (3000, 2000, 1000)),
        "apart": Edge((10, 10, 0), (0, 0, 0), (0, 0, 7)),
        "constant": Edge((0, 500, 0), (0, 3, 0), (0, 20, 0), ordered=False),
        "constant that moved": Edge((0, 500, 0), (0, 3, 0), (0, 0, 20), ordered=False),
        "idle": Edge((3, 2, 1), (0, 0, 0), (0, 0, 0)),
        "idle constant": Edge((0, 500, 0), (0, 0, 0), (0, 0, 0), ordered=False),
        "idle now": Edge((3, 2, 1), (5, 5, 5), (0, 0, 0)),
    }
    rng = np.random.default_rng(3)
    for df in (1, 2, 3, 4, 5, 8, 9, 20, 39, 40, 41, 42):
        p = rng.dirichlet(np.full(df + 1, 5.0))
        q = p * np.exp(rng.normal(0, rng.choice([0.0, 0.1, 0.3, 1.0]), df + 1))
        training, before, now = (
            rng.multinomial(size, shares).tolist() for size, shares in ((2000, p), (50, q / q.sum()), (900, q / q.sum()))
        )
        edges[f"df {df}"] = Edge(training, before, now, ordered=False)
    for distance_in_permille in (1, 20, 40, 60, 70, 80, 120, 250, 400):  # Kolmogorov's series on both sides of their border
        moved = distance_in_permille / 2
        edges[f"ks {distance_in_permille}"] = Edge((500, 500), (0, 0), (500 - moved, 500 + moved))
    return edges


def _edge_replica(minutes: int) -> Replica:
    replica = Replica(minutes)
    replica.traffic(0)
    for name, edge in _edges().items():
        labels = [f"{place:02d} {'[' if edge.ordered else ''}{place}" for place in range(len(edge.reference))]
        rows = np.zeros((minutes, len(labels)))
        rows[2], rows[22] = edge.before, edge.now
        weights = [0.5] * (len(labels) - 1) if edge.ordered else []
        replica.feature(name, dict(zip(labels, edge.reference, strict=True)), rows, weights=weights)
    return replica


@functools.cache
def _at_the_edges(series: str, folder: Path) -> str:
    """What promtool says of counts at the edges of the formulas."""
    minute = 31  # the longer window holds both, 21 minutes ago it held `before` alone; the shorter one is empty
    expectations: list[dict[str, Any]] = []
    for name, edge in _edges().items():
        reference, before, now = (np.array(counts, float) for counts in (edge.reference, edge.before, edge.now))
        statistics = [one for one in STATISTICS if edge.ordered or not one.startswith("ks")]
        capped = [one for one in statistics if one != "chi2_pvalue"]
        for baseline, base, current in (("training", reference, before + now), ("previous", before, before + now)):
            who = f'model_name="m", model_version="1", feature="{name}", window="1h", baseline="{baseline}"'
            above = np.count_nonzero(base + current) - 1 > MAX_DF
            expectations += _drift(minute, who, ["psi", *(capped if above else statistics)], base, current)
            if above:
                absent = f'mlmon:feature_drift{{{who}, statistic="chi2_pvalue"}}'
                expectations.append(expectation(absent, minute, {}))
    expectations.append(expectation('{__name__=~"mlmon:feature(_bin)?:(drift|statistic|ratio)", window="5m"}', minute, {}))
    every = '{__name__=~"mlmon:feature_(drift|chi2|ks).*"}'  # promtool evaluates no more than 10,000 samples at once
    identity = "__name__, feature, window, statistic, baseline, severity, df"
    expectations.append(expectation(f"{every} unless on ({identity}) ({every} > -Inf < +Inf)", minute, {}))
    return run(require("promtool", series), folder, render(OPTIONS), [_edge_replica(32)], expectations)


def _failures(said: str, statistic: str) -> str:
    """What is said of one statistic, or of none."""
    return failures(said, lambda expression: "statistic=" not in expression or f'statistic=\\"{statistic}\\"' in expression)


@pytest.mark.parametrize("series", SERIES)
@pytest.mark.parametrize("statistic", [*SOON, *STATISTICS])
def test_statistics_of_a_faulty_fleet_are_scipys(statistic: str, series: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Restart, vanished and late replica, failed scrapes, two versions' bins; both baselines."""
    assert not _failures(_faulty(series, _folder(tmp_path_factory, f"faulty-{series}")), statistic)


@pytest.mark.parametrize("series", SERIES)
@pytest.mark.parametrize("statistic", ["psi", *STATISTICS])
def test_statistics_are_scipys_at_the_edges(statistic: str, series: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Empty bins on either side or both, one row, billions, equal and disjoint shares, a constant, up to 42 degrees of freedom."""
    assert not _failures(_at_the_edges(series, _folder(tmp_path_factory, f"edges-{series}")), statistic)


def _folder(factory: pytest.TempPathFactory, name: str) -> Path:
    folder = factory.getbasetemp() / name
    folder.mkdir(exist_ok=True)
    return folder


def test_statistics_can_be_left_out() -> None:
    """All but those that alerts rest on and those that a chosen one is computed from."""
    groups = yaml.safe_load(render(RuleOptions(statistics=("cramers_v",)))[RECORDING_FILE])["groups"]
    names = {"mlmon:feature_drift", "mlmon:late:feature_drift"}
    labels = [rule.get("labels", {}) for group in groups for rule in group["rules"] if rule["record"] in names]
    assert {one["statistic"] for one in labels if one} == {*SOON, "chi2", "cramers_v"}


@pytest.mark.parametrize(
    ("statistics", "all_features"),
    [
        (("ks_pvalue", "chi2_pvalue"), False),
        (("chi2_pvalue",), True),
        (("ks_pvalue", "chi2"), True),
        (("ks_pvalue", "cramers_v"), True),
    ],
)
def test_chi_square_is_of_all_features_where_it_is_asked_for(statistics: tuple[str, ...], all_features: bool) -> None:
    """Or where nothing stands in for it."""
    groups = yaml.safe_load(render(RuleOptions(statistics=statistics))[RECORDING_FILE])["groups"]
    rules = [rule for group in groups for rule in group["rules"] if rule.get("labels", {}).get("statistic") == "chi2"]
    assert [("unless" not in rule["expr"]) for rule in rules] == [all_features] * 2


@pytest.mark.parametrize("series", SERIES)
def test_a_feature_has_the_p_value_that_fits_it(series: str, tmp_path: Path) -> None:
    """Numbers that of Kolmogorov and Smirnov, categories chi-square's; in a window that is not described, only what alarms."""
    replica = Replica(16)
    replica.traffic(60)
    replica.feature("x", cases.REFERENCE, cases.MOVED, weights=cases.WEIGHTS)
    replica.feature("c", cases.REFERENCE, cases.MOVED)
    options = RuleOptions(
        windows=("5m", "10m", "1h"), pairs=(("5m", "10m"),), previous="6m", drift_interval="1m", statistics_windows=("5m",)
    )
    # Against both baselines.
    seen = "count by (feature, statistic, window) (mlmon:feature_drift)"
    alarming = {("psi", "x"), ("psi", "c"), ("wasserstein", "x")}
    fitting = {("js_distance", "x"), ("js_distance", "c"), ("ks", "x"), ("ks_pvalue", "x"), ("chi2", "c"), ("chi2_pvalue", "c")}
    fitting |= {("js_divergence", feature) for feature in "xc"}  # of which the distance is computed
    expected = {
        f'{{feature="{feature}", statistic="{statistic}", window="{window}"}}': 2 if window == "5m" else 1
        for window, of in (("5m", alarming | fitting), ("10m", alarming), ("1h", alarming))
        for statistic, feature in of
    }
    said = run(require("promtool", series), tmp_path, render(options), [replica], [expectation(seen, 15, expected)])
    assert not said, said
