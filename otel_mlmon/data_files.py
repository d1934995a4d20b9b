"""CSV and Parquet files as batches, so that a large one is never loaded whole. Needs the extra `files` (pandas, pyarrow)."""

import contextlib
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype

from otel_mlmon.profiling.batches import Batch
from otel_mlmon.schema import Schema

CHUNK_ROWS = 100_000

_TRUTHS = {"True": True, "TRUE": True, "true": True, "False": False, "FALSE": False, "false": False}
"""What pandas reads as truth values."""


@dataclass(frozen=True, slots=True)
class Roles:
    """Which columns of a file are not features.

    Attributes:
        predictions: What the model returned; empty for none.
        scores: Its score or probability; empty for none.
        labels: Ground truth; empty for none.
        timestamps: When the row was seen; empty for none.
        ignored: Columns that are left out.
        texts: Columns read as text whatever they look like, such as postal codes.
    """

    predictions: str = ""
    scores: str = ""
    labels: str = ""
    timestamps: str = ""
    ignored: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()

    @classmethod
    def of(cls, options: Namespace) -> "Roles":
        """Those of a command line."""
        columns = (options.predictions, options.scores, options.labels, options.timestamps)
        return cls(*columns, ignored=tuple(options.ignore), texts=tuple(options.text))

    @property
    def named(self) -> tuple[str, ...]:
        """All columns named, those read as text apart."""
        roles = (self.predictions, self.scores, self.labels, self.timestamps)
        return (*(name for name in roles if name), *self.ignored)


def batches(path: Path, roles: Roles, schema: Schema | None = None) -> Callable[[], Iterator[Batch]]:
    """Read a file in batches, anew at each call.

    Args:
        path: A ``.csv`` file (also compressed) or a ``.parquet`` file.
        roles: Which columns are not features.
        schema: Of the features, if it is known: of a CSV file, numbers are then read though a cell among them is none.

    Returns:
        What ``Reference.build`` and ``report.compare`` take.

    Raises:
        ValueError: If the ending is unknown or a column that was named is not there.
        OSError: If the file cannot be read.
    """
    parquet = path.suffix == ".parquet"
    if not parquet and ".csv" not in path.suffixes:
        raise ValueError(f"file {str(path)!r}: must end in .csv (or .csv.gz and the like) or .parquet")
    with _named(path):
        columns = _parquet_columns(path) if parquet else list(pd.read_csv(path, nrows=0).columns)
    absent = [name for name in (*roles.named, *roles.texts) if name not in columns]
    if absent:
        raise ValueError(f"file {str(path)!r}: no column {absent[0]!r}, only {columns}")

    def read() -> Iterator[pd.DataFrame]:
        return _read_parquet(path, roles.texts) if parquet else _read_csv(path, roles.texts, schema)

    return lambda: (_batch(frame, roles) for frame in read())


def _batch(frame: pd.DataFrame, roles: Roles) -> Batch:
    def column(name: str) -> Any:
        return frame[name] if name else None

    features = frame.drop(columns=list(roles.named))
    return Batch(features, column(roles.predictions), column(roles.scores), column(roles.labels), column(roles.timestamps))


def _mended(frame: pd.DataFrame, schema: Schema | None) -> pd.DataFrame:
    """One odd cell makes pandas read all of a column as text; it alone shall be invalid."""
    for feature in schema or ():
        if feature.kind not in ("numeric", "boolean") or feature.name not in frame or is_numeric_dtype(frame[feature.name]):
            continue
        column = frame[feature.name].astype(object)
        read = column.map(_TRUTHS) if feature.kind == "boolean" else pd.to_numeric(column, errors="coerce")
        frame[feature.name] = column.where(read.isna(), read)
    return frame


def _read_csv(path: Path, texts: Sequence[str], schema: Schema | None) -> Iterator[pd.DataFrame]:
    types: Mapping[str, Any] = dict.fromkeys(texts, str)
    with _named(path), pd.read_csv(path, chunksize=CHUNK_ROWS, dtype=types) as reader:
        yield from (_mended(frame, schema) for frame in reader)


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """What pandas and Arrow say of a file that they cannot read, on one line and with its name."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"file {str(path)!r}: cannot be read: {' '.join(str(error).split())}") from error


def _parquet_columns(path: Path) -> list[str]:
    import pyarrow.parquet as pq

    return list(pq.ParquetFile(path).schema_arrow.names)


def _read_parquet(path: Path, texts: Sequence[str]) -> Iterator[pd.DataFrame]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with _named(path):
        for batch in pq.ParquetFile(path).iter_batches(batch_size=CHUNK_ROWS):
            frame: pd.DataFrame = batch.to_pandas()
            for name in texts:  # by Arrow: pandas would spell a whole number in a column with gaps 501.0, and the gaps as well
                frame[name] = batch.column(name).cast(pa.string()).to_pandas()
            yield frame
