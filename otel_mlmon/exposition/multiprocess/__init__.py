"""Many processes, one page: each shows its numbers to the others through a file in a folder that they share."""

from otel_mlmon.exposition.multiprocess.sharing import Shared, share

__all__ = ["Shared", "share"]
