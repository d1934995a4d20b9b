"""Prometheus and Alertmanager in time lapse: the bundled rules with windows that last seconds."""

import contextlib
import tempfile
from pathlib import Path

from otel_mlmon.bundle.options import RuleOptions, duration
from otel_mlmon.bundle.rules import render
from otel_mlmon.demo.replay import DAY
from otel_mlmon.demo.stack import Series, Webhook, alertmanager, find_binary, prometheus, webhook

_RELEASES: tuple[Series, ...] = ("old", "new")


def at_hand(servers: Path) -> Series | None:
    """Which release of both programs there is; None if there is none.

    Args:
        servers: Folder of unpacked servers, for where none are installed.
    """
    for series in _RELEASES:
        if all(find_binary(name, series, servers=servers) for name in ("prometheus", "alertmanager")):
            return series
    return None


def start(
    opened: contextlib.ExitStack, servers: Path, series: Series, target: str, day_seconds: float
) -> tuple[Webhook, list[tuple[str, str]]]:
    """Start both, until the stack of contexts is closed.

    Args:
        opened: The stack.
        servers: Folder of unpacked servers.
        series: Which release.
        target: Host and port to scrape.
        day_seconds: Seconds that a simulated day lasts.

    Returns:
        Where alerts arrive; name and address of each server.

    Raises:
        RuntimeError: If a server does not start.
    """
    folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="otel-mlmon-demo-", ignore_cleanup_errors=True)))
    interval = duration(day_seconds * 1000 / 12)  # three in the fast window; a busy machine takes 0.2 s for an evaluation
    options = RuleOptions(
        windows=("6h", "1d"),
        pairs=(("6h", "1d"),),
        interval=interval,
        drift_interval=interval,
        lookback=duration(day_seconds * 1000 / 3),
        delay=interval,
        max_bins=10,
        time_scale=DAY / day_seconds,
    )
    rules = []
    for name, text in render(options).items():
        rules.append(folder / name)
        rules[-1].write_text(text, encoding="utf-8")
    hook = opened.enter_context(webhook())
    route = {"receiver": "demo", "group_by": ["..."], "group_wait": "0s", "group_interval": "1s", "repeat_interval": "1h"}
    receivers = [{"name": "demo", "webhook_configs": [{"url": hook.url, "send_resolved": True}]}]
    same = ["alertname", "model_name", "model_version", "feature"]
    inhibit = [{"source_matchers": ["severity = critical"], "target_matchers": ["severity = warning"], "equal": same}]
    routing = {"route": route, "receivers": receivers, "inhibit_rules": inhibit}
    alerts = opened.enter_context(alertmanager(folder, routing, series=series, servers=servers))
    metrics = opened.enter_context(
        prometheus(folder, rules, [target], interval=interval, alertmanager=alerts.url, series=series, servers=servers)
    )
    return hook, [("Prometheus", f"{metrics.url}/alerts"), ("Alertmanager", alerts.url)]
