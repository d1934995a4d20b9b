"""The example for Kubernetes: generated files up to date, built by a real kustomize, every object valid, small enough to apply."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests import kubernetes_files
from tests.servers import SERIES, require

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "kubernetes"
MOST_BYTES = 262_144
"""Of all annotations of an object; `kubectl apply` without --server-side keeps the whole object in one."""


def build(folder: Path) -> list[dict[str, Any]]:
    """The objects that `kubectl apply -k` would apply."""
    ran = subprocess.run([require("kustomize", "new"), "build", folder], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    return list(yaml.safe_load_all(ran.stdout))


def check(document: dict[str, Any]) -> None:
    """By Kubernetes's own schema, unknown fields refused; by ours for prometheus-operator's kinds."""
    if document["apiVersion"].startswith("monitoring.coreos.com/"):
        schema = json.loads((ROOT / "tests" / "prometheus_operator.json").read_text(encoding="utf-8"))
        jsonschema.Draft202012Validator(schema).validate(document)
    else:
        kubernetes_validate.validate(document, "1.32", strict=True)


@pytest.fixture(scope="module")
def objects() -> list[dict[str, Any]]:
    """What the example builds to."""
    return build(EXAMPLE)


def test_what_is_generated_is_up_to_date() -> None:
    """Every dashboard is in the kustomization, and the Alertmanager of the example is ours."""
    for path, text in kubernetes_files.texts().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.relative_to(ROOT)}: make generated"


@pytest.mark.optional
def test_every_object_is_valid_and_of_its_own_name(objects: list[dict[str, Any]]) -> None:
    """Two of one name would overwrite each other."""
    for document in objects:
        check(document)
    names = [(document["kind"], document["metadata"]["name"]) for document in objects]
    assert len(set(names)) == len(names)
    assert {document["metadata"]["namespace"] for document in objects} == {"monitoring"}
    assert {kind for kind, _ in names} == {
        *("Alertmanager", "ConfigMap", "Deployment", "PrometheusRule", "Secret", "Service", "ServiceMonitor"),
    }


@pytest.mark.optional
def test_every_object_can_be_applied(objects: list[dict[str, Any]]) -> None:
    """On the client's side, too, which keeps a copy in an annotation."""
    sizes = {document["metadata"]["name"]: len(json.dumps(document, separators=(",", ":"))) for document in objects}
    assert max(sizes.values()) < MOST_BYTES, sizes


@pytest.mark.optional
def test_grafana_finds_every_dashboard(objects: list[dict[str, Any]]) -> None:
    """By the sidecar's label, with the text of the file."""
    maps = {document["metadata"]["name"]: document for document in objects if document["kind"] == "ConfigMap"}
    files = {path.stem: path for path in (ROOT / "dashboards").glob("*.json")}
    assert maps.keys() == files.keys()
    for name, path in files.items():
        assert maps[name]["data"] == {path.name: path.read_text(encoding="utf-8")}
        assert maps[name]["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert maps[name]["metadata"]["annotations"]["grafana_folder"]


@pytest.mark.optional
def test_prometheus_finds_rules_and_pods(objects: list[dict[str, Any]]) -> None:
    """By the release's label; by labels and port names that the Service has; often enough for the rules."""
    kinds = {document["kind"]: document for document in objects}
    for document in objects:
        if document["kind"] in {"PrometheusRule", "ServiceMonitor"}:
            assert document["metadata"]["labels"]["release"] == "kube-prometheus-stack"
    service, monitor, deployment = kinds["Service"], kinds["ServiceMonitor"]["spec"], kinds["Deployment"]["spec"]["template"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (port,) = service["spec"]["ports"]
    (container,) = deployment["spec"]["containers"]
    assert [endpoint["port"] for endpoint in monitor["endpoints"]] == [port["name"]]
    assert [each["name"] for each in container["ports"]] == [port["targetPort"]]
    assert service["spec"]["selector"].items() <= deployment["metadata"]["labels"].items()
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in deployment["spec"]["volumes"]}


@pytest.mark.optional
def test_the_pod_monitor_may_stand_for_the_service_monitor(tmp_path: Path) -> None:
    """Taken in its place, as its line in the kustomization says."""
    shutil.copytree(EXAMPLE, tmp_path / "examples" / "kubernetes")
    shutil.copytree(ROOT / "dashboards", tmp_path / "dashboards", ignore=shutil.ignore_patterns("pictures"))
    path = tmp_path / "examples" / "kubernetes" / "kustomization.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("  - service-monitor", "  # - service-monitor").replace("  # - pod-monitor", "  - pod-monitor"))
    (monitor,) = (document for document in build(path.parent) if document["kind"].endswith("Monitor"))
    assert monitor["kind"] == "PodMonitor"
    check(monitor)


def test_a_misspelt_field_is_refused() -> None:
    """Else the schemas prove nothing."""
    for name, right, wrong in (("service-monitor.yaml", "honorLabels", "honourLabels"), ("pod-monitor.yaml", "selector", "select")):
        text = (EXAMPLE / name).read_text(encoding="utf-8")
        check(yaml.safe_load(text))
        with pytest.raises(jsonschema.ValidationError):
            check(yaml.safe_load(text.replace(right, wrong)))
    deployment, service = yaml.safe_load_all((EXAMPLE / "model.yaml").read_text(encoding="utf-8"))
    for document in (deployment, service):
        document["metadata"]["namespace"] = "monitoring"
        check(document)
        document["spec"]["selectors"] = {}
        with pytest.raises(kubernetes_validate.ValidationError):
            check(document)


@pytest.mark.parametrize("series", [SERIES[1]])
def test_the_alertmanager_of_the_example_starts_with_it(series: str, tmp_path: Path) -> None:
    """amtool reads the configuration with the template, at the paths where prometheus-operator mounts them."""
    alertmanager, secret = yaml.safe_load_all((EXAMPLE / "alertmanager.yaml").read_text(encoding="utf-8"))
    assert alertmanager["spec"]["configSecret"] == secret["metadata"]["name"]
    files = dict(secret["stringData"])
    for name, text in files.items():
        (tmp_path / name).write_text(text.replace("/etc/alertmanager/config/", f"{tmp_path}/"), encoding="utf-8")
    configuration = files["alertmanager.yaml"]
    assert configuration.count("/etc/alertmanager/secrets/") == configuration.count(
        f"/etc/alertmanager/secrets/{alertmanager['spec']['secrets'][0]}/"
    )
    command: list[str | Path] = [require("amtool", series), "check-config", tmp_path / "alertmanager.yaml"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "1 templates" in ran.stdout
