"""Ways in: what hands the traffic of servers and frameworks to a monitor. One file each, imported by whoever uses it."""
