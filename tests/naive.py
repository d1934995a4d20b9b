"""An independent count of rows, value by value: what a monitor's series must equal."""

import functools
import math
import re
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd

from otel_mlmon import catalog
from otel_mlmon.catalog import OTHER, PREDICTION, SCORE, UNSEEN
from otel_mlmon.derivation.reconstruction import Input
from otel_mlmon.feature import Feature
from otel_mlmon.profiling.profile import FeatureProfile
from otel_mlmon.reference import Reference
from otel_mlmon.schema import Schema
from tests.counts import Counts

Row = dict[str, Any]

SCHEMA = Schema(
    (
        Feature("x"),
        Feature("n", dtype="integer", minimum=0, maximum=100, nullable=False),
        Feature("c", kind="categorical", categories=("a", "b", "c", "3", "true")),
        Feature("free", kind="categorical"),
        Feature("flag", kind="boolean", required=False),
        Feature("note", kind="text", format="[^0-9]*"),
    )
)


@functools.cache
def reference() -> Reference:
    """Of 600 rows, with everything that a profile can have: outliers, gaps, an ``__other__``, correlations."""
    rng = np.random.default_rng(11)
    size = 600
    x = rng.standard_t(3, size)
    data = {
        "x": np.where(rng.random(size) < 0.05, np.nan, x),
        "n": rng.poisson(20, size),
        "c": rng.choice(["a", "b", "c", "3"], size, p=[0.4, 0.3, 0.2, 0.1]),
        "free": [f"f{value}" for value in np.minimum(rng.geometric(0.3, size), 12)],
        "flag": rng.random(size) < 0.3,
        "note": [" ".join(rng.choice(["late", "Late", "é", "über", "again", ""], length)) for length in rng.integers(0, 6, size)],
    }
    score = 1 / (1 + np.exp(-x + rng.normal(size=size)))
    return Reference.build(data, schema=SCHEMA, task="binary", predictions=score, categories=5)


def is_nothing(value: Any) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, (float, np.floating)) and math.isnan(value))


def as_number(value: Any) -> float | str:
    """The number, or why it is none."""
    if not isinstance(value, (bool, np.bool_, int, np.integer, float, np.floating, Decimal)):
        return "type"
    try:
        return "infinite" if math.isinf(value) else float(value)
    except OverflowError:
        return "infinite"


def as_text(value: Any) -> str:
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value)).lower()
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, str):
        return value if len(value) <= 128 else value[:127] + "…"
    if as_number(value) == "infinite":
        return "inf" if value > 0 else "-inf"
    return str(int(value)) if int(value) == value else repr(float(value))


def read(feature: Feature, value: Any) -> tuple[str, Any]:
    """``missing``, ``valid`` or the reason why not; and the number or category."""
    if is_nothing(value):
        return "missing", None
    if feature.kind == "text":
        if not isinstance(value, str):
            return "type", None
        return ("valid", float(len(value))) if not any(digit in value for digit in "0123456789") else ("format", None)
    if feature.kind == "numeric":
        number = as_number(value)
        if isinstance(number, str):
            return number, None
        if feature.dtype == "integer" and number != int(number):
            return "type", None
        low, high = (feature.minimum, feature.maximum) if feature.minimum is not None else (-math.inf, math.inf)
        assert high is not None
        return ("valid", number) if low <= number <= high else ("range", None)
    if isinstance(value, (list, tuple, dict, set, np.ndarray)):
        return "type", None
    if feature.kind == "boolean":
        return ("valid", as_text(bool(value))) if as_number(value) in (0.0, 1.0) else ("type", None)
    text = as_text(value)
    return ("valid", text) if not feature.categories or text in feature.categories else ("category", None)


def expected(rows: Sequence[Row], scores: Sequence[float | None] | None = None) -> Counts:
    """All series of some rows, by pandas, NumPy and plain loops."""
    known = {feature.name: feature for feature in SCHEMA} | {
        SCORE: Feature(SCORE),
        PREDICTION: Feature(PREDICTION, kind="categorical"),
    }
    names = [*SCHEMA.names, *([PREDICTION, SCORE] if scores is not None else [])]
    cells: dict[str, list[tuple[str, Any]]] = {name: [read(known[name], row.get(name)) for row in rows] for name in SCHEMA.names}
    if scores is not None:
        cells[SCORE] = [("missing", None) if score is None else ("valid", score) for score in scores]
        cells[PREDICTION] = [("missing", None) if score is None else ("valid", str(int(score >= 0.5))) for score in scores]
    found: dict[tuple[str, ...], tuple[float, ...]] = {}
    for name in names:
        states = Counter(state for state, _ in cells[name])
        valid = [value for state, value in cells[name] if state == "valid"]
        found[catalog.FEATURE_MISSING.name, name] = (states.pop("missing", 0),)
        states.pop("valid", 0)
        found |= {(catalog.FEATURE_INVALID.name, name, reason): (count,) for reason, count in states.items()}
        profile = reference()[name]
        if profile.kind == "numeric":
            found |= numeric(name, profile, np.array(valid, dtype=np.float64))
            target = cells.get(SCORE, [("missing", None)] * len(rows))
            both = [(f, y) for (one, f), (two, y) in zip(cells[name], target, strict=True) if one == two == "valid"]
            found[catalog.FEATURE_OUT_OF_RANGE.name, name] = (
                sum(not profile.minimum <= value <= profile.maximum for value in valid),
            )
            if name != SCORE:
                found |= pairs(name, profile, np.array(both, dtype=np.float64).reshape(-1, 2))
        else:
            found |= {(catalog.FEATURE_BIN.name, name, label): (n,) for label, n in categories(profile, valid).items()}
    for name, values in derived(rows, cells).items():
        found |= numeric(name, reference()[name], np.array(values))
        found[catalog.FEATURE_OUT_OF_RANGE.name, name] = (
            sum(not reference()[name].minimum <= value <= reference()[name].maximum for value in values),
        )
    found |= {(catalog.SCHEMA_VIOLATIONS.name, check): (count,) for check, count in violations(rows).items()}
    found[(catalog.PREDICTIONS.name,)] = (len(rows),)
    return {key: tuple(map(float, values)) for key, values in found.items() if any(values)}


def derived(rows: Sequence[Row], cells: dict[str, list[tuple[str, Any]]]) -> dict[str, list[float]]:
    """What is derived of some rows, one by one."""
    (words,), fitted = reference().derivation.vocabularies, reference().derivation.reconstruction
    assert fitted is not None
    found: dict[str, list[float]] = {name: [] for name in reference().derivation.names}
    for place, row in enumerate(rows):
        if cells["note"][place][0] == "valid":
            text, split = row["note"], [crc32(word.encode()) for word in re.split(r"\W+", row["note"].casefold()) if word]
            found["note/words"].append(len(split))
            found["note/empty"].append(not text.strip())
            found["note/non_ascii"] += [sum(ord(letter) > 127 for letter in text) / len(text)] if text else []
            found["note/unknown_words"] += [sum(word not in words.words for word in split) / len(split)] if split else []
        point = [encoded(item, *cells[item.feature][place]) for item in fitted.inputs]
        gap = np.array(point) - fitted.centre
        left = gap - np.transpose(fitted.components) @ (np.array(fitted.components) @ gap)
        found["@reconstruction_error"].append(round(float(np.linalg.norm(left)), 9))
    return found


def encoded(item: Input, state: str, value: Any) -> float:
    """A standardised, clipped input; 0 where there is none."""
    if state != "valid":
        return 0.0
    if item.encoding:
        bins = reference()[item.feature]
        (label,) = categories(bins, [value])
        value = item.encoding[bins.bins.index(label)]
    return max(-8.0, min(8.0, (float(value) - item.mean) / item.std))


def categories(profile: FeatureProfile, valid: Sequence[str]) -> Counter[str]:
    def bin_of(name: str) -> str:
        return name if name in profile.bins else OTHER if name in profile.others else UNSEEN

    return Counter(map(bin_of, valid))


def numeric(name: str, profile: FeatureProfile, values: np.ndarray[Any, Any]) -> Counts:
    everything = [-math.inf, *profile.edges, math.inf]
    codes = pd.cut(values, everything, right=False, labels=profile.bins).codes
    found: Counts = {(catalog.FEATURE_BIN.name, name, profile.bins[code]): (float(n),) for code, n in Counter(codes).items()}
    places = pd.cut(values, [-math.inf, *profile.histogram, math.inf], right=True, labels=False)
    buckets = np.bincount(places, minlength=len(profile.histogram) + 1)
    found[catalog.FEATURE_VALUE.name, name] = (*map(float, buckets), math.fsum(values / 4) * 4)
    low, high = profile.fences
    found[catalog.FEATURE_OUTLIERS.name, name] = (sum(not low <= value <= high for value in values),)
    if len(values):
        found[catalog.FEATURE_MIN.name, name] = (values.min(),)
        found[catalog.FEATURE_MAX.name, name] = (values.max(),)
    z = shifted(profile, values)
    sums = {"n": float(len(z)), "f": z.sum(), "ff": (z**2).sum()}
    return found | {(catalog.FEATURE_MOMENT.name, name, "", "z", moment): (total,) for moment, total in sums.items()}


def shifted(profile: FeatureProfile, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    with np.errstate(over="ignore"):
        return np.asarray(np.clip((values - profile.mean) / profile.scale, -8, 8) + 8)


def midranks(profile: FeatureProfile, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    below = np.concatenate(([0], np.cumsum(profile.counts)))
    middles = (below[:-1] + below[1:]) / 2 / below[-1]
    return np.asarray(middles[np.searchsorted(profile.edges, values, side="right")])


def pairs(name: str, profile: FeatureProfile, both: np.ndarray[Any, Any]) -> Counts:
    found: Counts = {}
    for space, of in (("z", shifted), ("u", midranks)):
        f, y = of(profile, both[:, 0]), of(reference()[SCORE], both[:, 1])
        sums = {"n": float(len(f)), "f": f.sum(), "ff": (f**2).sum(), "y": y.sum(), "yy": (y**2).sum(), "fy": (f * y).sum()}
        found |= {(catalog.FEATURE_MOMENT.name, name, SCORE, space, moment): (total,) for moment, total in sums.items()}
    return found


def violations(rows: Sequence[Row]) -> Counter[str]:
    found: Counter[str] = Counter()
    for row in rows:
        found["missing_column"] += any(name not in row for name in SCHEMA.names if name != "flag")
        found["extra_column"] += "extra" in row
        found["null"] += "n" in row and is_nothing(row["n"])
    return found
