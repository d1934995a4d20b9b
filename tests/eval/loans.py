"""The car-loan data of nannyml, fetched, not installed: 50,000 reference rows, then 50,000 whose second half has changed."""

import io
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

PACKAGE = "nannyml==0.13.1"
CACHE = Path(__file__).parent.parent.parent / ".cache" / "eval"
FEATURES = (
    *("car_value", "salary_range", "debt_to_income_ratio", "loan_length"),
    *("repaid_loan_on_prev_car", "size_of_downpayment", "driver_tenure"),
)


@dataclass(frozen=True, slots=True)
class CarLoans:
    """The rows of both parts.

    Attributes:
        frame: Features, reference rows first.
        rows: Number of each row.
        reference: How many are the reference's.
        change: Row of the analysis from which on it has changed.
    """

    frame: pd.DataFrame
    rows: npt.NDArray[np.int64]
    reference: int
    change: int


def load(cache: Path = CACHE) -> CarLoans:
    """Download the wheel unless it is there, and read the data from it.

    Raises:
        OSError: If it cannot be had.
    """
    if not list(cache.glob("nannyml-*.whl")):
        cache.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check", PACKAGE]
        ran = subprocess.run([*command, "--dest", str(cache)], capture_output=True, text=True, timeout=300, check=False)
        if ran.returncode:
            raise OSError(f"{PACKAGE} could not be downloaded: {ran.stderr.strip().splitlines()[-1:]}")
    with zipfile.ZipFile(next(cache.glob("nannyml-*.whl"))) as wheel:
        parts = [
            pd.read_csv(io.BytesIO(wheel.read(f"nannyml/datasets/data/synthetic_car_loan_{part}.csv")))[list(FEATURES)]
            for part in ("reference", "analysis")
        ]
    frame = pd.concat(parts, ignore_index=True)
    return CarLoans(frame, np.arange(len(frame)), len(parts[0]), 25_000)
