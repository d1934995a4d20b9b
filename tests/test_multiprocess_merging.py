"""Many processes' numbers as one, against a sum over dictionaries."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_mlmon.catalog import CATALOG, MetricFamily
from otel_mlmon.exposition.multiprocess.merging import Layout, Part
from otel_mlmon.store import Series

BOUNDS = (1.0, 2.0)
FAMILIES = [family for family in CATALOG if family.type != "counter" or family.merge == "newest"] + list(CATALOG[:2])
NUMBERS = st.one_of(st.integers(0, 9).map(float), st.just(math.nan))

CHOICES: dict[str, Callable[[list[float]], float]] = {
    "sum": sum,
    "min": min,
    "oldest": min,
    "max": max,
    "newest": max,
    "latest": lambda values: values[-1],
}

Numbers = dict[tuple[MetricFamily, str], list[float]]


@st.composite
def processes(draw: st.DrawFn) -> list[tuple[Numbers, bool, bool]]:
    """What some processes count, whether they have ended, whether the machine has started since."""
    drawn = []
    for _ in range(draw(st.integers(0, 4))):
        numbers: Numbers = {}
        for family, label in draw(st.lists(st.tuples(st.sampled_from(FAMILIES), st.sampled_from("ab")), max_size=12, unique=True)):
            width = len(BOUNDS) + 2 if family.type == "histogram" else 1
            values = draw(st.lists(NUMBERS, min_size=width, max_size=width))
            numbers[family, label] = values if family.type == "gauge" else [0.0 if math.isnan(one) else one for one in values]
        ended = draw(st.booleans())
        drawn.append((numbers, ended, ended and draw(st.booleans())))
    return drawn


def naive(drawn: list[tuple[Numbers, bool, bool]]) -> Numbers:
    """The same, number by number, as the catalogue's words have it."""
    merged: Numbers = {}
    for key in dict.fromkeys(key for numbers, _, _ in drawn for key in numbers):
        family = key[0]
        said = [(numbers[key], ended, past) for numbers, ended, past in drawn if key in numbers]
        if family.type != "gauge" and family.merge == "sum":
            merged[key] = [sum(column) for column in zip(*(values for values, _, _ in said), strict=True)]
            continue
        if family.type == "counter":
            single = [values[0] for values, _, past in said if not past]
        else:
            lasting = family.merge in {"oldest", "newest"}
            single = [values[0] for values, ended, _ in said if lasting or not ended]
        single = [value for value in single if not math.isnan(value)]
        if single:
            merged[key] = [CHOICES[family.merge](single)]
    return merged


def laid_out(numbers: Numbers) -> tuple[list[Series], np.ndarray[Any, Any]]:
    """A process's series and array, with a slot in between that is nobody's."""
    series, values = [], [-1.0]
    for (family, label), own in numbers.items():
        bounds = BOUNDS if family.type == "histogram" else ()
        series.append(Series(family, (label,) * len(family.labels), len(values), bounds))
        values += own
    return series, np.array(values)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(processes())
def test_each_family_is_merged_as_the_catalogue_says(drawn: list[tuple[Numbers, bool, bool]]) -> None:
    """Oldest process first; a gauge that nobody has is not there."""
    arrays = [laid_out(numbers) for numbers, _, _ in drawn]
    layout = Layout([Part(series, ended=ended, past=past) for (series, _), (_, ended, past) in zip(arrays, drawn, strict=True)])
    values = layout.merge([values for _, values in arrays])
    merged = {
        (series.family, series.labels[0]): values[series.index : series.index + series.width].tolist() for series in layout.series
    }
    assert {key: own for key, own in merged.items() if not math.isnan(own[0])} == naive(drawn)
    assert len(values) == sum(series.width for series in layout.series)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(processes(), processes())
def test_another_layout_keeps_the_order(first: list[tuple[Numbers, bool, bool]], second: list[tuple[Numbers, bool, bool]]) -> None:
    """And gives the same numbers as one made from nothing."""
    before = Layout([Part(laid_out(numbers)[0], ended=ended, past=past) for numbers, ended, past in first])
    arrays = [laid_out(numbers) for numbers, _, _ in second]
    parts = [Part(series, ended=ended, past=past) for (series, _), (_, ended, past) in zip(arrays, second, strict=True)]
    layouts = Layout(parts, before), Layout(parts)
    shown = []
    for layout in layouts:
        values = layout.merge([values for _, values in arrays])
        numbers = {(one.family.name, one.labels): values[one.index : one.index + one.width].tolist() for one in layout.series}
        shown.append({key: own for key, own in numbers.items() if not math.isnan(own[0])})
    assert shown[0] == shown[1]
    keys = [[(one.family.name, one.labels) for one in series] for series in (before.series, layouts[0].series)]
    assert [key for key in keys[0] if key in keys[1]] == [key for key in keys[1] if key in keys[0]]
