"""What the stack runs of ours: a model with traffic of its own, and a far end for notifications."""
