"""`otel-mlmon drift`: compare a file with a reference, and say by the exit status whether it has drifted."""

import argparse
import json
import sys
from pathlib import Path

from otel_mlmon.commands.options import add_columns, add_thresholds, thresholds
from otel_mlmon.profiling.calibration import WINDOWS
from otel_mlmon.reference import Reference
from otel_mlmon.report import DriftReport, compare
from otel_mlmon.report.text import lines
from otel_mlmon.thresholds import SEVERITIES

DRIFTED, FAILED = 3, 1

_STATISTICS = ("psi", "wasserstein", "min_samples", "drifted_features_ratio")
_SHARES = ("missing_ratio", "invalid_ratio", "unseen_ratio", "out_of_range_ratio")


def add(parser: argparse.ArgumentParser) -> None:
    """Declare its words."""
    parser.set_defaults(run=run, extra="files")
    parser.add_argument("reference", type=Path, help="file that `reference build` or Reference.save wrote")
    parser.add_argument("data", type=Path, help="current data: .csv (also compressed) or .parquet, of any size")
    add_columns(parser, timestamps="their span decides which calibrated level holds")
    parser.add_argument("--window", choices=tuple(WINDOWS), default="", help="whose calibrated level holds, instead of by the span")
    parser.add_argument(
        "--fail-on",
        choices=(*SEVERITIES, "never"),
        default="warning",
        help=f"exit with status {DRIFTED} from this severity on (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON document instead of a table")
    add_thresholds(parser, (*_STATISTICS, *_SHARES))


def run(options: argparse.Namespace) -> int:
    """Print the report."""
    from otel_mlmon.data_files import Roles, batches

    reference = Reference.load(options.reference)
    report = compare(
        reference,
        batches(options.data, Roles.of(options), reference.schema),
        window=options.window,
        defaults=thresholds(options),
    )
    if options.json:
        print(json.dumps(report.to_json(), allow_nan=False, ensure_ascii=False, indent=1))
    else:
        print("\n".join(lines(report)))
    if report.state == "too few values":
        sys.stdout.flush()
        print(f"otel-mlmon: no feature has the {report.limits.min_samples:g} values that a judgement needs", file=sys.stderr)
        return FAILED
    return DRIFTED if _fails(report, options.fail_on) else 0


def _fails(report: DriftReport, severity: str) -> bool:
    if severity == "never" or report.state not in SEVERITIES:
        return False
    return SEVERITIES.index(report.state) >= SEVERITIES.index(severity)
