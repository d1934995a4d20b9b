"""What the drift alerts promise, measured anew with few draws: `make eval` measures it with many."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from otel_mlmon import Monitor, Reference
from otel_mlmon.catalog import LABEL, SCORE
from otel_mlmon.thresholds import SHIPPED
from tests.eval import calm, changes, concept, lasting, learned, readme, related, report, traffic
from tests.eval.columns import columns
from tests.eval.figures import Figures
from tests.eval.ours import firing, watches
from tests.eval.peers import PEERS

SIZES = (50, 100, 299, 300, 1_000, 5_000, 20_000, 100_000)
MOST = 0.01
"""False alarms an evaluation."""


@pytest.fixture(scope="module")
def year() -> traffic.Year:
    return traffic.Year.load()


@pytest.mark.parametrize("stream", ["flights themselves", "digits", "diabetes", "breast cancer"])
def test_random_rows_raise_no_false_alarms(stream: str) -> None:
    """Of a feature, in one window alone, at any size; with too few rows none at all."""
    found = calm.run(stream, references=1, windows=30, sizes=SIZES, others={})
    for (_, contender, size), rates in found.items():
        if contender in (calm.OURS, calm.ALONE):
            assert rates.feature.share <= MOST, (contender, size)
            assert size >= SHIPPED["min_samples", "warning"] or not rates.feature.alarms
    assert {size for _, _, size in found} == set(SIZES)


def test_a_model_of_fifty_features_raises_no_false_alarms() -> None:
    """Neither one of its features nor the model."""
    found = calm.run(calm.MADE_UP, references=1, windows=200, sizes=SIZES, others={})
    for size in SIZES:
        rates = found[calm.MADE_UP, calm.OURS, size]
        assert rates.any.of == 200
        assert rates.any.share <= MOST
        assert rates.model.alarms == 0


def test_winter_in_its_order_raises_no_false_alarms(year: traffic.Year) -> None:
    """Some blocks calibrate, others test; and a cut-off of PSI alarms on every second window there."""
    found = traffic.calm(year, traffic.splits(1), others={"PSI > 0.1": PEERS["PSI > 0.1"]})
    for (split, contender, _), rates in found.rates.items():
        if contender == traffic.CALIBRATED:
            assert rates.feature.of > 3_000, split
            assert rates.feature.share <= MOST, split
            assert rates.model.share <= MOST, split
        if contender == "PSI > 0.1":
            assert rates.feature.share > 0.4, split


def test_summers_temperature_is_found_within_two_days(year: traffic.Year) -> None:
    """From whichever day of summer on."""
    delays = traffic.summer(year)
    for contender in (calm.OURS, traffic.CALIBRATED):
        assert len(delays[contender]) == 91
        assert delays[contender].max() <= 48


def test_a_lasting_shift_is_found_beyond_what_the_feature_does_by_itself(year: traffic.Year) -> None:
    """A small one of distance; of the weather a large one, at times: what finds more, finds it without a shift, too."""
    found = lasting.run(year, list(traffic.splits(1))[-2:], others={"PSI > 0.1": PEERS["PSI > 0.1"]})

    def share(shift: str, contender: str) -> float:
        return lasting.within(found, shift, contender, days=7)

    assert len(found["distance +0.3 sd", traffic.CALIBRATED, "distance"]) == 12
    assert lasting.within(found, "distance +0.5 sd", traffic.CALIBRATED, days=2) > 0.9
    assert share("distance +0.3 sd", traffic.CALIBRATED) > 0.5
    assert share("distance, nothing shifted", traffic.CALIBRATED) == 0
    assert share("weather, nothing shifted", traffic.CALIBRATED) <= 0.05
    assert share("weather +1 sd", traffic.CALIBRATED) < share("weather +2 sd", traffic.CALIBRATED)
    assert share("weather +2 sd", traffic.CALIBRATED) < share("weather +3 sd", traffic.CALIBRATED)
    for contender in (calm.OURS, "PSI > 0.1"):
        assert share("weather, nothing shifted", contender) > 0.9


def test_a_shift_of_three_tenths_is_found_within_a_window() -> None:
    """5,000 rows, 95 % of the runs, and hardly an alarm before it."""
    shift = changes.SHIFTS[0]
    assert shift.name == "mean +0.3 sd"
    found = changes.run(references=2, runs=20, shifts=[shift], others={})
    for contender in (calm.OURS, traffic.CALIBRATED):
        detection = found[shift.name, contender]
        assert len(detection.delays) == 40
        assert detection.within(1) >= 0.95
        assert detection.false.share <= MOST


def test_concept_drift_alone_is_found_and_nothing_where_nothing_is() -> None:
    """The inputs do not move: their correlation with the label does."""
    found = concept.run(references=1, runs=2)
    for change, detection in found.ours.items():
        assert detection.within(1) == (change != "nothing"), change
        assert found.feature[change].share <= MOST
        assert not found.peers[change, "Evidently"].alarms


def test_the_concept_alert_raises_no_false_alarms_in_winters_order(year: traffic.Year) -> None:
    """And the hours of training add up to the correlation that the reference has."""
    split = list(traffic.splits(1))[-1]
    for feature, trained, sums in related.tables(year, split):
        n, f, y, ff, yy, fy = sums[split.train[: len(sums)]].sum(axis=0)
        assert n == trained.samples, feature
        r = (n * fy - f * y) / np.sqrt((n * ff - f * f) * (n * yy - y * y))
        assert r == pytest.approx(trained.r, abs=1e-9), feature
    found = related.run(year, [split])
    assert {target for _, _, target in found} == {LABEL, SCORE}
    for (_, contender, target), rate in found.items():
        if contender == traffic.CALIBRATED:
            assert rate.of > 2_000, target
            assert rate.share <= MOST, target


def test_a_level_is_learned_from_eight_days_and_not_from_alarms() -> None:
    """Mean 0.1, three deviations of 0.1: by hand; 1.5 times as far is an alarm, what is less is normal from then on."""
    logs = np.tile([0.0, 0.2], 12 * 20)
    logs[[300, 400]] = 0.9, 0.7
    usable = np.ones(len(logs), dtype=bool)
    levels = learned.learn(logs, usable)
    assert np.isnan(levels[: 8 * 24 - 1]).all()
    assert levels[8 * 24 - 1 : 400] == pytest.approx(0.4, abs=0.002)
    assert levels[400:] == pytest.approx(0.7)
    assert np.isnan(learned.learn(logs, usable & (np.arange(len(logs)) // 24 % 2 == 0))).all()  # seven days of fourteen


def test_histograms_become_the_counts_of_a_monitor() -> None:
    """Numbers with gaps, integers, categories that training lacked, truth values: as the watched function's worker counts them."""
    rng = np.random.default_rng(5)
    frame = pd.DataFrame(
        {
            "x": np.where(rng.random(900) < 0.1, np.nan, rng.normal(size=900).round(1)),
            "whole": rng.poisson(2.0, 900),
            "colour": rng.choice(["blue", "green", "red"], 900, p=[0.6, 0.35, 0.05]),
            "flag": rng.random(900) < 0.3,
        }
    )
    train, serve = frame[:400][lambda some: some["colour"] != "red"], frame[400:]
    reference = Reference.build(train)
    with Monitor("eval", version="1", reference=reference) as monitor:
        monitor.watch(lambda rows: np.zeros(len(rows)))(serve)
        assert monitor.flush()
        features = monitor.snapshot().features
    for column, watch in zip(columns(frame), watches(reference, columns(frame)), strict=True):
        counts, sums = watch.counted(column.histogram(slice(400, None))[None])
        assert dict(zip(watch.profile.bins, counts[0], strict=True)) == features[column.name].counts
        if column.name == "x":
            z = np.clip((serve["x"] - reference["x"].mean) / reference["x"].std, -8, 8)
            assert sums[0] == pytest.approx(z.sum())


def test_an_alert_waits_and_lingers() -> None:
    """By hand: `for` of one evaluation, `keep_firing_for` of two; Prometheus itself is asked in test_eval_promql."""
    holds = np.array([1, 0, 1, 1, 1, 0, 0, 0, 1, 1, 0, 1, 0, 0, 0], dtype=bool)
    fires = np.array([0, 0, 0, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 0], dtype=bool)
    assert firing(holds, wait=1, keep=2).tolist() == fires.tolist()


def test_the_readme_shows_every_figure_of_every_contender() -> None:
    """Its columns and rows are those that the script writes."""
    rows = [line.split("|")[1:-1] for line in readme.block(readme.README.read_text(encoding="utf-8")).splitlines()]
    assert [cell.strip() for cell in rows[0]] == ["", *report.CONTENDERS]
    assert [row[0].strip() for row in rows[2:]] == [label for label, _ in report.lines(Figures())]
    assert all(cell.strip() for row in rows[2:] for cell in row)


def test_writing_the_table_changes_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(f"before\n{readme.START}\n\nold\n{readme.END}\nafter\n", encoding="utf-8")
    readme.write("| new |\n", path)
    assert path.read_text(encoding="utf-8") == f"before\n{readme.START}\n\n| new |\n\n{readme.END}\nafter\n"
    assert readme.block(path.read_text(encoding="utf-8")) == "| new |\n"
