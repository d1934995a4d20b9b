"""Real servers for tests; the code is the demo's."""

from pathlib import Path

import pytest

from otel_mlmon.demo.stack import Server, Webhook, alertmanager, find_binary, prometheus, webhook

__all__ = ["SERIES", "Server", "Webhook", "alertmanager", "find_binary", "prometheus", "require", "webhook"]

SERIES = (pytest.param("old", id="old"), pytest.param("new", id="new", marks=pytest.mark.optional))
"""For ``parametrize("series", SERIES)``: this machine's release, and a newer suite, which not every machine can read."""


def require(name: str, series: str = "old") -> Path:
    """The program, or a skip that says how to get it."""
    found = find_binary(name, "new" if series == "new" else "old")
    if found is None:
        pytest.skip(f"{name} ({series} series) is not at hand: .ci/servers.sh unpacks it where Debian's packages can be read")
    return found
