"""Models whose replicas all live in one process: real monitors that serve real pages, and what was fed to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from otel_mlmon import Monitor, Reference, Settings, catalog
from otel_mlmon.demo.stack import free_port

Floats = npt.NDArray[np.float64]
Columns = Mapping[str, Sequence[Any]]

_SETTINGS = Settings(system_seconds=0, drain_seconds=0.1)


@dataclass
class Model:
    """One version of a model.

    Args:
        name, version: Of the model.
        reference: What it was trained on.
        replicas: How many serve it.

    Attributes:
        targets: ``host:port`` of each replica; a replica that starts again does so on its port.
    """

    name: str
    reference: Reference
    version: str = "1"
    replicas: int = 1
    _fed: dict[str, list[Any]] = field(default_factory=dict)
    _running: dict[int, Monitor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._ports = [free_port() for _ in range(self.replicas)]
        self.targets = [f"127.0.0.1:{port}" for port in self._ports]

    def start(self, *numbers: int) -> None:
        """Start some replicas; all without a number."""
        for number in numbers or range(self.replicas):
            monitor = Monitor(self.name, version=self.version, reference=self.reference, settings=_SETTINGS)
            self._running[number] = monitor
            monitor.serve(port=self._ports[number])

    def stop(self, *numbers: int) -> None:
        """End some replicas; all without a number."""
        for number in numbers or list(self._running):
            self._running.pop(number).close()

    def feed(self, rows: Columns, scores: Sequence[float] | None = None, *, number: int = 0) -> None:
        """Let a replica count some rows."""
        monitor = self._running[number]
        monitor.observe({name: list(values) for name, values in rows.items()}, scores)
        assert monitor.flush()
        for name, values in rows.items():
            self._fed.setdefault(name, []).extend(values)

    def values(self, feature: str) -> list[Any]:
        """All values of a feature that any replica was fed, but the missing ones."""
        return [value for value in self._fed.get(feature, ()) if value is not None]

    def pooled(self, feature: str) -> tuple[Floats, Floats]:
        """Counts per bin: of the reference, and of all values fed, counted here by numpy."""
        profile, values = self.reference[feature], self.values(feature)
        if profile.kind == "numeric":
            places = np.searchsorted(profile.edges, np.array(values, dtype=float), side="right")
        else:
            places = np.array(
                [profile.bins.index(value if value in profile.bins else catalog.UNSEEN) for value in values], dtype=int
            )
        return np.array(profile.counts, dtype=float), np.bincount(places, minlength=len(profile.bins)).astype(float)
