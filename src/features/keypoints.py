"""Where a cell of the feature map looks, and which cells become features.

Boxes are [N, 4] float64 (top, left, bottom, right), pixels, continuous: the area is (bottom - top) * (right - left).
"""

import numpy as np

RECEPTIVE_FIELD = 291  # pixels, conv4 with its stride (reference TF DELF; paper section 3.2)
STRIDE = 32
PADDING = 145


def receptive_boxes(height: int, width: int, scale: float) -> np.ndarray:
    """Receptive fields of a feature map's cells, row by row, in pixels of the photo before the pyramid.

    Args:
        height, width: of the feature map, cells.
        scale: of the pyramid level.
    """
    rows, columns = np.divmod(np.arange(height * width), width)
    corners = STRIDE * np.stack([rows, columns], axis=1).astype(np.float64) - PADDING
    return np.concatenate([corners, corners + (RECEPTIVE_FIELD - 1)], axis=1) / scale


def box_centres(boxes: np.ndarray) -> np.ndarray:
    """Centres [N, 2] (y, x); for receptive fields exactly STRIDE * (row, column) / scale."""
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def box_areas(boxes: np.ndarray) -> np.ndarray:
    """Areas [N]."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def intersections(boxes_a: np.ndarray, boxes_b: np.ndarray) -> np.ndarray:
    """Areas [A, B] common to each pair of boxes."""
    top_left = np.maximum(boxes_a[:, None, :2], boxes_b[None, :, :2])
    bottom_right = np.minimum(boxes_a[:, None, 2:], boxes_b[None, :, 2:])
    return np.clip(bottom_right - top_left, 0, None).prod(axis=2)


def intersections_over_unions(boxes_a: np.ndarray, boxes_b: np.ndarray) -> np.ndarray:
    """IoU [A, B] of each pair of boxes; 0 where the boxes do not meet or have no area."""
    common = intersections(boxes_a, boxes_b)
    unions = box_areas(boxes_a)[:, None] + box_areas(boxes_b)[None, :] - common
    return np.divide(common, unions, out=np.zeros_like(common), where=common > 0)


def non_max_suppression(boxes: np.ndarray, scores: np.ndarray, iou_threshold: float, max_count: int) -> np.ndarray:
    """Greedy non-maximum suppression.

    Args:
        boxes: [N, 4].
        scores: [N]; equal scores go to the lower index.
        iou_threshold: a box that overlaps a kept one by more is dropped; 1 = plain top-k.
        max_count: boxes kept at most.

    Returns:
        Indices of the kept boxes, int64, scores falling.
    """
    order = np.argsort(-np.asarray(scores), kind="stable")
    if iou_threshold >= 1.0:
        return order[:max_count]
    kept = []
    while len(order) and len(kept) < max_count:
        best, order = order[0], order[1:]
        kept.append(best)
        overlaps = intersections_over_unions(boxes[best : best + 1], boxes[order])[0]
        order = order[overlaps <= iou_threshold]
    return np.array(kept, dtype=np.int64)
