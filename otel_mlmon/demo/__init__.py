"""``otel-mlmon demo``: real flights replayed through a watched model until summer's weather alerts."""
