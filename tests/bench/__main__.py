"""Runs rows, latency, memory, exposition and processes, or the benchmarks named: rules takes half an hour."""

import platform
import sys

import numpy as np

from tests.bench import exposition, latency, memory, processes, rows, rules

PARTS = {
    "rows": rows.run,
    "latency": latency.run,
    "memory": memory.run,
    "exposition": exposition.run,
    "processes": processes.run,
}
SLOW = {"rules": rules.run}


def main(names: list[str]) -> None:
    """Run the parts named; without names all but the slow ones."""
    print(f"Python {platform.python_version()}, numpy {np.__version__}, {platform.machine()}")
    for name in names or PARTS:
        (PARTS | SLOW)[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
