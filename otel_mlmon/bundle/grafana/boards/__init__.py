"""The dashboards, one module each: its function ``board(options)`` is all that ``render`` asks of it."""
