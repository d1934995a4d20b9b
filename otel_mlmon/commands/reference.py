"""`otel-mlmon reference build`: profile a file of training data."""

import argparse
from pathlib import Path

from otel_mlmon.commands.options import add_columns
from otel_mlmon.outputs import TASKS
from otel_mlmon.reference import Metadata, Reference
from otel_mlmon.schema import Schema


def add(parser: argparse.ArgumentParser) -> None:
    """Declare its words."""
    parser.set_defaults(run=run, extra="files")
    parser.add_argument("data", type=Path, help="training data: .csv (also compressed) or .parquet, of any size")
    parser.add_argument("--out", type=Path, default=Path("reference.json"), help="file to write (default: %(default)s)")
    parser.add_argument("--schema", type=Path, help="schema as JSON; inferred from the data if not given")
    parser.add_argument("--task", choices=TASKS, help="what the model does")
    add_columns(parser, timestamps="needed for calibrated alerts")
    parser.add_argument("--bins", type=int, default=10, help="most bins of a numeric feature (default: %(default)s)")
    parser.add_argument("--categories", type=int, default=32, help="most categories of a feature (default: %(default)s)")
    for field in ("dataset", "code-revision", "feature-version", "environment"):
        parser.add_argument(f"--{field}", default="", help="recorded in the reference and in mlmon_model_info")


def run(options: argparse.Namespace) -> int:
    """Build the reference and save it."""
    from otel_mlmon.data_files import Roles, batches

    if not options.out.absolute().parent.is_dir():  # said before an hour of work is lost
        raise ValueError(f"--out: its folder must exist, got {str(options.out)!r}")
    metadata = Metadata(
        code_revision=options.code_revision,
        dataset=options.dataset or options.data.name,
        feature_version=options.feature_version,
        environment=options.environment,
    )
    schema = Schema.load(options.schema) if options.schema else None
    reference = Reference.build(
        batches(options.data, Roles.of(options), schema),
        schema=schema,
        task=options.task,
        bins=options.bins,
        categories=options.categories,
        metadata=metadata,
    )
    reference.save(options.out)
    print(f"{options.out}: {reference.rows} rows, {len(reference.schema)} features, digest {reference.digest}")
    return 0
