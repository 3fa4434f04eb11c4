"""Native InternVL: building, loading, saving, the tiny base and its pretraining."""
