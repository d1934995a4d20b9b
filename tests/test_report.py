"""``report.compare``: the fleet's numbers and rules on data at hand."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from otel_mlmon import Batch, Feature, Monitor, Reference, Schema, Settings, Threshold
from otel_mlmon.report import DriftReport, FeatureReport, compare
from otel_mlmon.report.text import lines
from tests.flight_rows import INPUTS, TRAINING, read, rows_of


@pytest.fixture(scope="module")
def reference() -> Reference:
    """Of six weeks, one row in two minutes."""
    times, labels, scores = (TRAINING[name] for name in ("seen_at", "late", "score"))
    return Reference.build(TRAINING[INPUTS], task="binary", scores=scores, labels=labels, timestamps=times)


def _compare(reference: Reference, frame: pd.DataFrame, **options: Any) -> DriftReport:
    return compare(reference, frame[INPUTS], scores=frame["score"], labels=frame["late"], timestamps=frame["seen_at"], **options)


def _of(report: DriftReport, feature: str) -> FeatureReport:
    return next(one for one in report.features if one.feature == feature)


def test_statistics_are_those_of_scipy_on_numpy_counts(reference: Reference) -> None:
    """Binned by numpy, measured by SciPy."""
    frame = rows_of(5_000, 2, shift=0.7)
    row = _of(_compare(reference, frame), "temperature")
    profile, values = reference["temperature"], frame["temperature"].to_numpy()
    base, now = (
        np.array(profile.counts),
        np.bincount(np.searchsorted(profile.edges, values, side="right"), minlength=len(profile.bins)),
    )
    p, q = ((counts + 0.5) / (counts + 0.5).sum() for counts in (base, now))
    assert row.psi == pytest.approx(stats.entropy(p, q) + stats.entropy(q, p), rel=1e-9)
    training = TRAINING["temperature"].to_numpy()
    assert row.mean_shift == pytest.approx((values.mean() - training.mean()) / training.std(), rel=1e-6)
    gaps = np.abs(np.cumsum(now / now.sum() - base / base.sum()))[:-1]
    assert row.ks == pytest.approx(gaps.max(), rel=1e-9)
    assert row.wasserstein == pytest.approx(max(gaps @ np.array(profile.weights), abs(row.mean_shift)), rel=1e-6)
    assert (row.samples, row.rows, row.missing_ratio) == (5_000, 5_000, 0.0)
    colours = _of(_compare(reference, frame), "carrier")
    labels = reference["carrier"].bins[:3]
    table = np.array([reference["carrier"].counts[:3], [(frame["carrier"] == label).sum() for label in labels]])
    assert colours.p_value == pytest.approx(stats.chi2_contingency(table, correction=False).pvalue, rel=1e-6)


def test_counts_are_those_of_a_monitor(reference: Reference) -> None:
    """The same rows through the decorator's path."""
    frame = rows_of(3_000, 3)
    frame.loc[::7, "distance"] = np.nan
    report = _compare(reference, frame)
    with Monitor("m", reference=reference, settings=Settings(system_seconds=0)) as monitor:
        monitor.observe(frame[INPUTS], {"score": frame["score"].to_numpy()})
        assert monitor.flush()
        features = monitor.snapshot().features
    for name in (*INPUTS, "@score"):
        row, seen = _of(report, name), features[name]
        assert (row.samples, row.rows, row.psi, row.mean_shift) == pytest.approx(
            (seen.samples, seen.rows, seen.psi, seen.mean_shift), nan_ok=True
        )
    assert _of(report, "distance").missing_ratio == pytest.approx(429 / 3_000)


def test_data_may_come_in_any_shape(reference: Reference) -> None:
    """Frame, columns, rows, batches in a list and from a callable."""
    frame = rows_of(1_000, 5)[INPUTS]
    columns = {name: frame[name].to_numpy() for name in INPUTS}
    halves = [frame.iloc[:500], frame.iloc[500:]]
    shapes: list[Any] = [
        frame,
        columns,
        frame.to_dict("records"),
        halves,
        [Batch(half) for half in halves],
        lambda: halves,
        Batch(frame),
    ]
    documents = [read(json.dumps(compare(reference, shape).to_json())) for shape in shapes]
    assert documents[1:] == documents[:1] * (len(shapes) - 1)
    assert documents[0]["rows"] == 1_000


def test_ages_are_taken_at_each_row_s_own_time() -> None:
    """An account's age in days, of rows seen over a month."""
    rng = np.random.default_rng(6)
    seen = 1_760_000_000 + np.sort(rng.uniform(0, 30 * 86_400, 2_000))
    schema = Schema((Feature("signed_up", kind="timestamp"),))
    reference = Reference.build({"signed_up": seen - rng.exponential(86_400, 2_000)}, schema=schema, timestamps=seen)
    later = seen + 300 * 86_400
    report = compare(reference, {"signed_up": later - rng.exponential(86_400, 2_000)}, timestamps=later)
    assert report.state == "ok"
    assert _of(report, "signed_up").psi < 0.05
    with pytest.raises(ValueError, match="'signed_up' is an age, which needs timestamps"):
        compare(reference, {"signed_up": later})


def test_predictions_are_read_as_the_reference_read_them() -> None:
    """Probabilities of a binary model are classes and scores; beside a column of scores they are classes only."""
    rng = np.random.default_rng(7)
    data = {"x": rng.normal(size=4_000)}
    probabilities, scores = rng.beta(2, 5, 4_000), rng.normal(size=4_000)
    both: tuple[dict[str, Any], ...] = ({"predictions": probabilities}, {"predictions": probabilities, "scores": scores})
    for outputs in both:
        reference = Reference.build(data, task="binary", **outputs)
        same = compare(reference, data, **outputs)
        assert [_of(same, name).psi for name in ("@prediction", "@score")] == pytest.approx([0.0, 0.0], abs=1e-12)
        moved = compare(reference, data, **{name: values + 0.3 for name, values in outputs.items()})
        assert _of(moved, "@prediction").state == "critical"
        assert _of(compare(reference, data), "x").psi == pytest.approx(0.0, abs=1e-12)
        assert {one.feature for one in compare(reference, data).features} == {"x"}
    with pytest.raises(ValueError, match="predictions, scores: the reference has none"):
        compare(Reference.build(data), data, scores=scores)
    with pytest.raises(ValueError, match="labels: the reference has none"):
        compare(reference, data, labels=np.zeros(4_000))


def test_derived_features_have_a_row_of_their_own() -> None:
    """Comments as long as ever, of more words."""
    rng = np.random.default_rng(20)

    def comments(word: str) -> list[str]:
        return [(word * 60)[: 10 * int(tens)] for tens in rng.integers(5, 25, 3_000)]

    schema = Schema((Feature("comment", kind="text"),))
    report = compare(Reference.build({"comment": comments("twelve ab ")}, schema=schema), {"comment": comments("a b c d e ")})
    assert _of(report, "comment").state == "ok"
    assert _of(report, "comment/words").state == "critical"


def test_labels_drift_like_a_feature(reference: Reference) -> None:
    """From half of them to four of five."""
    frame = rows_of(2_000, 8)
    frame["late"] = (np.arange(2_000) % 5 > 0).astype(int)
    report = _compare(reference, frame)
    base = np.array(reference["@label"].counts, dtype=float)
    now = np.array([400.0 if label == "0" else 1_600.0 if label == "1" else 0.0 for label in reference["@label"].bins])
    p, q = ((counts + 0.5) / (counts + 0.5).sum() for counts in (base, now))
    assert _of(report, "@label").psi == pytest.approx(stats.entropy(p, q) + stats.entropy(q, p))
    assert report.drifted == ("@label",)
    assert report.drifted_ratio() == 0.0  # outputs are no inputs


def test_the_span_decides_whose_normal_operation_counts(reference: Reference) -> None:
    """The longest calibrated window that nine tenths of are there, as the rules ask; none without timestamps."""
    assert set(reference["temperature"].thresholds["wasserstein"]) == {"6h", "1d"}
    for rows, expected in ((2_000, "1d"), (660, "1d"), (640, "6h"), (150, "")):
        assert {one.window for one in _compare(reference, rows_of(rows, 9)).features} == {expected}
    frame = rows_of(2_000, 9)
    assert {one.window for one in compare(reference, frame[INPUTS]).features} == {""}
    assert _of(_compare(reference, frame, window="6h"), "temperature").window == "6h"
    assert _of(_compare(reference, frame, window="7d"), "temperature").window == ""  # not calibrated for
    with pytest.raises(ValueError, match="timestamps must have one entry for each of 2000 rows"):
        compare(reference, frame[INPUTS], timestamps=frame["seen_at"][1:])
    with pytest.raises(ValueError, match="window must be one of"):
        _compare(reference, frame, window="2h")


def test_normal_operation_raises_the_level() -> None:
    """Days that differ by half a deviation: such a day is calm, the same rows without times are not."""
    rng = np.random.default_rng(10)
    days = np.repeat(rng.normal(0, 0.5, 40), 400)
    at = 1_760_000_000.0 + np.arange(16_000) * 216
    reference = Reference.build({"x": days + rng.normal(size=16_000)}, timestamps=at)
    odd = {"x": 0.7 + rng.normal(size=400)}
    timed = compare(reference, odd, timestamps=1_780_000_000.0 + np.arange(400) * 216)
    assert timed.state == "ok"
    row = timed.features[0]
    assert row.levels["warning"] == pytest.approx(reference["x"].thresholds["wasserstein"]["1d"])
    assert compare(reference, odd).state == "critical"


def test_shares_are_judged_as_their_alerts_do(reference: Reference) -> None:
    """Of 2,000 rows: 10 % missing, 6 % new categories, 0.4 % (too few to matter) elsewhere."""
    frame = rows_of(2_000, 11)
    frame.loc[:199, "distance"] = np.nan
    frame.loc[:119, "carrier"] = "ZZ"
    report = _compare(reference, frame)
    missing = _of(report, "distance").findings
    unseen = [one for one in _of(report, "carrier").findings if one.statistic == "unseen_ratio"]
    assert [(one.statistic, one.value, one.level, one.severity) for one in missing] == [("missing_ratio", 0.1, 0.05, "warning")]
    chance = 4.5 * np.sqrt(0.06 * 0.94 * (1 / 2_000 + 1 / 30_000))
    assert [(one.statistic, one.value, one.severity) for one in unseen] == [("unseen_ratio", 0.06, "warning")]
    assert unseen[0].level == pytest.approx(chance)
    frame.loc[8:119, "carrier"] = "AA"
    assert _of(_compare(reference, frame), "carrier").state == "ok"
    assert _of(_compare(reference, frame.drop(columns="distance").assign(distance=np.nan)), "distance").state == "critical"


def test_new_identifiers_that_are_to_be_expected_are_no_finding() -> None:
    """Two samples of one heavy tail: 3 % of the second are new, and the first says so."""
    trained, served = np.random.default_rng(3).zipf(1.5, size=(2, 20_000))
    reference = Reference.build({"id": list(map(str, trained))})
    one = _of(compare(reference, {"id": list(map(str, served))}), "id")
    assert reference["id"].new_ratio > 0.03
    assert (one.state, one.findings) == ("ok", ())


def test_few_values_and_usual_gaps_are_no_finding() -> None:
    """What training lacked as often, fewer rows than judge anything, and fewer values than matter."""
    training: list[float | None] = [1.0, 2.0, 3.0, 4.0, None] * 1_000
    reference = Reference.build({"x": training})
    assert compare(reference, {"x": training[:2_000]}).features[0].findings == ()
    rise = compare(reference, {"x": [*training[:1_000], *[None] * 200]}).features[0].findings
    assert {one.statistic: one.value for one in rise} == pytest.approx({"missing_ratio": 400 / 1_200 - 0.2})
    none: list[float | None] = [None] * 299
    assert compare(reference, {"x": none}).state == "too few values"
    assert compare(reference, {"x": [*none, None]}).state == "critical"
    few = {("min_samples", "warning"): 5.0}
    assert compare(reference, {"x": none[:9]}, defaults=few).state == "too few values"
    assert compare(reference, {"x": none[:10]}, defaults=few).state == "critical"


def test_values_outside_of_what_training_had_are_found(reference: Reference) -> None:
    """3 % beyond the greatest."""
    frame = rows_of(2_000, 12)
    frame.loc[:59, "temperature"] = TRAINING["temperature"].max() + 0.5
    row = _of(_compare(reference, frame), "temperature")
    assert row.out_of_range_ratio == 0.03
    assert [one.statistic for one in row.findings] == ["out_of_range_ratio"]


def test_values_that_break_the_schema_are_found() -> None:
    """Half of them, in a feature with a range; the reference's own broken values are no excuse."""
    schema = Schema((Feature("age", minimum=0, maximum=120),))
    reference = Reference.build({"age": np.arange(3_000) % 90}, schema=schema)
    row = compare(reference, {"age": np.where(np.arange(1_000) % 2, 130, np.arange(1_000) % 90)}).features[0]
    assert (row.invalid_ratio, row.findings[0].statistic, row.state) == (0.5, "invalid_ratio", "critical")


def test_the_model_has_drifted_if_many_features_have() -> None:
    """Two of five at the warning are over three tenths; one of two is that feature's matter."""
    rng = np.random.default_rng(13)
    reference = Reference.build({name: rng.normal(size=5_000) for name in "abcde"})

    def moved(*names: str) -> DriftReport:
        return compare(reference, {name: rng.normal(0.3 if name in names else 0.0, 1.0, 5_000) for name in "abcde"})

    assert (moved("a", "b").drifted_ratio(), moved("a", "b").model_state) == (0.4, "warning")
    assert (moved("a").drifted_ratio(), moved("a").model_state) == (0.2, "ok")
    assert moved("a", "b").drifted_ratio("critical") == 0.0
    pair = compare(Reference.build({"a": np.arange(900), "b": np.arange(900)}), {"a": np.arange(900) + 300, "b": np.arange(900)})
    assert (pair.drifted_ratio(), pair.model_state) == (0.5, "ok")
    few = compare(reference, {name: rng.normal(size=100) for name in "abcde"})
    assert (few.model_state, few.state, few.judged) == ("too few values", "too few values", ())


def test_thresholds_in_code_come_before_the_defaults(reference: Reference) -> None:
    """As in a monitor; a feature that is not there is a mistake."""
    frame = rows_of(2_000, 14, shift=1.2)
    assert _of(_compare(reference, frame), "temperature").state == "warning"
    assert (
        _of(_compare(reference, frame, thresholds=[Threshold("wasserstein", 0.6, feature="temperature")]), "temperature").state
        == "ok"
    )
    assert _of(_compare(reference, frame, defaults={("wasserstein", "critical"): 0.2}), "temperature").state == "critical"
    with pytest.raises(ValueError, match="feature must be one of"):
        _compare(reference, frame, thresholds=[Threshold("psi", 0.1, feature="absent")])


def test_every_reserved_name_and_number_is_in_the_document(reference: Reference) -> None:
    """Keys are a promise: pipelines read them. What is not known is null."""
    document = json.loads(json.dumps(_compare(reference, rows_of(500, 17)).to_json(), allow_nan=False))
    assert set(document) == {
        *("format", "reference", "rows", "span_seconds", "state", "model_state", "drifted", "drifted_features_ratio"),
        *("violations", "features"),
    }
    by_name = {one["feature"]: one for one in document["features"]}
    assert set(by_name) == {*INPUTS, "@reconstruction_error", "@score", "@label"}
    assert set(by_name["carrier"]) == {
        *("feature", "state", "rows", "samples", "missing_ratio", "reference_missing_ratio", "invalid_ratio", "unseen_ratio"),
        *("out_of_range_ratio", "mean_shift", "psi", "js_distance", "ks", "wasserstein", "p_value", "statistic", "value", "window"),
        *("levels", "findings"),
    }
    assert by_name["carrier"]["ks"] is None
    assert by_name["carrier"]["value"] == by_name["carrier"]["psi"]
    assert set(by_name["temperature"]["levels"]) == {"warning", "critical"}


def test_a_p_value_that_no_float_holds_is_0() -> None:
    reference = Reference.build({"carrier": ["AA", "UA"] * 2_000})
    assert " 0.000 " in "\n".join(lines(compare(reference, {"carrier": ["AA"] * 4_000})))


def test_the_text_of_an_empty_feature_is_no_number(reference: Reference) -> None:
    """All values missing: no statistic, no NaN."""
    frame = rows_of(2_000, 18)
    frame["temperature"] = np.nan
    text = "\n".join(lines(_compare(reference, frame)))
    assert "nan" not in text.lower()
    assert "100.0%" in text
