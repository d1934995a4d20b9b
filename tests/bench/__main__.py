"""Runs all benchmarks, or those named: rows, latency, memory."""

import platform
import sys

import numpy as np

from tests.bench import latency, memory, rows

PARTS = {"rows": rows.run, "latency": latency.run, "memory": memory.run}


def main(names: list[str]) -> None:
    """Run the parts named; all without names."""
    print(f"Python {platform.python_version()}, numpy {np.__version__}, {platform.machine()}")
    for name in names or PARTS:
        PARTS[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
