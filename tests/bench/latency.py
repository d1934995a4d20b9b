"""The tail of a one-millisecond function at 500 calls a second, with a scrape every ten seconds."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from otel_mlmon import Monitor
from tests.bench.rows import FEATURES, monitor

PERIOD = 0.002
BLOCK_SECONDS = 4.0
BLOCKS = 30
SCRAPE_SECONDS = 10.0


def run() -> None:
    """Print p50 and p99, bare and watched, over short blocks in turn, so that what else the machine does disturbs both alike."""
    base = monitor()
    rng = np.random.default_rng(5)
    row, values, space = rng.normal(size=FEATURES), rng.normal(size=8_192), np.empty(8_192)
    steps = _calibrate(lambda: np.tanh(values, out=space), 0.001)

    def predict(features: npt.NDArray[np.float64]) -> float:
        for _ in range(steps):  # fixed work, not a wait, since only work shows who takes the processor
            np.tanh(values, out=space)
        return float(space[0] + features[0])

    taken: dict[str, list[float]] = {"bare": [], "watched": []}
    with Monitor("latency", version="1", reference=base.reference) as watching, _scraper(watching.serve(port=0).url) as scrape:
        watched, since_scrape = watching.watch(predict), 0.0
        for number in range(BLOCKS):
            if number % 4 in (0, 3):  # ABBA
                taken["bare"] += _block(lambda: predict(row))
                continue
            since_scrape += BLOCK_SECONDS
            if since_scrape >= SCRAPE_SECONDS:
                since_scrape -= SCRAPE_SECONDS
                scrape()
            taken["watched"] += _block(lambda: watched(row))
            watching.flush()  # its rows are not to be counted during a bare block
    base.close()
    calls = len(taken["watched"])
    print(f"a function of 1 ms at {1 / PERIOD:.0f} calls a second, a scrape every {SCRAPE_SECONDS:.0f} s, {calls} calls each")
    found = {name: np.quantile(times, [0.5, 0.99]) for name, times in taken.items()}
    for name, (p50, p99) in found.items():
        print(f"  {name:<10} p50 {p50 * 1e3:7.3f} ms   p99 {p99 * 1e3:7.3f} ms")
    print(f"  p99 rises by {found['watched'][1] / found['bare'][1] - 1:+.1%}   asked: under 10 %")


def _calibrate(step: Callable[[], object], seconds: float) -> int:
    """How many steps take about this long."""
    times = []
    for _ in range(200):
        began = time.perf_counter()
        step()
        times.append(time.perf_counter() - began)
    return max(1, round(seconds / statistics.median(times)))


@contextmanager
def _scraper(url: str) -> Iterator[Callable[[], None]]:
    """A process that fetches a page whenever it is told to, as Prometheus does from elsewhere."""
    loop = "import sys, urllib.request\nfor line in sys.stdin: urllib.request.urlopen(line.strip()).read()"
    with subprocess.Popen([sys.executable, "-c", loop], stdin=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None

        def scrape() -> None:
            print(url, file=process.stdin, flush=True)

        yield scrape
        process.stdin.close()


def _block(call: Callable[[], float]) -> list[float]:
    """How long each call of one block took, seconds."""
    taken: list[float] = []
    began = time.perf_counter()
    for number in range(round(BLOCK_SECONDS / PERIOD)):
        wait = began + number * PERIOD - time.perf_counter()
        if wait > 0:
            time.sleep(wait)
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return taken
