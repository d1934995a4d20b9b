"""Grafana dashboards, written with Grafana's own Foundation SDK (extra ``dashboards``, Python 3.11 or newer)."""

import importlib
import warnings

with warnings.catch_warnings():
    # It would rather have its second schema written, which Grafana 11 and older do not import.
    warnings.filterwarnings("ignore", "Prefer using dashboardv2", DeprecationWarning)
    for _part in ("dashboard", "prometheus"):
        importlib.import_module(f"grafana_foundation_sdk.builders.{_part}")
