"""Pooling: the numbers of the addendum (A, E2), and slow twins in plain loops on maps of odd sizes."""

import math

import numpy as np
import pytest

from src.errors import UserError
from src.features.heads import Linear, RegionalAttention, make_head, unit
from src.features.map_pooling import regional_gem
from src.features.pooling import POOLINGS, combine_scales, make_pooling
from src.features.regions import region_grid, regions_of

SIZES = [(1, 1), (1, 6), (7, 1), (3, 5), (9, 4), (11, 15)]
POWERS = np.array([1.0, 2.5, 3.0, 6.0])  # one a channel
ATTENTION = RegionalAttention([[1, 0, 0, 1], [0, 1, -1, 0]], [0, 0], [1, -1], [0.5])
SIX_DIGITS = {"rtol": 1e-5, "atol": 6e-7}


def random_map(size, channels=4, seed=0):
    generator = np.random.default_rng([seed, *size])
    return np.maximum(generator.normal(0.5, 2, (*size, channels)), 0).astype(np.float32)


def wide_attention(channels=4, nonlinearity="tanh"):
    draw = np.random.default_rng(3).normal
    return RegionalAttention(draw(size=(5, 2 * channels)), draw(size=5), draw(size=5), [0.2], nonlinearity)


def layer(channels=4, outputs=3):
    draw = np.random.default_rng(4).normal
    return Linear(draw(size=(outputs, channels)), draw(size=outputs))


# Slow twins: lists of Python floats


def cells(feature_map, box):
    left, top, right, bottom = (int(side) for side in box)
    return [[float(v) for v in feature_map[y, x]] for y in range(top, bottom) for x in range(left, right)]


def slow_pool(vectors, kind, p):
    result = []
    for channel, values in enumerate(zip(*vectors)):
        power = p[channel] if isinstance(p, (list, np.ndarray)) else p
        if kind == "mac":
            result.append(max(values))
        elif kind == "spoc":
            result.append(math.fsum(values) / len(values))
        else:
            result.append((math.fsum(max(v, 1e-6) ** power for v in values) / len(values)) ** (1 / power))
    return result


def slow_unit(vector):
    norm = math.sqrt(math.fsum(v * v for v in vector))
    return [v / norm if norm else 0.0 for v in vector]


def slow_layer(linear, vector):
    return [
        math.fsum(float(w) * v for w, v in zip(row, vector)) + float(b) for row, b in zip(linear.weight, linear.bias)
    ]


def slow_attention(attention, region, whole):
    def soft(x):
        return math.log1p(math.exp(x))

    inner = math.tanh if attention.nonlinearity == "tanh" else soft
    hidden = [inner(v) for v in slow_layer(Linear(attention.w1, attention.b1), region + whole)]
    return soft(math.fsum(float(w) * h for w, h in zip(attention.w2, hidden)) + float(attention.b2[0]))


def slow_regional(feature_map, boxes, kind, p, linear):
    total = [0.0] * (len(linear.weight) if linear else feature_map.shape[2])
    for box in boxes:
        vector = slow_unit(slow_pool(cells(feature_map, box), kind, p))
        vector = slow_unit(slow_layer(linear, vector)) if linear else vector
        total = [a + b for a, b in zip(total, vector)]
    return total


# Numbers of the addendum


@pytest.mark.parametrize(
    "channel, name, p, expected",
    [
        ([[1, 2], [3, 4]], "mac", 3, 4),
        ([[1, 2], [3, 4]], "spoc", 3, 2.5),
        ([[1, 2], [3, 4]], "gem", 3, 2.924018),
        ([[1, 2], [3, 4]], "gem", 4.6, 3.137704),
        ([[-1, 0], [2, 5]], "mac", 3, 5),
        ([[-1, 0], [2, 5]], "spoc", 3, 1.5),
        ([[-1, 0], [2, 5]], "gem", 3, 3.215614),
        ([[-1, 0], [2, 5]], "gem", 1, 1.7500005),
    ],
)
def test_one_channel(channel, name, p, expected):
    found = make_pooling(name, gem_p=p)(np.array(channel, np.float32)[..., None])
    np.testing.assert_allclose(found, [expected], rtol=1e-6)


@pytest.mark.parametrize("name, expected", [("rmac", [0.385127, 0.922863]), ("rmac_whole", [0.393718, 0.919231])])
def test_rmac_of_ramps(name, expected):
    ramp = np.arange(16.0).reshape(4, 4)
    found = make_pooling(name, rmac_levels=2)(np.stack([ramp, 16 + ramp[::-1]], axis=2))
    np.testing.assert_allclose(unit(found), expected, **SIX_DIGITS)


@pytest.mark.parametrize("nonlinearity, expected", [("tanh", 2.010972), ("softplus", 1.890948)])
def test_attention_of_a_region(nonlinearity, expected):
    attention = RegionalAttention(ATTENTION.w1, ATTENTION.b1, ATTENTION.w2, ATTENTION.b2, nonlinearity)
    np.testing.assert_allclose(attention(np.array([[1.0, 0.0]]), np.array([0.5, 0.5])), [expected], **SIX_DIGITS)


def test_superglobal_steps():
    ramp = regional_gem(np.arange(9.0).reshape(3, 3, 1), 2.5, 3)[..., 0]
    expected = [[1.5856, 2.2748, 2.8822], [3.8457, 4.5116, 5.1240], [5.5070, 6.1928, 6.8204]]
    np.testing.assert_allclose(ramp, expected, rtol=1e-5, atol=6e-5)
    found = combine_scales([np.array([0.6, 0.8]), np.array([1.0, 0.0])], "max")
    np.testing.assert_allclose(found, [0.780869, 0.624695], **SIX_DIGITS)


# Twins


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name, p", [("mac", 3), ("spoc", 3), ("gem", 3), ("gem", 1), ("gem", 4.6), ("gem", POWERS)])
def test_whole_map_equals_its_twin(size, name, p):
    feature_map = random_map(size) - np.float32(0.25)  # some numbers are negative
    found = make_pooling(name, gem_p=p)(feature_map)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, slow_pool(cells(feature_map, (0, 0, *size[::-1])), name, p), rtol=2e-6)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("linear", [None, layer()])
@pytest.mark.parametrize(
    "name, whole, kind, p", [("rmac", 0, "mac", 3), ("rmac_whole", 1, "mac", 3), ("regional", 1, "gem", POWERS)]
)
def test_regions_equal_their_twin(size, linear, name, whole, kind, p):
    feature_map = random_map(size) + np.float32(0.01)
    boxes = [[0, 0, *size[::-1]]] * whole + region_grid(*size, 3).tolist()
    pooling = make_pooling(name, gem_p=p, layer=linear)
    np.testing.assert_allclose(pooling(feature_map), slow_regional(feature_map, boxes, kind, p, linear), 1e-5, 1e-6)
    vectors = [slow_unit(slow_pool(cells(feature_map, box), kind, p)) for box in boxes]
    np.testing.assert_allclose(pooling.region_vectors(feature_map), vectors, rtol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_dir_pools_by_its_own_arithmetic(size):
    feature_map, image_size = random_map(size) + np.float32(0.01), (size[1] * 32 - 9, size[0] * 32 - 20)
    boxes = regions_of(size, 2, "dir", 32, image_size)
    found = make_pooling("regional_dir", rmac_levels=2, layer=layer())(feature_map, image_size)
    np.testing.assert_allclose(found, slow_regional(feature_map, boxes, "mac", 3, layer()), 1e-5, 1e-6)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("nonlinearity", ["tanh", "softplus"])
@pytest.mark.parametrize("linear", [None, layer()])
def test_regional_attention_equals_its_twin(size, nonlinearity, linear):
    feature_map, attention = random_map(size), wide_attention(nonlinearity=nonlinearity)
    boxes, total = regions_of(size, 5, "regional_attention").tolist(), 0.0
    whole = slow_pool(cells(feature_map, (0, 0, *size[::-1])), "spoc", 3)
    for box in boxes:
        part = cells(feature_map, box)
        vector = slow_pool(part, "mac", 3)
        vector = slow_unit(slow_layer(linear, vector)) if linear else vector  # no L2 before the layer
        total += np.array(vector) * slow_attention(attention, slow_pool(part, "spoc", 3), whole)
    pooling = make_pooling("regional_attention", rmac_levels=5, attention=attention, layer=linear)
    np.testing.assert_allclose(pooling(feature_map), total / len(boxes), 1e-5, 1e-6)
    raw = [slow_pool(cells(feature_map, box), "mac", 3) for box in boxes]
    np.testing.assert_allclose(pooling.region_vectors(feature_map), raw, rtol=1e-6)


def reflected(place, length):
    while length > 1 and not 0 <= place < length:
        place = -place if place < 0 else 2 * (length - 1) - place
    return place if length > 1 else 0


@pytest.mark.parametrize("size", SIZES)
def test_regional_gem_equals_its_twin(size):
    feature_map, p = random_map(size), 2.5
    expected = np.zeros_like(feature_map)
    for (y, x, channel), value in np.ndenumerate(feature_map):
        window = [
            float(feature_map[reflected(y + dy, size[0]), reflected(x + dx, size[1]), channel]) ** p
            for dy in range(-2, 3)
            for dx in range(-2, 3)
        ]
        expected[y, x, channel] = 0.3 * value + 0.7 * (math.fsum(window) / 25) ** (1 / p)
    np.testing.assert_allclose(regional_gem(feature_map, p, 5, 0.3), expected, 1e-5, 1e-6)
    options = {"regional_gem_p": p, "regional_gem_mix": 0.3}
    pooled = slow_pool(cells(expected, (0, 0, *size[::-1])), "gem", 4.6)
    np.testing.assert_allclose(make_pooling("gem", 4.6, **options)(feature_map), pooled, 1e-5, 1e-6)


def test_gem_takes_large_numbers_and_powers_and_dead_channels():
    feature_map = random_map((5, 7)) * np.float32(1e6)
    feature_map[..., 1] = 0
    found = make_pooling("gem", gem_p=30.0)(feature_map)
    exact = (np.maximum(feature_map, 1e-6).astype(np.longdouble) ** 30).mean(axis=(0, 1)) ** (np.longdouble(1) / 30)
    np.testing.assert_allclose(found, exact.astype(float), rtol=1e-5)


# Scales and heads


def test_scales_are_combined():
    rows = [np.array([3.0, -4.0, 0.02]), np.array([0.5, 0.0, -0.001]), np.array([0.2, 0.9, 0.0])]
    units = [slow_unit(row.tolist()) for row in rows]
    mean = slow_unit([math.fsum(column) / 3 for column in zip(*units)])
    np.testing.assert_allclose(combine_scales(rows), mean, rtol=1e-6)
    assert combine_scales(rows[:1], "gem_dirtorch").tolist() == unit(rows[0]).tolist()

    def power(value, p, least):
        return math.copysign(max(abs(value), least) ** p, value) if value else 0.0

    for method, least in (("gem", 0.0), ("gem_dirtorch", 1e-6)):
        means = [math.fsum(power(v, 3, least) for v in column) / 3 for column in zip(*units)]
        expected = slow_unit([power(m, 1 / 3, least) for m in means])
        np.testing.assert_allclose(combine_scales(rows, method), expected, rtol=1e-5)
    assert abs(combine_scales(rows, "gem_dirtorch")[2]) > abs(combine_scales(rows, "gem")[2])


def test_heads():
    weight, bias, vector = [[1.0, 2.0], [0.0, -1.0], [1.0, 1.0]], [0.5, 0.0, -1.0], np.array([3.0, 4.0])
    np.testing.assert_allclose(make_head("fc", weight, bias)(vector), slow_unit([11.5, -4, 6]), rtol=1e-6)
    normalised = slow_unit([0.6 + 1.6 + 0.5, -0.8, 0.4])
    np.testing.assert_allclose(make_head("whiten", weight, bias)(vector), normalised, rtol=1e-6)
    np.testing.assert_allclose(make_head("fc", weight, bias, norm_features=True)(vector), normalised, rtol=1e-6)
    assert unit(np.zeros((2, 3))).tolist() == np.zeros((2, 3)).tolist()
    with pytest.raises(ValueError, match=r"bias has the shape \[2\], not \[3\]"):
        make_head("fc", weight, bias[:2])


# Bad input


@pytest.mark.parametrize(
    "options, message",
    [
        ({"pooling": "maximum"}, "`pooling` is 'maximum'; it must be one of mac, spoc, gem, rmac"),
        ({"gem_p": 0.0}, "`gem_p` must be above 0"),
        ({"gem_p": [[3.0]]}, r"`gem_p` has the shape \[1, 1\]"),
        ({"gem_p": float("nan")}, "`gem_p` holds a number that is not finite"),
        ({"pooling": "rmac", "rmac_levels": 0}, "`rmac_levels` must be above 0"),
        ({"pooling": "rmac", "roi": "caffe"}, "`roi` must be one of map, dir, regional_attention"),
        ({"roi": "dir"}, "`roi` has no effect on the pooling gem"),
        ({"pooling": "rmac", "attention": ATTENTION}, "`attention` has no effect on the pooling rmac"),
        ({"pooling": "regional_attention"}, "needs weights of its attention"),
        ({"regional_gem_p": 2.5, "regional_gem_size": 4}, "`regional_gem_size` must be odd"),
    ],
)
def test_bad_settings_are_told(options, message):
    with pytest.raises(UserError, match=message):
        make_pooling(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"gem_p": [3.0, 3.0]},
        {"pooling": "rmac", "layer": layer(2)},
        {"pooling": "regional_attention", "attention": ATTENTION},
    ],
)
def test_parts_for_other_channels_are_told(options):
    with pytest.raises(UserError, match="is for maps of 2 channels, the network's have 4"):
        make_pooling(**options)(random_map((3, 4)))


def test_settings_tell_poolings_apart():
    parts = {"regional_attention": {"attention": wide_attention()}}
    made = [make_pooling(name, **parts.get(name, {})) for name in POOLINGS]
    made += [make_pooling(gem_p=4.6), make_pooling(gem_p=POWERS), make_pooling(regional_gem_p=2.5)]
    made += [make_pooling("rmac", rmac_levels=2), make_pooling("rmac", roi="dir"), make_pooling("rmac", layer=layer())]
    told = [str(pooling.settings()) for pooling in made]
    assert len(set(told)) == len(told)
    assert make_pooling("mac", gem_p=4.6).settings() == make_pooling("mac").settings()
