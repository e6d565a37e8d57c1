"""Ground truth, protocols, metrics, result files, report."""
