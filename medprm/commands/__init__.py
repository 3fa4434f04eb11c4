"""The verbs; only here rooms meet."""
