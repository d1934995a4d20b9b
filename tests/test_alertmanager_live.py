"""Alertmanager's configuration in a real Alertmanager: whom alerts reach, what is silenced, and what stands in the messages."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml

from examples.retrain_webhook import Retrainer, Retraining, main, retrainings
from tests.receivers import Received, receivers
from tests.servers import SERIES, Server, alertmanager, require

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "alert_rules"
RULES = [
    rule for group in yaml.safe_load((FOLDER / "mlmon.alerts.yml").read_text(encoding="utf-8"))["groups"] for rule in group["rules"]
]
SECRETS = {name: f"secret-of-{name}" for name in ("pagerduty_key", "smtp_password", "retrain_token")}
ALWAYS = {"times": [{"start_time": "00:00", "end_time": "24:00"}]}


class Live:
    """A running Alertmanager, with all that it notifies."""

    def __init__(self, server: Server, received: Received, configuration: Path, retrain: str, asked: Path) -> None:
        self.server = server
        self.received = received
        self.configuration = configuration
        self.retrain = retrain
        self._asked = asked

    def post(self, *alerts: dict[str, Any], ended: bool = False) -> None:
        """Raise alerts, or end them."""
        # Of an alert that is older than group_wait Alertmanager tells at once, before it has read what inhibits it.
        now = datetime.now(timezone.utc)
        times = {"endsAt": now} if ended else {"startsAt": now, "endsAt": now + timedelta(hours=1)}
        body = json.dumps([alert | {name: time.isoformat() for name, time in times.items()} for alert in alerts]).encode()
        send(f"{self.server.url}/api/v2/alerts", body)

    def told(self, path: str, about: str) -> list[dict[str, Any]]:
        """Wait for a post to a path that contains a text: all of them."""
        return list(self.received.until(lambda: self.received.posts(path, about)))

    def status(self, alert: Mapping[str, Any]) -> dict[str, Any]:
        """What Alertmanager says of an alert that fires."""
        found = [each for each in self.server.get("/api/v2/alerts") if each["labels"] == alert["labels"]]
        return dict(found[0], **found[0]["status"])

    def hours(self, interval: Mapping[str, Any]) -> None:
        """Change the office hours."""
        document = json.loads(self.configuration.read_text())
        document["time_intervals"] = [{"name": "office-hours", "time_intervals": [interval]}]
        self.configuration.write_text(json.dumps(document))
        send(f"{self.server.url}/-/reload", b"")

    def retrained(self, about: str = "") -> list[str]:
        """Name, version and cause of each retraining that was started, of those that contain a text."""
        return [line for line in self._asked.read_text().splitlines() if about in line]


def send(url: str, body: bytes, headers: Mapping[str, str] | None = None) -> int:
    """Status of a POST."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", **(headers or {})})  # noqa: S310  loopback
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def eventually(condition: Callable[[], Any]) -> Any:
    """What a condition says once it holds."""
    deadline = time.monotonic() + 30
    while not (said := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return said


def alert(name: str, severity: str, model: str, version: str = "1", **more: str) -> dict[str, Any]:
    """An alert as Prometheus would raise it: labels and texts of its rule."""
    own = {key: more[key] for key in ("cause",) if key in more}
    rule = next(
        each
        for each in RULES
        if {"alertname": each["alert"], **each["labels"]}.items() >= {"alertname": name, "severity": severity, **own}.items()
    )
    labels = {"alertname": name, "model_name": model, "model_version": version, **more, **rule["labels"]}

    def filled(text: str) -> str:
        text = re.sub(
            r"\{\{ with \$labels\.(\w+) \}\} \{\{ \. \}\}\{\{ end \}\}", lambda found: f" {labels.get(found[1], '')}".rstrip(), text
        )
        text = re.sub(r"\{\{ \$labels\.(\w+)[^}]*\}\}", lambda found: labels.get(found[1], ""), text)
        return re.sub(r"\{\{ \$value[^}]*\}\}", "0.5", text)

    return {"labels": labels, "annotations": {key: filled(text) for key, text in rule["annotations"].items()}}


def shipped(folder: Path, received: Received, retrain: str, series: str) -> Path:
    """The shipped file, but: secrets and receivers of this machine, no waiting, office hours at any hour."""
    text = (FOLDER / "alertmanager.yml").read_text(encoding="utf-8")
    text = text.replace("/etc/alertmanager/secrets/", f"{folder}/").replace("http://127.0.0.1:9095/retrain", retrain)
    for name, wait in (("group_wait", "300ms"), ("group_interval", "200ms"), ("repeat_interval", "1h")):
        text = re.sub(rf"{name}: [1-9]\w+", f"{name}: {wait}", text)
    if series == "old":
        text = re.sub(r"url_file: \S+deadman_url", f"url: {received.url}/deadman", text)
    document = yaml.safe_load(text)
    document["global"] |= {"pagerduty_url": f"{received.url}/page", "smtp_smarthost": received.smarthost, "smtp_require_tls": False}
    document["time_intervals"][0]["time_intervals"] = [ALWAYS]
    addresses = {"slack_url": f"{received.url}/slack", "deadman_url": f"{received.url}/deadman"}
    for name, secret in {**SECRETS, **addresses}.items():
        (folder / name).write_text(secret, encoding="utf-8")
    shutil.copytree(FOLDER / "templates", folder / "templates")
    path = folder / "alertmanager.yml"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


@contextlib.contextmanager
def retraining(folder: Path, asked: Path) -> Iterator[str]:
    """The example, which writes down what it starts, and fails for a model called ``fails``: its address."""
    (folder / "retrain_token").write_text(SECRETS["retrain_token"] + "\n", encoding="utf-8")
    noted = f'echo "$MODEL_NAME $MODEL_VERSION $CAUSE" >> {asked}; test "$MODEL_NAME" != fails'
    command = [sys.executable, "-m", "examples.retrain_webhook", "--port", "0", "--token-file", str(folder / "retrain_token")]
    asked.touch()
    with subprocess.Popen([*command, "sh", "-c", noted], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://{process.stdout.readline().split()[-1]}/retrain"
        finally:
            process.terminate()


@pytest.fixture(scope="module", params=SERIES)
def live(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """One for all tests of a release: each has models of its own."""
    series, folder = request.param, tmp_path_factory.mktemp("alertmanager")
    require("alertmanager", series)
    asked = folder / "asked"
    with receivers() as received, retraining(folder, asked) as retrain:
        path = shipped(folder, received, retrain, series)
        with alertmanager(folder, path, series=series) as server:
            yield Live(server, received, path, retrain, asked)


def test_a_model_that_is_down_silences_its_drift_and_no_one_elses(live: Live) -> None:
    """Nor its own other version's; once it is back, its drift is told."""
    down = alert("MlmonModelDown", "critical", "ill-model", "2")
    drift = alert("MlmonFeatureDrift", "warning", "ill-model", "2", feature="temp", statistic="psi")
    others = [
        alert("MlmonFeatureDrift", "warning", "ill-model", "1", feature="temp", statistic="psi"),
        alert("MlmonFeatureDrift", "warning", "well-model", "2", feature="temp", statistic="psi"),
    ]
    live.post(down, drift, *others)
    live.told("/page", down["annotations"]["summary"])
    for other in others:
        live.told("/slack", other["annotations"]["summary"])
        assert live.status(other)["state"] == "active"
    assert not live.received.posts("/slack", drift["annotations"]["summary"])
    assert live.status(drift)["inhibitedBy"] == [live.status(down)["fingerprint"]]
    live.post(down, ended=True)
    live.told("/slack", drift["annotations"]["summary"])


def test_a_critical_alert_is_told_without_its_warning(live: Live) -> None:
    """One condition, one notification."""
    critical, warning = (alert("MlmonLatencyHigh", severity, "slow-model") for severity in ("critical", "warning"))
    marker = alert("MlmonLatencyHigh", "warning", "marker-model")
    live.post(critical, warning, marker)
    live.received.until(lambda: live.received.posts("/slack", "marker-model") and live.received.posts("/page", "slow-model"))
    assert live.status(warning)["inhibitedBy"] == [live.status(critical)["fingerprint"]]
    assert not live.received.posts("/slack", "slow-model")


def test_the_watchdog_reaches_the_dead_man_switch_and_nobody_else(live: Live) -> None:
    """Each Prometheus by itself: one that lives must not hide one that is dead."""
    live.post(*(alert("MlmonWatchdog", "none", "", "", cluster=cluster) for cluster in ("east", "west")))
    live.received.until(lambda: len(live.received.posts("/deadman")) >= 2)
    told = [[each["labels"]["cluster"] for each in body["alerts"]] for body in live.received.posts("/deadman")]
    assert sorted(told) == [["east"], ["west"]]
    assert not live.received.posts("/slack", "MlmonWatchdog")


def test_one_retraining_a_version_is_started_and_the_owners_are_told(live: Live) -> None:
    """Both causes at once are one retraining; the token is that of the file. Data of an outage retrain nothing."""
    due = [
        alert("MlmonRetrainingDue", "warning", "old-model", version, cause=cause)
        for version, cause in (("1", "age"), ("1", "drift"), ("2", "drift"))
    ]
    broken = alert("MlmonFeatureMissing", "critical", "old-model", "3", feature="temp")
    live.post(*due, broken, alert("MlmonRetrainingDue", "warning", "old-model", "3", cause="drift"))
    eventually(lambda: len(live.retrained("old-model")) == 2)
    assert {line.split()[1] for line in live.retrained("old-model")} == {"1", "2"}
    live.received.until(lambda: live.received.mails("old-model"))
    live.post(broken, ended=True)
    eventually(lambda: live.retrained("old-model 3 drift"))
    assert len(live.retrained("old-model")) == 3


def test_the_retraining_webhook_knows_repetitions_and_strangers(live: Live) -> None:
    """Delivery is at least once; a command that failed is started again; without the token nothing is."""

    def ask(model: str, status: str = "firing", token: str = SECRETS["retrain_token"], begun: str = "2026-11-23T00:00:00Z") -> int:
        labels = {"model_name": model, "model_version": "1", "cause": "age"}
        body = {"groupKey": f"retrain:{model}", "alerts": [{"status": status, "labels": labels, "startsAt": begun}]}
        return send(live.retrain, json.dumps(body).encode(), {"Authorization": f"Bearer {token}"})

    assert ask("stranger", token="guessed") == 401  # noqa: S106
    assert send(live.retrain, b"{}") == 401
    assert send(live.retrain, b"{}", {"Authorization": f"Bearer {SECRETS['retrain_token']}"}) == 400
    assert [ask("twice"), ask("ended", status="resolved"), ask("fails"), ask("first")] == [202] * 4
    # One command runs at a time, so the next one's start says that those before have ended.
    eventually(lambda: live.retrained("first"))
    assert [ask("twice"), ask("fails"), ask("twice", begun="2026-11-24T00:00:00Z"), ask("second")] == [202] * 4
    eventually(lambda: live.retrained("second"))
    assert [len(live.retrained(name)) for name in ("stranger", "ended", "fails", "twice")] == [0, 0, 2, 2]


def test_the_retraining_webhook_takes_a_model_without_a_version() -> None:
    """Prometheus drops a label that is empty."""
    asked = {"status": "firing", "startsAt": "now", "labels": {"model_name": "m", "cause": "age"}}
    assert retrainings({"groupKey": "group", "alerts": [asked]}) == [Retraining("m", "", "age", ("group", "now"))]


def test_the_retraining_webhook_says_that_it_is_full(tmp_path: Path) -> None:
    """Alertmanager then tries again; nothing is noted, so that this counts. A version that is at work takes no place."""
    names = ("running", "waiting", "third")
    for name in names:
        os.mkfifo(tmp_path / name)
    retrainer = Retrainer(["sh", "-c", f"timeout 20 cat {tmp_path}/$MODEL_NAME"], waiting=1)
    running, waiting, third = (Retraining(name, "1", "age", ("group", name)) for name in names)
    again = Retraining("running", "1", "drift", ("group", "later"))
    assert retrainer.ask(running)
    with (tmp_path / "running").open("w"):  # opens once the command reads
        assert [retrainer.ask(each) for each in (again, waiting, third)] == [True, True, False]
    with (tmp_path / "waiting").open("w"):
        assert retrainer.ask(third)
    with (tmp_path / "third").open("w"):
        pass


@pytest.mark.parametrize(("token", "command"), [("", ["true"]), ("known", [])], ids=["token", "command"])
def test_the_retraining_webhook_does_not_start_without(
    token: str, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty token would let everybody in."""
    (tmp_path / "token").write_text(token + "\n")
    monkeypatch.setattr(sys, "argv", ["retrain_webhook", "--port", "0", "--token-file", str(tmp_path / "token"), *command])
    with pytest.raises(SystemExit):
        main()


def test_a_batch_is_one_short_message_and_its_links_work(live: Live) -> None:
    """Ten of twelve features are listed; a silence's link is for its one alert."""
    many = [alert("MlmonFeatureInvalid", "warning", "m & <n>", feature=f"f{place:02}") for place in range(12)]
    live.post(*many)
    (message,) = live.told("/slack", "[FIRING:12]")
    (shown,) = message["attachments"]
    assert shown["title"] == "[FIRING:12] m & <n> data_quality: MlmonFeatureInvalid"
    assert shown["title_link"] == many[0]["annotations"]["dashboard_url"]
    assert (shown["color"], message["channel"]) == ("warning", "#ml-alerts")
    text = shown["text"]
    assert text.count("|runbook>") == text.count("|silence>") == 10
    assert "… 12 in all" in text
    assert many[0]["annotations"]["summary"].replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") in text
    assert f"<{many[0]['annotations']['runbook_url']}|runbook>" in text
    assert len(text.replace(re.search(r"<(\S+)\|silence>", text)[1], "")) < 8000  # type: ignore[index]  # it is there
    for link, found in ((re.search(r"<(\S+)\|silence>", text), 1), (re.search(r"<(\S+)\|list>", text), 12)):
        assert link is not None
        assert len(matching(live, link[1])) == found
        assert "severity" not in link[1]  # the critical alert is meant, too
    live.post(*many, ended=True)
    (message,) = live.told("/slack", "[RESOLVED] m & <n>")
    assert message["attachments"][0]["text"].count("ended: ") == 10
    assert message["attachments"][0]["color"] == "good"


def matching(live: Live, link: str) -> list[dict[str, Any]]:
    """Alerts that the filter of a link into Alertmanager's page selects; the server reads the matchers."""
    address, _, query = link.partition("?filter=")
    assert re.fullmatch(r"https?://[^/]+/#/(silences/new|alerts)", address)
    matchers = re.findall(r'\w+="(?:[^"\\]|\\.)*"', urllib.parse.unquote(query))
    assert urllib.parse.unquote(query) == "{" + ",".join(matchers) + "}"
    asked = urllib.parse.urlencode([("filter", each) for each in matchers])
    return list(live.server.get(f"/api/v2/alerts?{asked}"))


def test_an_alert_that_is_alone_is_described(live: Live) -> None:
    """With the numbers in it."""
    alone = alert("MlmonPredictionDrift", "warning", "alone-model", feature="@score", statistic="psi")
    live.post(alone)
    (message,) = live.told("/slack", "alone-model")
    first, second, third = message["attachments"][0]["text"].splitlines()
    assert (first, second) == (f"*warning* {alone['annotations']['summary']}", alone["annotations"]["description"])
    assert third.startswith(f"<{alone['annotations']['runbook_url']}|runbook> · ")


def test_a_page_says_what_and_where(live: Live) -> None:
    """All of one model and layer in one incident, resolved when all of it is over."""
    pages = [alert("MlmonFeatureMissing", "critical", "paged-model", feature=feature, cluster="east") for feature in ("a", "b")]
    live.post(*pages)
    (event,) = live.told("/page", "paged-model")
    assert event["routing_key"] == SECRETS["pagerduty_key"]
    payload = event["payload"]
    assert (payload["severity"], payload["class"], payload["component"], payload["group"]) == (
        "critical",
        "MlmonFeatureMissing",
        "paged-model",
        "data_quality",
    )
    assert payload["summary"] == f"east: {pages[0]['annotations']['summary']} (and more: 2 alerts)"
    assert all(each["annotations"]["description"] in payload["custom_details"]["firing"] for each in pages)
    links = {link["text"]: link["href"] for link in event["links"]}
    assert links["runbook"] == pages[0]["annotations"]["runbook_url"]
    assert links["dashboard"] == pages[0]["annotations"]["dashboard_url"] == event["client_url"]
    assert len(matching(live, links["silence"])) == 2
    live.post(pages[0], ended=True)
    (update,) = live.told("/page", f"east: {pages[1]['annotations']['summary']}")
    assert {link["text"]: link["href"] for link in update["links"]}["dashboard"] == pages[1]["annotations"]["dashboard_url"]
    live.post(pages[1], ended=True)
    (end,) = live.received.until(lambda: resolved(live, event["dedup_key"]))
    assert not end["payload"]["custom_details"]["firing"]


def resolved(live: Live, incident: str) -> list[dict[str, Any]]:
    """Events that end an incident."""
    return [event for event in live.received.posts("/page", incident) if event["event_action"] == "resolve"]


def test_a_mail_is_read_as_text_and_as_html(live: Live) -> None:
    """Both say the same; the password is that of the file."""
    stale = alert("MlmonModelStale", "warning", "m & <old>")
    live.post(stale)
    (mail,) = live.received.until(lambda: live.received.mails("MlmonModelStale"))
    assert mail.password == SECRETS["smtp_password"]
    assert mail.message["Subject"] == "[FIRING:1] m & <old> lifecycle: MlmonModelStale"
    parts = {part.get_content_type(): part.get_content() for part in mail.message.walk() if not part.is_multipart()}
    assert stale["annotations"]["summary"] in parts["text/plain"]
    assert stale["annotations"]["summary"].replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") in parts["text/html"]
    assert f"\nrunbook: {stale['annotations']['runbook_url']}\n" in parts["text/plain"].replace("\r", "")
    links = dict(re.findall(r'<a href="([^"]*)">(\w+)</a>', parts["text/html"]))
    assert stale["annotations"]["runbook_url"] in links
    (silence,) = (link for link, text in links.items() if text == "silence")
    assert matching(live, silence) == matching(live, re.search(r"silence: (\S+)", parts["text/plain"])[1])  # type: ignore[index]  # it is there
    assert len(matching(live, silence)) == 1


def test_a_warning_of_the_night_is_told_in_the_morning(live: Live) -> None:
    """What is muted is not queued: it is told because it still fires, whereas what has ended is told to nobody."""
    yesterday = (datetime.now(timezone.utc) - timedelta(days=1)).strftime("%A").lower()
    night = [alert("MlmonNoTraffic", "warning", model) for model in ("lasting-model", "brief-model")]
    live.hours({"weekdays": [yesterday], "times": [{"start_time": "01:00", "end_time": "01:01"}]})
    live.post(*night)
    # Pages come at any hour; two in a row, and the warnings' first look has passed.
    for model in ("night-1", "night-2"):
        live.post(alert("MlmonModelDown", "critical", model))
        live.told("/page", model)
    live.post(night[1], ended=True)
    eventually(lambda: not [each for each in live.server.get("/api/v2/alerts") if each["labels"] == night[1]["labels"]])
    assert not live.received.posts("/slack", "lasting-model")
    live.hours(ALWAYS)
    live.told("/slack", "lasting-model")
    assert not live.received.posts("/slack", "brief-model")
