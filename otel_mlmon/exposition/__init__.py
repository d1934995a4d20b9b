"""Ways out of the process: what reads the counters of monitors and shows them to others."""
