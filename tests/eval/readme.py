"""The table in README.md: ``make eval ARGS=--write`` puts it there."""

from pathlib import Path

README = Path(__file__).parent.parent.parent / "README.md"
START = "<!-- evaluation: written by `make eval ARGS=--write` -->"
END = "<!-- end of evaluation -->"


def block(text: str) -> str:
    """What stands between the markers.

    Raises:
        ValueError: If a marker is absent.
    """
    start, end = text.index(START), text.index(END)
    return text[start + len(START) : end].strip() + "\n"


def write(table: str, path: Path = README) -> None:
    """Replace what stands between the markers.

    Raises:
        ValueError: If a marker is absent.
    """
    text = path.read_text(encoding="utf-8")
    before, rest = text[: text.index(START)], text[text.index(END) :]
    path.write_text(f"{before}{START}\n\n{table}\n{rest}", encoding="utf-8")
