"""Which monitor a model has that nobody gave one: named by its class, set by the environment."""

import dataclasses
import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from otel_mlmon.monitor import Monitor

MOST_MODELS = 16
"""Models of one process that get a monitor."""

_CLOSE_SECONDS = 5.0

_LOG = logging.getLogger("otel_mlmon")


def setting(variable: str, kind: str) -> str | None:
    """What the environment says for one kind of model.

    ``OTEL_MLMON_MODEL_NAME``, ``..._MODEL_VERSION``, ``..._TASK``, ``..._REFERENCE`` and ``..._LEARN_ROWS`` hold one value for all
    models, or a list ``kind=value,kind=value``.

    Args:
        variable: Without ``OTEL_MLMON_``.
        kind: Name of the model's class.

    Returns:
        The value; None if there is none for this kind.

    >>> os.environ["OTEL_MLMON_MODEL_VERSION"] = "LogisticRegression=3, Ridge=2026.11"
    >>> setting("MODEL_VERSION", "Ridge"), setting("MODEL_VERSION", "SVC")
    ('2026.11', None)
    >>> del os.environ["OTEL_MLMON_MODEL_VERSION"]
    """
    text = os.environ.get(f"OTEL_MLMON_{variable}", "").strip()
    if "=" not in text:
        return text or None
    pairs = (part.partition("=") for part in text.split(","))
    return {name.strip(): value.strip() for name, _, value in pairs}.get(kind) or None


class Monitors:
    """Monitors of this process's models, one a name, each made at the first call of its model.

    Here "serving silent" outranks "set-up loud": nobody is there to see an exception but the application's users. What is wrong in
    the environment is logged as an error, once, and the model is watched without it.
    """

    def __init__(self) -> None:
        self._monitors: dict[str, Monitor | None] = {}
        self._full = False
        self._making = threading.Lock()

    def find(self, kind: str, task: str | None) -> "Monitor | None":
        """The monitor of a kind of model.

        Args:
            kind: Name of the model's class.
            task: What the model does as far as it tells.

        Returns:
            The monitor; None where there are too many models already, or none can be made.
        """
        name = setting("MODEL_NAME", kind) or kind
        with self._making:
            if name not in self._monitors:
                if len(self._monitors) >= MOST_MODELS:
                    if not self._full:
                        _LOG.warning("model %r and any further ones are not watched: there are %d already", name, MOST_MODELS)
                    self._full = True
                    return None
                self._monitors[name] = self._make(name, kind, task)
            return self._monitors[name]

    def by_name(self) -> "dict[str, Monitor]":
        """The monitors made so far: what gives them labels, or reads them."""
        with self._making:
            return {name: monitor for name, monitor in self._monitors.items() if monitor is not None}

    def close(self) -> None:
        """Close them all: when nothing is watched any more. At the end of a process they see to themselves."""
        deadline = time.monotonic() + _CLOSE_SECONDS
        with self._making:
            for monitor in filter(None, self._monitors.values()):
                monitor.close(max(0.1, deadline - time.monotonic()))
            self._monitors.clear()
            self._full = False

    def after_fork(self) -> None:
        """In a forked child: another thread of the parent may have held the lock."""
        self._making = threading.Lock()

    def _make(self, name: str, kind: str, task: str | None) -> "Monitor | None":
        monitor = _monitor(name, kind, task, next(filter(None, self._monitors.values()), None))
        if monitor is not None:
            try:
                monitor.export_otlp()
            except Exception as error:  # noqa: BLE001 - at the application's first call: it goes on, and is watched for later
                _LOG.error("model %r is watched, but not exported: %s", name, error)
        return monitor


def _monitor(name: str, kind: str, task: str | None, other: "Monitor | None") -> "Monitor | None":
    """A monitor with as much of what the environment says as can be had."""
    from otel_mlmon.monitor import Monitor  # loaded with the first model, not with every program of this environment

    said, reference = setting("TASK", kind), setting("REFERENCE", kind)
    options: dict[str, Any] = {"version": setting("MODEL_VERSION", kind) or ""}
    if other is not None:
        options["settings"] = dataclasses.replace(other.settings, system_seconds=0)  # process health once is enough
    rows = _rows(name, kind)
    attempts: list[dict[str, Any]] = []
    if reference is not None:
        attempts.append({"task": said or task, "reference": reference})
        if not said and task:  # the reference knows better than the class
            attempts.append({"reference": reference})
    fewest = len(attempts)
    attempts += [{"task": said or task, "learn_rows": rows}, {"task": task}]
    for number, attempt in enumerate(attempts):
        try:
            return Monitor(name, **options, **attempt)
        except Exception as error:  # noqa: BLE001 - at the application's first call: it goes on
            if number >= fewest - 1:
                _LOG.error("model %r, %s: %s", name, _named(attempt), error)
    return None


def _rows(name: str, kind: str) -> int | None:
    text = setting("LEARN_ROWS", kind)
    if text is None or text.isdecimal():
        return int(text) if text else None
    _LOG.error("model %r: OTEL_MLMON_LEARN_ROWS must be a number of rows, got %r", name, text)
    return None


def _named(attempt: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value!r}" for key, value in attempt.items() if value is not None) or "without settings"


MONITORS = Monitors()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=MONITORS.after_fork)
