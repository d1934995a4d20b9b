"""The rules in the forms that other rulers read."""

from collections.abc import Callable, Mapping

from otel_mlmon.bundle import rules
from otel_mlmon.bundle.deploy import kubernetes, mimir, vmalert
from otel_mlmon.bundle.options import RuleOptions

FORMATS: Mapping[str, Callable[[RuleOptions], dict[str, str]]] = {
    "prometheus": rules.render,
    "kubernetes": kubernetes.render,
    "mimir": mimir.render,
    "vmalert": vmalert.render,
}
"""Name of a form -> what writes it: YAML text by file name."""
