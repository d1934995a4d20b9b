"""The stack of examples/stack: valid files that fit together, and what of it runs here, run with exactly these files."""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from otel_mlmon.bundle.rules import RuleOptions, render
from otel_mlmon.demo.stack import free_port, run
from tests.servers import SERIES, Server, require

ROOT = Path(__file__).parent.parent
STACK = ROOT / "examples" / "stack"


def load(path: Path) -> Any:
    """A YAML file."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


COMPOSE = load(STACK / "compose.yaml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
COLLECTOR = load(STACK / "collector.yml")


def test_the_compose_file_is_valid() -> None:
    """By the schema of the compose specification."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(STACK / "compose.yaml")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_service_is_pinned_bounded_and_this_machines_alone() -> None:
    """Images by version, ports on the loopback, no privileges, limits on processor and memory."""
    for name, service in SERVICES.items():
        assert "build" in service or re.fullmatch(r"[a-z/-]+:v?\d+(\.\d+)+", service["image"]), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}, name


def test_who_waits_waits_for_health() -> None:
    """Every service has a check, the collector by its probe, and nobody waits for less."""
    for name, service in SERVICES.items():
        assert "healthcheck" in service or SERVICES[f"{name}-probe"]["network_mode"] == f"service:{name}", name
        for other, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}, name
            assert "healthcheck" in SERVICES[other]
        asked = " ".join(service.get("healthcheck", {}).get("test", []))
        ports = [port.rpartition(":")[2] for port in service.get("ports", [])]
        assert not (asked and ports) or any(f"127.0.0.1:{port}" in asked for port in ports), name


def test_mounts_exist_and_are_read_only() -> None:
    """Rules and dashboards are those of the repository, not copies."""
    mounts = [mount.split(":") for service in SERVICES.values() for mount in service.get("volumes", [])]
    paths = {source: mode for source, _, *mode in mounts if source.startswith(".")}
    assert all((STACK / source).exists() for source in paths)
    assert all(mode == ["ro"] for mode in paths.values())
    assert {"../../alert_rules", "../../dashboards"} <= paths.keys()
    assert {source for source, *_ in mounts} - paths.keys() == COMPOSE["volumes"].keys()


def test_no_secret_is_in_the_repository_but_examples() -> None:
    """Each comes from a file in a folder that git ignores, and has an example; Alertmanager finds what its configuration names."""
    files = {name: source["file"] for name, source in COMPOSE["secrets"].items()}
    assert files == {name: f"secrets/{name}" for name in files}
    assert files.keys() == {path.name for path in (STACK / "secrets.example").iterdir()}
    assert (STACK / ".gitignore").read_text(encoding="utf-8") == "secrets/\n"
    mounted = {secret["target"] for secret in SERVICES["alertmanager"]["secrets"]}
    template = (ROOT / "alert_rules" / "alertmanager.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"/etc/alertmanager/secrets/\w+", template)) == mounted


def test_the_collector_passes_on_what_the_application_sends() -> None:
    """Each pipeline's parts are declared; sender, collector, probe and scraper mean the same ports; nobody else exports."""
    service = COLLECTOR["service"]
    for kind in ("receivers", "processors", "exporters"):
        assert set(service["pipelines"]["metrics"][kind]) == COLLECTOR[kind].keys()
    assert set(service["extensions"]) == COLLECTOR["extensions"].keys()
    ports = {
        name: endpoint["endpoint"].rpartition(":")[2] for name, endpoint in COLLECTOR["receivers"]["otlp"]["protocols"].items()
    }
    assert SERVICES["app"]["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"] == f"http://collector:{ports['http']}"
    assert (
        COLLECTOR["extensions"]["health_check"]["endpoint"].rpartition(":")[2]
        in SERVICES["collector-probe"]["healthcheck"]["test"][-1]
    )
    # A replica that has stopped is missed as soon as one that is scraped.
    assert COLLECTOR["exporters"]["prometheus"]["metric_expiration"] == RuleOptions().lookback
    (own,) = (reader["pull"]["exporter"]["prometheus"]["port"] for reader in service["telemetry"]["metrics"]["readers"])
    targets = {
        job["job_name"]: (job.get("honor_labels"), *job["static_configs"][0]["targets"])
        for job in load(STACK / "prometheus.yml")["scrape_configs"]
    }
    assert targets["mlmon"] == (True, "collector:" + COLLECTOR["exporters"]["prometheus"]["endpoint"].rpartition(":")[2])
    assert targets["collector"] == (None, f"collector:{own}")


def test_grafana_is_provisioned_with_what_is_mounted() -> None:
    """Folder, home dashboard and addresses."""
    provisioning = ROOT / "dashboards" / "provisioning"
    (provider,) = load(provisioning / "dashboards.yml")["providers"]
    mounts = dict(mount.split(":")[:2] for mount in SERVICES["grafana"]["volumes"])
    assert provider["options"]["path"] == mounts["../../dashboards"]
    assert mounts["../../dashboards/provisioning/dashboards.yml"].startswith("/etc/grafana/provisioning/dashboards/")
    assert mounts["../../dashboards/provisioning/datasources.yml"].startswith("/etc/grafana/provisioning/datasources/")
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (ROOT / "dashboards" / Path(home).relative_to(provider["options"]["path"])).is_file()
    sources = {source["type"]: source for source in load(provisioning / "datasources.yml")["datasources"]}
    interval = load(STACK / "prometheus.yml")["global"]["scrape_interval"]
    assert sources["prometheus"]["jsonData"]["timeInterval"] == interval
    assert {source["url"] for source in sources.values()} == {"http://prometheus:9090", "http://alertmanager:9093"}


@contextlib.contextmanager
def program(module: str, environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """One of the stack's own programs, until the block ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module], cwd=ROOT, env={**os.environ, **environment}, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(15)


def eventually(condition: Callable[[], Any], what: str) -> Any:
    """What a condition says once it holds."""
    deadline = time.monotonic() + 60
    while not (said := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.1)
    return said


def listening(port: int) -> bool:
    """Whether somebody answers there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("series", SERIES[1:])
def test_the_stack_runs(series: str, tmp_path: Path) -> None:
    """By their own commands and files: targets are up, rules loaded, an alert is delivered.

    The collector is not to be had here: the application shows on a page what it would have sent there.
    """
    page, app, far = (free_port() for _ in range(3))
    (tmp_path / "secrets").mkdir()
    for path in (STACK / "secrets.example").iterdir():
        text = path.read_text(encoding="utf-8").replace(":9095/", f":{far}/")
        (tmp_path / "secrets" / path.name).write_text(text, encoding="utf-8")
    (tmp_path / "rules").mkdir()
    for name, text in render(RuleOptions(interval="1s", drift_interval="1s", lookback="10s", delay="0s", time_scale=60)).items():
        (tmp_path / "rules" / name).write_text(text, encoding="utf-8")
    templates = {"templates/*.tmpl": f"{ROOT}/alert_rules/templates/*.tmpl"}
    routing = {"/etc/alertmanager/secrets": f"{tmp_path}/secrets", **templates}
    environment = {key: value for key, value in SERVICES["app"]["environment"].items() if key != "OTEL_EXPORTER_OTLP_ENDPOINT"}
    environment |= {"PORT": str(app), "OTEL_METRICS_EXPORTER": "prometheus", "OTEL_EXPORTER_PROMETHEUS_PORT": str(page)}
    with contextlib.ExitStack() as stack:
        stack.enter_context(program(SERVICES["app"]["command"][-1], environment, tmp_path / "app.log"))
        stack.enter_context(program(SERVICES["receiver"]["command"][-1], {"PORT": str(far)}, tmp_path / "receiver.log"))
        eventually(lambda: listening(far) and listening(app), "the application or the receiver does not answer")
        alertmanager = stack.enter_context(
            server("alertmanager", ROOT / "alert_rules" / "alertmanager.yml", tmp_path, series, routing)
        )
        scraping = {
            "/etc/prometheus/rules": f"{tmp_path}/rules",
            "scrape_interval: 15s\n  scrape_timeout: 10s": "scrape_interval: 1s\n  scrape_timeout: 1s",
            "collector:8889": f"127.0.0.1:{page}",
            "alertmanager:9093": alertmanager.url.removeprefix("http://"),
            "collector:8888": "127.0.0.1:1",
            "grafana:3000": "127.0.0.1:1",
        }
        prometheus = stack.enter_context(server("prometheus", STACK / "prometheus.yml", tmp_path, series, scraping))
        ask_health(
            {"app": ("8000", str(app)), "receiver": ("9095", str(far)), "prometheus": ("9090", prometheus.url.rpartition(":")[2])},
            series,
        )
        delivered = eventually(lambda: (tmp_path / "receiver.log").read_text(encoding="utf-8"), "nothing was delivered")
        path, _, labels = delivered.splitlines()[0].partition(" firing ")
        assert (path, json.loads(labels)["alertname"]) == ("/deadman", "MlmonWatchdog")
        recorded = (
            'mlmon:feature_drift{model_name="flight-delay", statistic="wasserstein", feature="distance", baseline="training"}'
        )
        eventually(lambda: prometheus.query(recorded), "no drift is recorded")
        targets = {each["labels"]["job"]: each["health"] for each in prometheus.get("/api/v1/targets")["data"]["activeTargets"]}
        assert targets == {"mlmon": "up", "prometheus": "up", "alertmanager": "up", "collector": "down", "grafana": "down"}
        rules = [rule for group in prometheus.get("/api/v1/rules")["data"]["groups"] for rule in group["rules"]]
        assert len(rules) > 200
        assert {rule.get("lastError", "") for rule in rules} == {""}


def server(
    name: str, configuration: Path, folder: Path, series: Any, pairs: Mapping[str, str]
) -> contextlib.AbstractContextManager[Server]:
    """One of the stack's servers by its command of the compose file, addresses and paths replaced; each must be there."""

    def words(port: int) -> list[str]:
        text = configuration.read_text(encoding="utf-8")
        for ours, here in {**pairs, **({"127.0.0.1:9090": f"127.0.0.1:{port}"} if name == "prometheus" else {})}.items():
            assert ours in text, ours
            text = text.replace(ours, here)
        (folder / configuration.name).write_text(text, encoding="utf-8")
        command = (
            " ".join(SERVICES[name]["command"]).replace(f"/etc/{name}/", f"{folder}/").replace(f"=/{name}", f"={folder}/{name}")
        )
        # Alertmanagers become known some seconds after the start: what was sent before must not wait a minute for its repetition.
        soon = ["--rules.alert.resend-delay=1s"] if name == "prometheus" else []
        return [*command.split(), *soon, f"--web.listen-address=127.0.0.1:{port}"]

    return run(name, require(name, series), folder, words)


def ask_health(ports: Mapping[str, tuple[str, str]], series: str) -> None:
    """The health checks of the compose file, by their very commands, say yes."""
    for name, (theirs, ours) in ports.items():
        command = [word.replace(f":{theirs}", f":{ours}") for word in SERVICES[name]["healthcheck"]["test"][1:]]
        command[0] = str(require("promtool", series)) if command[0] == "/bin/promtool" else sys.executable
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert ran.returncode == 0, (name, ran.stderr)
