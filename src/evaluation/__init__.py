"""Ground truth, protocols, metrics, result files, comparison of two."""
