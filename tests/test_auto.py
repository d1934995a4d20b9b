"""Auto-instrumentation as a whole: which monitor a model gets, what may go wrong, and ``opentelemetry-instrument`` itself."""

import json
import multiprocessing
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]  # it opts out of type checks
from prometheus_client.parser import text_string_to_metric_families
from sklearn.base import BaseEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from otel_mlmon import Monitor, Reference
from otel_mlmon.integrations import instrumentor
from otel_mlmon.integrations.automatic import MONITORS, MOST_MODELS
from otel_mlmon.integrations.sklearn import SklearnInstrumentor
from otel_mlmon.integrations.xgboost import XgboostInstrumentor
from tests.readings import counted

ROOT = Path(__file__).parent.parent
X = np.random.default_rng(3).normal(size=(20, 2))
Y = (X[:, 0] > 0).astype(int)
LOGISTIC = LogisticRegression().fit(X, Y)
LINEAR = LinearRegression().fit(X, Y)


@pytest.fixture
def automatic(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Nobody gives a monitor: the environment says all."""
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    SklearnInstrumentor().instrument()
    yield monkeypatch
    SklearnInstrumentor().uninstrument()


def calls() -> dict[str, float]:
    """Calls by the name of the model."""
    return {name: counted(monitor)[0] for name, monitor in MONITORS.by_name().items()}


def only() -> Monitor:
    """The one monitor there is."""
    (monitor,) = MONITORS.by_name().values()
    return monitor


def test_a_monitor_is_made_at_a_models_first_call_and_named_by_its_class(automatic: pytest.MonkeyPatch) -> None:
    model = make_pipeline(StandardScaler(), GridSearchCV(LogisticRegression(), {"C": [1.0]}, cv=2)).fit(X, Y)
    assert calls() == {}
    model.predict(X)
    LINEAR.predict(X)
    LINEAR.predict(X)
    assert calls() == {"LogisticRegression": 1, "LinearRegression": 2}


def test_the_task_is_what_the_model_says(automatic: pytest.MonkeyPatch) -> None:
    LINEAR.predict(X)
    LOGISTIC.predict(X)
    LogisticRegression().fit(X, np.arange(20) % 3).predict(X)
    tasks = {name: monitor.task for name, monitor in MONITORS.by_name().items()}
    assert tasks == {"LinearRegression": "regression", "LogisticRegression": "binary"}
    assert calls()["LogisticRegression"] == 2  # the first one of a name tells


def test_the_environment_names_versions_and_tasks(automatic: pytest.MonkeyPatch) -> None:
    automatic.setenv("OTEL_MLMON_MODEL_NAME", "LogisticRegression=delay, LinearRegression=price")
    automatic.setenv("OTEL_MLMON_MODEL_VERSION", "2026.11")
    automatic.setenv("OTEL_MLMON_TASK", "LinearRegression=ranking")
    automatic.setenv("OTEL_MLMON_LEARN_ROWS", "LogisticRegression=20")
    LINEAR.predict(X)
    LOGISTIC.predict(X)
    assert calls() == {"price": 1, "delay": 1}
    made = MONITORS.by_name()
    assert {(name, one.version, one.task) for name, one in made.items()} == {
        ("price", "2026.11", "ranking"),
        ("delay", "2026.11", "binary"),
    }
    assert made["delay"].reference is not None
    assert made["price"].reference is None


def test_a_reference_is_watched_against(automatic: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its task comes before what the class suggests."""
    path = tmp_path / "reference.json"
    Reference.build({"x0": X[:, 0], "x1": X[:, 1]}, task="multiclass", predictions=Y).save(path)
    automatic.setenv("OTEL_MLMON_REFERENCE", f"LogisticRegression={path}")
    LOGISTIC.predict(X)
    assert calls() == {"LogisticRegression": 1}
    assert only().task == "multiclass"
    assert only().snapshot().features["x0"].samples == 20


WRONG = {
    "REFERENCE": "/nowhere/reference.json",
    "TASK": "clairvoyance",
    "LEARN_ROWS": "many",
}


@pytest.mark.parametrize(("variable", "text"), WRONG.items(), ids=WRONG)
def test_what_is_wrong_in_the_environment_is_logged_once_and_left_out(
    automatic: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, variable: str, text: str
) -> None:
    automatic.setenv(f"OTEL_MLMON_{variable}", text)
    for _ in range(3):
        assert LOGISTIC.predict(X).shape == (20,)
    assert calls() == {"LogisticRegression": 3}
    assert [record.levelname for record in caplog.records if text in record.getMessage()] == ["ERROR"]
    assert only().task == "binary"


def test_an_exporter_that_nobody_knows_costs_the_export_only(
    automatic: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    automatic.setenv("OTEL_METRICS_EXPORTER", "pigeon")
    LOGISTIC.predict(X)
    LOGISTIC.predict(X)
    assert calls() == {"LogisticRegression": 2}
    assert caplog.text.count("'LogisticRegression' is watched, but not exported") == 1


def test_a_folder_that_cannot_be_used_costs_the_monitor_only(
    automatic: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    automatic.setenv("OTEL_MLMON_MULTIPROC_DIR", str(tmp_path / "file"))
    assert LOGISTIC.predict(X).shape == (20,)
    logged = len(caplog.records)
    assert LOGISTIC.predict(X).shape == (20,)
    assert calls() == {}
    assert len(caplog.records) == logged > 0


def test_only_so_many_models_get_a_monitor(automatic: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    kinds = [type(f"Model{number}", (LinearRegression,), {}) for number in range(MOST_MODELS + 3)]
    for kind in kinds:
        assert kind().fit(X, Y).predict(X).shape == (20,)
    assert len(calls()) == MOST_MODELS
    assert caplog.text.count("are not watched: there are 16 already") == 1


def test_process_health_is_told_once(automatic: pytest.MonkeyPatch) -> None:
    LINEAR.predict(X)
    LOGISTIC.predict(X)
    assert [bool(one.settings.system_seconds) for one in MONITORS.by_name().values()] == [True, False]


def test_threads_that_call_first_at_once_make_one_monitor(automatic: pytest.MonkeyPatch) -> None:
    barrier = threading.Barrier(6, timeout=20)

    def call() -> None:
        barrier.wait()
        LINEAR.predict(X)

    threads = [threading.Thread(target=call) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert calls() == {"LinearRegression": 6}


class Odd(BaseEstimator):
    """Nothing can be asked of it, and its input cannot be looked at."""

    @property
    def classes_(self) -> Any:
        raise RuntimeError("not now")

    def predict(self, data: Any) -> Any:
        return data


class Evil:
    """Input that raises when it is looked at."""

    @property
    def shape(self) -> Any:
        raise RuntimeError("never")


def test_a_model_that_cannot_be_described_is_not_watched(automatic: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    model, data = Odd(), object()
    assert model.predict(data) is data
    assert model.predict(data) is data
    assert calls() == {}
    assert caplog.text.count("a model of class 'Odd' is not watched") == 1


def test_rows_that_cannot_be_looked_at_cost_the_rows_only(automatic: pytest.MonkeyPatch) -> None:
    class Echo(BaseEstimator):
        def predict(self, data: Any) -> Any:
            return data

    data = Evil()
    assert Echo().predict(data) is data
    assert calls() == {"Echo": 1}


def test_disabled_means_that_nothing_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", " True ")
    owner = next(one for one in LinearRegression.__mro__ if "predict" in vars(one))
    before = vars(owner)["predict"]
    SklearnInstrumentor().instrument()
    try:
        assert vars(owner)["predict"] is before
        LINEAR.predict(X)
        assert calls() == {}
    finally:
        SklearnInstrumentor().uninstrument()


def test_uninstrument_closes_the_monitors_that_it_made(automatic: pytest.MonkeyPatch) -> None:
    LINEAR.predict(X)
    XgboostInstrumentor().instrument()
    SklearnInstrumentor().uninstrument()
    assert list(calls()) == ["LinearRegression"]  # someone is still watching
    XgboostInstrumentor().uninstrument()
    assert calls() == {}
    SklearnInstrumentor().instrument()


def test_a_model_that_is_gone_is_forgotten(automatic: pytest.MonkeyPatch) -> None:
    before = len(instrumentor._KNOWN)
    for _ in range(50):
        LinearRegression().fit(X, Y).predict(X)
    assert len(instrumentor._KNOWN) <= before + 1


def test_a_module_that_is_not_as_we_know_it_is_imported_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    """Here a sklearn.base without BaseEstimator."""
    with Monitor("m") as monitor:
        SklearnInstrumentor().instrument(monitor=monitor)
        instrumentor._imported("sklearn", "sklearn.base", ModuleType("sklearn.base"))
        SklearnInstrumentor().uninstrument()
    assert "module 'sklearn.base' is not watched" in caplog.text


def call_in_child(queue: Any) -> None:
    LINEAR.predict(X)
    LOGISTIC.predict(X)
    queue.put(calls())


def test_a_forked_child_counts_from_0_and_makes_its_own_monitors(automatic: pytest.MonkeyPatch) -> None:
    """While another thread of the parent makes a monitor, as it may at any time."""
    LINEAR.predict(X)
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=call_in_child, args=(queue,), daemon=True)
    with MONITORS._making:
        child.start()
    child.join(30)
    assert child.exitcode == 0
    assert queue.get() == {"LinearRegression": 1, "LogisticRegression": 1}
    assert calls() == {"LinearRegression": 1}


# ------------------------------------------------------------------------------------------- opentelemetry-instrument


def test_every_instrumentor_is_an_entry_point() -> None:
    """Of the group that ``opentelemetry-instrument`` reads; and the installed metadata are those of pyproject.toml."""
    written = dict(re.findall(r'^(otel_mlmon_\w+) = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE))
    found = {one.name: one for one in entry_points(group="opentelemetry_instrumentor") if one.name.startswith("otel_mlmon_")}
    assert {name: one.value for name, one in found.items()} == written
    assert len(written) == 5
    for name, one in found.items():
        kind = one.load()
        assert issubclass(kind, BaseInstrumentor)
        assert name == f"otel_mlmon_{kind.library}"
        (requirement,) = kind().instrumentation_dependencies()
        assert requirement in kind.distributions
    assert found["otel_mlmon_xgboost"].load()().instrumentation_dependencies() == ("xgboost-cpu >= 2",)


APP = """
import sys
assert "sklearn" not in sys.modules, "instrumenting must not import what the application may never use"
import numpy as np
from sklearn.linear_model import LogisticRegression
X = np.random.default_rng(0).normal(size=(30, 2))
model = LogisticRegression().fit(X, X[:, 0] > 0)
for _ in range(3):
    model.predict(X)
"""


def instrumented(script: str, folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """A script under opentelemetry-instrument."""
    (folder / "app.py").write_text(script)
    tools = Path(sys.executable).parent
    return subprocess.run(
        [tools / "opentelemetry-instrument", sys.executable, "app.py"],
        cwd=folder,
        env={
            **os.environ,
            "OTEL_TRACES_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "PATH": f"{tools}:{os.environ['PATH']}",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_opentelemetry_instrument_watches_an_application_that_knows_nothing_of_it(tmp_path: Path) -> None:
    """A script that ends long before the first period exports what it counted all the same."""
    ran = instrumented(APP, tmp_path, OTEL_METRICS_EXPORTER="console", OTEL_MLMON_MODEL_VERSION="7")
    assert ran.returncode == 0, ran.stderr
    points = {
        metric["name"]: metric["data"]["data_points"]
        for document in documents(ran.stdout)
        for resource in document["resource_metrics"]
        for scope in resource["scope_metrics"]
        for metric in scope["metrics"]
    }
    (ok,) = (point for point in points["mlmon.calls"] if point["attributes"]["status"] == "ok")
    assert ok["value"] == 3
    assert (ok["attributes"]["model.name"], ok["attributes"]["model.version"]) == ("LogisticRegression", "7")
    assert [point["value"] for point in points["mlmon.predictions"]] == [90]


def documents(text: str) -> Iterator[Any]:
    """JSON documents that stand one behind the other."""
    decoder, text = json.JSONDecoder(), text.strip()
    while text:
        document, end = decoder.raw_decode(text)
        yield document
        text = text[end:].lstrip()


SCRAPED = """
import os, urllib.request
import numpy as np
from sklearn.linear_model import LinearRegression, LogisticRegression
X = np.random.default_rng(0).normal(size=(30, 2))
for model in LinearRegression(), LogisticRegression():
    model.fit(X, X[:, 0] > 0).predict(X)
from otel_mlmon.integrations.automatic import MONITORS
assert all(monitor.flush() for monitor in MONITORS.by_name().values())
print(urllib.request.urlopen(f"http://localhost:{os.environ['OTEL_EXPORTER_PROMETHEUS_PORT']}/metrics").read().decode())
"""


def test_models_are_on_the_page_that_the_sdk_serves_under_opentelemetry_instrument(tmp_path: Path) -> None:
    """Its reader has the port before the application begins; the page is then its, and all models are on it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ran = instrumented(SCRAPED, tmp_path, OTEL_METRICS_EXPORTER="prometheus", OTEL_EXPORTER_PROMETHEUS_PORT=str(port))
    assert ran.returncode == 0, ran.stderr
    families = {family.name: family for family in text_string_to_metric_families(ran.stdout)}
    rows = {sample.labels["model_name"]: sample.value for sample in families["mlmon_predictions"].samples}
    assert rows == {"LinearRegression": 30, "LogisticRegression": 30}
