"""`otel-mlmon demo`: two minutes of real flights."""

import argparse
from pathlib import Path


def add(parser: argparse.ArgumentParser) -> None:
    """Declare its words."""
    parser.set_defaults(run=run, extra="demo")
    parser.add_argument("--until", choices=("winter", "alert", "end"), default="end", help="when to stop (default: %(default)s)")
    parser.add_argument("--day-seconds", type=float, default=6.0, help="seconds that a simulated day lasts (default: %(default)s)")
    parser.add_argument(
        "--servers", type=Path, default=Path(".cache/servers"), help="unpacked Prometheus and Alertmanager (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> int:
    """Run it; its own exit status."""
    from otel_mlmon.demo.run import run as play

    return play(until=options.until, day_seconds=options.day_seconds, servers=options.servers)
