"""Doctests that need what this Python cannot have."""

import sys

# Grafana's Foundation SDK needs Python 3.11.
collect_ignore_glob = ["otel_mlmon/bundle/grafana/*"] if sys.version_info < (3, 11) else []
