"""Data in batches to the counts that serving makes of the same rows."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from otel_mlmon.catalog import LABEL, PREDICTION, SCORE
from otel_mlmon.feature import Feature
from otel_mlmon.frames import split
from otel_mlmon.intake import Intake, record_rows
from otel_mlmon.outputs import interpret, per_row
from otel_mlmon.profiling.batches import Batch, reopen, unix_times
from otel_mlmon.records import Record, capture
from otel_mlmon.reference import Reference
from otel_mlmon.schema import Schema
from otel_mlmon.settings import Settings
from otel_mlmon.snapshot import FeatureSnapshot, MonitorSnapshot
from otel_mlmon.store import SeriesStore

__all__ = ["Counted", "batches_of", "count"]

_LABEL_COLUMN = "label"


@dataclass(frozen=True, slots=True)
class Counted:
    """All rows of some data, counted.

    Attributes:
        rows: How many.
        features: By name; outputs and labels only if the data had them.
        violations: Rows that break the schema, by check; none that is 0.
        span_seconds: From the first timestamp to the last; NaN without.
    """

    rows: int
    features: Mapping[str, FeatureSnapshot]
    violations: Mapping[str, float]
    span_seconds: float


def batches_of(data: Any, outputs: Mapping[str, Any]) -> Iterator[Batch]:
    """The batches that some data is or comes in.

    Args:
        data: As ``compare``.
        outputs: Predictions, scores, labels and timestamps that go with data that is not in batches.

    Raises:
        ValueError: If they are given beside batches.
    """
    opened = reopen([data] if isinstance(data, Batch) else data)
    given = [name for name, values in outputs.items() if values is not None]
    if opened is None:
        yield Batch(data, **outputs)
        return
    if given:
        raise ValueError(f"data comes in batches, so {', '.join(given)} must come in each Batch")
    for part in opened():
        yield part if isinstance(part, Batch) else Batch(part)


def count(reference: Reference, batches: Iterable[Batch]) -> Counted:
    """Count rows the way a monitor with this reference does.

    Args:
        reference: Gives features and bins.
        batches: Read once, one after the other.

    Returns:
        Counts against the reference's bins.

    Raises:
        ValueError: If there are no rows, some cannot be read, or there are outputs that the reference does not know.
    """
    inputs, labels = _Counter(reference), _label_counter(reference)
    rows, times, named = 0, (math.inf, -math.inf), set()
    for number, batch in enumerate(batches):
        data = _taken_apart(batch.data)
        if isinstance(data, Mapping) and not data:  # it would pass for one row without values
            raise ValueError(f"batch {number}: must have columns of the reference's features, got none")
        captured = capture(data)
        size = captured[2]
        if not size:
            continue
        rows += size
        at = None if batch.timestamps is None else unix_times(_array(batch.timestamps))
        if at is not None:
            _check_length("timestamps", at, size, number)
            times = min(times[0], at.min()), max(times[1], at.max())
        prediction = _prediction(batch, reference, size)
        named |= {name for name in (PREDICTION, SCORE) if prediction is not None and name in reference}
        aged = [feature.name for feature in reference.schema if feature.kind == "timestamp"]
        if not aged:
            inputs.add(Record(captured, prediction, "ok", "", math.nan, 0.0).split())
        elif at is None:
            raise ValueError(f"batch {number}: feature {aged[0]!r} is an age, which needs timestamps, got None")
        else:
            inputs.add(_one_by_one(batch.data, prediction, at, reference.schema))
        if batch.labels is not None:
            if labels is None:
                raise ValueError("labels: the reference has none to compare with; build it with labels")
            truths = per_row(_array(batch.labels), size)
            labels.add(record_rows({_LABEL_COLUMN: truths}, None, ended=0.0))
            named.add(LABEL)
    if not rows:
        raise ValueError("data: there must be rows to compare, got none")
    snapshot = inputs.snapshot()
    features = {
        name: one
        for name, one in snapshot.features.items()
        if one.reference is not None and (name not in (PREDICTION, SCORE) or name in named)
    }
    if labels is not None and LABEL in named:
        features[LABEL] = replace(labels.snapshot().features[_LABEL_COLUMN], feature=LABEL, reference=reference[LABEL])
    violations = {check: broken for check, broken in snapshot.violations.items() if broken}
    return Counted(rows, features, violations, times[1] - times[0] if math.isfinite(times[0]) else math.nan)


class _Counter:
    """A monitor's counting without its queue, thread and clock."""

    def __init__(self, reference: Reference) -> None:
        self._reference = reference
        self._store = SeriesStore()
        self._failures: list[tuple[str, BaseException]] = []
        self._intake = Intake(
            self._store,
            ("report", ""),
            reference.task,
            settings=Settings(),
            histograms=False,
            failed=lambda place, error: self._failures.append((place, error)),
        )
        self._intake.watch(reference.schema, reference)

    def add(self, records: list[Record]) -> None:
        self._intake.count(records, [], records)
        if self._failures:
            place, error = self._failures[0]
            raise ValueError(f"{place}: could not be read: {error}") from error

    def snapshot(self) -> MonitorSnapshot:
        return MonitorSnapshot.of(self._store.snapshot(), self._reference)


def _label_counter(reference: Reference) -> _Counter | None:
    """Labels are counted in bins like a feature's; here they come with the rows, and so as the one feature of a reference."""
    if LABEL not in reference:
        return None
    profile = reference[LABEL]
    schema = Schema((Feature(_LABEL_COLUMN, kind=profile.kind),))
    own = replace(profile, feature=_LABEL_COLUMN, correlations=())
    return _Counter(Reference(schema, None, reference.rows, (own,), reference.created))


def _prediction(batch: Batch, reference: Reference, rows: int) -> Any:
    """What the model returned, in a form that serving reads as ``Reference.build`` reads the two columns."""
    if batch.predictions is None and batch.scores is None:
        return None
    if PREDICTION not in reference and SCORE not in reference:
        raise ValueError("predictions, scores: the reference has none to compare with; build it with them")
    returned = None if batch.predictions is None else per_row(_array(batch.predictions), rows)
    if batch.scores is None:
        return returned
    score = per_row(_array(batch.scores), rows)
    read = None if returned is None else interpret(returned, reference.task, rows)
    return {"score": score} | ({} if read is None or read.prediction is None else {"prediction": read.prediction})


def _one_by_one(data: Any, prediction: Any, at: npt.NDArray[np.float64], schema: Schema) -> list[Record]:
    """A call for each row, at its own time: where features are ages, which depend on it."""
    columns = split(data, schema.names if getattr(data, "ndim", 0) == 2 and not hasattr(data, "columns") else None)
    records = []
    for row, ended in enumerate(at.tolist()):
        values = {name: column[row] for name, column in columns.items()}
        own: Any = None
        if isinstance(prediction, Mapping):
            own = {key: column[row] for key, column in prediction.items()}
        elif prediction is not None:
            own = prediction[row : row + 1]
        records += record_rows(values, own, ended=ended)
    return records


def _taken_apart(data: Any) -> Any:
    """The columns of a frame: serving takes frames apart in parts of a thousand rows, which is slow for a large one."""
    frame = hasattr(data, "get_columns") or (hasattr(data, "columns") and hasattr(data, "dtypes"))
    return split(data) if frame else data


def _check_length(name: str, values: npt.NDArray[np.float64], rows: int, number: int) -> None:
    if values.shape != (rows,):
        raise ValueError(f"batch {number}: {name} must have one entry for each of {rows} rows, got shape {values.shape}")


def _array(values: Any) -> Any:
    """A column of a frame as an array; anything else as it is."""
    return split({"": values})[""] if hasattr(values, "to_numpy") and getattr(values, "ndim", 1) == 1 else values
