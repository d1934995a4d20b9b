"""Alertmanager's configuration: read by both amtools and by amlint, and for each alert of the rules the people it reaches."""

import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from otel_mlmon.bundle.options import milliseconds
from tests.servers import SERIES, require

FOLDER = Path(__file__).parent.parent / "alert_rules"
CONFIGURATION = FOLDER / "alertmanager.yml"
TEXT = CONFIGURATION.read_text(encoding="utf-8")
DOCUMENT = yaml.safe_load(TEXT)
SECRETS = "/etc/alertmanager/secrets/"

LAYERS = {"serving", "data_quality", "drift", "lifecycle", "meta"}
ANNOUNCED = {"quality", "fairness", "shadow"}
"""Layers of alerts to come: the inhibitions know them already."""
JUDGED = {"data_quality", "drift", *ANNOUNCED}
"""Layers that say nothing true of a model that is down."""

LOUDNESS = {"none": 0, "info": 1, "warning": 2, "critical": 3}


# Python 3.10 has no amlint; what the simulations say is also asked of a real Alertmanager (test_alertmanager_live.py).
def needs_amlint(test: Callable[[], None]) -> Callable[[], None]:
    """Skip it where there is none."""
    return pytest.mark.optional(pytest.mark.skipif(sys.version_info < (3, 11), reason="amlint needs Python 3.11")(test))


Alert = Mapping[str, str]


def alerts() -> list[Alert]:
    """Labels of each alert that the rules can raise: its own, and those that its texts read of the series."""
    found: list[Alert] = []
    for group in yaml.safe_load((FOLDER / "mlmon.alerts.yml").read_text(encoding="utf-8"))["groups"]:
        for rule in group["rules"]:
            read = re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values()))
            found.append({"alertname": rule["alert"], **dict.fromkeys(read, "x"), **rule["labels"]})
    return found


ALERTS = alerts()
COMING: list[Alert] = [
    {"alertname": f"Mlmon{layer}", "layer": layer, "severity": severity}
    | dict.fromkeys(("model_name", "model_version", "cohort"), "x")
    for layer, severity in itertools.product(sorted(ANNOUNCED), ("info", "warning", "critical"))
]
"""Alerts of later layers, as they may look."""
NAMES = {alert["alertname"] for alert in ALERTS}


def expected(alert: Alert) -> list[str]:
    """Whom an alert reaches, in order."""
    if alert["alertname"] == "MlmonWatchdog":
        return ["deadmanswitch"]
    people = {"critical": "pager", "warning": "team-batch", "info": "log", "none": "log"}[alert["severity"]]
    if people == "team-batch" and alert["layer"] == "lifecycle":
        people = "owners"
    return ["retrain-webhook", people] if alert.get("action") == "retrain" else [people]


def tried(series: str, folder: Path) -> Path:
    """The configuration as this release reads it: before 0.28 with the address in place of ``url_file``, as its head says."""
    (folder / "templates").symlink_to(FOLDER / "templates")
    path = folder / "alertmanager.yml"
    old = re.sub(r"url_file: \S+deadman_url", "url: 'https://example.org/ping'", TEXT)
    assert old != TEXT
    path.write_text(old if series == "old" else TEXT, encoding="utf-8")
    return path


def ran(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """What a program said."""
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def amlint(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """What amlint said."""
    return ran(Path(sys.executable).parent / "amlint", *arguments)


def mappings(node: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in a document."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from mappings(child)


@pytest.mark.parametrize("series", SERIES)
def test_amtool_accepts_the_file(series: str, tmp_path: Path) -> None:
    """Its templates included."""
    checked = ran(require("amtool", series), "check-config", tried(series, tmp_path))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "1 templates" in checked.stdout


@pytest.mark.parametrize("series", SERIES)
def test_amtool_sends_each_alert_to_whom_it_belongs(series: str, tmp_path: Path) -> None:
    """Of those that the rules hold: a new alert cannot be forgotten here."""
    amtool, path = require("amtool", series), tried(series, tmp_path)
    assert ALERTS

    def reached(alert: Alert) -> list[str]:
        told = ran(amtool, "config", "routes", "test", f"--config.file={path}", *(f"{name}={alert[name]}" for name in alert))
        assert told.returncode == 0, told.stderr
        return told.stdout.strip().split(",")

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for alert, receivers in zip(ALERTS, pool.map(reached, ALERTS), strict=True):
            assert receivers == expected(alert), alert


@pytest.mark.parametrize("series", SERIES)
@pytest.mark.parametrize(
    ("labels", "receiver"),
    [(["alertname=NodeDown", "severity=critical"], "log"), (["alertname=MlmonModelDown", "severity=crittical"], "team-batch")],
    ids=["not-ours", "mistyped"],
)
def test_what_no_route_knows_is_recorded_and_our_own_mistakes_are_seen(
    labels: list[str], receiver: str, series: str, tmp_path: Path
) -> None:
    """A severity with a typing error must not fall into the log."""
    told = ran(require("amtool", series), "config", "routes", "test", f"--config.file={tried(series, tmp_path)}", *labels)
    assert told.stdout.strip() == receiver, told.stderr


@needs_amlint
def test_amlint_finds_nothing() -> None:
    """Routes and inhibitions that name alerts without a rule included; only that ``log`` tells nobody is said, as information."""
    checked = amlint("check", "--strict", "--rules", FOLDER / "mlmon.alerts.yml", "--format", "github", CONFIGURATION)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert re.findall(r"title=amlint ([\w-]+)", checked.stdout) == ["empty-receiver"], checked.stdout


@pytest.mark.parametrize("series", SERIES)
def test_a_message_is_red_while_something_critical_fires(series: str, tmp_path: Path) -> None:
    """Also where who has no pager lets pages go to Slack."""
    colours = {}
    for severities, status in (("critical warning", "firing"), ("warning", "firing"), ("critical", "resolved")):
        alerts = [{"status": status, "labels": {"severity": severity}} for severity in severities.split()]
        (tmp_path / "data.json").write_text(json.dumps({"status": status, "alerts": alerts}), encoding="utf-8")
        text = '{{ template "mlmon.colour" . }}'
        files = (f"--template.glob={FOLDER}/templates/*.tmpl", f"--template.data={tmp_path}/data.json")
        colours[severities] = ran(require("amtool", series), "template", "render", *files, f"--template.text={text}").stdout.strip()
    assert colours == {"critical warning": "danger", "warning": "warning", "critical": "good"}


def test_alerts_and_layers_that_are_named_exist() -> None:
    """A renamed alert or layer breaks here; an alert in a layer that nobody routes does too."""
    assert {alert["layer"] for alert in ALERTS} == LAYERS
    matchers = [text for found in mappings(DOCUMENT) for key in found if key.endswith("matchers") for text in found[key]]
    named = {name for text in matchers for name in re.findall(r"Mlmon\w+", text)}
    assert named - {"Mlmon"} <= NAMES
    layers = {name for text in matchers if text.startswith("layer") for name in re.findall(r"\w+", text)[1:]}
    assert layers <= LAYERS | ANNOUNCED
    severities = {name for text in matchers if text.startswith("severity") for name in re.findall(r"\w+", text)[1:]}
    assert severities == set(LOUDNESS) == {alert["severity"] for alert in ALERTS}


def test_secrets_stand_in_files_that_the_table_names() -> None:
    """Nothing in this file may leak; who fills it in finds every file in the table at the top."""
    files, addresses = set(), set()
    for found in mappings({key: DOCUMENT[key] for key in ("global", "receivers")}):
        for key, value in found.items():
            if isinstance(value, str) and key.endswith("_file"):
                files.add(value)
            elif isinstance(value, str) and "://" in value:
                addresses.add(value)
            assert not re.search(r"password$|token$|credentials$|secret$|(routing|service|api)_key$|api_url$", key), key
    assert files == set(re.findall(rf"^# \| ({SECRETS}\w+) +\|", TEXT, re.MULTILINE))
    assert all(address.startswith("http://127.0.0.1:") for address in addresses), addresses
    hosts = {host for host in re.findall(r"[@'](?:[\w-]+\.)+[a-z]+", TEXT) if not host.endswith("example.org")}
    assert not hosts, hosts


@needs_amlint
def test_only_warnings_wait_for_office_hours_and_all_of_them_do() -> None:
    """A child route inherits no hours; a page, a ping or a retraining has none. What waits is looked at within the first hour."""
    from amlint.routing import Router

    for alert in ALERTS:
        for match in Router(DOCUMENT["route"]).match(alert):
            wait = ("office-hours",) if match.receiver in {"team-batch", "owners"} else ()
            assert match.opts.active_time_intervals == wait, alert
            assert match.opts.mute_time_intervals == ()
            assert not wait or match.opts.group_interval == "1h"


@needs_amlint
def test_pages_come_within_a_minute_and_pings_within_six() -> None:
    """The dead-man switch waits for 15."""
    from amlint.routing import Router

    router = Router(DOCUMENT["route"])
    (page,) = router.match({"alertname": "MlmonModelDown", "severity": "critical"})
    (ping,) = router.match({"alertname": "MlmonWatchdog", "severity": "none"})
    assert milliseconds(page.opts.group_wait) <= milliseconds("1m")
    assert milliseconds(ping.opts.repeat_interval) + milliseconds(ping.opts.group_interval) <= milliseconds("6m")


@needs_amlint
def test_groups_tell_models_layers_and_clusters_apart() -> None:
    """One page a model and layer; one retraining a version; each Prometheus has a ping of its own."""
    from amlint.routing import Router

    groups = {"deadmanswitch": {"..."}, "retrain-webhook": {"cluster", "model_name", "model_version"}}
    for alert in ALERTS:
        for match in Router(DOCUMENT["route"]).match(alert):
            assert set(match.opts.group_by) == groups.get(str(match.receiver), {"cluster", "model_name", "layer"}), alert


def silences(source: Alert, target: Alert) -> bool:
    """Whether one alert of a model is to silence another of the same version, feature and so on."""
    name, other = source["alertname"], target["alertname"]
    same_loudness = source["severity"] == target["severity"]
    critical = source["severity"] == "critical"
    if name == other:
        return critical and not same_loudness
    if target.get("action") == "retrain":
        broken = name in {"MlmonModelDown", "MlmonRowsDropped", "MlmonReferenceMissing"} and source["severity"] != "info"
        return target["cause"] == "drift" and (broken or (critical and source["layer"] == "data_quality"))
    return (
        (name == "MlmonModelDown" and target["layer"] in {"serving", *JUDGED})
        or (name == "MlmonTargetDown" and critical and other in {"MlmonMetricsAbsent", "MlmonNoTraffic"})
        or (name in {"MlmonTargetDown", "MlmonMetricsAbsent"} and critical and target["layer"] in JUDGED)
        or (
            name in {"MlmonRowsDropped", "MlmonReferenceMissing"} and same_loudness and target["layer"] in JUDGED - {"data_quality"}
        )
        or (name == "MlmonModelDrift" and other == "MlmonFeatureDrift" and same_loudness)
        or (name == "MlmonFeatureDrift" and other == "MlmonFeatureOutOfRange" and same_loudness)
    )


@needs_amlint
def test_each_alert_silences_what_follows_from_it_and_nothing_else() -> None:
    """Every pair of alerts of one model, the alerts of layers to come included."""
    from amlint.routing import Inhibitor

    inhibitor = Inhibitor(DOCUMENT["inhibit_rules"])
    rows = 0
    for source, target in itertools.product([*ALERTS, *COMING], repeat=2):
        found = inhibitor.inhibited_by(target, [source]) is not None
        assert found == silences(source, target), (source, target)
        rows += found
        # No rule silences what is louder than its cause, and no two silence each other.
        assert not found or LOUDNESS[source["severity"]] >= LOUDNESS[target["severity"]], (source, target)
        assert not found or inhibitor.inhibited_by(source, [target]) is None, (source, target)
    assert rows > 100


@needs_amlint
def test_an_alert_silences_its_own_model_version_and_feature_only() -> None:
    """Any label of both that differs, the cluster too, and an alert that lost its model's name: each keeps the other audible."""
    from amlint.routing import Inhibitor

    inhibitor = Inhibitor(DOCUMENT["inhibit_rules"])
    aside = {"alertname", "severity", "layer", "action", "cause", "instance", "job"}
    for source, target in itertools.product([*ALERTS, *COMING], repeat=2):
        if not silences(source, target):
            continue
        shared = (set(source) & set(target)) - aside
        # What only one side has tells nothing apart: a statistic of the drift, the reason of a drop.
        assert shared & {"model_name", "rule_group"}
        for name in {*shared, "cluster"}:
            assert inhibitor.inhibited_by({**target, name: "another"}, [source]) is None, (name, source, target)
        nameless = [{key: value for key, value in alert.items() if key != "model_name"} for alert in (source, target)]
        if source["alertname"] != target["alertname"]:
            assert inhibitor.inhibited_by(nameless[1], [nameless[0]]) is None, (source, target)


@needs_amlint
def test_alerts_of_others_are_left_alone() -> None:
    """Another team's critical alert has other labels than ours to tell its cases apart."""
    from amlint.routing import Inhibitor

    critical, warning = (
        {"alertname": "DiskFull", "severity": severity, "instance": severity} for severity in ("critical", "warning")
    )
    assert Inhibitor(DOCUMENT["inhibit_rules"]).inhibited_by(warning, [critical]) is None
