"""The catalogue against its own rules, OpenTelemetry's name mapping and the README."""

import re
from collections.abc import Iterable

import pytest
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import REGISTRY

from otel_mlmon.catalog import CATALOG, MODEL, MetricFamily
from tests.readme_table import README, block, table


def make(name: str, unit: str = "") -> MetricFamily:
    return MetricFamily(name, "counter", unit, "Help.", MODEL, "health")


@pytest.mark.parametrize(
    ("name", "unit", "rule"),
    [
        ("mlmon.Calls", "", "lower case"),
        ("mlmon..calls", "", "lower case"),
        ("mlmon.9calls", "", "lower case"),
        ("mlmon.calls_total", "", "'total' is added"),
        ("mlmon.total.calls", "", "'total' is added"),
        ("mlmon.calls", "1", "go together"),
        ("mlmon.missing.ratio", "", "go together"),
        ("process.cpu.utilization", "s", "go together"),
        ("mlmon.call.duration", "ms", "unit must be one of"),
    ],
)
def test_a_name_that_would_differ_between_the_routes_is_refused(name: str, unit: str, rule: str) -> None:
    """Each rule by itself; the message says which."""
    with pytest.raises(ValueError, match=re.escape(rule)):
        make(name, unit)


def test_names_and_series_are_unique() -> None:
    """Two families of one name, dotted or as Prometheus sees it, would be one page's error."""
    assert len({family.name for family in CATALOG}) == len(CATALOG)
    samples = [name for family in CATALOG for name in sample_names(family)]
    assert len(set(samples)) == len(samples)


def sample_names(family: MetricFamily) -> list[str]:
    """Names of a family's samples on a page."""
    suffixes = ("_bucket", "_sum", "_count") if family.type == "histogram" else ("",)
    return [family.prometheus_name + suffix for suffix in suffixes]


@pytest.mark.parametrize("family", CATALOG, ids=lambda family: family.name)
def test_every_family_is_labelled_by_its_model(family: MetricFamily) -> None:
    """Two models in one process, or two versions in one fleet, never share a series."""
    assert family.labels[:2] == MODEL
    assert len(set(family.prometheus_labels)) == len(family.labels)
    assert not set(family.prometheus_labels) & {"le", "job", "instance", "quantile"}
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", label) for label in family.prometheus_labels)


@pytest.mark.parametrize("family", CATALOG, ids=lambda family: family.name)
def test_the_help_is_one_sentence(family: MetricFamily) -> None:
    """It stands in the README's table and on the page: no line break, and an end."""
    assert family.help.endswith(".")
    assert "\n" not in family.help
    assert "|" not in family.help


@pytest.mark.parametrize("family", CATALOG, ids=lambda family: family.name)
def test_prometheus_names_are_those_of_opentelemetrys_exporter(family: MetricFamily) -> None:
    """The oracle is OpenTelemetry's own exporter, fed with an instrument of this name, type and unit."""
    reader = PrometheusMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    try:
        meter = provider.get_meter("oracle")
        attributes = dict.fromkeys(family.labels, "x")
        unit = "" if family.unit == "1" else family.unit
        if family.type == "counter":
            meter.create_counter(family.name, unit, family.help).add(1, attributes)
        elif family.type == "histogram":
            meter.create_histogram(family.name, unit, family.help).record(1, attributes)
        else:
            meter.create_observable_gauge(family.name, [lambda _: [Observation(1, attributes)]], unit, family.help)
        exposed = list(scraped("otel_scope_name"))
    finally:
        provider.shutdown()
    # Unit 1: this exporter drops it, the collector and Prometheus write `_ratio`. The specification follows the latter.
    expected = {name.removesuffix("_ratio") if family.name.endswith("utilization") else name for name in sample_names(family)}
    assert {name for name, _ in exposed} == expected
    assert {labels - {"le"} for _, labels in exposed} == {frozenset(family.prometheus_labels)}


def scraped(scope: str) -> Iterable[tuple[str, frozenset[str]]]:
    """Sample names with label names of what OpenTelemetry's exporter shows: whatever bears its scope label."""
    for metric in REGISTRY.collect():
        for sample in metric.samples:
            if scope in sample.labels:
                yield sample.name, frozenset(label for label in sample.labels if not label.startswith("otel_scope"))


def test_the_readmes_table_is_the_catalogue() -> None:
    """`make generated` writes it."""
    assert block(README.read_text(encoding="utf-8")) == table()
