"""The page, held to prometheus_client's writer and parsers, to promtool and to Prometheus."""

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from wsgiref.simple_server import WSGIRequestHandler, make_server

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.openmetrics import exposition, parser
from prometheus_client.parser import text_string_to_metric_families as parse_text

from otel_mlmon.catalog import (
    CALL_DURATION,
    CALL_ERRORS,
    CALLS,
    CATALOG,
    FEATURE_BIN,
    FEATURE_MIN,
    FEATURE_VALUE,
    LAST_CALL_TIME,
    MetricFamily,
)
from otel_mlmon.exposition.prometheus import Collector
from otel_mlmon.exposition.server import start_server
from otel_mlmon.store import Exemplar, SeriesStore, Snapshot
from tests.servers import SERIES, Server, find_binary, prometheus, require

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

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


def parsed(families: "list[Metric]") -> dict[str, Any]:
    """What a page says; each sample with its exemplar."""
    return {
        family.name: (
            family.type,
            family.documentation,
            {(one.name, tuple(sorted(one.labels.items()))): (one.value, one.exemplar) for one in family.samples},
        )
        for family in families
    }


def traced_store(time: float = 1_760_000_000.25) -> SeriesStore:
    """Errors and durations, some with exemplars, among them the last bucket."""
    store = full_store()
    errors = store.allocate(CALL_ERRORS, [("n", "1", "KeyError")])
    durations = store.allocate(CALL_DURATION, [("n", "1")], bounds=(0.1, 1.0))
    exemplars = {
        errors: Exemplar(1.0, time, 2**128 - 1, 2**64 - 1),
        durations + 1: Exemplar(0.25, time + 1, 0xABC, 0xDEF),
        durations + 2: Exemplar(7.0, time + 2, 1, 2),
    }
    store.add([(errors, np.ones(1)), (durations, np.array([0.0, 1.0, 1.0, 7.25]))], exemplars)
    return store


def test_the_text_page_reads_as_prometheus_client_writes_it() -> None:
    """Two writers, one content."""
    store = full_store(lowest=-2.5)
    ours = list(parse_text(Collector(store.snapshot).render().decode()))
    theirs = list(parse_text(generate_latest(registry_of(store)).decode()))
    assert len(ours) == len(CATALOG)
    assert parsed(ours) == parsed(theirs)


def test_the_openmetrics_page_reads_as_prometheus_client_writes_it() -> None:
    """The OpenMetrics parser is strict: names, types, order of buckets, exemplars, the end."""
    store = traced_store()
    ours = list(parse_openmetrics(Collector(store.snapshot).render(openmetrics=True).decode()))
    theirs = list(parse_openmetrics(generate_openmetrics(registry_of(store)).decode()))
    assert len(ours) == len(CATALOG)
    assert parsed(ours) == parsed(theirs)


def test_exemplars_stand_behind_buckets_and_totals() -> None:
    """As OpenMetrics wants them, whichever source they are of; the text format knows none."""
    collector = Collector(full_store("2").snapshot, traced_store().snapshot)
    lines = [line for line in collector.render(openmetrics=True).decode().splitlines() if " # {" in line]
    labels = 'model_name="n",model_version="1"'
    assert lines == [
        f'mlmon_call_errors_total{{{labels},error_type="KeyError"}} 1.0'
        f' # {{span_id="{"f" * 16}",trace_id="{"f" * 32}"}} 1.0 1760000000.25',
        f'mlmon_call_duration_seconds_bucket{{{labels},le="1.0"}} 1.0'
        f' # {{span_id="{"0" * 13}def",trace_id="{"0" * 29}abc"}} 0.25 1760000001.25',
        f'mlmon_call_duration_seconds_bucket{{{labels},le="+Inf"}} 2.0'
        f' # {{span_id="{"0" * 15}2",trace_id="{"0" * 31}1"}} 7.0 1760000002.25',
    ]
    assert b" # {" not in collector.render()


@cache
def all_metrics() -> dict[str, Metric]:
    return {metric.name: metric for metric in Collector(full_store().snapshot).collect()}


@pytest.mark.parametrize("family", CATALOG, ids=lambda family: family.name)
def test_a_family_is_named_and_typed_as_the_catalogue_says(family: MetricFamily) -> None:
    """What the rules and dashboards refer to is what a scrape shows."""
    shown = all_metrics()[family.prometheus_family]
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


def test_a_view_that_grows_between_two_sources_is_read_again() -> None:
    """Another process may add a series at any time."""
    store = SeriesStore()
    store.allocate(CALLS, [("m", "1", "ok")])
    shown: list[Snapshot] = []

    def first() -> Snapshot:
        return store.snapshot()

    def second() -> Snapshot:
        if not shown:
            store.allocate(CALLS, [("m", "1", "error")])
        shown.append(store.snapshot())
        return shown[-1]

    assert Collector(first, second).render().count(b"mlmon_calls_total{") == 2


def test_a_lone_source_is_not_read_before_it_is_asked() -> None:
    """What reads a shared folder takes part in it."""

    def source() -> Snapshot:
        raise AssertionError

    CollectorRegistry().register(Collector(source))


def test_one_view_given_by_two_sources_appears_once() -> None:
    """Two monitors of one name in one process show the merged view of the folder that they share."""
    store = full_store()
    view = store.snapshot()
    assert (
        Collector(lambda: view, lambda: view, SeriesStore().snapshot, SeriesStore().snapshot).render()
        == Collector(store.snapshot).render()
    )


def test_sources_come_and_go() -> None:
    """Whatever order they go in; one that would spoil the page does not come in."""
    first, second = full_store("1"), full_store("2")
    collector = Collector(first.snapshot)
    collector.add(second.snapshot)
    assert collector.render() == Collector(first.snapshot, second.snapshot).render()
    with pytest.raises(ValueError, match="give each monitor its own name or version"):
        collector.add(full_store("2").snapshot)
    collector.remove(first.snapshot)
    assert collector.render() == Collector(second.snapshot).render()
    with pytest.raises(ValueError, match="not in"):
        collector.remove(first.snapshot)


def test_scrapes_while_series_are_added_show_whole_pages() -> None:
    """Each scrape keeps to the layout that it began with: a number never stands behind another one's name."""
    store = SeriesStore()
    store.allocate(CALLS, [("m", "1", "0")])
    collector = Collector(store.snapshot)
    done = threading.Event()
    wrong: list[str] = []

    def scrape() -> None:
        while not done.is_set():
            lines = [line for line in collector.render().decode().splitlines() if not line.startswith("#")]
            wrong.extend(line for line in lines if f'status="{line.split()[-1][:-2]}"' not in line)

    scrapers = [threading.Thread(target=scrape) for _ in range(3)]
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads take turns all the time
    try:
        for scraper in scrapers:
            scraper.start()
        for number in range(1, 1_000):
            store.put(store.allocate(CALLS, [("m", "1", f"{number}")]), np.array([float(number)]))
        done.set()
        for scraper in scrapers:
            scraper.join()
    finally:
        sys.setswitchinterval(usual)
    assert [line for line in wrong if not line.endswith(" 0.0")] == []  # a series is 0 until its number is put


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


KEPT = {
    "mlmon_reference_bin_count": "it counts, and is a gauge since a reference may be built anew",
    "process_thread_count": "OpenTelemetry's semantic conventions name it so",
    "process_unix_file_descriptor_count": "likewise",
    "system_cpu_logical_count": "likewise",
}
"""Names that promtool would have otherwise, with our reasons: it wants ``_count`` on histograms and summaries only."""


@pytest.mark.parametrize("series", SERIES)
def test_promtool_accepts_the_page(series: str) -> None:
    """Prometheus's own parser reads every family, and its linter has no more to say than we know."""
    page = Collector(full_store("1").snapshot, full_store("2").snapshot).render()
    promtool = require("promtool", series)
    done = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True, timeout=60, check=False)
    said = (done.stdout + done.stderr).decode().splitlines()
    assert sorted(said) == [
        f'{name} non-histogram and non-summary metrics should not have "_count" suffix' for name in sorted(KEPT)
    ]


@pytest.fixture
def text_target() -> Iterator[Callable[[SeriesStore], str]]:
    """Serves a store's page in the text format, whatever the client would rather have."""
    with contextlib.ExitStack() as opened:

        def serve(store: SeriesStore) -> str:
            def application(_: "WSGIEnvironment", start_response: "StartResponse") -> list[bytes]:
                start_response("200 OK", [("Content-Type", "text/plain; version=0.0.4; charset=utf-8")])
                return [Collector(store.snapshot).render()]

            server = opened.enter_context(make_server("127.0.0.1", 0, application, handler_class=_Silent))
            thread = threading.Thread(target=server.serve_forever, args=(0.02,))
            thread.start()
            opened.callback(thread.join)
            opened.callback(server.shutdown)
            return f"127.0.0.1:{server.server_port}"

        yield serve


class _Silent(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """A scrape is not news."""


def test_prometheus_reads_both_formats_alike(tmp_path: Path, text_target: Callable[[SeriesStore], str]) -> None:
    """Every family, by a real scrape of each release; from OpenMetrics, which it prefers, the exemplars, too."""
    require("prometheus")
    store = traced_store(began := time.time())
    text = text_target(store)
    with contextlib.ExitStack() as opened:
        target = f"127.0.0.1:{opened.enter_context(start_server([store.snapshot], port=0)).port}"
        started = []
        for series in RELEASES:  # at the same time: each waits for five seconds before it scrapes
            if find_binary("prometheus", series):
                (folder := tmp_path / series).mkdir()
                running = prometheus(folder, [], [target, text], interval="250ms", series=series, flags=EXEMPLARS)
                started.append(opened.enter_context(running))
        for server in started:
            found = scraped(server, target)
            assert found == scraped(server, text)
            assert {name for name, _ in found} == {
                family.prometheus_name + suffix
                for family in CATALOG
                for suffix in (("_bucket", "_count", "_sum") if family.type == "histogram" else ("",))
            }
            query = {"query": '{model_name="n"}', "start": repr(began - 60), "end": repr(began + 60)}
            traced = server.get("/api/v1/query_exemplars", query)["data"]
            assert {one["seriesLabels"]["instance"] for one in traced} == {target}
            assert {
                (one["seriesLabels"]["__name__"], each["labels"]["trace_id"], each["labels"]["span_id"], float(each["value"]))
                for one in traced
                for each in one["exemplars"]
            } == {
                ("mlmon_call_errors_total", "f" * 32, "f" * 16, 1.0),
                ("mlmon_call_duration_seconds_bucket", "0" * 29 + "abc", "0" * 13 + "def", 0.25),
                ("mlmon_call_duration_seconds_bucket", "0" * 31 + "1", "0" * 15 + "2", 7.0),
            }


RELEASES: tuple[Literal["old", "new"], ...] = ("old", "new")
EXEMPLARS = ("--enable-feature=exemplar-storage",)


def scraped(server: Server, instance: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """What Prometheus has of one target, once it has scraped it: numbers by name and labels."""
    deadline = time.monotonic() + 60
    while not (found := server.query(f'{{instance="{instance}", model_name!=""}}')):
        assert time.monotonic() < deadline, server.log.read_text()
        time.sleep(0.05)
    shown = {}
    for labels, value in found.items():
        named = dict(labels)
        shown[named.pop("__name__"), tuple(item for item in named.items() if item[0] not in {"instance", "job"})] = value
    return shown
