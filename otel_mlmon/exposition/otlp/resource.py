"""Which resource the series describe: that of the application's own telemetry."""

import os
import uuid
from collections.abc import Iterator
from functools import lru_cache

from opentelemetry import metrics, trace
from opentelemetry.sdk import resources
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, Resource


class Origin:
    """Finds the resource when it is needed: the application may set its providers after the export began.

    Args:
        given: The one to take; None for that of the application's MeterProvider or TracerProvider, or the environment's.
        instance: ``service.instance.id`` where none is set; None for one of this process.
    """

    def __init__(self, given: Resource | None, instance: str | None) -> None:
        self._instance = instance
        # Not in `find`: the SDK's detectors use threads, of which none begins any more when the interpreter ends.
        self._fallback = _without_made_up_instance(given or Resource.create())
        self._given = given is not None

    def find(self) -> Resource:
        """The resource, with an instance: without one, replicas would write over each other's series."""
        found = self._fallback
        if not self._given:
            found = next(map(_without_made_up_instance, _application()), found)
        if found.attributes.get(SERVICE_INSTANCE_ID):
            return found
        return Resource({**found.attributes, SERVICE_INSTANCE_ID: self._instance or _of_process()}, found.schema_url)


def _application() -> Iterator[Resource]:
    """Resources of the providers that the application has set; to look for them must not set any."""
    if "OTEL_PYTHON_METER_PROVIDER" not in os.environ:
        # The SDK's MeterProvider has no public way to its resource, in 1.27 to 1.45.
        yield from _resource(getattr(metrics.get_meter_provider(), "_sdk_config", None))
    if "OTEL_PYTHON_TRACER_PROVIDER" not in os.environ:
        yield from _resource(trace.get_tracer_provider())


def _resource(owner: object) -> Iterator[Resource]:
    found = getattr(owner, "resource", None)
    if isinstance(found, Resource):
        yield found


def _without_made_up_instance(resource: Resource) -> Resource:
    """Newer SDKs make an instance up, which is right for one process only: not for its children, nor for all workers together."""
    if resource.attributes.get(SERVICE_INSTANCE_ID) != _made_up():
        return resource
    rest = {name: value for name, value in resource.attributes.items() if name != SERVICE_INSTANCE_ID}
    return Resource(rest, resource.schema_url)


def _made_up() -> object:
    detector = getattr(resources, "ServiceInstanceIdResourceDetector", None)
    return None if detector is None else detector().detect().attributes.get(SERVICE_INSTANCE_ID)


def _of_process() -> str:
    """The SDK's where it makes one up, so that all telemetry of a process has the same."""
    return str(_made_up() or _new(os.getpid()))


@lru_cache(maxsize=1)
def _new(process: int) -> str:
    """One for each process; a forked child has another number."""
    return str(uuid.uuid4())
