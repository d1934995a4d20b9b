"""One metrics server for several monitors of a process, who need not know of each other."""

import contextlib
import errno
import os
import threading
from dataclasses import dataclass, field

from prometheus_client import REGISTRY

from otel_mlmon.exposition.prometheus import Collector, Source
from otel_mlmon.exposition.server import MetricsServer, start_server


def join_server(source: Source, *, port: int, address: str = "127.0.0.1") -> "JoinedServer":
    """Serve one more source of this process: on the server that others have joined there, else on a new one.

    Args:
        source: ``monitor.collect``.
        port: Port; 0 for any free one, the same for all who ask so.
        address: As of ``start_server``.

    Returns:
        The source's place there.

    Raises:
        OSError: If the address cannot be listened on: of several processes one has the port.
        ValueError: If ``port`` is none, or another source there holds the same series.

    >>> from otel_mlmon.store import SeriesStore
    >>> first, second = (join_server(SeriesStore().snapshot, port=0) for _ in range(2))
    >>> first.url == second.url
    True
    >>> first.close(), second.close()
    (None, None)
    """
    joints = _JOINTS.setdefault(os.getpid(), _Joints())
    with joints.lock:
        joint = joints.found.get((address, port))
        if joint is None:
            joint = joints.found[address, port] = _Joint(_served(source, address, port))
        else:
            joint.server.collector.add(source)
        place = JoinedServer(source, joint)
        joint.places.add(place)
    return place


def _served(source: Source, address: str, port: int) -> "MetricsServer | _Registered":
    """A server of our own; where the SDK's reader has the port, as under ``opentelemetry-instrument``, its page."""
    try:
        return start_server([source], port=port, address=address)
    except OSError as error:
        if error.errno != errno.EADDRINUSE or not _sdk_reads():
            raise
        return _Registered(source, address, port)


def _sdk_reads() -> bool:
    """Whether the SDK's reader shows its metrics by prometheus_client's registry; which collectors that has, only it knows."""
    return any(type(one).__module__ == "opentelemetry.exporter.prometheus" for one in list(REGISTRY._collector_to_names))


class _Registered:
    """The page of prometheus_client's registry, which the SDK's reader serves at the same address."""

    def __init__(self, source: Source, address: str, port: int) -> None:
        self.address, self.port, self.url = address, port, f"http://{address}:{port}/metrics"
        self.collector, self._process = Collector(source), os.getpid()
        REGISTRY.register(self.collector)

    def close(self) -> None:
        """Show nothing there any more. Idempotent."""
        if os.getpid() == self._process:  # in a forked child, the registry's lock may be held by a thread that is not there
            with contextlib.suppress(KeyError):
                REGISTRY.unregister(self.collector)


class JoinedServer:
    """A source's place on a server that several share; made by ``join_server``.

    Attributes:
        address, port, url: As of ``MetricsServer``.
    """

    def __init__(self, source: Source, joint: "_Joint") -> None:
        self._source, self._joint, self._process = source, joint, os.getpid()
        self.address, self.port, self.url = joint.server.address, joint.server.port, joint.server.url

    def close(self) -> None:
        """Show the source no more; the last one stops the server. Idempotent. In a forked child: let go of the port."""
        joint = self._joint
        if os.getpid() != self._process:
            joint.server.close()
            return
        joints = _JOINTS[self._process]
        with joints.lock:
            if self in joint.places:
                joint.places.remove(self)
                joint.server.collector.remove(self._source)
                if not joint.places:
                    joints.found = {key: other for key, other in joints.found.items() if other is not joint}
                    joint.server.close()


@dataclass(frozen=True, slots=True, eq=False)
class _Joint:
    """A server that several sources share."""

    server: "MetricsServer | _Registered"
    places: set[JoinedServer] = field(default_factory=set)


class _Joints:
    """Those of one process, by the address and the port asked for."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.found: dict[tuple[str, int], _Joint] = {}


_JOINTS: dict[int, _Joints] = {}
"""By process: what a forked child finds may be locked by a thread that it does not have."""
