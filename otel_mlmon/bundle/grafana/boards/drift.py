"""What has drifted, how far, since when, and what does it look like?"""

from otel_mlmon import catalog
from otel_mlmon.bundle import names as n
from otel_mlmon.bundle.grafana.drift_feature import ONE, bins, distance_over_time, distributions, statistics, values
from otel_mlmon.bundle.grafana.drift_features import began, distances, features
from otel_mlmon.bundle.grafana.drift_numbers import numbers
from otel_mlmon.bundle.grafana.drift_queries import ANYTHING, WINDOW, distance, of_model
from otel_mlmon.bundle.grafana.drift_relations import outputs, relations, together
from otel_mlmon.bundle.grafana.frame import Board, Section
from otel_mlmon.bundle.grafana.queries import Variable, choice, ranked
from otel_mlmon.bundle.grafana.queries import values as variable
from otel_mlmon.bundle.options import RuleOptions


def board(options: RuleOptions) -> Board:
    """The dashboard ``mlmon-drift``."""
    return Board(
        uid="mlmon-drift",
        title="Drift",
        about="What has drifted, how far, since when, and what does it look like? One model and version at a time.",
        since="7d",
        variables=_variables(options),
        sections=[
            Section("", numbers(options)),
            Section("All features", [features(options), began(), distances()]),
            Section(
                "One feature: $feature",
                [
                    distributions(
                        "Its distribution",
                        "Share of each bin or category: in training, in the chosen window some time ago, and in the chosen window "
                        "now. Training's bins are its quantiles, so its bars are about equal for a numeric feature. All bars at "
                        "one end: values moved, or their unit did. One bar too high: a default value, a stuck sensor.",
                        ONE,
                        options,
                        height=12,
                    ),
                    bins(options),
                    distance_over_time("Its distance, and what is too far", ONE),
                    values(),
                ],
            ),
            Section("More of $feature", statistics(), collapsed=True),
            Section("Outputs and labels", outputs(options), collapsed=True),
            Section("All inputs together", together(options), collapsed=True),
            Section("Relations between inputs and outputs (concept drift)", relations(options), collapsed=True),
        ],
    )


def _variables(options: RuleOptions) -> list[Variable]:
    start = catalog.START_TIME.prometheus_name
    windows = options.described
    return [
        variable("model_name", "Model", start, multi=False).multi(False),
        variable("model_version", "Version", start, given=("model_name",), multi=False, newest=True).multi(False),
        choice("window", "Window", windows, windows[-1]),
        choice("baseline", "Baseline", ("training", "previous"), "training"),
        _feature(),
    ]


def _feature() -> Variable:
    anything = distance(ANYTHING)
    rest = f"0 * max by (feature) ({of_model(n.COUNT, window=WINDOW)})"
    return ranked("feature", "Feature", f"{anything.times(WINDOW)} or {rest}", multi=False)
