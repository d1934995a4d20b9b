"""Writes the files for Kubernetes that come from other files of this repository: ``python -m tests.kubernetes_files``."""

import textwrap
from pathlib import Path

ROOT = Path(__file__).parent.parent

_HEADER = "# Written by `make generated`; do not edit."


def dashboards() -> str:
    """The kustomization beside the dashboards: a ConfigMap for each."""
    names = sorted(path.stem for path in (ROOT / "dashboards").glob("*.json"))
    maps = "".join(f"  - name: {name}\n    files: [{name}.json]\n" for name in names)
    return f"""{_HEADER}
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
generatorOptions:
  disableNameSuffixHash: true # nobody refers to them: the sidecar finds them by label
  labels: {{app.kubernetes.io/name: otel-mlmon, grafana_dashboard: "1"}}
  annotations: {{grafana_folder: otel_mlmon}} # with the sidecar's folderAnnotation: grafana_folder
configMapGenerator:
{maps}"""


def alertmanager() -> str:
    """An Alertmanager with the committed configuration, paths as prometheus-operator mounts them."""
    folder = ROOT / "alert_rules"
    configuration = (folder / "alertmanager.yml").read_text(encoding="utf-8")
    for ours, mounted in (
        ("'templates/*.tmpl'", "'/etc/alertmanager/config/*.tmpl'"),
        ("/etc/alertmanager/secrets/", "/etc/alertmanager/secrets/mlmon-alertmanager/"),
    ):
        if ours not in configuration:
            raise ValueError(f"alert_rules/alertmanager.yml: {ours} must be in it, for it becomes {mounted}")
        configuration = configuration.replace(ours, mounted)
    files = {"alertmanager.yaml": configuration}
    files |= {path.name: path.read_text(encoding="utf-8") for path in sorted((folder / "templates").glob("*.tmpl"))}
    data = "".join(f"  {name}: |\n{textwrap.indent(text.rstrip(), '    ')}\n" for name, text in files.items())
    return f"""{_HEADER} It is alert_rules/alertmanager.yml: fill in there.
# Its secrets, one key each (the table below names them):
#   kubectl -n monitoring create secret generic mlmon-alertmanager --from-file=secrets/
# Where an Alertmanager runs already: take the Secret's alertmanager.yaml as its configuration (the chart: alertmanager.config).
apiVersion: monitoring.coreos.com/v1
kind: Alertmanager
metadata:
  name: mlmon
  labels: {{app.kubernetes.io/name: otel-mlmon}}
spec:
  version: v0.28.1
  replicas: 2
  configSecret: alertmanager-mlmon-config
  secrets: [mlmon-alertmanager]
  securityContext:
    runAsNonRoot: true
    runAsUser: 65534
    fsGroup: 65534
    seccompProfile: {{type: RuntimeDefault}}
  resources:
    requests: {{cpu: 50m, memory: 64Mi}}
    limits: {{memory: 256Mi}}
---
apiVersion: v1
kind: Secret
metadata:
  name: alertmanager-mlmon-config
  labels: {{app.kubernetes.io/name: otel-mlmon}}
type: Opaque
stringData:
{data}"""


def texts() -> dict[Path, str]:
    """What is generated, by file."""
    return {
        ROOT / "dashboards" / "kustomization.yaml": dashboards(),
        ROOT / "examples" / "kubernetes" / "alertmanager.yaml": alertmanager(),
    }


if __name__ == "__main__":
    for path, text in texts().items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))
