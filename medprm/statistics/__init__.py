"""Pure numbers in and out: bootstrap by cluster, agreement, step metrics."""
