"""`otel-mlmon dashboards`: write the dashboards for Grafana."""

import argparse
import sys
from pathlib import Path

from otel_mlmon.bundle.options import RUNBOOKS, RuleOptions
from otel_mlmon.commands.options import add_thresholds, listed, thresholds
from otel_mlmon.commands.rules import add_pairs, pairs
from otel_mlmon.thresholds import SHIPPED

PYTHON = (3, 11)
"""What Grafana's SDK needs."""


def add(parser: argparse.ArgumentParser) -> None:
    """Declare its words."""
    default = RuleOptions()
    parser.set_defaults(run=run, extra="dashboards")
    parser.add_argument("--out", type=Path, default=Path("dashboards"), help="folder to write to (default: %(default)s)")
    parser.add_argument("--windows", default=",".join(default.windows), help="those of the rules (default: %(default)s)")
    add_pairs(parser)
    parser.add_argument("--previous", default=default.previous, help="age of the previous baseline (default: %(default)s)")
    parser.add_argument("--statistics", default=",".join(default.statistics), help="those of the rules (default: %(default)s)")
    parser.add_argument("--drift-interval", default=default.drift_interval, help="that of the rules (default: %(default)s)")
    parser.add_argument("--statistics-windows", default="", help="those of the rules (default: the shortest and the longest)")
    parser.add_argument("--runbook-base", default=RUNBOOKS, help="page of the runbooks")
    add_thresholds(parser, [statistic for statistic, _ in SHIPPED])


def run(options: argparse.Namespace) -> int:
    """Write the files and name them."""
    if sys.version_info < PYTHON:
        needed, found = (".".join(map(str, version[:2])) for version in (PYTHON, sys.version_info))
        raise RuntimeError(
            f"dashboards are written with Grafana's Foundation SDK, which needs Python {needed} or newer, and this is {found}; "
            "with shipped thresholds and windows they lie ready in the folder dashboards/ of the source distribution"
        )
    from otel_mlmon.bundle.grafana.render import render  # of the extra

    texts = render(
        RuleOptions(
            windows=tuple(options.windows.split(",")),
            pairs=pairs(options),
            previous=options.previous,
            drift_interval=options.drift_interval,
            statistics=listed(options.statistics),
            statistics_windows=listed(options.statistics_windows),
            thresholds=thresholds(options),
            runbook_base=options.runbook_base,
        )
    )
    options.out.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (options.out / name).write_text(text, encoding="utf-8")
        print(options.out / name)
    return 0
