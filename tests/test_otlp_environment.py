"""What the OTEL_* variables mean: on the wire the SDK's own exporter is the oracle."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import MetricExportResult
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_mlmon.catalog import CALLS
from otel_mlmon.exposition.otlp import environment, start_export
from otel_mlmon.exposition.otlp.points import metrics_data
from otel_mlmon.exposition.otlp.readings import Readings
from otel_mlmon.store import SeriesStore
from tests.collectors import HttpCollector

BOTH = {"counter", "histogram"}


@pytest.fixture(scope="module")
def collector() -> Iterator[HttpCollector]:
    with HttpCollector() as running:
        yield running


def store() -> SeriesStore:
    made = SeriesStore()
    made.allocate(CALLS, [("m", "1", "ok")])
    return made


@pytest.mark.parametrize(
    "variables",
    [
        {"ENDPOINT": "{url}"},
        {"ENDPOINT": "{url}/"},
        {"ENDPOINT": "{url}/prefix"},
        {"ENDPOINT": "{url}/prefix/"},
        {"ENDPOINT": "http://192.0.2.1:1", "METRICS_ENDPOINT": "{url}/as/it/is"},
        {"METRICS_ENDPOINT": "{url}"},
        {"ENDPOINT": "{url}", "HEADERS": "Api-Key=a%20b%2Cc%3Dd , x-tenant = shop,x-empty=", "COMPRESSION": "gzip"},
        {"ENDPOINT": "{url}", "HEADERS": "x-a=1", "METRICS_HEADERS": "authorization=Basic dTpw", "METRICS_COMPRESSION": "deflate"},
        {"ENDPOINT": "{url}", "COMPRESSION": "gzip", "METRICS_COMPRESSION": "none", "METRICS_HEADERS": ""},
    ],
)
def test_requests_are_those_of_the_sdks_exporter(
    collector: HttpCollector, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    """Path and headers."""
    for name, value in variables.items():
        monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", value.format(url=collector.url))
    (data,) = metrics_data(Readings([store().snapshot]).read(), Resource({}), InstrumentationScope("otel_mlmon"))
    theirs = OTLPMetricExporter()
    assert theirs.export(data) is MetricExportResult.SUCCESS
    theirs.shutdown()
    ours = start_export([store().snapshot])
    assert ours.flush()
    path, headers = collector.paths[-1], collector.headers[-1]
    ours.close()
    skip = {"user-agent", "content-length", "connection", "accept", "accept-encoding", "host"}
    expected, found = (
        {name.lower(): value for name, value in each.items() if name.lower() not in skip}
        for each in (collector.headers[-3], headers)
    )
    assert (path, found) == (collector.paths[-3], expected)


def test_the_defaults_are_those_of_the_specification() -> None:
    """https://opentelemetry.io/docs/specs/otel/protocol/exporter/ and .../configuration/sdk-environment-variables/"""
    assert environment.endpoint() == environment.Endpoint("http://localhost:4318/v1/metrics", {}, 10.0, "none")
    assert (environment.interval(), environment.export_timeout()) == (60.0, 30.0)
    assert (environment.exporters(), environment.protocol(), environment.delta()) == (("otlp",), "http/protobuf", frozenset())
    assert environment.prometheus_address() == ("localhost", 9464)
    assert not environment.disabled()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", ("otlp",)),
        ("none", ()),
        ("console, otlp,console", ("console", "otlp")),
        ("prometheus,none", ("prometheus",)),
        ("otlp_proto_grpc,otlp", ("otlp",)),
    ],
)
def test_exporters_are_a_list(monkeypatch: pytest.MonkeyPatch, text: str, named: tuple[str, ...]) -> None:
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", text)
    assert environment.exporters() == named


@pytest.mark.parametrize(
    ("name", "variable", "told"),
    [("otlp_proto_grpc", "http/protobuf", "grpc"), ("otlp_proto_http", "grpc", "http/protobuf"), ("otlp", "grpc", "grpc")],
)
def test_the_names_of_opentelemetry_python_tell_the_protocol(
    monkeypatch: pytest.MonkeyPatch, name: str, variable: str, told: str
) -> None:
    """Its own configuration takes them; they come before the variable of the protocol."""
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", name)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", variable)
    assert environment.protocol() == told


@pytest.mark.parametrize(("text", "types"), [("cumulative", set()), ("Delta", BOTH), ("LOWMEMORY", BOTH), ("", set())])
def test_the_preference_tells_the_temporality(monkeypatch: pytest.MonkeyPatch, text: str, types: set[str]) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", text)
    assert environment.delta() == types


def test_times_are_read_as_the_sdk_reads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The timeout of a request in seconds, those of the reader in milliseconds."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "5")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "2.5")
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "500")
    monkeypatch.setenv("OTEL_METRIC_EXPORT_TIMEOUT", "250")
    assert (environment.endpoint().timeout, environment.interval(), environment.export_timeout()) == (2.5, 0.5, 0.25)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("OTEL_METRICS_EXPORTER", "otlp,zipkin", "otlp, console, prometheus, none, .*, got 'zipkin'"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "OTLP_PROTOCOL: must be one of grpc, http/protobuf, got 'http/json'"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "thrift", "METRICS_PROTOCOL"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318", "http://"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "unix:///tmp/x", "METRICS_ENDPOINT: must be a URL"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:43180000", "OTLP_ENDPOINT: must be a URL"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "none, gzip, deflate"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon", "above 0, got 'soon'"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "0", "OTEL_METRIC_EXPORT_INTERVAL: must be a number above 0"),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "-1", "above 0"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "gamma", "cumulative, delta, lowmemory"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere.pem", "no such file: '/nowhere.pem'"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-a=b%0d%0ax-c:d", "more than one line"),
        ("OTEL_EXPORTER_PROMETHEUS_PORT", "99999", "from 0 to 65535"),
    ],
)
def test_what_is_not_known_is_refused(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str) -> None:
    """At construction, before traffic."""
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "otlp,prometheus")
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValueError, match=message):
        start_export([store().snapshot])


def test_names_are_known_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    """https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#enum"""
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "OTLP,Console")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "GRPC")
    assert (environment.exporters(), environment.protocol()) == (("otlp", "console"), "grpc")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HEADERS", "authorization=secret%0asecret"),
        ("ENDPOINT", "user:secret@localhost:4318"),
        ("ENDPOINT", "http://user:secret@:4318"),
    ],
)
def test_credentials_are_not_shown(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{variable}", value)
    with pytest.raises(ValueError) as caught:
        start_export([store().snapshot])
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("interval", [0, -1, float("nan"), float("inf")])
def test_an_interval_without_sense_is_refused(interval: float) -> None:
    with pytest.raises(ValueError, match="interval must be"):
        start_export([store().snapshot], interval=interval)


def test_certificates_are_those_for_metrics_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("CERTIFICATE", "METRICS_CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE"):
        (tmp_path / name).touch()
        monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", str(tmp_path / name))
    found = environment.endpoint()
    assert (found.certificate, found.client_certificate, found.client_key) == tuple(
        str(tmp_path / name) for name in ("METRICS_CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY")
    )


def test_a_file_that_is_no_certificate_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "https://localhost:4318")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", str(tmp_path / "empty.pem"))
    with pytest.raises(ValueError, match=r"CLIENT_KEY: .*empty\.pem"):
        start_export([store().snapshot])
