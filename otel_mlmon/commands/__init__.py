"""The commands of `otel-mlmon`, one file each: ``add`` declares its words, ``run`` does it and gives the exit status."""
