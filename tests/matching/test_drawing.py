"""The picture: its size, lines only where inliers are, odd photos."""

import numpy as np
import pytest

from src.matching.drawing import draw_matches
from src.records import LocalFeatures, Matches


def features_at(keypoints, width, height) -> LocalFeatures:
    count = len(keypoints)
    return LocalFeatures(
        np.reshape(keypoints, (count, 2)), np.ones(count), np.ones(count), np.ones((count, 1)), (width, height)
    )


def grey(width, height):
    return np.full((height, width, 3), 128, np.uint8)


def coloured(picture):
    """Pixels that are no grey: lines and dots on grey photos and a nearly white ground."""
    return np.ptp(picture.astype(int), axis=2) > 20


def test_lines_join_the_inliers_only():
    features = features_at([[0, 0], [399, 100], [200, 299]], 400, 300)
    matches = Matches([[0, 0], [1, 1], [2, 2]], [0.1] * 3, inliers=[False, True, False])
    picture = draw_matches(grey(400, 300), grey(400, 300), features, features, matches)
    rows, columns = np.nonzero(coloured(picture))
    photo = np.nonzero((picture == 128).all(axis=2).any(axis=1))[0]
    top, height = photo[0], photo[-1] + 1 - photo[0]
    assert height == 720 and picture.dtype == np.uint8
    np.testing.assert_allclose([rows.min(), rows.max()], top + 100 * 720 / 300, atol=6)
    assert columns.min() > 900 and columns.max() > picture.shape[1] - 30  # from A's right edge to B's right edge


def test_outliers_are_drawn_on_request_in_grey_under_the_inliers():
    features = features_at([[0, 0], [399, 100], [200, 299]], 400, 300)
    matches = Matches([[0, 0], [1, 1], [2, 2]], [0.1] * 3, inliers=[False, True, False])
    plain, full = (
        draw_matches(grey(400, 300), grey(400, 300), features, features, matches, show_outliers=outliers)
        for outliers in (False, True)
    )
    np.testing.assert_array_equal(coloured(full), coloured(plain))
    np.testing.assert_array_equal(full[coloured(plain)].max(axis=0), plain[coloured(plain)].max(axis=0))
    changed = np.nonzero((full != plain).any(axis=2))[0]
    assert len(changed) > 500
    top, bottom = changed.min(), changed.max()  # one line along the top of the photos, one along the bottom
    assert set(changed) <= {*range(top, top + 3), *range(bottom - 2, bottom + 1)} and bottom - top > 700


def test_without_inliers_both_photos_are_shown_plain():
    features = features_at([], 400, 300)
    for matches in (Matches(np.zeros((0, 2)), []), Matches(np.zeros((0, 2)), [], inliers=[])):
        picture = draw_matches(grey(400, 300), grey(300, 400), features, features, matches)
        assert not coloured(picture).any()


def test_keypoints_follow_a_photo_shown_smaller_than_its_original():
    features = features_at([[1000, 1000]], 2000, 2000)
    matches = Matches([[0, 0]], [0.1], inliers=[True])
    small = draw_matches(grey(200, 200), grey(200, 200), features, features, matches)
    large = draw_matches(grey(2000, 2000), grey(2000, 2000), features, features, matches)
    np.testing.assert_array_equal(coloured(small), coloured(large))


@pytest.mark.parametrize("far", [3e38, -3e38, 1e9, 5e7])
def test_keypoints_far_off_the_photo_are_drawn_as_lines_that_leave_it(far):
    features = features_at([[200, 150], [far, -far]], 400, 300)
    matches = Matches([[0, 0], [0, 1]], [0.1] * 2, inliers=[True, True])
    picture = draw_matches(grey(400, 300), grey(400, 300), features, features, matches, show_outliers=True)
    assert coloured(picture).any()


@pytest.mark.parametrize(
    "title", [r"$\frac{a$.jpg", "a\x1b[31m\n\0.jpg", "\udcff\ud800.jpg", "\u202e.jpg", "%s {0}.jpg", "a" * 5000, " "]
)
def test_any_name_is_a_title(title):
    """What OpenCV's fonts lack is written as escapes or '?': the same width of picture, and something in the bar."""
    features = features_at([[0, 0]], 400, 300)
    matches = Matches([[0, 0]], [0.1], inliers=[True])
    plain, named = (draw_matches(grey(400, 300), grey(400, 300), features, features, matches, t) for t in ("", title))
    assert named.shape == plain.shape and (named[:52] < 200).any()
    np.testing.assert_array_equal(named[52:], plain[52:])


@pytest.mark.parametrize("width, height", [(1, 1), (3000, 20), (20, 3000)])
def test_odd_photos(width, height):
    features = features_at([[0, 0]], width, height)
    matches = Matches([[0, 0]], [0.1], inliers=[True])
    picture = draw_matches(grey(width, height), grey(50, 40), features, features, matches, "Sacré-Cœur")
    assert picture.ndim == 3 and max(picture.shape) < 4000 and coloured(picture).any()
