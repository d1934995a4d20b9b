"""The state of each model's layers, on real promtool: what fires, as one number."""

from pathlib import Path

import pytest

from otel_mlmon.bundle.rules import ALERTS_FILE, RECORDING_FILE, RuleOptions, render
from otel_mlmon.bundle.state_rules import LAYERS, STATES
from tests.promql.fleet import Replica
from tests.promql.needed import parsed
from tests.promql.promtool import expectation, run
from tests.servers import SERIES, require

_MINUTES = 90
_OTHERS = dict.fromkeys(LAYERS, 0.0)


def _fires(layer: str, severity: str, values: str = "1x89", alert: str = "A", **labels: str) -> dict[str, str]:
    """As Prometheus and vmalert write it."""
    said = {"alertname": alert, "alertstate": "firing", "layer": layer, "severity": severity, **labels}
    return {
        "series": f"ALERTS{{{', '.join(f'{label}={chr(34)}{value}{chr(34)}' for label, value in said.items())}}}",
        "values": values,
    }


def _states(minute: int, model: str, version: str = "1", **layers: float) -> dict[str, object]:
    samples = {f'{{layer="{layer}"}}': value for layer, value in {**_OTHERS, **layers}.items()}
    return expectation(f'sum by (layer) (mlmon:model:state{{model_name="{model}", model_version="{version}"}})', minute, samples)


@pytest.mark.parametrize("series", SERIES)
def test_the_state_is_the_worst_that_fires(series: str, tmp_path: Path) -> None:
    """Per model, version and layer; those without a version count for all of them, those without a model for none."""
    replicas = [Replica(_MINUTES, model=model, instance=model) for model in ("fine", "warned", "paged")]
    replicas += [Replica(_MINUTES, model="two", version=version, instance=version) for version in ("1", "2")]
    replicas.append(Replica(_MINUTES, model="gone", end=5, instance="gone"))
    replicas += [Replica(_MINUTES, model="replaced", version=str(end), end=end, instance=str(end)) for end in (5, _MINUTES)]
    first = {"model_version": "1"}
    fires = [
        _fires("drift", "warning", model_name="warned", feature="x", **first),
        _fires("drift", "warning", model_name="warned", feature="y", **first),
        _fires("serving", "info", model_name="warned", **first),
        _fires("data_quality", "warning", "1x9 _x80", model_name="warned", **first),
        _fires("drift", "warning", model_name="paged", **first),
        _fires("drift", "critical", model_name="paged", **first),
        _fires("meta", "critical", model_name="two"),
        _fires("lifecycle", "warning", model_name="two"),
        _fires("serving", "critical", model_name="two", model_version="2"),
        _fires("meta", "critical", alert="B"),
        _fires("meta", "critical", "_x20 1x69", "MlmonMetricsAbsent", model_name="gone"),
    ]
    fires.append(
        {
            "series": 'ALERTS{alertname="A", alertstate="pending", layer="meta", severity="critical", model_name="fine"}',
            "values": "1x89",
        }
    )
    expectations = [
        _states(80, "fine"),
        _states(80, "warned", drift=1),
        _states(5, "warned", drift=1, data_quality=1),
        _states(80, "paged", drift=2),
        _states(80, "two", meta=2, lifecycle=1),
        _states(80, "two", "2", meta=2, lifecycle=1, serving=2),
        # all are known for an hour; after it, who has vanished is missed, and who was replaced is not
        _states(80, "gone", meta=2),
        _states(60, "replaced", "5"),
        expectation('count(mlmon:model:state{model_name="replaced", model_version="5"})', 80, {}),
        _states(80, "replaced", str(_MINUTES)),
    ]
    rules = {RECORDING_FILE: render(RuleOptions())[RECORDING_FILE]}  # the alerts are given
    assert not run(require("promtool", series), tmp_path, rules, replicas, expectations, foreign=fires)


def test_the_layers_are_those_of_the_alerts() -> None:
    """A layer without a state would be missing in the overview."""
    alerts = [rule for group in parsed(render(RuleOptions())[ALERTS_FILE]) for rule in group["rules"]]
    assert {alert["labels"]["layer"] for alert in alerts} == set(LAYERS)
    assert STATES == ("ok", "warning", "critical")
