"""What the rules cost, without a clock: samples that they read and series that they record, in a real Prometheus."""

import time
from pathlib import Path

import pytest

from otel_mlmon.bundle.options import RuleOptions, milliseconds
from tests.bench.rules import Load, watched
from tests.servers import SERIES, Server, require

FEATURES = 5
OPTIONS = RuleOptions(interval="200ms", lookback="1s", delay="50ms", time_scale=300)
"""As shipped, 300 times as fast: each group has the same number of samples in its windows."""

READ = 4_000
"""Samples a minute, of a model of five features with twelve bins and two replicas; when this was written, some 3,100."""

RECORDED = 4_100
"""Series of that model; some 3,700."""


def _until_all_is_recorded(server: Server) -> None:
    """The last rule of the slowest chain has read the first one of all, for each feature, window and baseline."""
    deadline = time.monotonic() + 60
    while len(server.query('mlmon:feature_drift{statistic="ks_pvalue"}')) < FEATURES * len(OPTIONS.described) * 2:
        assert time.monotonic() < deadline, server.query("count by (__name__) ({__name__=~'mlmon:.+'})")
        time.sleep(0.2)


@pytest.mark.parametrize("series", SERIES)
def test_the_rules_read_and_record_no_more_than_they_did(series: str, tmp_path: Path) -> None:
    """The cost grows back by what is read too often or for too many series; see ``make bench ARGS=rules`` for seconds."""
    for program in ("prometheus", "promtool"):
        require(program, series)
    read: dict[str, float] = {}
    with watched(Load(1, 2, features=FEATURES), OPTIONS, tmp_path, series) as server:
        _until_all_is_recorded(server)
        now = time.time()
        for group in server.get("/api/v1/rules")["data"]["groups"]:
            often = 60_000 / (milliseconds(f"{round(group['interval'] * 1000)}ms") * OPTIONS.time_scale)
            for rule in group["rules"]:
                answer = server.get("/api/v1/query", {"query": rule["query"], "time": repr(now), "stats": "all"})
                read[group["name"]] = (
                    read.get(group["name"], 0) + answer["data"]["stats"]["samples"]["totalQueryableSamples"] * often
                )
        recorded = server.query('count({__name__=~"mlmon:.+"})')[()]
    assert sum(read.values()) < READ, read
    assert recorded < RECORDED
