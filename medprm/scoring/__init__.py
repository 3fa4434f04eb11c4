"""Checkpoint and cases to step scores; step scores to solution scores."""
