"""Prediction logs: which rows, what of them, and how many; all of it seen by the application's own log pipeline."""

import asyncio
import math
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from opentelemetry import _logs, trace
from opentelemetry._logs import LogRecord, _internal
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor, ReadWriteLogRecord
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

from otel_mlmon import Feature, Monitor, PredictionLog, Schema, catalog
from otel_mlmon.identity import Identity
from otel_mlmon.prediction_log import PredictionLogger, sampled
from otel_mlmon.records import Record, capture
from otel_mlmon.settings import Settings
from otel_mlmon.store import SeriesStore
from otel_mlmon.tracing import Origin
from tests.concurrency import in_child
from tests.readings import counted, readings
from tests.telemetry import Traces, Unspeakable, application, ids

SETTINGS = Settings(system_seconds=0, drain_seconds=30)
SCHEMA = Schema((Feature("distance"), Feature("origin", kind="categorical", categories=("JFK", "LGA")), Feature("secret")))
ROW = {"distance": 1400.0, "origin": "JFK", "secret": 4711.0}
ALL = PredictionLog(("distance", "@prediction"), sample=1.0)


class Logs:
    """The application's logger provider, and what it exports."""

    def __init__(self) -> None:
        self.provider = LoggerProvider(shutdown_on_exit=False)
        self._exporter = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]  # it has no annotations
        self.provider.add_log_record_processor(SimpleLogRecordProcessor(self._exporter))

    @property
    def records(self) -> list[LogRecord]:
        """What was exported; OTLP can carry it."""
        exported = self._exporter.get_finished_logs()
        encode_logs(exported)
        return [one.log_record for one in exported]

    @property
    def shown(self) -> list[dict[str, Any]]:
        """Attributes of the records, without the model's."""
        return [
            {name: value for name, value in (one.attributes or {}).items() if not name.startswith("model.")} for one in self.records
        ]


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Logs]:
    found = Logs()
    monkeypatch.setattr(_internal, "_LOGGER_PROVIDER", found.provider)
    assert _logs.get_logger_provider() is found.provider
    yield found
    found.provider.shutdown()


def monitor_of(log: PredictionLog = ALL, schema: Schema | None = SCHEMA, **arguments: Any) -> Monitor:
    return Monitor("m", version="7", schema=schema, prediction_log=log, settings=SETTINGS, **arguments)


def became(monitor: Monitor) -> dict[str, float]:
    """Sampled rows by what became of them."""
    return {status: value for (status,), value in readings(monitor, catalog.PREDICTION_LOGS).items()}


def test_a_record_shows_what_was_asked_for_and_nothing_else(logs: Logs) -> None:
    with monitor_of(cohorts=["origin"], task="regression") as monitor:
        monitor.watch(prediction_id=lambda call: "a-1")(lambda row: 0.5)({**ROW, "4711": 4711})
        assert counted(monitor) == (1, 0, 0)
        assert became(monitor) == {"emitted": 1, "limited": 0, "failed": 0}
    (record,) = logs.records
    assert (record.event_name, record.body) == ("mlmon.prediction", None)
    assert dict(record.attributes or {}) == {
        "model.name": "m",
        "model.version": "7",
        "mlmon.prediction_id": "a-1",
        "mlmon.cohort.origin": "JFK",
        "mlmon.feature.distance": 1400.0,
        "mlmon.prediction": 0.5,
    }


@pytest.mark.parametrize("spans", [False, True])
def test_a_record_belongs_to_the_trace_of_its_call(logs: Logs, spans: bool) -> None:
    """Not to those of whoever drains the queue, here this thread and its span."""
    traces = Traces()
    with application(traces), Monitor("m", schema=SCHEMA, prediction_log=ALL, trace=spans, settings=SETTINGS) as monitor:
        with traces.tracer.start_as_current_span("request") as request:
            monitor.observe(ROW, 0.5)
            monitor.watch(lambda row: 0.5)(ROW)
        with traces.tracer.start_as_current_span("drain"):
            monitor.close()
        expected = [ids(span) for span in traces.calls] if spans else [ids(request)] * 2
    assert [(record.trace_id, record.span_id) for record in logs.records] == expected
    assert all(record.trace_flags.sampled for record in logs.records if record.trace_flags is not None)


def test_a_record_outside_of_a_trace_is_in_none(logs: Logs) -> None:
    traces = Traces()
    with application(traces), monitor_of() as monitor:
        monitor.observe(ROW, 0.5)
        with traces.tracer.start_as_current_span("drain"):
            monitor.close()
    (record,) = logs.records
    assert (record.trace_id, record.span_id) == (trace.INVALID_TRACE_ID, trace.INVALID_SPAN_ID)


def test_the_time_is_that_of_the_call(logs: Logs) -> None:
    with monitor_of() as monitor:
        monitor.observe(ROW, 0.5)
        monitor.flush()
        ended = readings(monitor, catalog.LAST_CALL_TIME)[()]
    assert abs((logs.records[0].timestamp or 0) - ended * 1e9) < 1e6


@pytest.mark.parametrize(
    ("rows", "result", "shown"),
    [
        (ROW, 0.5, [(1400.0, 0.5)]),
        ([ROW, {**ROW, "distance": 2}], [0.5, 0.6], [(1400.0, 0.5), (2, 0.6)]),
        ([1400.0, "JFK", 4711.0], [0.5], [(1400.0, 0.5)]),
        (np.array([[1.0, 0.0, 4711.0], [2.0, 0.0, 4711.0]]), np.array([0.5, 0.6]), [(1.0, 0.5), (2.0, 0.6)]),
        (pd.DataFrame([ROW, ROW], index=[7, 8]), pd.Series([0.5, 0.6], index=[8, 7]), [(1400.0, 0.5), (1400.0, 0.6)]),
        ({"distance": [1.0, 2.0], "origin": ["JFK", "LGA"], "secret": [4711, 4711]}, (0.5, 0.6), [(1.0, 0.5), (2.0, 0.6)]),
        ({**ROW, "distance": None}, None, [(None, None)]),
        ({**ROW, "distance": float("nan")}, 0.5, [(None, 0.5)]),
        ({"origin": "JFK"}, 0.5, [(None, 0.5)]),
        ([1.0, 2.0], 0.5, [(None, 0.5)]),
        (np.ones((2, 2, 2)), [0.5, 0.6], [(None, 0.5), (None, 0.6)]),
    ],
)
def test_rows_of_every_shape_are_logged_one_by_one(logs: Logs, rows: Any, result: Any, shown: list[tuple[Any, Any]]) -> None:
    """What is missing has no attribute."""
    with monitor_of(task="regression") as monitor:
        monitor.watch(lambda rows: result)(rows)
        assert counted(monitor) == (1, 0, 0)
        assert became(monitor)["failed"] == 0
    assert [(one.get("mlmon.feature.distance"), one.get("mlmon.prediction")) for one in logs.shown] == shown
    assert not any("4711" in str(one) for one in logs.shown)


def test_a_large_call_is_logged_row_by_row_with_the_id_of_each(logs: Logs) -> None:
    """It queues in parts of 1,024 rows."""
    log = PredictionLog(("distance", "@prediction"), sample=1.0, per_second=10_000)
    with monitor_of(log, task="regression") as monitor:
        rows = np.column_stack([np.arange(2500.0), np.zeros(2500), np.full(2500, 4711.0)])
        monitor.watch(prediction_id=lambda call: [f"id{place}" for place in range(2500)])(lambda rows: rows[:, 0] / 2)(rows)
        assert counted(monitor) == (1, 0, 0)
    places = range(2500)
    assert [one["mlmon.prediction_id"] for one in logs.shown] == [f"id{place}" for place in places]
    assert [(one["mlmon.feature.distance"], one["mlmon.prediction"]) for one in logs.shown] == [
        (place, place / 2) for place in places
    ]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (True, True),
        (np.bool_(False), False),
        ("text", "text"),
        ("\ud800", "?"),
        (b"bytes", "bytes"),
        (Decimal("1.5"), 1.5),
        (2**63, float(2**63)),
        (datetime(2026, 1, 2, tzinfo=timezone.utc), "2026-01-02 00:00:00+00:00"),
        (np.array([1.0, 2.0]), (1.0, 2.0)),
        ([1.0, 2.0], (1.0, 2.0)),
        ([1.0, "x"], "[1.0, 'x']"),
        (math.inf, "inf"),
    ],
)
def test_a_value_is_shown_as_opentelemetry_can_carry_it(logs: Logs, value: Any, shown: Any) -> None:
    with monitor_of() as monitor:
        monitor.watch(lambda row: None)({"distance": value, "origin": "JFK"})
        assert counted(monitor) == (1, 0, 0)
    (found,) = logs.shown
    assert (found["mlmon.feature.distance"], type(found["mlmon.feature.distance"])) == (shown, type(shown))


def test_prediction_and_score_are_those_of_the_task(logs: Logs) -> None:
    with monitor_of(PredictionLog(("@prediction", "@score"), sample=1.0), task="binary") as monitor:
        monitor.watch(lambda row: 0.75)(ROW)
        monitor.watch(lambda row: {"prediction": "no", "score": 0.25})(ROW)
        assert counted(monitor) == (2, 0, 0)
    assert logs.shown == [{"mlmon.prediction": 1, "mlmon.score": 0.75}, {"mlmon.prediction": "no", "mlmon.score": 0.25}]


def test_only_calls_that_succeeded_are_logged(logs: Logs) -> None:
    with monitor_of() as monitor:
        monitor.observe(ROW, 0.5, error=KeyError())
        monitor.observe(ROW, 0.5, error=asyncio.CancelledError())
        monitor.observe_lazy(lambda: (ROW, 0.5), weight=1)
        assert counted(monitor) == (1, 1, 1)
    assert len(logs.records) == 1


def test_rows_that_were_held_to_learn_from_are_logged_once_they_are_known(logs: Logs, caplog: pytest.LogCaptureFixture) -> None:
    """Only then can be told which fields are none."""
    with monitor_of(PredictionLog(("x1", "x9", "@score"), sample=1.0), schema=None, learn_rows=3) as monitor:
        for number in range(5):
            monitor.observe([0.5, float(number)])
            assert monitor.flush()
        assert counted(monitor) == (5, 0, 0)
    assert [one["mlmon.feature.x1"] for one in logs.shown] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert caplog.text.count("prediction log: field") == caplog.text.count("field 'x9' is left out") == 1


# ---------------------------------------------------------------- which rows


def test_ids_are_sampled_alike_everywhere(logs: Logs) -> None:
    """By every replica and in any order; a greater share logs what a smaller one does, and more."""
    names = [f"order-{number}" for number in range(2000)]
    found = []
    for share, order in ((0.1, names), (0.1, names[::-1]), (0.3, names)):
        log = PredictionLog(("distance",), sample=share, per_second=10_000)
        before = len(logs.records)
        with monitor_of(log) as monitor:
            monitor.observe(np.ones((2000, 3)), prediction_id=order)
            assert counted(monitor) == (1, 0, 0)
        found.append({one["mlmon.prediction_id"] for one in logs.shown[before:]})
    assert found[0] == found[1] < found[2]
    assert abs(len(found[0]) - 200) < 4 * math.sqrt(2000 * 0.1 * 0.9)
    assert found[0] == {name for name in names if sampled(name, 0.1)}


def rows_logged(logger: PredictionLogger, logs: Logs, records: list[Record]) -> int:
    before = len(logs.records)
    logger.log(records)
    return len(logs.records) - before


def logger_of(log: PredictionLog, **arguments: Any) -> tuple[PredictionLogger, SeriesStore]:
    store, identity = SeriesStore(), Identity(())
    identity.watch(SCHEMA, None)

    def failed(where: str, error: BaseException) -> None:
        raise error

    return PredictionLogger(log, ("m", "1"), None, identity, store, version="0", failed=failed, **arguments), store


def batch(rows: int, ids: Any = None) -> Record:
    return Record(capture(np.ones((rows, 3))), None, "ok", "", 0.1, 1.0, origin=None if ids is None else Origin(ids=ids))


def test_rows_without_an_id_are_sampled_by_chance(logs: Logs) -> None:
    """A row whose own id is missing is one."""
    log = PredictionLog(("distance",), sample=0.2, per_second=10_000)
    logger, _ = logger_of(log, seed=5)
    for records in ([batch(1) for _ in range(1000)], [batch(1000)], [batch(1000, [None, math.nan] * 500)], [batch(1000, math.nan)]):
        assert abs(rows_logged(logger, logs, records) - 200) < 4 * math.sqrt(1000 * 0.2 * 0.8)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_forked_children_sample_by_themselves(logs: Logs, tmp_path: Path) -> None:
    """Each had its parent's chances otherwise: all workers of a server would log the same places."""
    with monitor_of(PredictionLog(("distance",), sample=0.5, per_second=10_000)) as monitor:

        def child(name: str) -> None:
            monitor.observe(np.column_stack([np.arange(200.0)] * 3))
            assert monitor.flush()
            (tmp_path / name).write_text(str([one["mlmon.feature.distance"] for one in logs.shown]))

        in_child(partial(child, "first"))
        in_child(partial(child, "second"))
    assert (tmp_path / "first").read_text() != (tmp_path / "second").read_text()


def test_the_rows_of_a_call_with_one_id_are_logged_together(logs: Logs) -> None:
    logger, _ = logger_of(PredictionLog(("distance",), sample=0.5, per_second=10_000))
    assert {rows_logged(logger, logs, [batch(5, f"call-{number}")]) for number in range(50)} == {0, 5}


def test_so_many_a_second_and_what_is_beyond_is_counted(logs: Logs) -> None:
    now = 100.0
    logger, store = logger_of(PredictionLog(("distance",), sample=1.0, per_second=10), clock=lambda: now)

    assert rows_logged(logger, logs, [batch(25)]) == 10
    now += 0.5
    assert rows_logged(logger, logs, [batch(25)]) == 5
    now += 3600
    assert rows_logged(logger, logs, [batch(25)]) == 10
    values = store.snapshot().values.tolist()
    assert values == [25, 50, 0]


# ---------------------------------------------------------------- what goes wrong


def test_a_broken_log_pipeline_costs_the_record_and_not_the_call(logs: Logs, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(LogRecordProcessor):
        def on_emit(self, log_record: ReadWriteLogRecord) -> None:
            raise RuntimeError("4711")

        def shutdown(self) -> None:
            pass

        def force_flush(self, timeout_millis: int = 30000) -> bool:
            return True

    logs.provider.add_log_record_processor(Broken())
    with monitor_of() as monitor:
        assert monitor.watch(lambda row: 0.5)(ROW) == 0.5
        assert monitor.watch(lambda row: 0.5)(ROW) == 0.5
        assert counted(monitor) == (2, 0, 0)
        assert monitor.snapshot().rows == 2
        assert became(monitor) == {"emitted": 0, "limited": 0, "failed": 2}
        assert monitor.snapshot().errors["prediction_log"] == 2
    assert "4711" not in caplog.text


@pytest.mark.parametrize(("row", "prediction_id"), [({**ROW, "distance": Unspeakable()}, "a"), (ROW, Unspeakable())])
def test_what_has_no_text_costs_its_record_alone(logs: Logs, row: Any, prediction_id: Any) -> None:
    with monitor_of() as monitor:
        monitor.observe(row, 0.5, prediction_id=prediction_id)
        monitor.observe(ROW, 0.5)
        assert counted(monitor) == (2, 0, 0)
        assert monitor.snapshot().errors["prediction_log"] == 1
    assert len(logs.records) == 1


def test_without_a_provider_nothing_is_lost_but_the_records() -> None:
    with monitor_of() as monitor:
        monitor.watch(lambda row: 0.5)(ROW)
        assert counted(monitor) == (1, 0, 0)
        assert monitor.snapshot().errors["prediction_log"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fields": ()}, "fields must be some names"),
        ({"fields": "distance"}, "fields must be some names, got 'distance'"),
        ({"sample": 0.0}, r"sample must be a share in \(0, 1\], got 0.0"),
        ({"sample": 1.5}, "got 1.5"),
        ({"sample": float("nan")}, "got nan"),
        ({"per_second": 0}, "per_second must be finite and positive, got 0"),
    ],
)
def test_a_log_without_sense_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PredictionLog(**{"fields": ("distance",), **arguments})


@pytest.mark.parametrize("field", ["distanc", "@label", "@reconstruction_error", "*"])
def test_a_field_that_is_none_is_refused(field: str) -> None:
    with pytest.raises(
        ValueError, match=f"monitor 'm': fields of the prediction log must be .*, got {field!r}".replace("*'", r"\*'")
    ):
        monitor_of(PredictionLog(("distance", field)))


EXITS = """
import otel_mlmon
from opentelemetry import _logs
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, ConsoleLogRecordExporter
log = otel_mlmon.PredictionLog(("a",), sample=1.0)
monitor = otel_mlmon.Monitor("m", schema=otel_mlmon.Schema((otel_mlmon.Feature("a"),)), prediction_log=log)
monitor.watch(lambda row: 0.5)({"a": 1.0})
monitor.flush()  # nobody takes the first one
provider = LoggerProvider()
exporter = ConsoleLogRecordExporter(formatter=lambda one: one.log_record.event_name)
provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
_logs.set_logger_provider(provider)
for drained in (True, False):
    monitor.watch(lambda row: 0.5)({"a": 1.0})
    assert not drained or monitor.flush()
"""


def test_a_script_that_ends_exports_its_last_records() -> None:
    """The provider shuts down at exit, too: the calls that still wait must be handled before."""
    ran = subprocess.run([sys.executable, "-c", EXITS], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout) == (0, 2 * "mlmon.prediction"), ran.stderr
