"""From sources to labels: the consensus rule and the simulated annotators."""
