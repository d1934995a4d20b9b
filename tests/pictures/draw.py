"""Dashboards as pictures: the renderer under ``render/``, which is Grafana's components in a headless Chromium."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.pictures.week import NOW, STEP
from tests.servers import Server

_RENDER = Path(__file__).parent / "render"
_CHROMIUM = "/usr/bin/chromium"

FEATURE = {"model_name": ["flight-delay"], "feature": ["temp"]}
"""What a reader of these dashboards would have chosen: they begin with the first model."""

CHOSEN = {
    "mlmon-drift": {**FEATURE, "model_version": ["2013.1"]},
    "mlmon-data-quality": FEATURE,
    "mlmon-model": {"model_name": ["flight-delay"]},
}

Job = dict[str, Any]


def installed(cache: Path, say: Callable[[str], None]) -> Path:
    """The renderer with its packages, in the cache; installed and bundled when its sources have changed.

    Raises:
        FileNotFoundError: If Chromium, node or npm is missing.
    """
    if not Path(os.environ.get("CHROMIUM", _CHROMIUM)).exists():
        raise FileNotFoundError("Chromium is missing: apt-get install chromium, or name one in $CHROMIUM")
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise FileNotFoundError(f"{program} is missing: apt-get install nodejs npm (node 20 or newer)")
    target = cache / "render"
    package = (_RENDER / "package.json").read_text(encoding="utf-8")
    same = target / "package.json"
    fresh = not (same.exists() and same.read_text(encoding="utf-8") == package and (target / "node_modules").exists())
    sources = sorted(path for path in _RENDER.rglob("*") if path.is_file() and "node_modules" not in path.parts)
    content = "".join(path.read_text(encoding="utf-8") for path in sources)
    stamp = target / "bundled"
    if not fresh and stamp.exists() and stamp.read_text(encoding="utf-8") == content:
        return target
    for path in sources:
        copy = target / path.relative_to(_RENDER)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    if fresh:
        say("installing the renderer's packages: a minute, 600 MB")
        words = [
            "npm",
            "install",
            "--ignore-scripts",
            "--legacy-peer-deps",
            "--no-package-lock",
            "--no-audit",
            "--no-fund",
            "--loglevel=error",
        ]
        subprocess.run(words, cwd=target, check=True)
    subprocess.run(["node", "build.mjs"], cwd=target, check=True)
    stamp.write_text(content, encoding="utf-8")
    say("renderer ready")
    return target


def jobs(boards: Iterable[Path], target: Path, *, check: bool) -> Iterator[Job]:
    """What to draw: light and dark; to check, 1600 and 1000 pixels wide with all rows opened."""
    for board in boards:
        for theme in ("light", "dark"):
            for width in (1600, 1000) if check else (1600,):
                name = f"{board.stem}-{theme}" + (f"-{width}" if check else "")
                job = {"dashboard": str(board), "out": str(target / f"{name}.png"), "theme": theme, "width": width, "open": check}
                yield job | {"variables": CHOSEN.get(board.stem, {})}


def draw(renderer: Path, server: Server, wanted: Iterable[Job], say: Callable[[str], None]) -> bool:
    """Draw, and tell of each picture which panels show nothing.

    Returns:
        Whether a panel could not be drawn.
    """
    common = {"prometheus": server.url, "now": 1000 * NOW, "step": STEP}
    listed: Sequence[Job] = [job | common for job in wanted]
    file = renderer / "jobs.json"
    file.write_text(json.dumps(listed), encoding="utf-8")
    with subprocess.Popen(["node", "draw.mjs", str(file)], cwd=renderer, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        for line in running.stdout:
            seen = json.loads(line)
            size = Path(seen["out"]).stat().st_size / 1000
            say(f"{Path(seen['out']).name}: {seen['panels']} panels, {seen['queries']} queries, {size:.0f} kB")
            for kind in ("nodata", "errors", "blank", "thrown"):
                for words in seen[kind]:
                    print(f"          {kind}: {words}", flush=True)
    return running.returncode != 0
