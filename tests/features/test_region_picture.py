"""The weights of regions, and their picture."""

import cv2
import numpy as np
import pytest
from matplotlib import colormaps

from src.features.drawing import draw_regions
from src.features.heads import RegionalAttention
from src.features.pooling import make_pooling

SCALE, MARGIN, TOP, GAP = 860 / 200, 22, 74, 26  # of the photo in the picture


def test_regions_are_where_they_are_and_as_bright_as_they_count(tmp_path):
    image = np.full((100, 200, 3), 128, np.uint8)
    boxes = np.array([[0, 0, 100, 100], [100, 0, 200, 100], [50, 0, 150, 100]])
    draw_regions(image, (200, 100), boxes, np.array([1.0, 3.0, 2.0]), "a.jpg", tmp_path / "a.png", 1)
    picture = cv2.imread(str(tmp_path / "a.png"))[:, :, ::-1].astype(int)
    above, below = (picture[top : top + 430, MARGIN : MARGIN + 860] for top in (TOP, TOP + 430 + 30))
    brightest = np.abs(above - 255 * np.array(colormaps["plasma"](1.0)[:3])).sum(axis=2) < 60
    rows, columns = np.nonzero(brightest)
    assert columns.min() == pytest.approx(100 * SCALE, abs=4) and np.ptp(rows) > 420  # the heaviest one alone
    shares = []
    for x in (25, 75, 125, 175):  # of regions of weights 1; 1 and 2; 3 and 2; 3
        seen = below[215, round(x * SCALE)]
        opacity = {25: 0.0, 75: 0.25, 125: 0.75, 175: 1.0}[x]
        colour = 255 * np.array(colormaps["plasma"](opacity)[:3])
        alpha = 0.25 + 0.55 * opacity
        shares.append(np.abs(seen - (alpha * colour + (1 - alpha) * 128)).max())
    assert max(shares) < 4


def test_weights_are_those_that_the_descriptor_is_pooled_with():
    generator = np.random.default_rng(2)
    attention = RegionalAttention(generator.normal(size=(3, 8)), [0, 0, 0], generator.normal(size=3), [0.5])
    pooling = make_pooling("regional_attention", rmac_levels=2, attention=attention)
    feature_map = generator.uniform(size=(4, 6, 4)).astype(np.float32)
    boxes, weights = pooling.region_weights(feature_map)
    maxima = [feature_map[top:bottom, left:right].max((0, 1)) for left, top, right, bottom in boxes]
    np.testing.assert_allclose(pooling(feature_map), weights @ np.array(maxima) / len(boxes), rtol=1e-5)
    assert len(set(np.round(weights, 6))) > 2
