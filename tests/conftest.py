"""What every test shares: hypothesis' profile, and the rule that nothing is skipped on CI."""

import os
from collections.abc import Generator, Iterator

import pytest
from hypothesis import settings

from tests.telemetry import Traces, application

# The same examples on every run: a failure is then the commit's, never the day's.
settings.register_profile("otel_mlmon", derandomize=True, deadline=None, database=None)
settings.load_profile("otel_mlmon")

# Prometheus and its tools are Go programs, whose garbage collector takes a quarter of their time as it is set by default.
os.environ.setdefault("GOGC", "400")

# A test sees no more of these variables than it sets itself.
for _name in [name for name in os.environ if name.startswith(("OTEL_", "PROMETHEUS_"))]:
    del os.environ[_name]

ON_CI = os.environ.get("CI") == "true"


@pytest.fixture
def traces() -> Iterator[Traces]:
    """What the application traces: a provider of its own, for this test alone."""
    found = Traces()
    with application(found):
        yield found


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker of tests that CI may skip."""
    config.addinivalue_line("markers", "optional: may be skipped on CI; every other skip is a failure there")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Locally a missing server is a skip with its reason; on CI it is a failure, or the main tests could vanish unseen."""
    report = yield
    if ON_CI and report.skipped and not hasattr(report, "wasxfail") and item.get_closest_marker("optional") is None:
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI forbids: {_reason(report)}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a module that skips itself while it is imported."""
    report = yield
    if ON_CI and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI forbids: {_reason(report)}"
    return report


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    return str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
