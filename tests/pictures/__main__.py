"""``make pictures``: a simulated week, and every dashboard of it, light and dark, into ``dashboards/pictures``.

Options: ``--check`` draws instead into ``.cache/pictures/check``: 1600 and 1000 pixels wide, light and dark, all rows opened;
``--dashboard UID`` draws one; ``--keep`` serves the week afterwards until Ctrl-C.
"""

import argparse
import contextlib
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.pictures import draw, week

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "pictures"


def main() -> int:
    """Make the pictures; 1 if a panel could not be drawn."""
    parser = argparse.ArgumentParser(prog="python -m tests.pictures", description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--dashboard", metavar="UID", default="*")
    parser.add_argument("--keep", action="store_true")
    arguments = parser.parse_args()
    os.environ.setdefault("GOGC", "400")
    began = time.perf_counter()

    def say(what: str) -> None:
        print(f"{time.perf_counter() - began:6.0f} s  {what}", flush=True)

    CACHE.mkdir(parents=True, exist_ok=True)
    try:
        renderer = draw.installed(CACHE, say)
        kept = week.kept(CACHE, say)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder, week.served(Path(folder), kept) as server:
            boards = sorted((ROOT / "dashboards").glob(f"{arguments.dashboard}.json"))
            target = CACHE / "check" if arguments.check else ROOT / "dashboards" / "pictures"
            target.mkdir(parents=True, exist_ok=True)
            failed = draw.draw(renderer, server, draw.jobs(boards, target, check=arguments.check), say)
            if arguments.keep:
                say(f"{server.url} until Ctrl-C; the week ends at {week.NOW}")
                with contextlib.suppress(KeyboardInterrupt):
                    signal.pause()
    except FileNotFoundError as missing:
        print(f"pictures: {missing}", file=sys.stderr)
        return 2
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
