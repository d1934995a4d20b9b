"""Panels about what a model runs on: its processes, their machines and GPUs."""

from grafana_foundation_sdk.builders import common, timeseries
from grafana_foundation_sdk.models import common as cm
from grafana_foundation_sdk.models import units

from otel_mlmon import catalog
from otel_mlmon.bundle.grafana import panels as p
from otel_mlmon.bundle.grafana.frame import Panel
from otel_mlmon.bundle.grafana.queries import RATE, chosen, query
from otel_mlmon.catalog import MetricFamily

REPLICA = "instance"
"""Label that tells replicas apart; Prometheus attaches it to what it scrapes, and to OTLP from the resource."""

_MODES = "{{cpu_mode}}"
_THIRD = 8


def here(family: MetricFamily, suffix: str = "", **labels: str) -> str:
    """A selector of a family on the replicas that the reader has chosen.

    Args:
        family: The family.
        suffix: Of a histogram's samples.
        labels: Further matchers.

    >>> here(catalog.PROCESS_THREADS)
    'process_thread_count{model_name=~"$model_name", model_version=~"$model_version", instance=~"$instance"}'
    """
    return chosen(family.prometheus_name + suffix, feature=False, instance=f"=~${REPLICA}", **labels)


def gauge(family: MetricFamily, *labels: str, **where: str) -> str:
    """A gauge by replica and further labels; monitors that share a process say the same."""
    return f"max by ({', '.join((REPLICA, *labels))}) ({here(family, **where)})"


def rate(family: MetricFamily, *labels: str, **where: str) -> str:
    """How fast a process's or machine's counter grows, as ``gauge``."""
    return f"max by ({', '.join((REPLICA, *labels))}) (rate({here(family, **where)}[{RATE}]))"


def process() -> list[Panel]:
    """What fills up first in a process."""
    modes, limit = gauge(catalog.PROCESS_CPU_UTILIZATION, "cpu_mode"), gauge(catalog.PROCESS_OPEN_FILES_LIMIT)
    memory = f"{gauge(catalog.PROCESS_MEMORY_USAGE)} / on ({REPLICA}) ({gauge(catalog.SYSTEM_MEMORY_LIMIT)} > 0)"
    return [
        _lines(
            "CPU of the process",
            "Share of the processors that the process may use. Near 1 it has no reserve: add replicas, or look for what is new in "
            "the traffic. High on one replica only: look at that one.",
            units.PercentUnit,
            f"sum by ({REPLICA}) ({modes})",
        ).axis_soft_max(1),
        _lines(
            "Memory of the process",
            "Resident memory. Steady growth that traffic does not explain is a leak: it ends with the process being killed.",
            units.BytesIEC,
            gauge(catalog.PROCESS_MEMORY_USAGE),
        ),
        p.graph(
            "How near to its limits",
            "Resident memory over the machine's memory, and open files over what the process may open. At 1 the next allocation or "
            "connection fails. A container's own memory limit is not known here.",
            units.PercentUnit,
            [
                query(memory, "{{instance}} memory"),
                query(f"{gauge(catalog.PROCESS_OPEN_FILES)} / on ({REPLICA}) ({limit} > 0)", "{{instance}} files"),
            ],
            width=_THIRD,
        ).axis_soft_max(1),
    ]


def process_details() -> list[Panel]:
    """The rest about processes."""
    return [
        p.graph(
            "CPU time of the processes",
            "Processors kept busy by all chosen replicas together: user is the model, system is the kernel on its behalf.",
            units.Short,
            [query(f"sum by (cpu_mode) ({rate(catalog.PROCESS_CPU_TIME, 'cpu_mode')})", _MODES)],
            width=_THIRD,
        ),
        _lines(
            "Threads", "Threads of a process. Growth without end is a leak of threads.", units.Short, gauge(catalog.PROCESS_THREADS)
        ),
        p.graph(
            "Open files",
            "File descriptors in use: files and connections; dashed, how many a process may open. Growth without end is a leak.",
            units.Short,
            [
                query(gauge(catalog.PROCESS_OPEN_FILES), "{{instance}}"),
                query(
                    f"min({here(catalog.PROCESS_OPEN_FILES_LIMIT)}) < 10 * max({here(catalog.PROCESS_OPEN_FILES)})", "least limit"
                ),
            ],
            width=_THIRD,
        ),
        _lines(
            "Virtual memory",
            "Address space of a process; only its growth means something.",
            units.BytesIEC,
            gauge(catalog.PROCESS_MEMORY_VIRTUAL),
        ),
        p.graph(
            "Disk I/O of the processes",
            "Bytes that all chosen replicas read and write. A model that is served from memory hardly reads.",
            units.BytesPerSecondIEC,
            [query(f"sum by (disk_io_direction) ({rate(catalog.PROCESS_DISK_IO, 'disk_io_direction')})", "{{disk_io_direction}}")],
            width=_THIRD,
        ),
        p.graph(
            "Context switches",
            "Involuntary: the process had to leave the processor to others. Many of them: the machine has too few processors.",
            units.CountsPerSecond,
            [
                query(
                    "sum by (process_context_switch_type) "
                    f"({rate(catalog.PROCESS_CONTEXT_SWITCHES, 'process_context_switch_type')})",
                    "{{process_context_switch_type}}",
                )
            ],
            width=_THIRD,
        ),
        _generations(
            "Garbage collections",
            "Python's collections a second. Generation 2 stops every thread for longest: seldom is good.",
            catalog.GC_COLLECTIONS,
        ),
        _generations(
            "Objects collected", "Objects that they freed: cycles of references that the code makes.", catalog.GC_COLLECTED
        ),
        _generations(
            "Objects not collectable",
            "Objects that they could not free. Anything above 0 is a leak in an extension module.",
            catalog.GC_UNCOLLECTABLE,
        ),
    ]


def machine() -> list[Panel]:
    """What fills up first on a machine."""
    waiting = gauge(catalog.SYSTEM_CPU_UTILIZATION, "cpu_mode", cpu_mode="=~steal|iowait")
    used = gauge(catalog.SYSTEM_MEMORY_USAGE, system_memory_state="used")
    return [
        p.graph(
            "CPU of the machine",
            "Busy: share of the machine's processors in use by anybody. Stolen: the hypervisor gave them to others; nothing in the "
            "process helps then. Waiting: for the disk.",
            units.PercentUnit,
            [
                query(f"1 - {gauge(catalog.SYSTEM_CPU_UTILIZATION, cpu_mode='idle')}", "{{instance}} busy"),
                query(f'label_replace({waiting} > 0.01, "cpu_mode", "stolen", "cpu_mode", "steal")', "{{instance}} {{cpu_mode}}"),
            ],
            width=12,
        ).axis_soft_max(1),
        _lines(
            "Memory of the machine",
            "Share that is used and not merely cache. Near 1 the kernel kills the largest process: often the model.",
            units.PercentUnit,
            f"{used} / on ({REPLICA}) ({gauge(catalog.SYSTEM_MEMORY_LIMIT)} > 0)",
            width=12,
        ).axis_soft_max(1),
        p.graph(
            "File systems",
            "Share of space used, as df shows it, of the root and of the working directory. Full: logs, caches and downloads fail.",
            units.PercentUnit,
            [
                query(
                    gauge(catalog.SYSTEM_FILESYSTEM_UTILIZATION, "system_filesystem_mountpoint"),
                    "{{instance}} {{system_filesystem_mountpoint}}",
                )
            ],
            width=12,
        ).axis_soft_max(1),
        p.graph(
            "Network of the machine",
            "Bytes in and out over all interfaces, by replica. A plateau below what is asked for is a full link.",
            units.BytesPerSecondIEC,
            [
                query(
                    f"sum by ({REPLICA}, network_io_direction) "
                    f"({rate(catalog.SYSTEM_NETWORK_IO, 'network_interface_name', 'network_io_direction')})",
                    "{{instance}} {{network_io_direction}}",
                )
            ],
            width=12,
        ),
    ]


def machine_details() -> list[Panel]:
    """The rest about machines."""
    processors = gauge(catalog.SYSTEM_CPU_LOGICAL)
    return [
        _stacked(
            "CPU by mode",
            "Processors kept busy by what they do, on average over the machines of the chosen replicas. User and nice: programs.",
            units.Short,
            f"avg by (cpu_mode) ({rate(catalog.SYSTEM_CPU_TIME, 'cpu_mode', cpu_mode='!=idle')})",
            _MODES,
        ),
        _lines("Processors", "Logical processors of the machine.", units.Short, processors),
        _stacked(
            "Memory by state",
            "On average over the machines of the chosen replicas. Cached and buffers are given back when needed.",
            units.BytesIEC,
            f"avg by (system_memory_state) ({gauge(catalog.SYSTEM_MEMORY_USAGE, 'system_memory_state')})",
            "{{system_memory_state}}",
        ),
        _devices("Disk I/O of the machine", "Bytes, by device and direction.", units.BytesPerSecondIEC, catalog.SYSTEM_DISK_IO),
        _devices(
            "Disk operations",
            "Operations, by device and direction. Network disks have a limit on these.",
            units.IOOpsPerSecond,
            catalog.SYSTEM_DISK_OPERATIONS,
        ),
        p.graph(
            "Space of file systems",
            "Space left on each file system, of the replica that has least.",
            units.BytesIEC,
            [
                query(
                    "min by (system_filesystem_mountpoint) "
                    f"({here(catalog.SYSTEM_FILESYSTEM_USAGE, system_filesystem_state='free')})",
                    "{{system_filesystem_mountpoint}} free",
                )
            ],
            width=_THIRD,
        ),
        _interfaces("Network errors", "Damaged packets: a cable, a driver, a duplex mismatch.", catalog.SYSTEM_NETWORK_ERRORS),
        _interfaces("Packets dropped", "Packets for which the machine had no room.", catalog.SYSTEM_NETWORK_DROPPED),
        _lines("Uptime of the machine", "A fall to 0 is a reboot.", units.Seconds, gauge(catalog.SYSTEM_UPTIME)),
    ]


def gpu() -> list[Panel]:
    """GPUs; empty where there are none."""
    card = ("hw_id", "hw_name")
    legend = "{{instance}} {{card}}"
    return [
        _card(
            "GPU in use",
            "Share of time in which it computed anything. Low at high latency: it waits for data, or batches are small.",
            units.PercentUnit,
            gauge(catalog.GPU_UTILIZATION, *card),
            legend,
        ),
        _card(
            "GPU memory in use",
            "Share of its memory. Near 1 the next allocation fails: smaller batches, or another process has taken it.",
            units.PercentUnit,
            gauge(catalog.GPU_MEMORY_UTILIZATION, *card),
            legend,
        ),
        _card(
            "GPU memory left",
            "Bytes that can still be allocated.",
            units.BytesIEC,
            f"{gauge(catalog.GPU_MEMORY_LIMIT, *card)} - on ({REPLICA}, hw_id) group_left () "
            f"{gauge(catalog.GPU_MEMORY_USAGE, *card)}",
            legend,
        ),
        _card("GPU temperature", "When hot it slows itself down.", units.Celsius, gauge(catalog.GPU_TEMPERATURE, *card), legend),
        _card(
            "GPU power",
            "Electric power drawn; at its limit it slows itself down.",
            units.Watt,
            gauge(catalog.GPU_POWER, *card),
            legend,
        ),
    ]


def _lines(
    title: str, about: str, unit: str, expression: str, legend: str = "{{instance}}", width: int = _THIRD
) -> timeseries.Panel:
    """One line a replica."""
    return p.graph(title, about, unit, [query(expression, legend)], width=width)


def _card(title: str, about: str, unit: str, expression: str, legend: str) -> timeseries.Panel:
    # A UUID is longer than a legend: its beginning tells cards apart.
    short = f'label_replace({expression}, "card", "$1", "hw_id", "(?:GPU-)?(.{{1,8}}).*")'
    panel = _lines(title, about, unit, short, legend).no_value("no GPU")
    return panel.axis_soft_max(1) if unit == units.PercentUnit else panel


def _stacked(title: str, about: str, unit: str, expression: str, legend: str) -> timeseries.Panel:
    stacking = common.StackingConfig().mode(cm.StackingMode.NORMAL).group("A")
    return _lines(title, about, unit, expression, legend).stacking(stacking).line_width(1).fill_opacity(30)


def _generations(title: str, about: str, family: MetricFamily) -> timeseries.Panel:
    by = "cpython_gc_generation"
    return p.graph(
        title,
        about,
        units.CountsPerSecond,
        [query(f"sum by ({by}) ({rate(family, by)})", f"generation {{{{{by}}}}}")],
        width=_THIRD,
    ).axis_soft_max(1)


def _devices(title: str, about: str, unit: str, family: MetricFamily) -> timeseries.Panel:
    labels = ("system_device", "disk_io_direction")
    return _lines(title, about, unit, rate(family, *labels), "{{instance}} {{system_device}} {{disk_io_direction}}").no_value(
        "no disks"
    )


def _interfaces(title: str, about: str, family: MetricFamily) -> timeseries.Panel:
    labels = ("network_interface_name", "network_io_direction")
    legend = "{{instance}} {{network_interface_name}} {{network_io_direction}}"
    return _lines(title, about, units.CountsPerSecond, rate(family, *labels), legend).axis_soft_max(1)
