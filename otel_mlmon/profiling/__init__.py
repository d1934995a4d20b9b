"""Training data to profiles: bins, counts, statistics, noise floors and levels of normal operation."""
