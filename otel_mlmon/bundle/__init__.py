"""Recording rules and alerts for Prometheus, derived from the catalogue."""
