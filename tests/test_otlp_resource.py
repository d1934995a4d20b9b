"""Which resource the series describe: a given one, the application's, or the environment's; and which instance."""

from pathlib import Path

import pytest
from opentelemetry import metrics as api_metrics
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from otel_mlmon.catalog import CALLS
from otel_mlmon.exposition.otlp import start_export
from otel_mlmon.exposition.otlp.resource import Origin
from otel_mlmon.store import SeriesStore
from tests.collectors import HttpCollector, attributes
from tests.concurrency import in_child

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def test_it_is_in_each_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.name=not-this")
    store = SeriesStore()
    store.allocate(CALLS, [("m", "1", "ok")])
    with HttpCollector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        export = start_export([store.snapshot])
        assert export.flush()
        export.close()
    found = attributes(collector.requests[0])
    assert (found["service.name"], found["deployment.environment.name"]) == ("shop", "test")
    assert len(found["service.instance.id"]) == 36


def test_one_that_is_given_is_taken() -> None:
    given = Resource({"service.name": "given", "service.instance.id": "pod-7"}, "https://opentelemetry.io/schemas/1.30.0")
    assert Origin(given, "shared").find() == given


@pytest.mark.parametrize("provider", ["meter", "tracer"])
def test_that_of_the_applications_provider_comes_first(provider: str) -> None:
    """Set after the export began, too."""

    def work() -> None:
        origin = Origin(None, None)
        resource = Resource({"service.name": "application"})
        if provider == "meter":
            api_metrics.set_meter_provider(MeterProvider([InMemoryMetricReader()], resource))
        else:
            trace.set_tracer_provider(TracerProvider(resource=resource))
        assert origin.find().attributes["service.name"] == "application"

    in_child(work)


def test_to_look_for_it_sets_no_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the environment names one, the API would make it at the first question, and the application's came too late."""
    monkeypatch.setenv("OTEL_PYTHON_METER_PROVIDER", "sdk_meter_provider")
    monkeypatch.setenv("OTEL_PYTHON_TRACER_PROVIDER", "sdk_tracer_provider")

    def work() -> None:
        Origin(None, None).find()
        mine, tracers = MeterProvider(), TracerProvider()
        api_metrics.set_meter_provider(mine)
        trace.set_tracer_provider(tracers)
        assert api_metrics.get_meter_provider() is mine
        assert trace.get_tracer_provider() is tracers

    in_child(work)


def test_processes_that_share_a_folder_are_one_instance() -> None:
    """Whichever leads: what the SDK makes up for one process is not theirs; what a user sets is."""
    assert Origin(None, "shared").find().attributes["service.instance.id"] == "shared"
    assert Origin(Resource.create(), "shared").find().attributes["service.instance.id"] == "shared"
    named = Resource.create({"service.instance.id": "pod-7"})
    assert Origin(named, "shared").find().attributes["service.instance.id"] == "pod-7"


@pytest.mark.parametrize("given", [None, Resource.create(), Resource({"service.name": "shop"})])
def test_each_process_is_its_own_instance(given: Resource | None, tmp_path: Path) -> None:
    """All exports of a process are the same one."""
    origin = Origin(given, None)
    mine = origin.find().attributes["service.instance.id"]
    assert mine == Origin(None, None).find().attributes["service.instance.id"]

    def work() -> None:
        (tmp_path / "child").write_text(str(origin.find().attributes["service.instance.id"]))

    in_child(work)
    assert (tmp_path / "child").read_text() not in ("", mine)
