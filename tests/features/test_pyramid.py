"""Photo size limits, normalisation, pyramid levels."""

import numpy as np
import pytest

from src.errors import UserError
from src.features.pyramid import level_size, normalise, pyramid_levels, require_affordable, resize_image

# Reference TF DELF: (max, min, factor, square) of a 4 x 2 photo -> sides and scale factors (vertical, horizontal)
RESIZED = [
    ((-1, -1, 1.0, True), (4, 4), (1.0, 2.0)),
    ((2, -1, 1.0, False), (2, 1), (0.5, 0.5)),
    ((8, -1, 1.0, False), (4, 2), (1.0, 1.0)),
    ((-1, 1, 1.0, True), (4, 4), (1.0, 2.0)),
    ((16, 8, 1.0, False), (8, 4), (2.0, 2.0)),
    ((16, 8, 1.0, True), (8, 8), (2.0, 4.0)),
    ((2, -1, 2.0, True), (4, 4), (1.0, 2.0)),
    ((-1, 8, 0.5, True), (4, 4), (1.0, 2.0)),
    ((-1, 8, 0.25, False), (4, 2), (1.0, 1.0)),
    ((2, 2, 2.0, False), (4, 2), (1.0, 1.0)),
    ((16, 8, 0.5, False), (4, 2), (1.0, 1.0)),
]


@pytest.mark.parametrize(("arguments", "sides", "factors"), RESIZED)
def test_resize_image(arguments, sides, factors):
    resized, scale_factors = resize_image(np.zeros((4, 2, 3), np.uint8), *arguments)
    assert resized.shape == (*sides, 3) and resized.dtype == np.uint8
    assert scale_factors == pytest.approx(factors)


def test_resize_factors_are_those_after_rounding():
    resized, factors = resize_image(np.zeros((3, 2, 3), np.uint8), 2, 2, use_square_images=True)
    assert resized.shape == (2, 2, 3) and factors == pytest.approx((2 / 3, 1.0))


def test_resize_never_loses_a_side():
    assert resize_image(np.zeros((1000, 1, 3), np.uint8), max_image_size=100)[0].shape == (100, 1, 3)


def test_reduced_decoding_is_resized_as_the_photo_would_be():
    resized, factors = resize_image(np.zeros((50, 33, 3), np.uint8), max_image_size=20, photo_sides=(400, 260))
    assert resized.shape == (20, 13, 3) and factors == (20 / 400, 13 / 260)


@pytest.mark.parametrize(("height", "width"), [(2048, 2048), (8191, 512), (50, 81920)])
def test_largest_level_has_a_limit(height, width):
    require_affordable(height, width, (0.5, 2.0))
    with pytest.raises(UserError, match=r"scale 2\.5 has .* give `max_image_size` (\d+) or less") as refused:
        require_affordable(height, width, (0.5, 2.5))
    side = int(str(refused.value).split()[-3])
    ratio = side / max(height, width)
    require_affordable(round(height * ratio), round(width * ratio), (0.5, 2.5))


@pytest.mark.parametrize(
    ("photo_side", "factor", "advice"),
    [(0, 1.0, "max_image_size` 2027"), (1000, 1.0, "min_image_size` 2027"), (3000, 1.0, "max_image_size` 2027"),
     (1000, 2.0, "min_image_size` 1013")],
)  # fmt: skip
def test_the_limit_that_makes_a_photo_small_enough_is_named(photo_side, factor, advice):
    """0.99 * 4096 / 2 = 2027.5: a photo below that was enlarged, and only min_image_size keeps it smaller."""
    with pytest.raises(UserError, match=f"has 8000 x 8000 pixels.*give `{advice} or less"):
        require_affordable(4000, 4000, (2.0,), photo_side, factor)


def test_untouched_photo_keeps_its_pixels():
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    assert np.array_equal(resize_image(image)[0], image)


def test_resize_refuses():
    with pytest.raises(ValueError, match="resize_factor"):
        resize_image(np.zeros((4, 2, 3), np.uint8), resize_factor=-1)
    with pytest.raises(ValueError, match="not \\[H, W, 3\\]"):
        resize_image(np.zeros((4, 2), np.uint8))


def test_normalise():
    pixels = np.array([[[3, 255, 0], [34, 12, 5]], [[45, 5, 65], [56, 77, 89]]], np.uint8)
    expected = [[[-1, 125, -2.5], [14.5, 3.5, 0]], [[20, 0, 30], [25.5, 36, 42]]]  # reference test vector
    assert normalise(pixels, 5.0, 2.0).tolist() == expected
    assert normalise(np.array([0, 128, 255], np.uint8), 128.0, 128.0).tolist() == [-1.0, 0.0, 127 / 128]


def test_level_size_rounds_the_float32_product_half_to_even():
    assert [level_size(side, 0.5) for side in (5, 6, 7, 9)] == [2, 3, 4, 4]
    assert level_size(1024, 1.4142) == 1448


def _slow_bilinear(image, height, width):
    """Half-pixel centres, edges repeated, one pixel at a time."""
    old_height, old_width, _ = image.shape
    result = np.zeros((height, width, 3))
    for row in range(height):
        for column in range(width):
            y = min(max((row + 0.5) * old_height / height - 0.5, 0), old_height - 1)
            x = min(max((column + 0.5) * old_width / width - 0.5, 0), old_width - 1)
            top, left = int(y), int(x)
            bottom, right = min(top + 1, old_height - 1), min(left + 1, old_width - 1)
            above = image[top, left] * (1 - (x - left)) + image[top, right] * (x - left)
            below = image[bottom, left] * (1 - (x - left)) + image[bottom, right] * (x - left)
            result[row, column] = above * (1 - (y - top)) + below * (y - top)
    return result


def test_levels_are_bilinear_without_antialias():
    image = np.random.default_rng(1).uniform(-1, 1, (23, 18, 3)).astype(np.float32)
    scales = (0.25, 0.3536, 0.5, 0.7071, 1.0, 1.4142, 2.0)
    levels = list(pyramid_levels(image, scales))
    assert [scale for scale, _ in levels] == list(scales[1:])  # 0.25: 18 * 0.25 = 4.5 -> 4 pixels, no cell
    for scale, level in levels:
        height, width = round(23 * scale), round(18 * scale)
        assert level.shape == (1, 3, height, width) and level.dtype == np.float32
        np.testing.assert_allclose(level[0].transpose(1, 2, 0), _slow_bilinear(image, height, width), atol=2e-5)
