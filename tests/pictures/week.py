"""The simulated week as a folder that a Prometheus serves; made once, and again when what it is made of changes."""

import contextlib
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.rules import render
from otel_mlmon.demo.stack import Series, find_binary
from tests.pictures import history, incidents, traffic
from tests.pictures.replay import START, replay
from tests.servers import Server, prometheus

STEP = 120
NOW = START + incidents.NOW
"""Unix time at which the pictures are taken."""

OPTIONS = RuleOptions(interval=f"{STEP // 60}m")
"""The rules as they ship, but for the pace of the replay."""

_PACKAGE = Path(__file__).parents[2] / "otel_mlmon"
_HERE = Path(__file__).parent


def kept(cache: Path, say: Callable[[str], None]) -> Path:
    """The folder with the week, made if there is none yet.

    Args:
        cache: Where such folders are kept.
        say: Told what goes on.

    Returns:
        Its path, which only reading is allowed of.

    Raises:
        FileNotFoundError: If no Prometheus is at hand.
    """
    rules = "".join(render(OPTIONS).values())
    raw = cache / f"scraped-{_digest(_sources(), '')}"
    full = cache / f"week-{_digest(_sources(), rules)}"
    if full.exists():
        say("the week is there already")
        return full
    with tempfile.TemporaryDirectory(dir=cache) as name:
        folder = Path(name)
        if raw.exists():
            shutil.copytree(raw, folder / "prometheus")
        else:
            _scrape(folder, raw, say)
        with history.server(folder, series=_series()) as server:
            spent = history.ruled(server, OPTIONS, (START, NOW))
            say("rules evaluated: " + ", ".join(f"{group} {seconds:.0f} s" for group, seconds in spent.items()))
            history.snapshot(server, folder, full)
    for old in (*cache.glob("week-*"), *cache.glob("scraped-*")):
        if old not in (raw, full):
            shutil.rmtree(old)
    return full


@contextlib.contextmanager
def served(folder: Path, week: Path) -> Iterator[Server]:
    """A Prometheus with a copy of the week."""
    shutil.copytree(week, folder / "prometheus")
    with prometheus(folder, series=_series(), flags=["--storage.tsdb.retention.time=100y", "--web.cors.origin=.*"]) as server:
        yield server


def _scrape(folder: Path, raw: Path, say: Callable[[str], None]) -> None:
    """Replay the week and keep what was scraped, as the server's own folder: what has become a block takes no older samples."""
    replicas, requests = traffic.fleet(traffic.week())
    say("models trained")
    targets = replay(replicas, requests, incidents.Incidents(), range(0, incidents.NOW + 1, STEP))
    say("replayed")
    with history.server(folder, series=_series()) as server:
        say(f"{history.scraped(server, targets):,} samples written")
    shutil.copytree(folder / "prometheus", raw)


def _series() -> Series:
    """The newer Prometheus where there is one: it is twice as fast."""
    return "new" if find_binary("prometheus", "new") else "old"


def _sources() -> Iterable[Path]:
    """What the scraped samples depend on."""
    ours = (path for path in _HERE.glob("*.py") if path.stem not in {"__main__", "draw", "day"})
    return sorted(
        [*ours, *(path for path in _PACKAGE.rglob("*.py") if "bundle" not in path.parts and "commands" not in path.parts)]
    )


def _digest(paths: Iterable[Path], text: str) -> str:
    content = b"".join(path.read_bytes() for path in paths) + text.encode()
    return hashlib.sha256(content).hexdigest()[:12]
