"""The ways out that one monitor has opened: servers, exporters, and the folder that its process shares with others."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from otel_mlmon.store import Snapshot
from otel_mlmon.vitals import Vitals

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricExporter
    from opentelemetry.sdk.resources import Resource

    from otel_mlmon.exposition.multiprocess import Shared
    from otel_mlmon.exposition.otlp import Export
    from otel_mlmon.exposition.server import MetricsServer

DIRECTORIES = ("OTEL_MLMON_MULTIPROC_DIR", "PROMETHEUS_MULTIPROC_DIR")
"""Environment variables that name the folder which the processes of one server share; the first that is set holds."""


class Outlets:
    """Opens ways out and closes them.

    Args:
        name: The monitor's name.
        own: Gives all series of this process at one instant.
        vitals: Where what goes wrong is counted.

    Raises:
        OSError: If the folder that the processes share cannot be used.
    """

    def __init__(self, name: str, own: Callable[[], Snapshot], vitals: Vitals) -> None:
        self._own, self._vitals = own, vitals
        self._servers: list[MetricsServer] = []
        self._exports: list[Export] = []
        self._shared: Shared | None = None
        directory = next(filter(None, map(os.environ.get, DIRECTORIES)), None)
        if directory is not None:
            from otel_mlmon.exposition.multiprocess import share  # upward, and only where it is asked for

            self._shared = share(Path(directory), name, own, failed=vitals.failed)

    def collect(self) -> Snapshot:
        """All series at one instant: of all processes that share a folder, else of this one."""
        return self._own() if self._shared is None else self._shared.collect()

    def keep(self, server: "MetricsServer") -> "MetricsServer":
        """Close a server with the rest, and in a forked child."""
        self._servers.append(server)
        return server

    def export_otlp(
        self,
        source: Callable[[], Snapshot],
        exporter: "MetricExporter | None",
        *,
        interval: float | None,
        resource: "Resource | None",
    ) -> "Export":
        """Push a source over OTLP; the arguments are those of ``Monitor.export_otlp``."""
        from otel_mlmon.exposition.otlp import start_export

        self._vitals.exports()
        export = start_export(
            [source],
            exporter=exporter,
            interval=interval,
            resource=resource,
            reported=self._vitals.exported,
            shared=self._shared,
        )
        self._exports.append(export)
        return export

    def tick(self) -> None:
        """After each drain, on the worker: show this process's numbers to the others; begin to export in a forked child."""
        if self._shared is not None:
            self._shared.publish()
        for export in self._exports:
            export.start()

    def flush(self, timeout: float) -> bool:
        """Export now, all exports within one time. Returns whether all was delivered."""
        deadline = time.monotonic() + timeout
        delivered = [export.flush(max(0.0, deadline - time.monotonic())) for export in self._exports]
        return all(delivered)

    def close(self, timeout: float) -> None:
        """Export a last time, then close everything. Idempotent."""
        for export in self._exports:
            export.end(timeout)
        for export in self._exports:
            export.close(timeout)
        self._exports.clear()
        self._stop_servers()
        if self._shared is not None:
            self._shared.close()

    def reset(self) -> None:
        """Begin anew in a forked child: threads and the port are the parent's, and so is the parent's file."""
        self._stop_servers()
        for export in self._exports:
            export.reset()
        if self._shared is not None:
            self._shared.reset()

    def _stop_servers(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()
