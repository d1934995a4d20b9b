"""The rules as objects of prometheus-operator."""

import textwrap

from otel_mlmon.bundle.options import RuleOptions
from otel_mlmon.bundle.rules import HEADER, rule_groups
from otel_mlmon.bundle.yaml_text import Group, comment, groups_key

MOST_BYTES = 512 * 1024
"""What prometheus-operator puts into one ConfigMap; etcd takes twice as much.

Source: maxConfigMapDataSize in https://github.com/prometheus-operator/prometheus-operator/blob/main/pkg/operator/rules.go
"""


def render(options: RuleOptions) -> dict[str, str]:
    """A PrometheusRule for each group, and a kustomization that lists them.

    A group stays whole: its rules build upon each other in order. Groups run beside each other anyway, so nothing is lost when each
    is an object, and each stays small enough for ``kubectl apply``.

    Args:
        options: Windows, intervals, thresholds.

    Returns:
        YAML text by file name.

    Raises:
        ValueError: If a group is larger than prometheus-operator takes.

    >>> "kustomization.yaml" in render(RuleOptions())
    True
    """
    groups = [group for each in rule_groups(options).values() for group in each]
    texts = {f"{_name(group)}.yaml": _rule(group) for group in groups}
    return texts | {"kustomization.yaml": kustomization(resources=sorted(texts))}


def kustomization(**lists: list[str]) -> str:
    """A kustomization of these keys, each a list of paths."""
    lines = [*comment(HEADER), "apiVersion: kustomize.config.k8s.io/v1beta1", "kind: Kustomization"]
    for key, paths in lists.items():
        lines += [f"{key}:", *(f"  - {path}" for path in paths)]
    return "\n".join(lines) + "\n"


def _name(group: Group) -> str:
    return group.name.replace(".", "-").replace("_", "-")


def _rule(group: Group) -> str:
    head = f"""apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: {_name(group)}
  labels:
    app.kubernetes.io/name: otel-mlmon
spec:
"""
    text = "\n".join(comment(HEADER)) + "\n" + head + textwrap.indent("\n".join(groups_key([group])), "  ") + "\n"
    if len(text.encode()) > MOST_BYTES:
        raise ValueError(
            f"group {group.name}: a PrometheusRule must not exceed {MOST_BYTES} bytes, got {len(text.encode())}; "
            "choose fewer windows, statistics or bins"
        )
    return text
