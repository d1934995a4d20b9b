"""Features derived from others: of texts, of vectors, and of all inputs together."""
