"""Area under a query's precision-recall curve, from the ranks of its positives."""

import numpy as np


def average_precision(found: np.ndarray, num_positives: int) -> float:
    """Area under the precision-recall curve by the trapezoidal rule (compute_ap.cpp, reference TF DELF).

    Args:
        found: rising junk-free ranks, from 0 on, of the positives that were found.
        num_positives: positives in total; those not found add nothing.
    """
    if num_positives == 0:
        return float("nan")
    order = np.arange(len(found))
    before = np.where(found == 0, 1.0, order / np.maximum(found, 1))  # precision just above the positive
    after = (order + 1) / (np.asarray(found) + 1)  # precision with it
    return float((before + after).sum() / 2 / num_positives)
