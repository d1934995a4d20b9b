"""What Alertmanager sent to the webhook, each change of an alert once."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from otel_mlmon.demo.window import Recent

PERSISTENT = 6
"""Readings in a row after which drift that no server watches is reported."""


@dataclass(frozen=True, slots=True)
class Notice:
    """An alert that began or ended.

    Attributes:
        date: Simulated date on which that was known.
        alert: Name of the alert.
        feature: The feature it is about; empty for the whole model.
        severity: ``warning`` or ``critical``.
        layer: ``drift``, ``data_quality`` ...
        firing: Whether it began.
    """

    date: str
    alert: str
    feature: str
    severity: str
    layer: str
    firing: bool

    @property
    def text(self) -> str:
        """One line."""
        return f"{'FIRING' if self.firing else 'resolved'} {self.severity:<8} {self.alert} {self.feature}".rstrip()


class Inbox:
    """Turns alerts into notices."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        self._read = 0
        self._firing: dict[str, bool] = {}
        self._over: Counter[str] = Counter()

    @property
    def drifts(self) -> list[Notice]:
        """Drift that began, in order."""
        return [notice for notice in self.notices if notice.layer == "drift" and notice.firing]

    def read(self, date: str, alerts: Sequence[Mapping[str, Any]]) -> None:
        """Take the alerts that a webhook received, all since the start; one that is only repeated is no news.

        Args:
            date: The simulated date.
            alerts: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config.
        """
        for alert in alerts[self._read :]:
            labels, firing = alert["labels"], alert["status"] == "firing"
            feature, severity, layer = (labels.get(name, "") for name in ("feature", "severity", "layer"))
            if severity != "none":  # the watchdog's is no news
                self._note(alert["fingerprint"], Notice(date, labels["alertname"], feature, severity, layer, firing))
        self._read = len(alerts)

    def compare(self, date: str, recent: Iterable[Recent]) -> None:
        """Where no server watches: a feature whose drift stays over its level is a notice, too."""
        for one in recent:
            self._over[one.feature] = self._over[one.feature] + 1 if one.drifts else 0
            firing = self._over[one.feature] >= PERSISTENT
            self._note(one.feature, Notice(date, "drift", one.feature, "warning", "drift", firing))

    def _note(self, key: str, notice: Notice) -> None:
        if self._firing.get(key, False) != notice.firing:
            self._firing[key] = notice.firing
            self.notices.append(notice)
