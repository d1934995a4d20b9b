"""The command `otel-mlmon`: build and check references, write rules, run the demo."""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from otel_mlmon.bundle.options import DASHBOARDS, RUNBOOKS, RuleOptions
from otel_mlmon.bundle.rules import render
from otel_mlmon.bundle.thresholds import SHIPPED
from otel_mlmon.catalog import LABEL
from otel_mlmon.monitor import Monitor
from otel_mlmon.outputs import TASKS
from otel_mlmon.profiling.profile import FeatureProfile
from otel_mlmon.reference import Metadata, Reference
from otel_mlmon.schema import Schema
from otel_mlmon.settings import Settings

FAILED = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Words of the command line; the process's own by default.

    Returns:
        Exit status: 0, 1 if the command failed with a message on standard error, 2 for a wrong command line, or the demo's own.
    """
    parsed = _parser().parse_args(arguments)
    try:
        status: int = parsed.run(parsed)
        sys.stdout.flush()
    except ModuleNotFoundError as error:
        print(f"otel-mlmon: {error.name} is not installed: pip install 'otel-mlmon[{parsed.extra}]'", file=sys.stderr)
        return FAILED
    except BrokenPipeError:  # `| head` has seen enough; what Python still flushes at its end goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (ValueError, OSError, RuntimeError) as error:
        print(f"otel-mlmon: {error}", file=sys.stderr)
        return FAILED
    return status


# ---------------------------------------------------------------- commands


def _build(options: argparse.Namespace) -> int:
    from otel_mlmon.data_files import Roles, batches

    roles = Roles(
        options.predictions, options.scores, options.labels, options.timestamps, tuple(options.ignore), tuple(options.text)
    )
    metadata = Metadata(
        code_revision=options.code_revision,
        dataset=options.dataset or options.data.name,
        feature_version=options.feature_version,
        environment=options.environment,
    )
    reference = Reference.build(
        batches(options.data, roles),
        schema=Schema.load(options.schema) if options.schema else None,
        task=options.task,
        bins=options.bins,
        categories=options.categories,
        metadata=metadata,
    )
    reference.save(options.out)
    print(f"{options.out}: {reference.rows} rows, {len(reference.schema)} features, digest {reference.digest}")
    return 0


def _check(options: argparse.Namespace) -> int:
    reference = Reference.load(options.reference)
    print(f"reference {reference.digest}: {reference.rows} rows, task {reference.task or 'not given'}")
    header = ("feature", "kind", "bins", "values", "missing", "outliers", "normal operation reaches")
    rows = [header] + [_row(profile) for profile in reference.profiles]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    uncalibrated = [profile.feature for profile in reference.profiles if not _calibrated(profile)]
    if uncalibrated:
        pairs = " or ".join(" and ".join(pair) for pair in RuleOptions().pairs)
        print(f"normal operation is not known over {pairs} for: {', '.join(uncalibrated)}")
        print("  their alerts rest on thresholds and chance; timestamps and at least eight windows of 100 values would tell")
    by_area = _predicted_series(reference)
    areas = ", ".join(f"{area} {count}" for area, count in by_area.items())
    print(f"series per replica: {sum(by_area.values())} ({areas}), process and system health aside")
    return 0


def _row(profile: FeatureProfile) -> tuple[str, str, str, str, str, str, str]:
    statistic = _alarms_on(profile)
    by_window = [f"{window} {level:.2g}" for window, level in profile.thresholds.get(statistic, {}).items()]
    levels = f"{statistic} {', '.join(by_window)}" if by_window else ""
    outliers = f"{profile.outliers / max(profile.samples, 1):.1%}" if profile.kind == "numeric" else ""
    missing = f"{profile.missing / max(profile.rows, 1):.1%}"
    return profile.feature, profile.kind, str(len(profile.bins)), str(profile.samples), missing, outliers, levels


def _alarms_on(profile: FeatureProfile) -> str:
    return "wasserstein" if profile.weights else "psi"


def _calibrated(profile: FeatureProfile) -> bool:
    """Whether some pair of windows that alarm together has a level each."""
    levels = profile.thresholds.get(_alarms_on(profile), {})
    return profile.feature == LABEL or any(levels.keys() >= set(pair) for pair in RuleOptions().pairs)


def _predicted_series(reference: Reference) -> Counter[str]:
    """Samples of a scrape by area, counted on a monitor that is really built."""
    areas: Counter[str] = Counter()
    with Monitor("check", reference=reference, settings=Settings(system_seconds=0)) as monitor:
        for series in monitor.collect().series:
            areas[series.family.area] += series.samples
    return areas


def _rules(options: argparse.Namespace) -> int:
    windows = tuple(options.windows.split(","))
    pairs = tuple((fast, slow) for fast, _, slow in (pair.partition(":") for pair in options.pairs.split(",")))
    thresholds = {key: value for key in SHIPPED if (value := getattr(options, "_".join(key))) is not None}
    texts = render(
        RuleOptions(
            windows=windows,
            interval=options.interval,
            lookback=options.lookback,
            delay=options.delay,
            max_bins=options.max_bins,
            previous=options.previous,
            pairs=pairs,
            thresholds=thresholds,
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


def _demo(options: argparse.Namespace) -> int:
    from otel_mlmon.demo.run import run

    return run(until=options.until, day_seconds=options.day_seconds, servers=options.servers)


# ---------------------------------------------------------------- command line


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="otel-mlmon", description="Live model monitoring in your own Prometheus.")
    parser.add_argument("--version", action="version", version=f"otel-mlmon {version('otel-mlmon')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    reference = commands.add_parser("reference", help="profiles of training data").add_subparsers(required=True, metavar="COMMAND")
    _add_build(reference.add_parser("build", help="profile a CSV or Parquet file"))
    check = commands.add_parser("check", help="load a reference, show features, bins and the number of series")
    check.add_argument("reference", type=Path, help="file that `reference build` or Reference.save wrote")
    check.set_defaults(run=_check, extra="")
    _add_rules(commands.add_parser("rules", help="write recording and alert rules for Prometheus"))
    _add_demo(commands.add_parser("demo", help="two minutes of real flights: winter is calm, summer alerts"))
    return parser


def _add_build(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_build, extra="files")
    parser.add_argument("data", type=Path, help="training data: .csv (also compressed) or .parquet, of any size")
    parser.add_argument("--out", type=Path, default=Path("reference.json"), help="file to write (default: %(default)s)")
    parser.add_argument("--schema", type=Path, help="schema as JSON; inferred from the data if not given")
    parser.add_argument("--task", choices=TASKS, help="what the model does")
    for role, text in (
        ("predictions", "what the model returned"),
        ("scores", "the model's score or probability"),
        ("labels", "ground truth"),
        ("timestamps", "when the row was seen; needed for calibrated alerts"),
    ):
        parser.add_argument(f"--{role}", default="", metavar="COLUMN", help=f"column: {text}")
    parser.add_argument("--ignore", action="append", default=[], metavar="COLUMN", help="column that is no feature")
    parser.add_argument("--text", action="append", default=[], metavar="COLUMN", help="column read as text, whatever it holds")
    parser.add_argument("--bins", type=int, default=10, help="most bins of a numeric feature (default: %(default)s)")
    parser.add_argument("--categories", type=int, default=32, help="most categories of a feature (default: %(default)s)")
    for field in ("dataset", "code-revision", "feature-version", "environment"):
        parser.add_argument(f"--{field}", default="", help="recorded in the reference and in mlmon_model_info")


def _add_rules(parser: argparse.ArgumentParser) -> None:
    default = RuleOptions()
    parser.set_defaults(run=_rules, extra="")
    parser.add_argument("--out", type=Path, default=Path("alert_rules"), help="folder to write to (default: %(default)s)")
    parser.add_argument("--windows", default=",".join(default.windows), help="windows of the statistics (default: %(default)s)")
    parser.add_argument(
        "--pairs", default=",".join(":".join(pair) for pair in default.pairs), help="fast:slow windows (default: %(default)s)"
    )
    parser.add_argument("--interval", default=default.interval, help="evaluation interval (default: %(default)s)")
    parser.add_argument("--lookback", default=default.lookback, help="how old a counter may be (default: %(default)s)")
    parser.add_argument("--delay", default=default.delay, help="how far behind now counters are read (default: %(default)s)")
    parser.add_argument("--max-bins", type=int, default=default.max_bins, help="numeric bins covered (default: %(default)s)")
    parser.add_argument("--previous", default=default.previous, help="age of the previous baseline (default: %(default)s)")
    parser.add_argument("--time-scale", type=float, default=default.time_scale, help="time lapse: divides windows and waits")
    parser.add_argument("--runbook-base", default=RUNBOOKS, help="page of the runbooks")
    parser.add_argument("--dashboard-base", default=DASHBOARDS, help="address of Grafana")
    for (statistic, severity), value in SHIPPED.items():
        name = f"--{statistic.replace('_', '-')}-{severity}"
        parser.add_argument(name, type=float, dest=f"{statistic}_{severity}", help=f"default threshold (shipped: {value:g})")


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_demo, extra="demo")
    parser.add_argument("--until", choices=("winter", "alert", "end"), default="end", help="when to stop (default: %(default)s)")
    parser.add_argument("--day-seconds", type=float, default=6.0, help="seconds that a simulated day lasts (default: %(default)s)")
    parser.add_argument(
        "--servers", type=Path, default=Path(".cache/servers"), help="unpacked Prometheus and Alertmanager (default: %(default)s)"
    )


if __name__ == "__main__":
    sys.exit(main())
