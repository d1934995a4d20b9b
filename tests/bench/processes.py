"""One page of several processes, beside prometheus_client's multiprocess mode; the same series in the same run."""

import tempfile
from pathlib import Path

import numpy as np
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.parser import text_string_to_metric_families

from otel_mlmon import catalog
from otel_mlmon.exposition.prometheus import Collector
from tests.bench.timing import processor_seconds
from tests.sharing import Process

WORKERS = 8
SERIES = 3_000
_LABELS = [("m", "1", f"feature {number // 10}", f"{number % 10:02d} [{number}, {number + 1})") for number in range(SERIES)]


def run() -> None:
    """Print how long a page takes, how long its merging, and how long a process takes to publish."""
    with tempfile.TemporaryDirectory() as theirs, tempfile.TemporaryDirectory() as ours:
        _write_theirs(Path(theirs))
        processes = [_process(Path(ours)) for _ in range(WORKERS)]
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=theirs)  # type: ignore[no-untyped-call]  # prometheus_client leaves this one untyped
        collector = Collector(processes[0].shared.collect)
        if _numbers(collector.render()) != _numbers(generate_latest(registry)):
            raise RuntimeError("the two pages do not show the same")

        def publish() -> int:
            processes[0].store.add([(0, np.ones(1))])
            processes[0].shared.publish()
            return 1

        taken = processor_seconds(
            {
                "prometheus_client": lambda: len(generate_latest(registry)) and 1,
                "page": lambda: len(collector.render()) and 1,
                "merge": lambda: len(processes[0].shared.collect().values) and 1,
                "publish": publish,
            }
        )
        for process in processes:
            process.shared.close()
    page, merge = taken["page"], taken["merge"]
    print(f"page of {WORKERS} processes x {SERIES:,} series, processor time")
    print(f"  prometheus_client's multiprocess mode {1e3 * taken['prometheus_client']:7.1f} ms")
    print(f"  page {1e3 * page:5.2f} ms ({taken['prometheus_client'] / page:.0f}x faster), of it merging {1e3 * merge:5.2f} ms")
    print(f"  publishing by one process {1e6 * taken['publish']:5.0f} us")


def _process(folder: Path) -> Process:
    process = Process(folder)
    process.store.add([(process.store.allocate(catalog.FEATURE_BIN, _LABELS), np.arange(SERIES, dtype=np.float64))])
    process.shared.publish()
    return process


def _write_theirs(folder: Path) -> None:
    """What prometheus_client's own counters would have written: a file a process."""
    family = catalog.FEATURE_BIN
    names = family.prometheus_family, family.prometheus_name, list(family.prometheus_labels)
    for worker in range(WORKERS):
        numbers = MmapedDict(str(folder / f"counter_{worker}.db"))  # type: ignore[no-untyped-call]  # as above
        for value, labels in enumerate(_LABELS):
            key = mmap_key(*names, list(labels), family.help)
            numbers.write_value(key, float(value), 0.0)  # type: ignore[no-untyped-call]  # as above
        numbers.close()  # type: ignore[no-untyped-call]  # as above


def _numbers(page: bytes) -> dict[frozenset[tuple[str, str]], float]:
    families = text_string_to_metric_families(page.decode())
    return {frozenset(sample.labels.items()): sample.value for family in families for sample in family.samples}
