"""The level learned from recorded history, in real promtool: numpy's on the same samples; who has one, what it does to alerts."""

import functools
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from otel_mlmon.bundle.history_rules import normal
from otel_mlmon.bundle.rules import RECORDING_FILE, RuleOptions, render
from otel_mlmon.bundle.yaml_text import Group, rule_file
from otel_mlmon.thresholds import HISTORIES
from tests.promql import cases
from tests.promql.fleet import Replica
from tests.promql.needed import parsed
from tests.promql.promtool import ask, close, expectation, firing, run
from tests.servers import SERIES, require

Floats = npt.NDArray[np.float64]
Series = Mapping[str, npt.ArrayLike]

DAY = 24
"""Evaluations: one an hour, for half the time of the half-hourly ones that users have."""
DAYS = 31
LENGTHS = {"14d": 14 * DAY, "28d": 28 * DAY}


@functools.cache
def drift(seed: int) -> Floats:
    """A distance that wanders, higher at noon, evaluation by evaluation."""
    rng, steps = np.random.default_rng(seed), DAYS * DAY
    slow = np.convolve(rng.normal(size=steps + DAY), np.ones(DAY) / DAY**0.5, "same")[:steps]
    return np.asarray(np.exp(-2.5 + 0.3 * slow + 0.2 * np.sin(np.arange(steps) / DAY * 2 * np.pi)))


def learned(values: Floats, length: str) -> Floats:
    """By evaluation what numpy learns, NaN before: what is over 1.5 times the least level of a week is left out."""
    kept, level = np.full((2, len(values)), np.nan)
    for step, value in enumerate(values):
        earlier = level[max(step - 7 * DAY + 1, 0) : step]
        earlier = earlier[~np.isnan(earlier)]
        if not np.isnan(value) and not (len(earlier) and value > 1.5 * earlier.min()):
            kept[step] = np.log(value)
        first = max(step - LENGTHS[length] + 1, 0)
        days = [end for end in range(0, step + 1, DAY) if end >= first]
        if sum(not np.isnan(kept[max(end - DAY + 1, 0) : end + 1]).all() for end in days) >= 8:
            history = kept[first : step + 1][~np.isnan(kept[first : step + 1])]
            level[step] = np.exp(max(history.mean() + 3 * history.std(), history.max()))
    return level


def series(model: str, values: Floats, length: str | None, **others: Any) -> dict[str, npt.ArrayLike]:
    """What the history's rules read of a model: drift of one numeric feature in one window."""
    who = f'model_name="{model}", model_version="1"'
    window = others.get("window", "1d")
    statistic = others.get("statistic", "wasserstein")
    found: dict[str, npt.ArrayLike] = {
        f'mlmon:feature_drift{{{who}, feature="x", window="{window}", statistic="{statistic}", baseline="training"}}': values,
        f'mlmon:feature:count{{{who}, feature="x", window="{window}"}}': others.get("rows", 300.0),
        f'mlmon:threshold:model{{{who}, statistic="min_samples"}}': 300.0,
        f'mlmon:model:covered_ratio{{{who}, window="{window}"}}': others.get("covered", 0.9),
    }
    if statistic == "wasserstein":
        found[f'mlmon:reference_bin:weight{{{who}, feature="x", bin="00"}}'] = 1.0
    if length is not None:
        found[f"mlmon_normal_history_seconds{{{who}}}"] = HISTORIES[length]
    if "reference" in others:
        name = f'mlmon:reference:threshold{{{who}, feature="x", window="{window}", statistic="{statistic}"}}'
        found[name] = others["reference"]
    return found


def level(model: str, name: str, **labels: str) -> tuple[str, str]:
    by = {"feature": "x", "model_name": model, "model_version": "1", "statistic": "wasserstein", "window": "1d"} | labels
    said = ", ".join(f'{key}="{value}"' for key, value in by.items())
    return f"mlmon:feature_drift:{name}{{{said}}}", f"{{{said}}}"


def play(folder: Path, which: str, inputs: Series, expectations: list[dict[str, Any]]) -> str:
    """What promtool says of the history's rules, evaluated each hour on recorded series."""
    history = next(group for group in parsed(render(RuleOptions())[RECORDING_FILE]) if group["name"] == "mlmon-history.rules")
    assert history["interval"] == "30m"
    fast = parsed(rule_file([Group("fast", "1m", (normal(RuleOptions()),))], header=""))
    steps = DAYS * DAY
    tests = {
        "interval": "1h",
        "input_series": [
            {"series": name, "values": " ".join("_" if x != x else repr(float(x)) for x in np.broadcast_to(values, steps))}
            for name, values in inputs.items()
        ],
        "promql_expr_test": [one | {"eval_time": f"{60 * int(one['eval_time'][:-1])}m"} for one in expectations],
    }
    return ask(require("promtool", which), folder, [history, *fast], tests)


@pytest.mark.parametrize("which", SERIES)
def test_the_learned_level_is_numpys_and_comes_before_the_references(which: str, tmp_path: Path) -> None:
    """Three deviations of the logarithms, or the largest: before eight days and after all of the history, of both lengths."""
    values = drift(1).copy()
    values[4 * DAY : 4 * DAY + 3] *= 30  # three hours that are farther out than three deviations
    inputs: dict[str, npt.ArrayLike] = {}
    expectations = []
    for model, length, reference in (
        ("14", "14d", None),
        ("28", "28d", None),
        ("both", "14d", 5.0),
        ("reference", None, 5.0),
        ("neither", None, None),
    ):
        inputs |= series(model, values, length, **({} if reference is None else {"reference": reference}))
        truth = np.full(len(values), np.nan) if length is None else learned(values, length)
        for step in (5 * DAY, 8 * DAY, 12 * DAY + 5, 20 * DAY, DAYS * DAY - 1):
            in_force = reference if np.isnan(truth[step]) else truth[step]
            for name, value in (("learned", truth[step]), ("normal", np.nan if in_force is None else in_force)):
                selector, labels = level(model, name)
                known = not np.isnan(value)
                expectations.append(close(selector, value, step, labels, 1e-9) if known else expectation(selector, step, {}))
    assert learned(values, "14d")[-1] != learned(values, "28d")[-1]
    assert not play(tmp_path, which, inputs, expectations)


@pytest.mark.parametrize("which", SERIES)
def test_a_time_that_alarms_is_not_learned(which: str, tmp_path: Path) -> None:
    """Two days at twenty times the usual, which the window slides into and out of: the level rises by half, not by twenty."""
    calm, begin = drift(2), 17 * DAY
    slide = np.interp(np.arange(len(calm)), [begin, begin + DAY, begin + 3 * DAY, begin + 4 * DAY], [1.0, 20.0, 20.0, 1.0])
    inputs = series("calm", calm, "14d") | series("span", calm * slide, "14d")
    expectations = []
    for step in (begin + 2 * DAY, begin + 6 * DAY, begin + 12 * DAY):
        truth, before = learned(calm * slide, "14d")[step], learned(calm, "14d")[step]
        assert truth < 1.7 * before
        for model, value in (("span", truth), ("calm", before)):
            selector, labels = level(model, "learned")
            expectations.append(close(selector, value, step, labels, 1e-9))
    assert not play(tmp_path, which, inputs, expectations)


@pytest.mark.parametrize("which", SERIES)
def test_a_shift_that_lasts_is_normal_after_three_weeks(which: str, tmp_path: Path) -> None:
    """While it alarms nothing of it is learned; once the time before is forgotten, eight days of it are."""
    values, begin = drift(3).copy(), 9 * DAY
    values[begin:] *= 8
    truth = learned(values, "14d")
    gone = int(np.flatnonzero(np.isnan(truth))[-1])
    selector, labels = level("m", "learned")
    expectations = [close(selector, truth[begin + 3 * DAY], begin + 3 * DAY, labels, 1e-9)]
    expectations += [expectation(selector, gone, {}), close(selector, truth[-1], len(values) - 1, labels, 1e-9)]
    assert truth[begin + 3 * DAY] < 2 * truth[begin - 1] < truth[-1]
    assert begin + 20 * DAY < gone < begin + 22 * DAY
    assert not play(tmp_path, which, series("m", values, "14d"), expectations)


@pytest.mark.parametrize("which", SERIES)
def test_only_what_may_alarm_is_learned(which: str, tmp_path: Path) -> None:
    """Enough rows, the model up, the statistic that the feature alarms on, a day or more for each of eight windows."""
    values = drift(4)
    inputs = series("few", values, "14d", rows=299.0) | series("down", values, "14d", covered=0.89)
    inputs |= series("c", values, "14d", statistic="psi") | series("hour", values, "14d", window="1h")
    both = series("n", values, "14d") | series("n", values, "14d", statistic="psi")
    inputs |= both
    seen = np.where((np.arange(len(values)) - 1) // DAY % 2 == 0, values, np.nan)  # a day ends at midnight, which belongs to it
    inputs |= series("gaps", seen, "14d") | series("gaps28", seen, "28d")
    last = len(values) - 1
    expectations = []
    for model, labels, length in (("c", {"statistic": "psi"}, "14d"), ("hour", {"window": "1h"}, "14d"), ("n", {}, "14d")):
        selector, said = level(model, "learned", **labels)
        expectations.append(close(selector, learned(values, length)[last], last, said, 1e-9))
    selector, said = level("gaps28", "learned")
    expectations.append(close(selector, learned(seen, "28d")[last], last, said, 1e-9))
    for model, other in itertools.product(("few", "down", "gaps"), ({}, {"statistic": "psi"})):
        expectations.append(expectation(level(model, "learned", **other)[0], last, {}))
    expectations.append(expectation(level("n", "learned", statistic="psi")[0], last, {}))
    assert not play(tmp_path, which, inputs, expectations)


@pytest.mark.parametrize("which", SERIES)
def test_a_learned_level_outlives_an_outage_of_hours(which: str, tmp_path: Path) -> None:
    """And is gone half a day after the model asked for it last."""
    values, asked = drift(2), np.full(DAYS * DAY, HISTORIES["14d"])
    asked[20 * DAY :] = np.nan
    inputs = series("m", values, "14d") | {'mlmon_normal_history_seconds{model_name="m", model_version="1"}': asked}
    name, _ = level("m", "normal")
    expectations = [
        expectation(f"count({name})", 20 * DAY + after, {"{}": 1} if known else {})
        for after, known in ((-1, True), (5, True), (12, False))
    ]
    assert not play(tmp_path, which, inputs, expectations)


@pytest.mark.parametrize("which", SERIES)
def test_the_alert_asks_for_more_than_the_learned_level(which: str, tmp_path: Path) -> None:
    """Drift of 0.8: the learned level decides, whatever the reference's is."""
    options = RuleOptions(
        windows=("1h", "6h", "1d"), time_scale=cases.TIME_SCALE, drift_interval="1m", max_bins=len(cases.BINS), statistics=()
    )
    replicas, expectations = [], []
    for model, known, reference, fires in (
        ("over", 0.3, 0.9, cases.BOTH),
        ("margin", 0.6, 0.9, cases.WARNING),
        ("under", 0.9, 0.3, ()),
        ("alone", 0.9, None, ()),
        ("alone-over", 0.3, None, cases.BOTH),
        ("none", None, 0.9, ()),
    ):
        replica = Replica(51, model=model)
        replica.traffic(120)
        levels = None if reference is None else {("wasserstein", window): reference for window in options.windows}
        replica.feature("x", cases.REFERENCE, cases.MOVED, weights=cases.WEIGHTS, levels=levels)
        if known is not None:
            for window in options.windows:
                replica.series.append({"series": level(model, "learned", window=window)[0], "values": f"{known}x50"})
        replicas.append(replica)
        expectations.append(firing(50, model, cases.alerts("MlmonFeatureDrift", fires), alertname="MlmonFeatureDrift"))
    assert not run(require("promtool", which), tmp_path, render(options), replicas, expectations)


def test_time_scale_shortens_the_history_and_the_names_stay() -> None:
    scaled = render(RuleOptions(windows=("1h", "6h", "1d"), interval="250ms", time_scale=4320))[RECORDING_FILE]
    text = scaled[scaled.index("mlmon-history.rules") :]
    assert 'interval: "2500ms"' in text  # eight times a day
    assert "avg_over_time(mlmon:feature_drift:log[278750ms])" in text  # 14 days last 280 s, less half an evaluation
    assert "[278750ms:20s]) >= 8" in text
    assert "1.5 * min_over_time(mlmon:feature_drift:learned[138750ms])" in text
    assert "== 1209600)" in text


def test_windows_longer_than_a_day_need_eight_of_themselves() -> None:
    options = RuleOptions(windows=("6h", "1d", "3d"), pairs=(("6h", "1d"), ("1d", "3d")))
    text = render(options)[RECORDING_FILE]
    for windows, span, minutes in (("6h|1d", "1d", 1425), ("3d", "3d", 4305)):
        assert f'last_over_time(mlmon:feature_drift:log{{window=~"{windows}"}}[{minutes}m])[40305m:{span}]) >= 8' in text
