"""`otel-mlmon check`: what a reference holds, and what it costs in series."""

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.catalog import LABEL
from otel_mlmon.commands.options import columns
from otel_mlmon.judge import alarms_on, calibrated
from otel_mlmon.monitor import Monitor
from otel_mlmon.profiling.profile import FeatureProfile
from otel_mlmon.reference import Reference
from otel_mlmon.settings import Settings

_HEADER = ("feature", "kind", "bins", "values", "missing", "outliers", "normal operation reaches")
_CORRELATION_HEADER = ("feature", "correlated with", "ranks", "shift that normal operation reaches")


def add(parser: argparse.ArgumentParser) -> None:
    """Declare its words."""
    parser.set_defaults(run=run, extra="")
    parser.add_argument("reference", type=Path, help="file that `reference build` or Reference.save wrote")


def run(options: argparse.Namespace) -> int:
    """Print it."""
    reference = Reference.load(options.reference)
    print(f"reference {reference.digest}: {reference.rows} rows, task {reference.task or 'not given'}")
    for line in columns([_HEADER, *(_row(reference, profile) for profile in _in_families(reference))]):
        print(f"  {line}")
    correlations = [row for profile in reference.profiles for row in _correlations(profile)]
    for line in columns([_CORRELATION_HEADER, *correlations]) if correlations else ():
        print(f"  {line}")
    uncalibrated = [profile.feature for profile in reference.profiles if not _calibrated(profile)]
    if uncalibrated:
        pairs = " or ".join(" and ".join(pair) for pair in RuleOptions().pairs)
        print(f"normal operation is not known over {pairs} for: {', '.join(uncalibrated)}")
        print("  their alerts rest on thresholds and chance; timestamps and at least eight windows of 100 values would tell")
    by_area = _predicted_series(reference)
    areas = ", ".join(f"{area} {count}" for area, count in by_area.items())
    print(f"series per replica: {sum(by_area.values())} ({areas}), process and system health aside")
    return 0


def _in_families(reference: Reference) -> list[FeatureProfile]:
    """The profiles, those derived from a feature right behind it."""
    derived = [profile for profile in reference.profiles if _is_derived(reference, profile)]
    found = []
    for profile in reference.profiles:
        if profile not in derived:
            names = reference.schema[profile.feature].derived if profile.feature in reference.schema.names else ()
            found += [profile, *(one for one in derived if one.feature in names)]
    return found


def _is_derived(reference: Reference, profile: FeatureProfile) -> bool:
    return profile.feature in reference.derivation.names and not profile.feature.startswith("@")


def _row(reference: Reference, profile: FeatureProfile) -> tuple[str, ...]:
    by_window = [f"{window} {level:.2g}" for window, level in calibrated(profile).items()]
    levels = f"{alarms_on(profile)} {', '.join(by_window)}" if by_window else ""
    outliers = f"{profile.outliers / max(profile.samples, 1):.1%}" if profile.kind == "numeric" else ""
    missing = f"{profile.missing / max(profile.rows, 1):.1%}"
    derived = _is_derived(reference, profile)
    name, kind = (f"  {profile.feature}", "derived") if derived else (profile.feature, profile.kind)
    return name, kind, str(len(profile.bins)), str(profile.samples), missing, outliers, levels


def _correlations(profile: FeatureProfile) -> Iterator[tuple[str, ...]]:
    """Over ranks: those that concept drift alarms on."""
    for one in profile.correlations:
        if one.space == "u":
            levels = ", ".join(f"{window} {level:.2g}" for window, level in one.thresholds.items())
            yield profile.feature, one.target, f"{one.r:+.2f}", levels


def _calibrated(profile: FeatureProfile) -> bool:
    """Whether some pair of windows that alarm together has a level each."""
    return profile.feature == LABEL or any(calibrated(profile).keys() >= set(pair) for pair in RuleOptions().pairs)


def _predicted_series(reference: Reference) -> Counter[str]:
    """Samples of a scrape by area, counted on a monitor that is really built."""
    areas: Counter[str] = Counter()
    with Monitor("check", reference=reference, settings=Settings(system_seconds=0)) as monitor:
        for series in monitor.collect().series:
            areas[series.family.area] += series.samples
    return areas
