"""Step metrics, Best-of-N, plots and the report, from scored solutions."""
