"""What a Prometheus has recorded of a model: the values that its drift alerts compare with their thresholds, over time."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from otel_mlmon.bundle import names as n
from otel_mlmon.prometheus_api import Floats, Labels, PrometheusApi
from otel_mlmon.thresholds import SEVERITIES, SHIPPED

__all__ = ["STEP", "Model", "Signal", "Span", "days_recorded", "find_model", "signals"]

STEP = 300.0
"""Seconds between two values that are read; the rules record one every four minutes."""

DAY = 86_400.0
_RECENT = "1h"
_STATISTICS = ("psi", "wasserstein")
_SERIES = f"{n.FEATURE}, window, statistic"


@dataclass(frozen=True, slots=True)
class Model:
    """One version of one model."""

    name: str
    version: str

    @property
    def where(self) -> dict[str, str]:
        """Label values for ``names.selector``."""
        return dict(zip(n.MODEL_LABELS, (_quoted(self.name), _quoted(self.version)), strict=True))


@dataclass(frozen=True, slots=True)
class Span:
    """The last days of a history.

    Attributes:
        end: Unix time of the last value, a multiple of the step.
        steps: How many values there are at most.
    """

    end: float
    steps: int

    @classmethod
    def before(cls, now: float, days: float) -> "Span":
        """The days before some time."""
        return cls(now // STEP * STEP, max(1, round(days * DAY / STEP)))

    @property
    def start(self) -> float:
        """Unix time of the first value."""
        return self.end - (self.steps - 1) * STEP


@dataclass(frozen=True, slots=True)
class Signal:
    """What the drift alert of one feature depends on.

    Attributes:
        feature: Its name.
        statistic: On which it alarms.
        values: The threshold below which it would be over it in both windows of some pair, at equal steps; 0 where normal operation
            or chance explains it anyway, NaN where there were too few values to alarm. Shape ``(steps,)``.
        present: Severity -> threshold now in force.
    """

    feature: str
    statistic: str
    values: Floats
    present: Mapping[str, float]

    @property
    def days(self) -> float:
        """How long it could have alarmed."""
        return float(np.isfinite(self.values).sum() * STEP / DAY)


def find_model(api: PrometheusApi, name: str, version: str | None, span: Span) -> Model:
    """The version of a model that is asked for, else the one that is up.

    Raises:
        RuntimeError: If it is not recorded, several versions are up, or as ``PrometheusApi.query``.
    """
    names = dict(zip(("name", "version"), n.MODEL_LABELS, strict=True))

    def models(range_: str) -> list[Model]:
        found = api.query(f"group by ({n.MODEL}) (last_over_time({n.KNOWN}[{range_}]))", span.end)
        known = (dict(labels) for labels in found)
        return sorted(
            (Model(one.get(names["name"], ""), one.get(names["version"], "")) for one in known),
            key=lambda one: (one.name, one.version),
        )

    recorded = models(f"{round(span.steps * STEP)}s")
    fitting = [one for one in recorded if one.name == name and version in (None, one.version)]
    if not fitting:
        listed = ", ".join(_called(one) for one in recorded) or "none: are the files of `otel-mlmon rules` in its rule_files?"
        raise RuntimeError(f"{api.url}: no model {_called(Model(name, version or ''))} is recorded, only {listed}")
    up = [one for one in models(_RECENT) if one in fitting] or fitting
    if len(up) > 1:
        raise RuntimeError(
            f"model {name!r}: several versions are recorded, say which with --version: {[one.version for one in up]}"
        )
    return up[0]


def days_recorded(api: PrometheusApi, model: Model, span: Span) -> float:
    """For how much of the span the model is recorded, days.

    Raises:
        RuntimeError: As ``PrometheusApi.query``.
    """
    found = api.query_range(n.selector(n.KNOWN, **model.where), span.start, steps=span.steps, step=STEP)
    return float(sum(np.isfinite(values).sum() for values in found.values()) * STEP / DAY)


def signals(api: PrometheusApi, model: Model, span: Span, pairs: Sequence[tuple[str, str]]) -> list[Signal]:
    """What each feature's drift alert depends on.

    Args:
        api: Where it is recorded.
        model: Whose features.
        span: The history to read.
        pairs: Pairs (fast, slow) of windows that the rules alarm on.

    Returns:
        By feature and the statistic that it alarms on.

    Raises:
        RuntimeError: As ``PrometheusApi.query``.
    """
    windows = {window: _window(api, model, span, window) for window in dict.fromkeys(window for pair in pairs for window in pair)}
    found: dict[tuple[str, str], Floats] = {}
    for fast, slow in pairs:
        for key in windows[fast].keys() & windows[slow].keys():
            both = np.minimum(windows[fast][key], windows[slow][key])
            found[key] = np.fmax(found[key], both) if key in found else both
    present = _present(api, model, span)
    return [
        Signal(feature, statistic, values, {severity: present(feature, statistic, severity) for severity in SEVERITIES})
        for (feature, statistic), values in sorted(found.items())
    ]


class _Present:
    """Thresholds in force: the feature's, else the model's, else the shipped ones."""

    def __init__(self, of_model: Mapping[Labels, float], of_feature: Mapping[Labels, float]) -> None:
        self._found = {_key(labels): value for found in (of_model, of_feature) for labels, value in found.items()}

    def __call__(self, feature: str, statistic: str, severity: str) -> float:
        default = self._found.get(("", statistic, severity), SHIPPED[statistic, severity])
        return self._found.get((feature, statistic, severity), default)


def _present(api: PrometheusApi, model: Model, span: Span) -> _Present:
    where = model.where | {"statistic": "=~" + "|".join(_STATISTICS)}
    of_model, of_feature = (
        api.query(f"last_over_time({n.selector(name, **where)}[{_RECENT}])", span.end)
        for name in (n.THRESHOLD, n.FEATURE_THRESHOLD)
    )
    return _Present(of_model, of_feature)


def _window(api: PrometheusApi, model: Model, span: Span, window: str) -> dict[tuple[str, str], Floats]:
    """Distances over one window by feature and statistic, where it may alarm; 0 where normal operation or chance explains it."""
    where = model.where | {"window": window}
    on = f"on ({_SERIES})"
    distance = n.selector(n.DRIFT, **where, baseline="training", statistic="=~" + "|".join(_STATISTICS))
    normal = n.selector(n.NORMAL, **where)
    chance = n.selector(n.NOISE, **where)
    may = f"({distance} and {on} {n.selector(n.BELIEVABLE, **where)})"
    explained = f"({distance} <= {on} {normal}) or ({distance} <= {on} {chance})"
    # Sums and products drop the name, so that both sides of `or` are the same series.
    expression = f"({may} + 0 unless {on} ({explained})) or {may} * 0"
    found = api.query_range(expression, span.start, steps=span.steps, step=STEP)
    return {(dict(labels)["feature"], dict(labels)["statistic"]): values for labels, values in found.items()}


def _key(labels: Labels) -> tuple[str, str, str]:
    said = dict(labels)
    return said.get("feature", ""), said["statistic"], said["severity"]


def _called(model: Model) -> str:
    return f"{model.name!r} version {model.version!r}" if model.version else repr(model.name)


def _quoted(value: str) -> str:
    """Inside of a PromQL string, which is escaped as JSON's is."""
    return json.dumps(value, ensure_ascii=False)[1:-1]
