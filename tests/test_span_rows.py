"""What the span of a call tells of its rows: violations of the schema, prediction id and cohorts; never a value."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from opentelemetry.sdk.trace import ReadableSpan

from otel_mlmon import Feature, Monitor, Reference, Schema
from otel_mlmon.settings import Settings
from tests.readings import counted
from tests.telemetry import Traces, Unspeakable, told

SETTINGS = Settings(system_seconds=0, drain_seconds=30)
SCHEMA = Schema(
    (
        Feature("distance", minimum=0),
        Feature("origin", kind="categorical", categories=("JFK", "LGA")),
        Feature("cargo", kind="boolean", required=False, nullable=True),
        Feature("age", nullable=False),
    )
)
GOOD = {"distance": 4711.0, "origin": "JFK", "cargo": True, "age": 3}
NUMBERS = Schema((Feature("a"), Feature("b", minimum=0)))


def monitor_of(schema: Schema | None = SCHEMA, **arguments: Any) -> Monitor:
    return Monitor("m", schema=schema, trace=True, settings=SETTINGS, **arguments)


def violations(span: ReadableSpan) -> list[dict[str, Any]]:
    """Attributes of the events of one span."""
    assert {event.name for event in span.events} <= {"mlmon.schema_violation"}
    assert all((span.start_time or 0) <= event.timestamp <= (span.end_time or 0) for event in span.events)
    return [dict(event.attributes or {}) for event in span.events]


CASES: list[tuple[Any, dict[str, Any] | None]] = [
    (GOOD, None),
    ({**GOOD, "distance": -4711.0}, {"mlmon.feature.invalid.range": ("distance",)}),
    ({**GOOD, "distance": "4711", "age": "4711"}, {"mlmon.feature.invalid.type": ("distance", "age")}),
    (
        {**GOOD, "distance": float("inf"), "origin": "4711"},
        {"mlmon.feature.invalid.infinite": ("distance",), "mlmon.feature.invalid.category": ("origin",)},
    ),
    ({**GOOD, "age": None}, {"mlmon.schema.violations": ("null",)}),
    ({**GOOD, "4711": 1}, {"mlmon.schema.violations": ("extra_column",)}),
    ({"distance": 4711.0, "4711": 1}, {"mlmon.schema.violations": ("missing_column", "extra_column")}),
    (GOOD, None),
    ([GOOD, {**GOOD, "distance": -4711.0}, GOOD], {"mlmon.feature.invalid.range": ("distance",)}),
    (pd.DataFrame([GOOD, {**GOOD, "distance": -4711.0}]), {"mlmon.feature.invalid.range": ("distance",)}),
    (pd.DataFrame([GOOD]), None),
    ([GOOD], None),
]


def test_a_violation_is_told_to_the_span_of_its_call_alone(traces: Traces) -> None:
    """All in one drain, in which good and bad rows of several shapes are counted together."""
    with monitor_of() as monitor:
        predict: Any = monitor.watch(lambda rows: None)
        for rows, _ in CASES:
            predict(rows)
        assert counted(monitor) == (len(CASES), 0, 0)
        assert monitor.snapshot().violations["missing_column"] == 1
        assert monitor.snapshot().errors["trace"] == 0
    assert [violations(span) for span in traces.calls] == [[expected] if expected else [] for _, expected in CASES]
    assert not any("4711" in told(span) for span in traces.calls)


POSITIONS: list[tuple[Any, list[dict[str, Any]]]] = [
    (np.array([1.0, 2.0]), []),
    (np.array([1.0, -2.0]), [{"mlmon.feature.invalid.range": ("b",)}]),
    (np.array([1.0, 2.0, 3.0]), [{"mlmon.schema.violations": ("width",)}]),
    (np.array([[1.0, 2.0], [np.inf, 2.0]]), [{"mlmon.feature.invalid.infinite": ("a",)}]),
    (np.ones((2, 2)), []),
    (object(), []),
    (np.ones((2, 2, 2)), [{"mlmon.schema.violations": ("unreadable",)}]),
]


def test_a_violation_of_rows_by_position_is_told_too(traces: Traces) -> None:
    with monitor_of(NUMBERS) as monitor:
        predict: Any = monitor.watch(lambda rows: None)
        expected = [(rows, events) for rows, events in POSITIONS if type(rows) is not object]
        for rows, _ in expected:
            predict(rows)
        assert counted(monitor) == (len(expected), 0, 0)
    assert [violations(span) for span in traces.calls] == [events for _, events in expected]


def test_an_invalid_output_is_told_under_its_reserved_name(traces: Traces) -> None:
    with monitor_of(NUMBERS, task="regression") as monitor:
        monitor.watch(lambda row: float("inf"))({"a": 1.0, "b": 1.0})
        monitor.watch(lambda row: 0.5)({"a": 1.0, "b": 1.0})
        assert counted(monitor) == (2, 0, 0)
    assert [violations(span) for span in traces.calls] == [[{"mlmon.feature.invalid.infinite": ("@prediction",)}], []]


def test_a_large_call_is_told_of_each_part_that_is_broken(traces: Traces) -> None:
    """In parts of 1,024 rows, which are drained one by one."""
    rows = np.ones((5000, 2))
    rows[[3000, 3001, 4999], [1, 1, 1]] = -1
    with monitor_of(NUMBERS) as monitor:
        monitor.watch(lambda rows: None)(rows)
        assert counted(monitor) == (1, 0, 0)
    (call,) = traces.calls
    assert violations(call) == [{"mlmon.feature.invalid.range": ("b",)}] * 2
    assert (call.attributes or {})["mlmon.rows"] == 5000


def test_the_looks_of_a_drain_are_bounded_and_the_next_has_its_own(traces: Traces) -> None:
    """Where everything breaks the schema the search must not keep the worker from counting."""
    with monitor_of(NUMBERS) as monitor:
        for _ in range(2):
            for _ in range(1000):
                monitor.observe(np.array([1.0, -1.0]))
            assert monitor.flush()
        assert monitor.snapshot().features["b"].invalid["range"] == 2000
    told = [len(span.events) for span in traces.calls]
    assert 100 < sum(told[:1000]) < 512
    assert sum(told[1000:]) > 100


def test_of_many_broken_features_the_first_are_named(traces: Traces) -> None:
    names = [f"f{number}" for number in range(100)]
    with monitor_of(Schema(tuple(Feature(name, minimum=0) for name in names))) as monitor:
        monitor.watch(lambda row: None)(dict.fromkeys(names, -1.0))
        assert counted(monitor) == (1, 0, 0)
    (call,) = traces.calls
    assert violations(call) == [{"mlmon.feature.invalid.range": tuple(names[:32])}]


# ---------------------------------------------------------------- prediction ids


def attributes(traces: Traces) -> list[dict[str, Any]]:
    """Those of each call that tell it from the others."""
    fixed = ("model.name", "model.version", "mlmon.rows", "error.type")
    return [{name: value for name, value in (span.attributes or {}).items() if name not in fixed} for span in traces.calls]


@pytest.mark.parametrize(
    ("rows", "ids", "told"),
    [
        (GOOD, "a-1", "a-1"),
        (GOOD, 4, "4"),
        (GOOD, np.int64(4), "4"),
        (GOOD, np.array(4), "4"),
        ([GOOD, GOOD], np.array("batch-1"), "batch-1"),
        (GOOD, ["a-1"], "a-1"),
        (GOOD, None, None),
        (GOOD, "x" * 256, "x" * 256),
        (GOOD, "x" * 257, None),
        ([GOOD, GOOD], "x" * 257, None),
        ([GOOD, GOOD], "batch-1", "batch-1"),
        ([GOOD, GOOD], ["a-1", "a-2"], None),
        ([GOOD, GOOD], ("a-1", "a-2"), None),
        ([GOOD, GOOD], pd.Series(["a-1", "a-2"]), None),
    ],
)
def test_a_call_tells_its_prediction_id(traces: Traces, rows: Any, ids: Any, told: str | None) -> None:
    """Of a call that has one for each row, the prediction logs tell them."""
    with monitor_of() as monitor:
        monitor.watch(prediction_id=lambda call: ids)(lambda rows: None)(rows)
        monitor.observe(rows, prediction_id=ids)
        assert counted(monitor) == (2, 0, 0)
        assert sum(monitor.snapshot().errors.values()) == 0
    assert [found.get("mlmon.prediction_id") for found in attributes(traces)] == [told, told]


def test_the_extractor_of_ids_sees_arguments_and_result(traces: Traces) -> None:
    """And costs neither rows nor predictions, which are still read as without it."""
    with monitor_of(NUMBERS, task="regression") as monitor:

        @monitor.watch(prediction_id=lambda call: f"{call.kwargs['request']}/{call.result}")
        def predict(row: Any, *, request: str) -> float:
            return 0.5

        predict({"a": 1.0, "b": 2.0}, request="r1")
        assert counted(monitor) == (1, 0, 0)
        assert (monitor.snapshot().features["a"].minimum, monitor.snapshot().features["@prediction"].minimum) == (1.0, 0.5)
    assert attributes(traces) == [{"mlmon.prediction_id": "r1/0.5"}]


@pytest.mark.parametrize("ids", [["a"], ["a", "b", "c"], Unspeakable()], ids=["few", "many", "text"])
def test_ids_that_do_not_fit_cost_the_ids_and_not_the_call(traces: Traces, ids: Any) -> None:
    with monitor_of(NUMBERS) as monitor:
        monitor.watch(prediction_id=lambda call: ids)(lambda rows: None)(np.ones((2, 2)))
        monitor.observe(np.ones((2, 2)), prediction_id=ids)
        assert counted(monitor) == (2, 0, 0)
        assert monitor.snapshot().rows == 4
        assert monitor.snapshot().errors["extractor"] + monitor.snapshot().errors["trace"] == 2
    assert attributes(traces) == [{}, {}]


def test_ids_of_a_failed_call_are_told_where_there_are_some(traces: Traces) -> None:
    def fail(row: Any) -> None:
        raise KeyError

    extractors: Sequence[Any] = (lambda call: call.args[0]["id"], lambda call: call.result["id"])
    with monitor_of(NUMBERS) as monitor:
        for extractor in extractors:
            with pytest.raises(KeyError):
                monitor.watch(prediction_id=extractor)(fail)({"a": 1.0, "b": 1.0, "id": "x"})
        assert counted(monitor) == (0, 2, 0)
        assert monitor.snapshot().errors["extractor"] == 0
    assert attributes(traces) == [{"mlmon.prediction_id": "x"}, {}]


def test_ids_are_told_of_a_dict_that_is_a_vector(traces: Traces) -> None:
    """Its length is not its number of rows."""
    with monitor_of(Schema((Feature("e", kind="vector", width=3),))) as monitor:
        monitor.watch(prediction_id=lambda call: ["x"])(lambda row: None)({"e": [1.0, 2.0, 3.0]})
        assert counted(monitor) == (1, 0, 0)
    assert attributes(traces) == [{"mlmon.prediction_id": "x"}]


# ---------------------------------------------------------------- cohorts


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (GOOD, {"mlmon.cohort.origin": "JFK", "mlmon.cohort.cargo": "true"}),
        ({**GOOD, "origin": "4711", "cargo": 0}, {"mlmon.cohort.origin": "__other__", "mlmon.cohort.cargo": "false"}),
        ({**GOOD, "origin": ["JFK"], "cargo": 2}, {"mlmon.cohort.origin": "__other__", "mlmon.cohort.cargo": "__other__"}),
        ({**GOOD, "origin": None, "cargo": float("nan")}, {}),
        ({"distance": 1.0}, {}),
        ([GOOD], {"mlmon.cohort.origin": "JFK", "mlmon.cohort.cargo": "true"}),
        ([1.0, "LGA", False, 3], {"mlmon.cohort.origin": "LGA", "mlmon.cohort.cargo": "false"}),
        (pd.DataFrame([GOOD]), {"mlmon.cohort.origin": "JFK", "mlmon.cohort.cargo": "true"}),
        ([1.0, "LGA"], {}),
        ([GOOD, GOOD], {}),
        (np.ones((1, 2, 2)), {}),
    ],
)
def test_a_call_of_one_row_tells_its_cohorts(traces: Traces, row: Any, told: dict[str, str]) -> None:
    with monitor_of(cohorts=["origin", "cargo"]) as monitor:
        monitor.watch(lambda row: None)(row)
        assert counted(monitor) == (1, 0, 0)
        assert monitor.snapshot().errors["trace"] == 0
    assert attributes(traces) == [told]


def test_a_row_that_cannot_be_read_costs_the_cohorts_and_not_the_span(traces: Traces) -> None:
    with monitor_of(cohorts=["origin"]) as monitor:
        monitor.watch(lambda row: None)({**GOOD, "origin": Unspeakable()})
        assert counted(monitor) == (1, 0, 0)
        assert monitor.snapshot().errors["trace"] == 1
    assert attributes(traces) == [{}]


def test_the_last_row_of_a_large_call_is_no_call_of_one_row(traces: Traces) -> None:
    with monitor_of(cohorts=["origin"]) as monitor:
        monitor.watch(prediction_id=lambda call: list(range(1025)))(lambda rows: None)([GOOD] * 1025)
        assert counted(monitor) == (1, 0, 0)
    assert attributes(traces) == [{}]


def test_cohorts_are_bounded_by_the_bins_of_the_reference(traces: Traces) -> None:
    """Those beyond its top categories are in the bin of the others there, too."""
    origins = [f"A{number % 40}" for number in range(4000)] + ["rare"]
    reference = Reference.build({"origin": origins}, schema=Schema((Feature("origin", kind="categorical"),)))
    with monitor_of(None, reference=reference, cohorts=["origin"]) as monitor:
        for origin in ("A1", "rare", "new", "__unseen__"):
            monitor.watch(lambda row: None)({"origin": origin})
        assert counted(monitor) == (4, 0, 0)
    assert [found["mlmon.cohort.origin"] for found in attributes(traces)] == ["A1", "__other__", "__other__", "__other__"]


@pytest.mark.parametrize(("name", "message"), [("carrier", "features of the schema, got 'carrier'"), ("age", "'age' is numeric")])
def test_a_cohort_that_is_none_is_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"monitor 'm': cohorts must be .*{message}"):
        Monitor("m", schema=SCHEMA, cohorts=["origin", name], settings=SETTINGS)


def test_cohorts_of_a_schema_that_is_learned_are_known_from_then_on(traces: Traces, caplog: pytest.LogCaptureFixture) -> None:
    """Set-up could not know: what turns out to be no cohort is left out, and a line of the log says so."""
    with monitor_of(None, learn_rows=4, cohorts=["origin", "distance", "carrier"]) as monitor:
        predict: Any = monitor.watch(lambda row: None)
        for origin in ("JFK", "LGA", "JFK", "LGA"):
            predict({"distance": 1.0, "origin": origin})
        assert monitor.flush()
        predict({"distance": 1.0, "origin": "JFK"})
        assert counted(monitor) == (5, 0, 0)
    assert attributes(traces)[-1] == {"mlmon.cohort.origin": "JFK"}
    left_out = [record.getMessage() for record in caplog.records if "is left out" in record.getMessage()]
    assert [line.split("'")[1] for line in left_out] == ["distance", "carrier"]
