"""Cases for promtool: fleets of exporters minute by minute, and what the rules must make of them."""
