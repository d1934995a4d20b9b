"""GPU health. There is no GPU here: a stand-in for the driver's library answers, below the real ``pynvml``."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from otel_mlmon.catalog import CATALOG

pytestmark = pytest.mark.optional  # not every machine has a compiler for the stand-in

SOURCE = Path(__file__).parent / "libnvidia_ml.c"
A, B = "GPU-a0000000-0000", "GPU-b0000001-0000"

START = """
import ctypes, json, os, signal, sys, threading, warnings
import numpy as np
from otel_mlmon.store import SeriesStore
from otel_mlmon.system import SystemHealth

store = SeriesStore()
health = SystemHealth(("m", "1"), store)
signal.alarm(30)

def read():
    health.read(1_800_000_000.0)
    snapshot = store.snapshot()
    return [
        [one.family.prometheus_name, list(one.labels[2:]), float(snapshot.values[one.index])]
        for one in snapshot.series
        if one.family.area == "gpu" and not np.isnan(snapshot.values[one.index])
    ]

def driver():
    return ctypes.CDLL("libnvidia-ml.so.1")

def value(name):
    return ctypes.c_int.in_dll(driver(), name)
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the stand-in."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("cc is not at hand: the stand-in for the driver cannot be built")
    folder = tmp_path_factory.mktemp("driver")
    library = folder / "libnvidia-ml.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-pthread", "-o", library, SOURCE], check=True, timeout=60)
    return folder


def run(folder: Path, script: str, **environment: str) -> Any:
    """What a script says that runs in a process of its own, where the stand-in is the driver."""
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("CUDA_")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", START + script],
        env=inherited | {"LD_LIBRARY_PATH": str(folder)} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_every_gpu_shows_what_its_driver_answers(driver: Path) -> None:
    """Numbers by hand; power is given in milliwatts, and the second GPU does not measure its own."""
    name, gib = "Stand-in 0", 2.0**30
    shown = {(family, *labels): value for family, labels, value in run(driver, "print(json.dumps(read()))")}
    assert shown == {
        ("hw_gpu_utilization_ratio", A, name, "general"): 0.38,
        ("hw_gpu_utilization_ratio", B, name, "general"): 0.39,
        ("hw_gpu_memory_usage_bytes", A, name): 20 * gib,
        ("hw_gpu_memory_usage_bytes", B, name): 20 * gib,
        ("hw_gpu_memory_limit_bytes", A, name): 80 * gib,
        ("hw_gpu_memory_limit_bytes", B, name): 80 * gib,
        ("hw_gpu_memory_utilization_ratio", A, name): 0.25,
        ("hw_gpu_memory_utilization_ratio", B, name): 0.25,
        ("hw_temperature_celsius", A, name, "GPU_DIE"): 61.0,
        ("hw_temperature_celsius", B, name, "GPU_DIE"): 62.0,
        ("hw_power_watts", A, name, "gpu"): 250.5,
    }
    assert {family for family, *_ in shown} == {family.prometheus_name for family in CATALOG if family.area == "gpu"}


def test_a_gpu_that_is_lost_takes_only_its_own_series_along(driver: Path) -> None:
    """Lost while the process runs, or before it began."""
    script = """
        before, value("standin_lost").value = read(), 1
        after, value("standin_lost").value = read(), 0
        health.reset()
        print(json.dumps([before, after, read()]))
    """
    before, after, anew = run(driver, dedent(script))
    assert after == [reading for reading in before if reading[1][0] == A]
    assert anew == [reading for reading in before if reading[1][0] == B]


def test_a_forked_child_asks_the_driver_anew(driver: Path) -> None:
    """The stand-in refuses whom it was not initialised for."""
    script = """
        before = read()
        reader, writer = os.pipe()
        if not os.fork():
            store.reset()
            health.reset()
            os.write(writer, json.dumps(read() == before).encode())
            os._exit(0)
        print(os.read(reader, 100).decode())
    """
    assert run(driver, dedent(script)) is True


def test_a_fork_while_a_thread_is_inside_the_driver_does_not_hang_the_child(driver: Path) -> None:
    """The driver's own lock is then locked in the child for ever: no GPU there, everything else as ever."""
    script = """
        read()
        held, inside = value("standin_held"), value("standin_inside")
        held.value = 1
        thread = threading.Thread(target=read)
        thread.start()
        while not inside.value:
            pass
        warnings.simplefilter("ignore")  # Python 3.12 warns of just this
        reader, writer = os.pipe()
        if not os.fork():
            signal.alarm(20)
            store.reset()
            health.reset()
            shown = read()
            families = {series.family.area for series in store.snapshot().series}
            os.write(writer, json.dumps([shown, sorted(families)]).encode())
            os._exit(0)
        os.close(writer)
        answer = os.read(reader, 1000).decode()
        held.value = 0
        thread.join()
        print(answer)
    """
    assert run(driver, dedent(script)) == [[], ["gpu", "system"]]


def test_a_driver_that_does_not_answer_is_asked_once(driver: Path) -> None:
    """9: not loaded. Nothing is said, and nothing tried again every five seconds."""
    script = 'print(json.dumps([read(), read(), read(), value("standin_inits").value]))'
    assert run(driver, script, STANDIN_ERROR="9") == [[], [], [], 1]


def test_a_process_that_may_use_no_gpu_leaves_the_driver_alone(driver: Path) -> None:
    """Ray's actors without a GPU, for one, have this."""
    assert run(driver, 'print(json.dumps([read(), value("standin_inits").value]))', CUDA_VISIBLE_DEVICES="") == [[], 0]


def test_without_the_module_there_is_no_gpu(driver: Path) -> None:
    """The extra is not installed: the driver is not touched."""
    script = 'sys.modules["pynvml"] = None\nprint(json.dumps([read(), read(), value("standin_inits").value]))'
    assert run(driver, script) == [[], [], 0]


def test_without_the_library_the_module_is_not_even_imported(tmp_path: Path) -> None:
    """An image with the extra, on a machine without GPUs; the module's import costs a tenth of a second."""
    script = 'shown = read()\nprint(json.dumps([shown, "pynvml" in sys.modules]))'
    (tmp_path / "libnvidia-ml.so.1").write_text("no library")
    assert run(tmp_path, script) == [[], False]


SEEN = """
sees = []
for visible, order in json.loads(os.environ["CASES"]):
    os.environ |= {"CUDA_VISIBLE_DEVICES": visible, "CUDA_DEVICE_ORDER": order}
    sees.append("".join(sorted(labels[0][4] for family, labels, _ in read() if family == "hw_temperature_celsius")))
print(json.dumps(sees))
"""


@pytest.mark.parametrize(
    ("environment", "cases"),
    [
        pytest.param(
            {"STANDIN_GPUS": "3"},
            {
                ("2,1", ""): "bc",
                ("0,2,-1,1", ""): "ac",
                ("1, 1,0", ""): "ab",
                ("7", ""): "",
                ("", ""): "",
                ("-1", ""): "",
                ("NoDevFiles", ""): "",
                ("GPU-b", ""): "b",
                ("GPU-c0000002-0000,0", ""): "ac",
                ("GPU-", ""): "",
                ("MIG-GPU-c0000002-0000/1/2,MIG-GPU-c0000002-0000/2/2", ""): "c",
                ("MIG-1", ""): "b",
                ("MIG-none,0", ""): "",
            },
            id="alike",
        ),
        pytest.param(
            {"STANDIN_GPUS": "3", "STANDIN_MIXED": "1"},
            {("1", ""): "abc", ("1", "FASTEST_FIRST"): "abc", ("1", "PCI_BUS_ID"): "b", ("GPU-b", ""): "b", ("", ""): ""},
            id="unlike: an index then says nothing",
        ),
    ],
)
def test_a_process_shows_the_gpus_that_it_may_use(
    driver: Path, environment: dict[str, str], cases: dict[tuple[str, str], str]
) -> None:
    """By index, beginning of a UUID or MIG device, up to the first that is none; NVIDIA's documentation has these examples."""
    seen = run(driver, SEEN, CASES=json.dumps(list(cases)), **environment)
    assert dict(zip(cases, seen, strict=True)) == cases


def test_sixteen_gpus_are_enough(driver: Path) -> None:
    """Six series each."""
    shown = run(driver, "print(json.dumps(read()))", STANDIN_GPUS="20")
    assert len({labels[0] for _, labels, _ in shown}) == 16
