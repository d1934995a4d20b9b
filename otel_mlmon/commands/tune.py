"""`otel-mlmon tune`: read what a Prometheus has recorded, and propose thresholds that would have alarmed seldom enough."""

import argparse
import base64
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import numpy as np

from otel_mlmon.bundle.options import milliseconds
from otel_mlmon.bundle.yaml_text import Group, record, rule_file
from otel_mlmon.catalog import THRESHOLD
from otel_mlmon.commands.options import columns
from otel_mlmon.commands.rules import add_pairs, pairs
from otel_mlmon.history import STEP, Model, Signal, Span, days_recorded, find_model, signals
from otel_mlmon.prometheus_api import PrometheusApi
from otel_mlmon.thresholds import MARGIN, SEVERITIES, SHIPPED
from otel_mlmon.tuning import Waits, episodes, propose

FORMAT = "otel_mlmon.tuning/1"

MONTH_DAYS = 28.0
"""Four weeks: each weekday counts the same."""

WAIT, KEEP = "10m", "6h"
"""``for`` and ``keep_firing_for`` of the drift alerts."""

_WAITS = Waits(*(round(milliseconds(length) / 1000 / STEP) for length in (WAIT, KEEP)))
_ENOUGH = 0.9
_LEAST = 0.01


@dataclass(frozen=True, slots=True)
class _Proposal:
    """One feature's threshold, now and as proposed.

    Attributes:
        signal: What it rests on.
        proposed: Severity -> threshold.
    """

    signal: Signal
    proposed: Mapping[str, float]

    @property
    def changes(self) -> bool:
        return not math.isclose(self.proposed["warning"], self.signal.present["warning"], rel_tol=1e-9)

    def episodes(self, threshold: float) -> int:
        return episodes(np.nan_to_num(self.signal.values) > threshold, _WAITS)


@dataclass(frozen=True, slots=True)
class _Tuning:
    """All that is said of one model."""

    model: Model
    span: Span
    days: float
    per_month: float
    proposals: Sequence[_Proposal]

    @property
    def most(self) -> int:
        return math.floor(self.per_month * self.days / MONTH_DAYS + 1e-9)


def add(parser: argparse.ArgumentParser) -> None:
    """Declare its words."""
    parser.set_defaults(run=run, extra="")
    parser.add_argument("--prometheus", required=True, metavar="URL", help="address of the Prometheus that evaluates the rules")
    parser.add_argument("--model", required=True, metavar="NAME", help="name of the model")
    parser.add_argument("--version", default=None, metavar="VERSION", help="its version (default: the one that is up)")
    parser.add_argument("--days", type=float, default=MONTH_DAYS, help="history to read, free of drift (default: %(default)g)")
    parser.add_argument(
        "--alarms-per-month",
        type=float,
        default=1.0,
        metavar="K",
        help="warnings accepted of a feature in 28 days (default: %(default)g)",
    )
    parser.add_argument("--below-default", action="store_true", help="propose thresholds below the shipped ones, too")
    parser.add_argument("--format", choices=tuple(_FORMATS), default="code", help="what to print (default: %(default)s)")
    parser.add_argument("--header", action="append", default=[], metavar="NAME=VALUE", help="header of every request")
    add_pairs(parser)
    parser.epilog = (
        "PROMETHEUS_TOKEN in the environment is sent as a bearer token, PROMETHEUS_USERNAME and PROMETHEUS_PASSWORD as basic "
        "authentication."
    )


def run(options: argparse.Namespace) -> int:
    """Print the proposal."""
    if not (math.isfinite(options.days) and options.days > 0):
        raise ValueError(f"--days must be finite and > 0, got {options.days!r}")
    if not (math.isfinite(options.alarms_per_month) and options.alarms_per_month >= 0):
        raise ValueError(f"--alarms-per-month must be finite and >= 0, got {options.alarms_per_month!r}")
    api = PrometheusApi(options.prometheus, headers=_headers(options.header, os.environ))
    span = Span.before(time.time(), options.days)
    model = find_model(api, options.model, options.version, span)
    recorded = days_recorded(api, model, span)
    if recorded < _ENOUGH * options.days:
        raise RuntimeError(
            f"model {model.name!r} version {model.version!r}: {recorded:.1f} days are recorded, --days asks for {options.days:g}"
        )
    found = signals(api, model, span, pairs(options))
    most = _Tuning(model, span, options.days, options.alarms_per_month, ()).most
    proposals = [_propose(signal, most, below=options.below_default) for signal in found]
    tuning = _Tuning(model, span, options.days, options.alarms_per_month, proposals)
    print("\n".join(_FORMATS[options.format](tuning)))
    return 0


def _headers(given: Sequence[str], environment: Mapping[str, str]) -> dict[str, str]:
    headers = {}
    user, token = environment.get("PROMETHEUS_USERNAME"), environment.get("PROMETHEUS_TOKEN")
    if token:
        headers["Authorization"] = f"Bearer {token}"
    elif user:
        pair = f"{user}:{environment.get('PROMETHEUS_PASSWORD', '')}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    for one in given:
        name, sign, value = one.partition("=")
        if not sign or not name:
            raise ValueError(f"--header must be NAME=VALUE, got {one!r}")
        headers[name] = value
    return headers


def _propose(signal: Signal, most: int, *, below: bool) -> _Proposal:
    statistic = signal.statistic
    shipped = {severity: 0.0 if below else SHIPPED[statistic, severity] for severity in SEVERITIES}
    warning = propose(signal.values, _WAITS, most=most, least=shipped["warning"] or _LEAST)
    critical = max(shipped["critical"], float(f"{MARGIN['critical'] * warning:.3g}"))
    return _Proposal(signal, {"warning": warning, "critical": critical})


# ---------------------------------------------------------------- what is printed


def _head(tuning: _Tuning) -> Iterator[str]:
    """What was found, for people: a comment in each format."""
    day = datetime.fromtimestamp(tuning.span.end, timezone.utc)
    yield (
        f"{tuning.model.name} {tuning.model.version}".rstrip()
        + f": {tuning.days:g} days until {day:%Y-%m-%d %H:%M} UTC, at most {tuning.most} drift warnings of a feature"
    )
    rows = [("feature", "statistic", "days", "threshold", "warnings", "proposed", "warnings")]
    for one in tuning.proposals:
        now, then = one.signal.present["warning"], one.proposed["warning"]
        days = f"{one.signal.days:.1f}"
        rows.append(
            (
                one.signal.feature,
                one.signal.statistic,
                days,
                f"{now:g}",
                str(one.episodes(now)),
                f"{then:g}" if one.changes else "the same",
                str(one.episodes(then)),
            )
        )
    yield from columns(rows)
    if not tuning.proposals:
        yield "no feature ever had enough values to alarm"


def _code(tuning: _Tuning) -> Iterator[str]:
    """Python for ``Monitor(thresholds=...)``."""
    yield from (f"# {line}".rstrip() for line in _head(tuning))
    yield "thresholds = ["
    for one in tuning.proposals:
        for severity, value in one.proposed.items() if one.changes else ():
            said = "" if severity == "warning" else f', severity="{severity}"'
            yield f'    Threshold("{one.signal.statistic}", {value!r}{said}, feature={one.signal.feature!r}),'
    yield "]"


def _rules(tuning: _Tuning) -> Iterator[str]:
    """A rule file that records ``mlmon_threshold`` as a replica would expose it; where both say something, the greater holds."""
    name = THRESHOLD.prometheus_name
    rules = [
        record(
            name,
            f"vector({value!r})",
            model_name=tuning.model.name,
            **({"model_version": tuning.model.version} if tuning.model.version else {}),
            statistic=one.signal.statistic,
            severity=severity,
            feature=one.signal.feature,
        )
        for one in tuning.proposals
        if one.changes
        for severity, value in one.proposed.items()
    ]
    yield rule_file([Group("mlmon-tuned.rules", "1m", tuple(rules))], header="\n".join(_head(tuning))).rstrip("\n")


def _options(tuning: _Tuning) -> Iterator[str]:
    """Words for ``otel-mlmon rules``: one threshold for all features, the greatest that one of them needs."""
    yield from (f"# {line}".rstrip() for line in _head(tuning))
    needed: dict[str, dict[str, float]] = {}
    for one in tuning.proposals:
        of_statistic = needed.setdefault(one.signal.statistic, dict.fromkeys(SEVERITIES, 0.0))
        for severity, value in one.proposed.items():
            of_statistic[severity] = max(of_statistic[severity], value)
    words = [f"--{statistic}-{severity} {value:g}" for statistic, values in needed.items() for severity, value in values.items()]
    yield " ".join(["otel-mlmon rules", *words])


def _json(tuning: _Tuning) -> Iterator[str]:
    document: dict[str, Any] = {
        "format": FORMAT,
        "model_name": tuning.model.name,
        "model_version": tuning.model.version,
        "end": tuning.span.end,
        "days": tuning.days,
        "alarms_per_month": tuning.per_month,
        "warnings_accepted": tuning.most,
        "features": [
            {
                "feature": one.signal.feature,
                "statistic": one.signal.statistic,
                "days": one.signal.days,
                "present": dict(one.signal.present),
                "present_warnings": one.episodes(one.signal.present["warning"]),
                "proposed": dict(one.proposed),
                "proposed_warnings": one.episodes(one.proposed["warning"]),
            }
            for one in tuning.proposals
        ],
    }
    yield json.dumps(document, allow_nan=False, ensure_ascii=False, indent=1)


_FORMATS: Mapping[str, Callable[[_Tuning], Iterator[str]]] = {"code": _code, "rules": _rules, "options": _options, "json": _json}
