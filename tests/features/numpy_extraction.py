"""DELF's extraction in plain NumPy and Pillow, slow and obvious: the second implementation that tests compare against.

Written from the steps of the reference (TF DELF: resizing, pyramid, receptive boxes, threshold, suppression, L2 and
PCA), in double precision, without anything of src/.
"""

import numpy as np
from PIL import Image


def bilinear(image, height, width):
    """[h, w, 3] -> [height, width, 3]: half-pixel centres, edges repeated, no antialiasing."""

    def neighbours(new, old):
        position = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        low = np.floor(position).astype(int)
        return low, np.minimum(low + 1, old - 1), position - low

    top, bottom, y = neighbours(height, image.shape[0])
    left, right, x = neighbours(width, image.shape[1])
    x, y = x[None, :, None], y[:, None, None]
    rows = image[top] * (1 - y) + image[bottom] * y
    return rows[:, left] * (1 - x) + rows[:, right] * x


def new_sides(height, width, settings):
    """Sides after the size limits; Python's round goes from halves to even numbers."""
    longest = max(height, width)
    largest, smallest = (limit * settings.resize_factor for limit in (settings.max_image_size, settings.min_image_size))
    factor = 1.0
    if largest >= 0 and longest > largest:
        factor = largest / longest
    elif smallest >= 0 and longest < smallest:
        factor = smallest / longest
    if settings.use_square_images:
        height = width = longest
    return round(height * factor), round(width * factor)


def overlap(box, others):
    """Intersection over union of a box (top, left, bottom, right) with others [N, 4]; continuous coordinates."""
    height = np.minimum(box[2], others[:, 2]) - np.maximum(box[0], others[:, 0])
    width = np.minimum(box[3], others[:, 3]) - np.maximum(box[1], others[:, 1])
    common = np.maximum(height, 0) * np.maximum(width, 0)
    areas = (others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1])
    return common / ((box[2] - box[0]) * (box[3] - box[1]) + areas - common)


def suppress(boxes, scores, threshold, count):
    """Numbers of the boxes that stay, best first."""
    kept = []
    for candidate in sorted(range(len(scores)), key=lambda number: (-scores[number], number)):
        if len(kept) < count and not (kept and (overlap(boxes[candidate], boxes[kept]) > threshold).any()):
            kept.append(candidate)
    return kept


def unit(vector):
    return vector / np.sqrt(max((vector**2).sum(), 1e-12))


def describe(vector, settings, pca):
    vector = unit(vector.astype(float))
    if pca is None:
        return vector
    vector = pca.components[: settings.pca_dim].astype(float) @ (vector - pca.mean)
    if settings.use_whitening:
        vector = vector / np.sqrt(pca.variances[: settings.pca_dim].astype(float))
    return unit(vector)


def extract(image, network, settings, pca=None):
    """Keypoints [N, 2] (x, y), scales [N], scores [N], descriptors [N, D] of a photo [H, W, 3] uint8."""
    height, width = image.shape[:2]
    new_height, new_width = new_sides(height, width, settings)
    if (new_height, new_width) != (height, width):
        image = np.array(Image.fromarray(image).resize((new_width, new_height), Image.Resampling.BILINEAR))
    normalised = (image.astype(float) - 128) / 128
    boxes, scales, scores, vectors = [], [], [], []
    for scale in settings.image_scales:
        sides = [int(np.rint(np.float32(side) * np.float32(scale))) for side in (new_height, new_width)]
        if min(sides) < 5 or min(new_height, new_width) < 10:
            continue
        level = bilinear(normalised, *sides).astype(np.float32)
        feature_map, attention = network(np.ascontiguousarray(level.transpose(2, 0, 1)[None]))
        for row in range(feature_map.shape[0]):
            for column in range(feature_map.shape[1]):
                if settings.score_threshold is None or attention[row, column] >= settings.score_threshold:
                    corner = np.array([32 * row - 145, 32 * column - 145])
                    boxes.append(np.concatenate([corner, corner + 290]) / scale)
                    scales.append(1 / scale)
                    scores.append(float(attention[row, column]))
                    vectors.append(feature_map[row, column])
    boxes = np.array(boxes).reshape(-1, 4)
    shrunk = max(new_height, new_width) / max(height, width)
    by_size = np.clip(np.rint(600e-6 * height * width * shrunk**2), 100, 1000)
    kept = suppress(boxes, scores, settings.iou_threshold, settings.max_feature_num or by_size)
    centres = (boxes[kept][:, :2] + boxes[kept][:, 2:]) / 2
    return (
        centres[:, ::-1] / (new_width / width, new_height / height),
        np.array([scales[number] for number in kept]),
        np.array([scores[number] for number in kept]),
        np.array([describe(vectors[number], settings, pca) for number in kept]),
    )
