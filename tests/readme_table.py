"""Writes the catalogue's table into README.md: ``make generated``."""

import itertools
from pathlib import Path

from otel_mlmon.catalog import CATALOG, MODEL

README = Path(__file__).parent.parent / "README.md"
START = "<!-- catalogue: written by `make generated` -->"
END = "<!-- end of catalogue -->"


def table() -> str:
    """The catalogue as Markdown, one table an area, in the order declared."""
    lines = []
    for area, families in itertools.groupby(
        sorted(CATALOG, key=lambda family: AREAS.index(family.area)), key=lambda family: family.area
    ):
        lines += [
            f"**{area[0].upper()}{area[1:]}**",
            "",
            "| Series | Type | Further labels | What it says |",
            "| --- | --- | --- | --- |",
        ]
        for family in families:
            labels = ", ".join(f"`{label}`" for label in family.prometheus_labels[len(MODEL) :])
            lines.append(f"| `{family.prometheus_name}` | {family.type} | {labels} | {family.help} |")
        lines.append("")
    return "\n".join(lines)


AREAS = list(dict.fromkeys(family.area for family in CATALOG))


def block(readme: str) -> str:
    """What stands between the markers.

    Raises:
        ValueError: If a marker is absent.
    """
    start, end = readme.index(START), readme.index(END)
    return readme[start + len(START) : end].strip() + "\n"


def main() -> None:
    """Replace the block in README.md."""
    readme = README.read_text(encoding="utf-8")
    before, rest = readme[: readme.index(START)], readme[readme.index(END) :]
    README.write_text(f"{before}{START}\n\n{table()}\n{rest}", encoding="utf-8")


if __name__ == "__main__":
    main()
