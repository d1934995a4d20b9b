"""`otel-mlmon rules`: write the rules for Prometheus or another ruler."""

import argparse
from pathlib import Path

from otel_mlmon.bundle.deploy import FORMATS
from otel_mlmon.bundle.options import DASHBOARDS, RUNBOOKS, RuleOptions
from otel_mlmon.commands.options import add_thresholds, listed, thresholds
from otel_mlmon.thresholds import SHIPPED


def add(parser: argparse.ArgumentParser) -> None:
    """Declare its words."""
    default = RuleOptions()
    parser.set_defaults(run=run, extra="")
    parser.add_argument("--format", choices=FORMATS, default="prometheus", help="what is to read them (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("alert_rules"), help="folder to write to (default: %(default)s)")
    parser.add_argument("--windows", default=",".join(default.windows), help="windows of the statistics (default: %(default)s)")
    add_pairs(parser)
    parser.add_argument("--interval", default=default.interval, help="evaluation interval (default: %(default)s)")
    parser.add_argument(
        "--drift-interval",
        default=default.drift_interval,
        help="evaluation interval of drift, data quality and statistics: their cost is in proportion to its inverse "
        "(default: %(default)s)",
    )
    parser.add_argument("--lookback", default=default.lookback, help="how old a counter may be (default: %(default)s)")
    parser.add_argument("--delay", default=default.delay, help="how far behind now counters are read (default: %(default)s)")
    parser.add_argument("--max-bins", type=int, default=default.max_bins, help="numeric bins covered (default: %(default)s)")
    parser.add_argument("--previous", default=default.previous, help="age of the previous baseline (default: %(default)s)")
    parser.add_argument(
        "--statistics",
        default=",".join(default.statistics),
        help="recorded for eyes, beside those that alarm; may be empty (default: %(default)s)",
    )
    parser.add_argument(
        "--statistics-windows", default="", help="windows in which they are recorded (default: the shortest and the longest)"
    )
    parser.add_argument("--time-scale", type=float, default=default.time_scale, help="time lapse: divides windows and waits")
    parser.add_argument("--runbook-base", default=RUNBOOKS, help="page of the runbooks")
    parser.add_argument("--dashboard-base", default=DASHBOARDS, help="address of Grafana")
    add_thresholds(parser, [statistic for statistic, _ in SHIPPED])


def run(options: argparse.Namespace) -> int:
    """Write the files and name them."""
    texts = FORMATS[options.format](
        RuleOptions(
            windows=tuple(options.windows.split(",")),
            interval=options.interval,
            drift_interval=options.drift_interval,
            lookback=options.lookback,
            delay=options.delay,
            max_bins=options.max_bins,
            previous=options.previous,
            pairs=pairs(options),
            statistics=listed(options.statistics),
            statistics_windows=listed(options.statistics_windows),
            thresholds=thresholds(options),
            time_scale=options.time_scale,
            runbook_base=options.runbook_base,
            dashboard_base=options.dashboard_base,
        )
    )
    options.out.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (options.out / name).write_text(text, encoding="utf-8")
        print(options.out / name)
    return 0


def add_pairs(parser: argparse.ArgumentParser) -> None:
    """Declare ``--pairs``."""
    shown = ",".join(":".join(pair) for pair in RuleOptions().pairs)
    parser.add_argument("--pairs", default=shown, help="fast:slow windows (default: %(default)s)")


def pairs(options: argparse.Namespace) -> tuple[tuple[str, str], ...]:
    """Those of ``--pairs``; ``RuleOptions`` says what is wrong with them."""
    return tuple((fast, slow) for fast, _, slow in (pair.partition(":") for pair in options.pairs.split(",")))
