"""README.md is run: its Python blocks and its `otel-mlmon` commands, section by section, in a directory of their own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
NOT_RUN = re.compile(r"<!-- not run: .+ -->")
"""Written on the line before a block that a test cannot run, with the reason."""


def scripts() -> dict[str, str]:
    """One script a section, by heading: its code on the line numbers it has in README.md, so that a traceback names them."""
    found: dict[str, str] = {}
    heading, language, before, lines = "top", "", "", [""]
    for line in README.read_text(encoding="utf-8").splitlines() if README.exists() else []:
        code = ""
        if line.startswith("```"):
            language = "" if language else ("skip" if NOT_RUN.fullmatch(before) else line[3:].strip() or "text")
        elif language == "python":
            code = line
        elif language == "console" and line.startswith("$ otel-mlmon") and "demo" not in line:
            code = f"import subprocess; subprocess.run({line[2:]!r}, shell=True, check=True)"
        elif not language and re.match(r"##? ", line):
            heading, lines = line.lstrip("# "), [""] * len(lines)
        before = line
        lines.append(code)
        found[heading] = "\n".join(lines[1:])
    return {heading: script for heading, script in found.items() if script.strip()}


SCRIPTS = scripts()


def test_readme_shows_code() -> None:
    """Were the blocks no longer found, the next test would have nothing to run."""
    assert SCRIPTS


@pytest.mark.parametrize("heading", SCRIPTS)
def test_readme_runs_as_it_is_written(heading: str, tmp_path: Path) -> None:
    """A fresh interpreter, as a reader would have; a warning is an error here, too."""
    script = tmp_path / "README.md"
    script.write_text(SCRIPTS[heading], encoding="utf-8")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ran = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
