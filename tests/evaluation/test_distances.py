"""Surface distances against a loop over all pairs of points, and against SciPy's distance transform."""

import itertools
import json
import math

import numpy as np
import pytest
from scipy.ndimage import binary_erosion, distance_transform_edt

from atrous.contract import LabelSpace
from atrous.evaluation import DISTANCE_DEFINITIONS, Distances, surface_distances
from atrous.evaluation.distances import surface
from atrous.evaluation.nearest import distances_to

SPACE = LabelSpace(names=("ground", "a", "b"))


@pytest.mark.parametrize("seed", range(25))
def test_nearest_against_scipy(seed):
    random = np.random.default_rng(seed)
    axes = 2 + seed % 2
    shape, spacing = tuple(random.integers(1, 14, axes)), tuple(random.uniform(0.2, 3, axes))
    points, others = random.random(shape) < 0.3, random.random(shape) < random.uniform(0.01, 0.5)
    others.flat[random.integers(others.size)] = True
    expected = distance_transform_edt(~others, sampling=spacing)[points]
    np.testing.assert_allclose(distances_to(points, others, spacing), expected, rtol=1e-12)


@pytest.mark.parametrize("shape", [(60, 70), (300, 400), (3, 510), (3, 1500)])
def test_nearest_with_one_spacing_is_exact_too(shape):
    """OpenCV's distances of the last are too far from the exact ones to be rounded to them, and are not taken."""
    random = np.random.default_rng(0)
    points, others = random.random(shape) < 0.3, np.zeros(shape, bool)
    others[random.integers(3), random.integers(9)] = True
    expected = distance_transform_edt(~others, sampling=(0.3, 0.3))[points]
    np.testing.assert_allclose(distances_to(points, others, (0.3, 0.3)), expected, rtol=1e-14)


def test_nearest_of_nothing():
    some, none = np.ones((2, 2), bool), np.zeros((2, 2), bool)
    assert distances_to(none, some, (1, 1)).size == 0
    assert np.isinf(distances_to(some, none, (1, 1))).all()


def loop_surface(region):
    points = {tuple(place) for place in np.argwhere(region).tolist()}
    units = [tuple(sign * (axis == other) for other in range(region.ndim))
             for axis in range(region.ndim) for sign in (-1, 1)]  # fmt: skip
    return [p for p in points if any(tuple(map(sum, zip(p, unit, strict=True))) not in points for unit in units)]


def slowly(truth, found, spacing):
    surfaces = [loop_surface(region) for region in (truth, found)]
    ways = [
        [min(math.dist(*(np.multiply(place, spacing) for place in (p, q))) for q in other) for p in one]
        for one, other in (surfaces, surfaces[::-1])
    ]
    far = max(float(np.percentile(way, 95)) for way in ways)
    return far, sum(itertools.chain(*ways)) / sum(map(len, ways))


@pytest.mark.parametrize(("shape", "spacing"), [((9, 11), (1, 1)), ((9, 11), (0.5, 2)), ((4, 6, 5), (2.5, 1, 0.7))])
@pytest.mark.parametrize("seed", range(3))
def test_against_a_loop(shape, spacing, seed):
    random = np.random.default_rng(seed)
    truth, found = random.random((2, *shape)) < 0.4
    expected = slowly(truth, found, spacing)
    np.testing.assert_allclose(surface_distances(truth, found, spacing=spacing), expected, rtol=1e-12)
    labels = [each.astype(np.uint8) for each in (truth, found)]
    scores = Distances.of(*labels, SPACE, spacing=spacing, unit="mm")
    np.testing.assert_allclose([scores.hausdorff95[1], scores.average[1]], expected, rtol=1e-12)
    assert scores.unit == "mm"


def test_against_scipy_on_a_volume():
    """Two balls in voxels that are three times as thick as wide."""
    z, y, x = np.ogrid[:16, :40, :40]
    balls = [((z - 8) * 3) ** 2 + (y - 20) ** 2 + (x - each) ** 2 < 15**2 for each in (18, 22)]
    spacing = (3.0, 1.0, 1.0)
    surfaces = [ball & ~binary_erosion(ball) for ball in balls]
    np.testing.assert_array_equal(surface(balls[0]), surfaces[0])
    ways = [distance_transform_edt(~other, sampling=spacing)[one] for one, other in (surfaces, surfaces[::-1])]
    expected = max(np.percentile(way, 95) for way in ways), np.concatenate(ways).mean()
    np.testing.assert_allclose(surface_distances(*balls, spacing=spacing), expected, rtol=1e-12)


def test_classes_of_one_side_are_counted_apart():
    truth, found = np.zeros((2, 6, 6), np.uint8)
    truth[1, 1], found[4, 4] = 1, 2
    scores = Distances.of(truth, found, SPACE)
    assert np.isnan([*scores.hausdorff95[1:], *scores.average[1:]]).all()
    assert (scores.missed.tolist(), scores.false.tolist()) == ([0, 1, 0], [0, 0, 1])
    both = scores + Distances.of(truth, np.roll(truth, 2, 1), SPACE)
    assert (both.hausdorff95[1], both.average[1], both.missed[1]) == (2, 2, 1)
    document = json.loads(json.dumps(both.as_json(), allow_nan=False))
    row = {"name": "a", "hausdorff95": 2.0, "average_distance": 2.0, "images": 1, "missed": 1, "false": 0}
    assert document["classes"][1] == row
    assert document["classes"][2]["hausdorff95"] is None
    assert (document["missed"], document["false"], document["unit"], document["images"]) == (1, 1, "pixels", 2)
    text = both.as_text()
    assert all(words in text for words in DISTANCE_DEFINITIONS.values())
    (line,) = [line.split() for line in text.splitlines() if line.startswith("b ")]
    assert line == ["b", "-", "-", "0", "0", "1"]


def test_perfect_is_zero_and_the_mean_is_over_images_then_classes():
    truth = np.kron(np.uint8([[0, 1], [2, 0]]), np.ones((5, 5), np.uint8))
    scores = Distances.of(truth, truth, SPACE, spacing=(2, 3))
    assert (scores.mean_hausdorff95, scores.mean_average, scores.unit) == (0, 0, "units of the spacing")
    values = np.full((3, 3, 2), np.nan)
    values[0, 1], values[1, 1], values[0, 2] = (2, 1), (4, 2), (9, 6)
    scores = Distances(space=SPACE, values=values, present=~np.isnan(values), unit="mm")
    np.testing.assert_allclose([scores.mean_hausdorff95, scores.mean_average], [6, 3.75])


def test_void_makes_no_surface():
    truth = np.zeros((9, 20), np.uint8)
    truth[:, 5:10] = 1
    truth[:, 10:] = 255
    found = np.zeros_like(truth)
    found[:, 5:16] = 1
    scores = Distances.of(truth, found, SPACE)
    assert scores.hausdorff95[1] == 0
    everywhere = np.full((3, 3), 255, np.uint8)
    assert math.isnan(Distances.of(everywhere, found[:3, :3], SPACE).mean_average)
    truth[:] = 255
    truth[4, 4] = 1  # void all around: the pixel is its own surface
    assert Distances.of(truth, np.ones_like(truth), SPACE).average[1] == 0


@pytest.mark.parametrize(
    ("truth", "options", "words"),
    [
        (np.zeros((2, 2)), {}, r"truth is float64 of shape \(2, 2\); labels are uint8 of shape \(h, w\) or"),
        (np.zeros((0, 2), np.uint8), {}, r"truth is uint8 of shape \(0, 2\)"),
        (np.zeros((2, 3), np.uint8), {}, r"truth is \(2, 3\) and predicted \(2, 2\); give both the same size"),
        (np.full((2, 2), 7, np.uint8), {}, r"truth has label 7; 3 classes are 0\.\.2"),
        (np.zeros((2, 2), np.uint8), {"spacing": (1, 0)}, r"spacing \(1\.0, 0\.0\) came; it is a positive number"),
        (np.zeros((2, 2), np.uint8), {"spacing": (1, 1, 1)}, "for each of the 2 axes"),
        (np.zeros((2, 2), np.uint8), {"spacing": (1, float("nan"))}, r"spacing \(1\.0, nan\) came"),
    ],
)
def test_what_is_refused(truth, options, words):
    with pytest.raises(ValueError, match=words):
        Distances.of(truth, np.zeros((2, 2), np.uint8), SPACE, **options)


def test_units_are_not_mixed():
    truth = np.zeros((2, 2), np.uint8)
    with pytest.raises(ValueError, match="distances in pixels and in mm came"):
        Distances.of(truth, truth, SPACE) + Distances.of(truth, truth, SPACE, spacing=(1, 1), unit="mm")


@pytest.mark.parametrize("far", [3, 5, 9, 17, 40])
def test_the_nearest_may_be_far_along_the_middle_axis(far):
    points, others = np.zeros((2, 50, 42, 60), bool)
    points[0, 0, [0, 1, 59]] = True
    others[far, far, 30] = True
    steps = (0.5, 2.0, 3.0)
    expected = np.sqrt((0.5 * far) ** 2 + (2 * far) ** 2 + (3.0 * np.array([30, 29, 29])) ** 2)
    np.testing.assert_allclose(distances_to(points, others, steps), expected)
