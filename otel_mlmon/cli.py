"""The command `otel-mlmon`: build and check references, compare data, write rules, dashboards and thresholds, run the demo."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from otel_mlmon.commands import check, dashboards, demo, drift, reference, rules, tune

FAILED = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Words of the command line; the process's own by default.

    Returns:
        Exit status: 0, 1 if the command failed with a message on standard error, 2 for a wrong command line, 3 if `drift` found
        some, or the demo's own.
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="otel-mlmon", description="Live model monitoring in your own Prometheus.")
    parser.add_argument("--version", action="version", version=f"otel-mlmon {version('otel-mlmon')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    references = commands.add_parser("reference", help="profiles of training data").add_subparsers(required=True, metavar="COMMAND")
    reference.add(references.add_parser("build", help="profile a CSV or Parquet file"))
    check.add(commands.add_parser("check", help="load a reference, show features, bins and the number of series"))
    drift.add(commands.add_parser("drift", help="compare a CSV or Parquet file with a reference: for CI pipelines"))
    rules.add(commands.add_parser("rules", help="write recording and alert rules for Prometheus"))
    dashboards.add(commands.add_parser("dashboards", help="write dashboards for Grafana"))
    tune.add(commands.add_parser("tune", help="propose thresholds from what a Prometheus has recorded"))
    demo.add(commands.add_parser("demo", help="two minutes of real flights: winter is calm, summer alerts"))
    return parser


if __name__ == "__main__":
    sys.exit(main())
