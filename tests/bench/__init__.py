"""`make bench`: cost per row, latency and memory, with named peers in the same run. Read ratios, not seconds."""
