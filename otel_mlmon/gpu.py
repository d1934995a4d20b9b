"""Health of NVIDIA's GPUs, read from the driver under OpenTelemetry's semantic-convention names."""

import contextlib
import ctypes
import importlib.util
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from otel_mlmon import catalog
from otel_mlmon.catalog import MetricFamily

Reading = tuple[MetricFamily, float, tuple[str, ...]]
"""The family, its value, the labels behind those of the model."""

_MAX_GPUS = 16
_PATIENCE = 0.1  # seconds

# Held inside the driver's library, which has locks of its own. A fork may leave them locked, and this one with them: then the
# child cannot take it either, and keeps out of the library.
_INSIDE = threading.Lock()


@dataclass(frozen=True, slots=True)
class _Gpu:
    index: int
    handle: Any
    labels: tuple[str, str]  # UUID and product name

    def is_called(self, text: str) -> bool:
        """Whether an entry of CUDA_VISIBLE_DEVICES means this one: an index, or the beginning of a UUID."""
        return text == str(self.index) or (text.startswith("GPU-") and self.labels[0].startswith(text))


class Gpus:
    """The GPUs that this process may use: those in CUDA_VISIBLE_DEVICES, else all that the driver shows; at most 16.

    Without the module ``pynvml`` (the extra ``gpu``) or a driver there are none: that is found out once. Make a new object in a
    forked child: the driver's handles are its parent's.

    Source:
        https://opentelemetry.io/docs/specs/semconv/hardware/gpu/ and https://docs.nvidia.com/deploy/nvml-api/
    """

    def __init__(self) -> None:
        self._nvml: Any = None
        self._gpus: tuple[_Gpu, ...] | None = None  # not asked for yet

    def read(self) -> list[Reading]:
        """What each GPU answers now; none of a quantity that it does not know, and none of a GPU that is lost."""
        if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1") or self._gpus == () or not _INSIDE.acquire(timeout=_PATIENCE):
            return []
        try:
            if self._gpus is None:
                self._gpus = self._find()
            return [reading for gpu in self._visible(self._gpus) for reading in self._read(gpu)]
        finally:
            _INSIDE.release()

    def _find(self) -> tuple[_Gpu, ...]:
        if importlib.util.find_spec("pynvml") is None or not _has_driver():
            return ()
        import pynvml

        self._nvml = pynvml
        found = []
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlInit()
            for index in range(pynvml.nvmlDeviceGetCount()):
                with contextlib.suppress(pynvml.NVMLError):  # lost already
                    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                    labels = pynvml.nvmlDeviceGetUUID(handle), pynvml.nvmlDeviceGetName(handle)
                    found.append(_Gpu(index, handle, labels))
        return tuple(found)

    def _visible(self, gpus: tuple[_Gpu, ...]) -> list[_Gpu]:
        """Those in CUDA_VISIBLE_DEVICES, as CUDA reads it: up to the first entry that means no GPU.

        An index is nvidia-smi's only where all GPUs are alike or CUDA is told to count as nvidia-smi does: else all are shown.
        """
        entries = os.environ.get("CUDA_VISIBLE_DEVICES", "all").split(",")
        ordered = os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID" or len({gpu.labels[1] for gpu in gpus}) == 1
        if entries == ["all"] or (not ordered and entries[0].strip().isdecimal()):
            return list(gpus[:_MAX_GPUS])
        visible: list[_Gpu] = []
        for entry in entries:
            name = self._whole(entry.strip())
            called = [gpu for gpu in gpus if gpu.is_called(name)]
            if len(called) != 1:
                break
            visible += called
        return visible[:_MAX_GPUS]

    def _whole(self, entry: str) -> str:
        """The GPU that holds a MIG device; any other entry as it is."""
        if entry.startswith("MIG-GPU-"):  # MIG-<UUID of the GPU>/<GPU instance>/<compute instance>
            return entry.removeprefix("MIG-").partition("/")[0]
        if entry.startswith("MIG-"):
            with contextlib.suppress(self._nvml.NVMLError):
                part = self._nvml.nvmlDeviceGetHandleByUUID(entry)
                return str(self._nvml.nvmlDeviceGetUUID(self._nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(part)))
        return entry

    def _read(self, gpu: _Gpu) -> Iterator[Reading]:
        for quantity in (self._utilization, self._memory, self._temperature, self._power):
            # Not supported, not permitted, lost; an AttributeError where a newer module has the function under another name only.
            with contextlib.suppress(self._nvml.NVMLError, AttributeError):
                for family, value, labels in quantity(gpu.handle):
                    yield family, value, (*gpu.labels, *labels)

    def _utilization(self, handle: Any) -> Iterator[Reading]:
        yield catalog.GPU_UTILIZATION, self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100, ("general",)

    def _memory(self, handle: Any) -> Iterator[Reading]:
        memory = self._nvml.nvmlDeviceGetMemoryInfo(handle)
        yield catalog.GPU_MEMORY_USAGE, memory.used, ()
        yield catalog.GPU_MEMORY_LIMIT, memory.total, ()
        if memory.total:
            yield catalog.GPU_MEMORY_UTILIZATION, memory.used / memory.total, ()

    def _temperature(self, handle: Any) -> Iterator[Reading]:
        degrees = self._nvml.nvmlDeviceGetTemperature(handle, self._nvml.NVML_TEMPERATURE_GPU)
        yield catalog.GPU_TEMPERATURE, degrees, ("GPU_DIE",)

    def _power(self, handle: Any) -> Iterator[Reading]:
        yield catalog.GPU_POWER, self._nvml.nvmlDeviceGetPowerUsage(handle) / 1000, ("gpu",)  # it answers in milliwatts


def _has_driver() -> bool:
    """Whether the driver's library can be loaded: known in a thousandth of the time that importing ``pynvml`` takes."""
    if sys.platform != "linux":
        return True  # it is found elsewhere: pynvml knows
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return False
    return True
