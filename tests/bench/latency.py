"""The tail of a one-millisecond function at 500 calls a second, with a scrape every ten seconds."""

import statistics
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from otel_mlmon import Monitor, Settings
from tests.bench.rows import FEATURES, monitor

PERIOD = 0.002
SECONDS = 20.0
SCRAPE_SECONDS = 10.0
ROUNDS = 3


def run() -> None:
    """Print p50 and p99, bare and watched, in alternating rounds."""
    base = monitor()
    rng = np.random.default_rng(5)
    row = rng.normal(size=FEATURES)
    size = _calibrate(0.001)
    values = rng.normal(size=size)

    def predict(features: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
        return float(np.tanh(values).sum() + features[0])

    with Monitor("latency", version="1", reference=base.reference, settings=Settings()) as watching:
        server = watching.serve(port=0)
        watched = watching.watch(predict)
        results: dict[str, list[tuple[float, float]]] = {"bare": [], "watched": []}
        for _ in range(ROUNDS):
            results["bare"].append(_tail(lambda: predict(row), scrape=""))
            results["watched"].append(_tail(lambda: watched(row), scrape=server.url))
    base.close()
    print(
        f"a function of 1 ms at {1 / PERIOD:.0f} calls a second, a scrape every {SCRAPE_SECONDS:.0f} s (median of {ROUNDS} rounds)"
    )
    medians = {name: [statistics.median(values) for values in zip(*tails, strict=True)] for name, tails in results.items()}
    for name, (p50, p99) in medians.items():
        print(f"  {name:<10} p50 {p50 * 1e3:7.3f} ms   p99 {p99 * 1e3:7.3f} ms")
    rise = medians["watched"][1] / medians["bare"][1] - 1
    print(f"  p99 rises by {rise:+.1%}   asked: under 10 %")


def _calibrate(seconds: float) -> int:
    """Numbers whose tanh takes about this long: fixed work, not a wait, since only work shows who takes the processor."""
    values = np.random.default_rng(5).normal(size=10_000)
    times = []
    for _ in range(50):
        began = time.perf_counter()
        np.tanh(values)
        times.append(time.perf_counter() - began)
    return max(100, int(10_000 * seconds / statistics.median(times)))


def _tail(call: Callable[[], float], *, scrape: str) -> tuple[float, float]:
    """p50 and p99 of the calls of one round."""
    taken: list[float] = []
    with ThreadPoolExecutor(1) as scraper:
        began = time.perf_counter()
        due, next_scrape = began, began + SCRAPE_SECONDS / 2
        while due < began + SECONDS:
            now = time.perf_counter()
            if now < due:
                time.sleep(due - now)
            start = time.perf_counter()
            call()
            taken.append(time.perf_counter() - start)
            due += PERIOD
            if scrape and due > next_scrape:
                next_scrape += SCRAPE_SECONDS
                scraper.submit(_scrape, scrape)
    p50, p99 = np.quantile(taken, [0.5, 0.99])
    return float(p50), float(p99)


def _scrape(url: str) -> int:
    with urllib.request.urlopen(url) as page:  # noqa: S310 - our own server on the loopback
        return len(page.read())
