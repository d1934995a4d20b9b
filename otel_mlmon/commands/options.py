"""Words that several commands understand."""

import argparse
from collections.abc import Iterable, Sequence

from otel_mlmon.thresholds import SHIPPED

_ROLES = {
    "predictions": "what the model returned",
    "scores": "the model's score or probability",
    "labels": "ground truth",
    "timestamps": "when the row was seen",
}


def add_columns(parser: argparse.ArgumentParser, *, timestamps: str) -> None:
    """Declare which columns of a file are not features: ``--predictions``, ``--labels``, ``--timestamps``, ``--ignore``, ...

    Args:
        parser: Of the command.
        timestamps: What they are good for.
    """
    for role, text in _ROLES.items():
        said = f"{text}; {timestamps}" if role == "timestamps" else text
        parser.add_argument(f"--{role}", default="", metavar="COLUMN", help=f"column: {said}")
    parser.add_argument("--ignore", action="append", default=[], metavar="COLUMN", help="column that is no feature")
    parser.add_argument("--text", action="append", default=[], metavar="COLUMN", help="column read as text, whatever it holds")


def add_thresholds(parser: argparse.ArgumentParser, statistics: Iterable[str]) -> None:
    """Declare ``--psi-warning`` and the like for some statistics of ``SHIPPED``."""
    wanted = set(statistics)
    for (statistic, severity), value in SHIPPED.items():
        if statistic in wanted:
            name = f"--{statistic.replace('_', '-')}-{severity}"
            parser.add_argument(
                name, type=float, dest=f"{statistic}_{severity}", metavar="VALUE", help=f"default threshold (shipped: {value:g})"
            )


def thresholds(options: argparse.Namespace) -> dict[tuple[str, str], float]:
    """(statistic, severity) -> value of those that were given."""
    given = {key: getattr(options, "_".join(key), None) for key in SHIPPED}
    return {key: value for key, value in given.items() if value is not None}


def listed(text: str) -> tuple[str, ...]:
    """What is written with commas between.

    >>> listed("1h,1d"), listed("")
    (('1h', '1d'), ())
    """
    return tuple(text.split(",")) if text else ()


def columns(rows: Sequence[Sequence[str]], *, gap: int = 2) -> list[str]:
    """Lines of a table, each column as wide as its widest cell.

    Args:
        rows: Cells, the same number in each row.
        gap: Spaces between columns.

    >>> columns([("a", "b"), ("long", "c")])
    ['a     b', 'long  c']
    """
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    return [(" " * gap).join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
