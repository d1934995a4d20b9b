"""The page, held to prometheus_client's writer and parsers and to promtool."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.openmetrics import exposition, parser
from prometheus_client.parser import text_string_to_metric_families as parse_text

from otel_mlmon.catalog import CALLS, CATALOG, FEATURE_BIN, FEATURE_MIN, FEATURE_VALUE, LAST_CALL_TIME, MetricFamily
from otel_mlmon.exposition.prometheus import Collector
from otel_mlmon.store import SeriesStore

# prometheus_client leaves these two untyped.
generate_openmetrics: Callable[[CollectorRegistry], bytes] = exposition.generate_latest
parse_openmetrics: Callable[[str], Iterator[Metric]] = parser.text_string_to_metric_families

AWKWARD = 'a "quoted" \\ back\nslash, µ {}'


def full_store(version: str = "1", *, lowest: float = 0.0) -> SeriesStore:
    """A store with two series of every family of the catalogue and random numbers in them."""
    rng = np.random.default_rng(5)
    store = SeriesStore()
    for family in CATALOG:
        labels = [("m", version, *(text for _ in family.labels[2:])) for text in ("plain", AWKWARD)]
        for values in labels[: 2 if len(family.labels) > 2 else 1]:
            bounds = (lowest, 1e-7, 1.0, 2_000_000.0) if family.type == "histogram" else ()
            start = store.index(family, values, bounds=bounds)
            store.put(start, rng.integers(1, 10**9, size=len(bounds) + 2 if bounds else 1).astype(float))
    return store


def registry_of(*stores: SeriesStore) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=True)
    registry.register(Collector(*(store.snapshot for store in stores)))
    return registry


def parsed(families: "list[Metric]") -> dict[str, tuple[str, str, dict[tuple[str, tuple[tuple[str, str], ...]], float]]]:
    return {
        family.name: (
            family.type,
            family.documentation,
            {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in family.samples},
        )
        for family in families
    }


def test_the_text_page_reads_as_prometheus_client_writes_it() -> None:
    """Two writers, one content."""
    store = full_store(lowest=-2.5)
    ours = list(parse_text(Collector(store.snapshot).render().decode()))
    theirs = list(parse_text(generate_latest(registry_of(store)).decode()))
    assert len(ours) == len(CATALOG)
    assert parsed(ours) == parsed(theirs)


def test_the_openmetrics_page_reads_as_prometheus_client_writes_it() -> None:
    """The OpenMetrics parser is strict: names, types, order of buckets, the end."""
    store = full_store()
    ours = list(parse_openmetrics(Collector(store.snapshot).render(openmetrics=True).decode()))
    theirs = list(parse_openmetrics(generate_openmetrics(registry_of(store)).decode()))
    assert len(ours) == len(CATALOG)
    assert parsed(ours) == parsed(theirs)


@pytest.mark.parametrize("family", CATALOG, ids=lambda family: family.name)
def test_a_family_is_named_and_typed_as_the_catalogue_says(family: MetricFamily) -> None:
    """What the rules and dashboards refer to is what a scrape shows."""
    shown = {metric.name: metric for metric in Collector(full_store().snapshot).collect()}[family.prometheus_family]
    suffixes = ("_bucket", "_count", "_sum") if family.type == "histogram" else ("",)
    assert {sample.name for sample in shown.samples} == {family.prometheus_name + suffix for suffix in suffixes}
    assert {label for sample in shown.samples for label in sample.labels} - {"le"} == set(family.prometheus_labels)


def test_a_histogram_with_negative_bounds_keeps_sum_and_count() -> None:
    """Buckets are cumulated; counts worked by hand."""
    store = SeriesStore()
    start = store.allocate(FEATURE_VALUE, [("m", "1", "a"), ("m", "1", "b")], bounds=(-1.0, 0.5))
    store.add([(start, np.array([1.0, 2.0, 4.0, -7.5, 10.0, 20.0, 40.0, 75.0]))])
    read = registry_of(store).get_sample_value
    labels = {"model_name": "m", "model_version": "1", "feature": "b"}
    assert [read("mlmon_feature_value_bucket", {**labels, "le": le}) for le in ("-1.0", "0.5", "+Inf")] == [10, 30, 70]
    assert (read("mlmon_feature_value_count", labels), read("mlmon_feature_value_sum", labels)) == (70, 75)
    assert read("mlmon_feature_value_sum", {**labels, "feature": "a"}) == -7.5


def test_openmetrics_has_no_sum_beside_negative_bounds() -> None:
    """The specification forbids it, and a strict parser refuses the whole page. The buckets hold the count too."""
    page = Collector(full_store(lowest=-2.5).snapshot).render(openmetrics=True).decode()
    samples = {sample.name for metric in parse_openmetrics(page) for sample in metric.samples}
    assert "mlmon_feature_value_bucket" in samples
    assert not samples & {"mlmon_feature_value_sum", "mlmon_feature_value_count"}


def test_a_gauge_without_a_value_is_left_out() -> None:
    """No data is an absent series, and a family without series is absent too."""
    store = SeriesStore()
    start = store.allocate(FEATURE_MIN, [("m", "1", "a"), ("m", "1", "b")])
    store.allocate(LAST_CALL_TIME, [("m", "1")])
    store.set(start + 1, 3.0)
    samples = [line for line in Collector(store.snapshot).render().decode().splitlines() if not line.startswith("# HELP")]
    expected = 'mlmon_feature_min{model_name="m",model_version="1",feature="b"} 3.0'
    assert samples == ["# TYPE mlmon_feature_min gauge", expected]
    assert [(metric.name, len(metric.samples)) for metric in Collector(store.snapshot).collect()] == [("mlmon_feature_min", 1)]


def test_families_of_several_sources_are_merged() -> None:
    """A family that appears twice makes a page invalid; the numbers stay with their own source."""
    first, second = full_store("1"), full_store("2")
    second.add([(second.index(CALLS, ("m", "2", "plain")), np.ones(1))])
    families = list(Collector(first.snapshot, second.snapshot).collect())
    assert len({metric.name for metric in families}) == len(families) == len(CATALOG)
    single = registry_of(second)
    read = registry_of(first, second).get_sample_value
    for metric in single.collect():
        for sample in metric.samples:
            assert read(sample.name, sample.labels) == sample.value


def test_two_sources_with_one_identity_are_refused_at_set_up() -> None:
    """Prometheus would drop one of the two samples without a word."""
    with pytest.raises(ValueError, match="give each monitor its own name or version"):
        Collector(full_store().snapshot, full_store().snapshot)


def test_a_series_added_later_appears() -> None:
    """The layout is cached, but not for ever."""
    store = SeriesStore()
    store.allocate(CALLS, [("m", "1", "ok")])
    collector = Collector(store.snapshot)
    before = collector.render()
    store.add([(store.index(FEATURE_BIN, ("m", "1", "x", "00 (-inf, 1)")), np.array([5.0]))])
    assert b'bin="00 (-inf, 1)"} 5.0' in collector.render()
    assert b"bin=" not in before


def test_names_are_known_to_the_registry_before_the_first_series() -> None:
    """So a scrape with ``name[]`` finds a series that came later."""
    store = SeriesStore()
    registry = registry_of(store)
    store.add([(store.allocate(CALLS, [("m", "1", "ok")]), np.array([2.0]))])
    page = generate_latest(registry.restricted_registry(["mlmon_calls_total"])).decode()
    assert page.splitlines()[-1] == 'mlmon_calls_total{model_name="m",model_version="1",status="ok"} 2.0'


def test_a_label_that_is_no_valid_text_does_not_spoil_the_page() -> None:
    """JSON may bring a lone surrogate, and so a column's name; UTF-8 has no form of it."""
    store = SeriesStore()
    store.allocate(FEATURE_BIN, [("m", "1", json.loads('"\\ud800"'), "00 a")])
    assert b'feature="?"' in Collector(store.snapshot).render()
    assert b'feature="?"' in generate_latest(registry_of(store))


def test_an_empty_page_is_valid() -> None:
    """A monitor may be scraped before anything has a value."""
    assert Collector().render() == b""
    assert Collector(SeriesStore().snapshot).render(openmetrics=True) == b"# EOF\n"


def test_infinite_gauges_are_readable() -> None:
    """Extremes may be infinite; Prometheus reads ``inf``."""
    store = SeriesStore()
    store.set(store.allocate(LAST_CALL_TIME, [("m", "1")]), -np.inf)
    (metric,) = parse_openmetrics(Collector(store.snapshot).render(openmetrics=True).decode())
    assert metric.samples[0].value == -np.inf


def test_promtool_accepts_the_page() -> None:
    """Prometheus's own parser reads every family."""
    servers = Path(__file__).parent.parent / ".cache" / "servers"
    search = os.pathsep.join([str(path.parent) for path in servers.rglob("promtool")] + [os.environ.get("PATH", "")])
    promtool = shutil.which("promtool", path=search)
    if promtool is None:
        pytest.skip("promtool is not here: .ci/servers.sh fetches it")
    page = Collector(full_store("1").snapshot, full_store("2").snapshot).render()
    done = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True, timeout=60, check=False)
    problems = [line for line in (done.stdout + done.stderr).decode().splitlines() if "non-histogram and non-summary" not in line]
    assert problems == []
