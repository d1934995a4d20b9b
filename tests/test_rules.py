"""The rule files: accepted by real promtool, held to the catalogue and to an on-call engineer's conventions."""

import contextlib
import re
import subprocess
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from otel_mlmon import catalog
from otel_mlmon.bundle import names
from otel_mlmon.bundle.options import duration, milliseconds
from otel_mlmon.bundle.rules import ALERTS_FILE, RECORDING_FILE, RuleOptions, render
from otel_mlmon.settings import Statistic, Threshold
from otel_mlmon.thresholds import SHIPPED
from tests.servers import SERIES, require

COMMITTED = Path(__file__).parent.parent / "alert_rules"
DEFAULT = render(RuleOptions())


def rules(files: dict[str, str] = DEFAULT) -> list[dict[str, Any]]:
    """Every rule of both files in order, parsed."""
    return [
        rule for name in (RECORDING_FILE, ALERTS_FILE) for group in yaml.safe_load(files[name])["groups"] for rule in group["rules"]
    ]


def test_the_committed_files_are_the_default_ones() -> None:
    """Users import them as they are."""
    assert {path.name: path.read_text(encoding="utf-8") for path in COMMITTED.glob("mlmon.*.yml")} == DEFAULT


@pytest.mark.parametrize("series", SERIES)
@pytest.mark.parametrize(
    "options",
    [
        RuleOptions(),
        RuleOptions(time_scale=2),
        RuleOptions(interval="250ms", lookback="30s", delay="0s", time_scale=4320, max_bins=100),
    ],
    ids=["default", "scaled", "time-lapse"],
)
def test_promtool_accepts_the_files(options: RuleOptions, series: str, tmp_path: Path) -> None:
    """With every lint it has."""
    for name, text in render(options).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    command: list[str | Path] = [require("promtool", series), "check", "rules", "--lint=all", "--lint-fatal", *render(options)]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_metric_and_label_is_in_the_catalogue() -> None:
    """A renamed family or label breaks here, not in somebody's Prometheus."""
    families = {family.prometheus_name: family for family in catalog.CATALOG}
    families |= {family.prometheus_name + "_bucket": family for family in catalog.CATALOG if family.type == "histogram"}
    seen = set()
    for rule in rules():
        for name, matchers in re.findall(r"\b(mlmon_\w+)(?:\{([^}]*)\})?", rule["expr"]):
            assert name in families, name
            seen.add(name)
            assert set(re.findall(r"(\w+)(?:=|!)", matchers)) <= set(families[name].prometheus_labels), (name, matchers)
    assert len(seen) > 10
    sources = "".join(path.read_text(encoding="utf-8") for path in (COMMITTED.parent / "otel_mlmon" / "bundle").glob("*.py"))
    assert not re.findall(r"\bmlmon_\w+", sources)


FOR_EYES = {
    *(
        "mlmon:feature_correlation",
        "mlmon:feature:statistic",
        "mlmon:feature_outliers:ratio",
        "mlmon:feature_correlation:z",
    ),
    *("mlmon:model:state", "mlmon:call_errors:budget_ratio"),
}
SOME_TIME_AGO = {"mlmon:model:known", "mlmon:feature_drift:learned"}
"""What a group reads of a later one: as it was recorded last, whenever that was."""


def test_recorded_series_are_used_and_come_first() -> None:
    """Nothing is recorded for nothing; a rule never reads what a later one writes."""
    recorded: set[str] = set()
    used: set[str] = set()
    for rule in rules(render(RuleOptions(drift_interval="4m"))):  # nothing is held
        names = set(re.findall(r"\bmlmon:[a-z0-9_:]+", rule["expr"])) - {rule.get("record")}
        assert names <= recorded | SOME_TIME_AGO, names - recorded
        used |= names
        recorded |= {rule["record"]} if "record" in rule else set()
    assert recorded == used | FOR_EYES


def test_what_is_held_is_complete_and_lasts() -> None:
    """What holds reads an evaluation that has surely ended, until the next one has been held."""
    groups = {group["name"]: group for group in yaml.safe_load(DEFAULT[RECORDING_FILE])["groups"]}
    late = {rule["record"] for rule in groups["mlmon-drift.rules"]["rules"] if rule["record"].startswith("mlmon:late:")}
    held = {rule["record"]: rule["expr"] for rule in groups["mlmon-latest.rules"]["rules"]}
    assert late == {names.late(name) for name in held}
    for name, expression in held.items():
        matchers = r"(\{[^}]*\})?"
        assert re.fullmatch(rf"last_over_time\({names.late(name)}{matchers}\[34m\] offset 2m\)\n", expression), expression


def test_a_pace_that_queries_can_see_is_not_held() -> None:
    """Fewer series, and they come sooner: for those who can afford it."""
    text = render(RuleOptions(drift_interval="4m"))[RECORDING_FILE]
    assert "mlmon:late:" not in text
    assert "mlmon-latest" not in text
    assert 'record: "mlmon:feature_drift"\n' in text
    assert "mlmon:late:" in render(RuleOptions(drift_interval="5m"))[RECORDING_FILE]


@pytest.mark.parametrize(
    ("options", "pace"),
    [
        ({}, "30m"),
        ({"drift_interval": "1h"}, "30m"),
        ({"drift_interval": "25m"}, "20m"),
        ({"drift_interval": "90s"}, "1m"),
        ({"interval": "4m", "lookback": "8m"}, "20m"),
        ({"windows": ("5m", "1h"), "pairs": (("5m", "1h"),)}, "1m"),
        ({"windows": ("6h", "1d"), "pairs": (("6h", "1d"),), "drift_interval": "2h"}, "2h"),
        ({"time_scale": 60}, "1m"),
    ],
)
def test_windows_are_whole_evaluations(options: dict[str, Any], pace: str) -> None:
    """Or 1h would be 50 minutes."""
    chosen = RuleOptions(**options)
    assert chosen.pace == pace
    for window in chosen.windows:
        assert chosen.steps(window, chosen.pace) * milliseconds(chosen.pace) * chosen.time_scale == milliseconds(window)


def test_a_window_holds_as_many_samples_as_its_increments_have() -> None:
    """Whatever group adds them up: half an evaluation less than the window, by the interval of the group that records them."""
    options, read = RuleOptions(), 0
    groups = yaml.safe_load(DEFAULT[RECORDING_FILE])["groups"]
    every = {rule["record"]: group["interval"] for group in groups for rule in group["rules"]}
    for group in groups:
        for rule in group["rules"]:
            window = rule.get("labels", {}).get("window")
            for name, length in re.findall(r"(?:sum|count)_over_time\((mlmon:\w+:inc)(?:\{[^}]*\})?\[(\w+)\]", rule["expr"]):
                if window in options.windows:
                    assert length == options.span(window, every[name]), (rule["record"], name, length)
                    read += 1
    assert read > 30


def test_nothing_runs_more_often_than_it_must() -> None:
    """The cost of the rules is the series that they read, and how often: this is what it grows back by."""
    groups = {group["name"]: group for group in yaml.safe_load(DEFAULT[RECORDING_FILE])["groups"]}
    intervals = {name.removeprefix("mlmon-").removesuffix(".rules"): group["interval"] for name, group in groups.items()}
    assert intervals == {"serving": "1m", "drift": "30m", "latest": "4m", "variation": "4m", "history": "30m", "state": "1m"}
    for name in ("serving", "state"):
        text = str(groups[f"mlmon-{name}.rules"]["rules"])
        assert not re.search(r"mlmon_(feature|reference_bin)|mlmon:(late|reference_bin|feature_(bin|moment|value))", text), name


def test_what_is_recorded_seldom_is_held() -> None:
    """An instant query sees nothing of more than five minutes ago."""
    groups = yaml.safe_load(DEFAULT[RECORDING_FILE])["groups"]
    seldom = {rule["record"] for group in groups if milliseconds(group["interval"]) > 240_000 for rule in group["rules"]}
    often = [rule for group in groups if milliseconds(group["interval"]) <= 240_000 for rule in group["rules"]]
    seldom -= {rule.get("record") for rule in often}
    assert len(seldom) > 30
    for rule in often:
        for name, after in re.findall(r"\b(mlmon:[a-z0-9_:]+)((?:\{[^}]*\})?(?:\[\w+\])?)", rule["expr"]):
            assert name not in seldom or after.endswith("]"), (rule["record"], name)


def test_recorded_names_say_what_and_how() -> None:
    """``mlmon:<what>:<operation>``; sets are matched by explicit labels. What alerts must have: test_alert_lint."""
    for rule in rules():
        assert not re.search(r"\b(topk|bottomk)\b", rule["expr"])
        assert not re.search(r"\b(and|unless)\b(?! (on|ignoring) \()", rule["expr"])
        if "record" in rule:
            assert re.fullmatch(r"mlmon:[a-z0-9_]+:[a-z0-9_]+|mlmon:feature_(drift|correlation)", rule["record"])


def test_time_scale_changes_lengths_only() -> None:
    """The series keep their names and labels: 1h, 6h, 1d."""
    lapse = RuleOptions(interval="250ms", drift_interval="250ms", time_scale=4320)
    plain = RuleOptions(time_scale=12, drift_interval="1m")

    def outline(options: RuleOptions) -> list[tuple[Any, Any, Any]]:
        return [(rule.get("record"), rule.get("alert"), rule.get("labels")) for rule in rules(render(options))]

    assert outline(lapse) == outline(plain)
    expressions = {
        (rule["record"], *rule.get("labels", {}).values()): rule["expr"] for rule in rules(render(lapse)) if "record" in rule
    }
    # 1d lasts 20 s there: 80 evaluations, less half of one
    assert expressions["mlmon:feature_bin:count", "1d"] == "sum_over_time(mlmon:feature_bin:inc[19875ms])\n"
    assert (
        expressions["mlmon:previous_bin:count",] == 'last_over_time(mlmon:feature_bin:count{window=~"1h|1d"}[250ms] offset 20s)\n'
    )
    assert "[5m] offset 15s" in expressions["mlmon:feature_bin:inc",]


def test_thresholds_are_those_that_code_can_set() -> None:
    """One list of statistics in settings and rules."""
    assert {statistic for statistic, _ in SHIPPED} == set(get_args(Statistic))


def test_code_cannot_set_for_a_feature_what_the_rules_read_for_the_model() -> None:
    """It would be exported, and do nothing."""
    accepted = set()
    for statistic in get_args(Statistic):
        with contextlib.suppress(ValueError):
            accepted.add(Threshold(statistic, 1.0, feature="x").statistic)
    shares = {"missing_ratio", "invalid_ratio", "out_of_range_ratio", "unseen_ratio"}
    assert accepted == {"psi", "wasserstein", "correlation_shift", *shares}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"windows": ()}, "windows must be distinct"),
        ({"windows": ("1h", "1h")}, "windows must be distinct"),
        ({"interval": "5m", "lookback": "10m"}, "interval must be at most 4m: queries see no sample of more than five minutes ago"),
        ({"windows": ("60m", "6h")}, "window '60m': write it in its largest unit: '1h'"),
        ({"windows": ("soon",)}, "duration must be written like"),
        ({"windows": ("1h", "6h")}, r"pair \('6h', '1d'\)"),
        ({"pairs": ()}, "pairs must be at least one"),
        ({"pairs": (("6h", "1h"),)}, "pair .* must be a shorter and a longer"),
        ({"interval": "0s"}, "interval must be > 0"),
        ({"interval": "4m"}, "lookback must be at least two intervals"),
        ({"drift_interval": "30s"}, "drift_interval must be at least the interval of 1m, got '30s'"),
        ({"delay": "-1s"}, "duration must be written like"),
        ({"max_bins": 1}, "max_bins must be from 2 to 100"),
        ({"statistics": ("psy",)}, r"statistics must be of .*, got \['psy'\]"),
        ({"statistics_windows": ("1h", "2h")}, r"statistics_windows must be of the windows .*, got \['2h'\]"),
        ({"runbook_base": ""}, "runbook_base must be an address that starts with http:// or https://, got ''"),
        ({"dashboard_base": "grafana:3000"}, "dashboard_base must be an address"),
        ({"time_scale": 0.0}, "time_scale must be finite and > 0"),
        ({"time_scale": 100.0}, "window '1h': at time_scale 100 it lasts 36000 ms"),
        ({"thresholds": {("psy", "warning"): 1.0}}, "must be one of"),
        ({"thresholds": {("psi", "warning"): float("nan")}}, "threshold psi/warning: value must be finite"),
        ({"thresholds": {("psi", "warning"): 0.3}}, "threshold psi: warning must not exceed critical"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    """Set-up is loud."""
    with pytest.raises(ValueError, match=message):
        RuleOptions(**options)


def test_thresholds_of_the_options_are_written() -> None:
    """They replace the shipped ones, and only them."""
    changed = render(RuleOptions(thresholds={("psi", "warning"): 0.123}))[RECORDING_FILE].splitlines()
    assert [line.strip() for line in changed if line not in DEFAULT[RECORDING_FILE].splitlines()] == ["mlmon:model:known * 0.123"]


def test_durations_come_back() -> None:
    """Text to milliseconds and back, in the largest unit."""
    for text in ("1d", "36h", "90m", "61s", "1500ms"):
        assert duration(milliseconds(text)) == text
    assert milliseconds("1d2h3m4s5ms") == 93_784_005
