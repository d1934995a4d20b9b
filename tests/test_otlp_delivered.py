"""Delta temporality: whatever fails, what was delivered adds up to what was counted."""

import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_mlmon import catalog
from otel_mlmon.exposition.otlp.delivered import Delivered
from otel_mlmon.exposition.otlp.interval import Interval
from otel_mlmon.store import Series

BOTH: frozenset[catalog.MetricType] = frozenset({"counter", "histogram"})
FAMILIES = (catalog.CALLS, catalog.FEATURE_VALUE, catalog.FEATURE_MIN)


class Counts:
    """Series with numbers, which may come to lie elsewhere."""

    def __init__(self) -> None:
        self.numbers: dict[tuple[str, tuple[str, ...]], tuple[Series, np.ndarray]] = {}
        self.time = 1_000
        self.layout()

    def more(self, which: int, amounts: list[int]) -> None:
        family = FAMILIES[which % 3]
        labels = ("m", "1", str(which))
        series = Series(family, labels, 0, (0.0, 1.0) if family.type == "histogram" else ())
        known = (family.name, labels) in self.numbers
        _, numbers = self.numbers.setdefault((family.name, labels), (series, np.zeros(series.width)))
        numbers += amounts[: series.width]
        if family.type == "histogram":
            numbers[-1] -= 2 * amounts[series.width - 1]  # a sum may fall
        if not known:
            self.layout()

    def layout(self) -> None:
        """All series anew, the last first: as a merged view may come back in another order."""
        self.numbers = dict(reversed(self.numbers.items()))
        made, index = [], 3  # slots that are nobody's
        for series, _ in self.numbers.values():
            made.append(Series(series.family, series.labels, index, series.bounds))
            index += series.width
        self.series, self.slots = tuple(made), index

    def interval(self) -> Interval:
        values = np.zeros(self.slots)
        for one, (_, numbers) in zip(self.series, self.numbers.values(), strict=True):
            values[one.index : one.index + one.width] = numbers
        self.time += 1
        return Interval(self.series, values, np.full(len(self.series), 7), self.time)


STEPS = st.one_of(
    st.tuples(st.just("count"), st.integers(0, 8), st.lists(st.integers(0, 9), min_size=4, max_size=4)),
    st.tuples(st.just("export"), st.sets(st.integers(0, 8)), st.none()),
    st.tuples(st.just("layout"), st.none(), st.none()),
    st.tuples(st.just("takeover"), st.none(), st.none()),
)


@given(st.lists(STEPS, max_size=30))
def test_what_was_delivered_adds_up_to_what_was_counted(steps: list[tuple[str, object, object]]) -> None:
    """Requests fail or not, series join and move, and another process takes over: the receiver adds up deltas."""
    counts = Counts()
    received: dict[tuple[str, ...], float | np.ndarray] = defaultdict(float)
    with tempfile.TemporaryDirectory() as folder:
        delivered = Delivered(BOTH, Path(folder) / "kept")

        def export(fail: set[int]) -> None:
            whole = counts.interval()
            rest = delivered.rest(whole)
            assert rest.delta == BOTH
            for position, one in enumerate(whole.series):
                if position % 3 in fail:
                    continue
                part = rest.values[one.index : one.index + one.width]
                assert 0 < rest.starts[position] < rest.time
                if one.family.type == "gauge":
                    received[one.labels] = part
                else:
                    received[one.labels] = received[one.labels] + part
            for third in {0, 1, 2} - fail:
                delivered.add(whole, range(third, len(whole.series), 3))
                delivered.keep()

        for kind, first, second in steps:
            if kind == "count":
                counts.more(first, second)  # type: ignore[arg-type]  # a step of this kind has these
            elif kind == "export":
                export(first)  # type: ignore[arg-type]
            elif kind == "layout":
                counts.layout()
            else:
                delivered = Delivered(BOTH, Path(folder) / "kept")
        export(set())
    for series, numbers in counts.numbers.values():
        assert np.array_equal(received[series.labels], numbers)


def reading(*counts: float, time: int = 5) -> Interval:
    return Interval(HISTOGRAM, np.array(counts), np.array([2]), time)


HISTOGRAM = (Series(catalog.CALL_DURATION, ("m", "1"), 0, (1.0,)),)


def test_a_series_that_became_smaller_began_anew() -> None:
    """All of it counts, since its own start."""
    delivered = Delivered(BOTH)
    delivered.rest(reading(5, 5, 9.0))
    delivered.add(reading(5, 5, 9.0), [0])
    rest = delivered.rest(reading(7, 1, 3.0, time=9))
    assert rest.values.tolist() == [7, 1, 3.0]
    assert rest.starts.tolist() == [2]
    delivered.add(reading(7, 1, 3.0, time=9), [0])
    rest = delivered.rest(reading(7, 2, 4.0, time=11))
    assert rest.values.tolist() == [0, 1, 1.0]
    assert rest.starts.tolist() == [9]


def test_a_sum_that_became_smaller_did_not() -> None:
    """Negative values make it fall."""
    delivered = Delivered(BOTH)
    delivered.rest(reading(5, 5, 9.0))
    delivered.add(reading(5, 5, 9.0), [0])
    assert delivered.rest(reading(6, 5, 2.0)).values.tolist() == [1, 0, -7.0]


def test_only_what_is_wanted_as_delta_is_one() -> None:
    delivered = Delivered(frozenset({"counter"}))
    delivered.rest(reading(5, 5, 9.0))
    delivered.add(reading(5, 5, 9.0), [0])
    rest = delivered.rest(reading(6, 5, 10.0, time=9))
    assert (rest.values.tolist(), rest.starts.tolist()) == ([6, 5, 10.0], [2])


def test_a_clock_that_was_set_back_does_not_turn_a_point_around() -> None:
    delivered = Delivered(BOTH)
    delivered.rest(reading(5, 5, 9.0, time=100))
    delivered.add(reading(5, 5, 9.0, time=100), [0])
    assert delivered.rest(reading(5, 5, 9.0, time=50)).starts.tolist() == [50]


def test_what_is_no_record_of_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kept").write_bytes(b"[[")
    with pytest.raises(ValueError):
        Delivered(BOTH, tmp_path / "kept")
