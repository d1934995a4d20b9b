"""Measures everything, prints the report and README.md's table: ``python -m tests.eval [--quick] [--write]``."""

import argparse
import time

from tests.eval import figures, readme, report


def main() -> None:
    """Run what the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m tests.eval", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a fifth of the draws: figures are rougher")
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    arguments = parser.parse_args()
    if arguments.quick and arguments.write:
        parser.error("the table in README.md comes from the full run")
    began = time.perf_counter()
    found = figures.measure(figures.QUICK if arguments.quick else figures.FULL)
    print("\n".join(report.text(found)))
    print(f"\n{report.readme(found)}")
    if arguments.write:
        readme.write(report.readme(found))
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
