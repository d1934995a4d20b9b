"""Thresholds set in code: what they may be about, and what is refused."""

from typing import Any, get_args

import pytest

from otel_mlmon import Feature, Monitor, Reference, Schema, Threshold, catalog
from otel_mlmon.bundle.rules import RECORDING_FILE, RuleOptions, render
from otel_mlmon.settings import Statistic, check_thresholds
from otel_mlmon.thresholds import SHIPPED, SINGLE
from tests.readings import readings

OF_FEATURES = (
    *("psi", "wasserstein", "correlation_shift"),
    *("missing_ratio", "invalid_ratio", "out_of_range_ratio", "unseen_ratio"),
)


@pytest.mark.parametrize("statistic", get_args(Statistic))
def test_a_feature_has_thresholds_of_what_is_measured_of_it(statistic: Statistic) -> None:
    """Any other would be exported, and do nothing."""
    if statistic in OF_FEATURES:
        assert Threshold(statistic, 0.5, feature="x").feature == "x"
    else:
        with pytest.raises(ValueError, match=f"threshold '{statistic}': only .* are per feature, got feature 'x'"):
            Threshold(statistic, 0.5, feature="x")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"statistic": "psy"}, "statistic must be one of .*got 'psy'"),
        ({"severity": "fatal"}, "severity must be one of .*got 'fatal'"),
        ({"value": -0.1}, "value must be finite and >= 0, got -0.1"),
        ({"value": float("nan")}, "value must be finite and >= 0, got nan"),
    ],
)
def test_a_threshold_without_sense_is_refused(arguments: dict[str, Any], message: str) -> None:
    """Set-up is loud."""
    with pytest.raises(ValueError, match=message):
        Threshold(**{"statistic": "unseen_ratio", "value": 0.1, **arguments})


@pytest.mark.parametrize("feature", ["x", *catalog.RESERVED_FEATURES])
def test_thresholds_are_for_features_of_the_schema_and_for_ours(feature: str) -> None:
    """Outputs, labels and the reconstruction error drift like features."""
    check_thresholds([Threshold("wasserstein", 0.3, feature=feature)], ["x"])


def test_a_threshold_of_an_unknown_feature_is_refused() -> None:
    """Misspelt, it would do nothing; while the features are not known yet, nobody can tell."""
    misspelt = [Threshold("unseen_ratio", 0.3, feature="carier")]
    with pytest.raises(ValueError, match=r"feature must be one of .*got 'carier'"):
        check_thresholds(misspelt, ["carrier"])
    check_thresholds(misspelt, None)


def test_two_thresholds_of_one_thing_are_refused() -> None:
    """Those of two severities or two features are two things."""
    apart = [
        Threshold("missing_ratio", 0.1),
        Threshold("missing_ratio", 0.2, severity="critical"),
        Threshold("missing_ratio", 0.3, feature="x"),
    ]
    check_thresholds(apart, ["x"])
    with pytest.raises(ValueError, match="one for each statistic, severity and feature"):
        check_thresholds([*apart, Threshold("missing_ratio", 0.4, feature="x")], ["x"])


def test_every_shipped_threshold_is_in_the_rules() -> None:
    """A default that no rule writes would be a number for readers only."""
    written = render(RuleOptions())[RECORDING_FILE]
    for (statistic, severity), value in SHIPPED.items():
        own = RuleOptions(thresholds={(statistic, severity): value + 0.0625})
        assert render(own)[RECORDING_FILE] != written, (statistic, severity)


def test_a_critical_default_is_above_the_warning() -> None:
    """Each statistic has both, or one that holds for both."""
    for statistic in {statistic for statistic, _ in SHIPPED} - set(SINGLE):
        assert SHIPPED[statistic, "warning"] < SHIPPED[statistic, "critical"]
    assert {statistic for statistic, severity in SHIPPED} >= set(SINGLE)
    assert not {statistic for statistic, severity in SHIPPED if severity == "critical"} & set(SINGLE)


@pytest.mark.parametrize("value", [0.0, 1.0, 2.0])
def test_an_error_budget_is_a_share_of_the_calls(value: float) -> None:
    """None at all cannot be spent; all of them cannot be overspent."""
    with pytest.raises(ValueError, match="threshold 'error_budget': value must be a share between 0 and 1, got"):
        Threshold("error_budget", value)
    with pytest.raises(ValueError, match="threshold error_budget/warning: value must be a share between 0 and 1, got"):
        RuleOptions(thresholds={("error_budget", "warning"): value})


def test_what_is_derived_from_a_feature_has_thresholds_of_its_own() -> None:
    """The reference knows such names; the schema alone does not."""
    texts = [f"word{number % 7} and {number % 3} more" for number in range(400)]
    reference = Reference.build({"comment": texts}, schema=Schema((Feature("comment", kind="text"),)))
    with Monitor("m", reference=reference, thresholds=[Threshold("wasserstein", 0.3, feature="comment/words")]) as monitor:
        assert readings(monitor, catalog.THRESHOLD)
    with pytest.raises(ValueError, match="got 'comment/word'"):
        Monitor("m", reference=reference, thresholds=[Threshold("wasserstein", 0.3, feature="comment/word")])
