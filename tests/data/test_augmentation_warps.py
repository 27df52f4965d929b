"""The one warp: image and labels never shift against each other, whatever the geometry, the type and the size."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atrous.contract import Sample
from atrous.data.augmentation import (
    LIGHT,
    NONE,
    STRONG,
    Augmentation,
    crop_sample,
    drawn_warp,
    placement,
    source_map,
    warped,
    warped_labels,
)
from atrous.data.augmentation.warps import warped_numbers

CLASSES = 6
TURNED = replace(NONE, scale=(0.6, 1.7), flip=0.5, rotation=180.0, shear=20.0, vertical_flip=0.5, crops="anywhere")
GEOMETRIES = {
    "affine": TURNED,
    "perspective": replace(TURNED, perspective=0.2),
    "elastic": replace(TURNED, elastic=2.0),
    "all": replace(TURNED, perspective=0.1, elastic=2.0),
}


def speckle(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, CLASSES, (height, width), dtype=np.uint8)


def one_hot(labels):
    return np.eye(CLASSES, dtype=np.float32)[labels]


@pytest.mark.parametrize("name", GEOMETRIES)
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), height=st.integers(1, 40), width=st.integers(1, 40), margin=st.sampled_from([0, 9])
)
def test_labels_are_those_of_the_image_s_nearest_pixel(name, seed, height, width, margin):
    labels, random = speckle(height, width, seed), np.random.default_rng(seed)
    where = drawn_warp(labels, (31, 23), random, augmentation=GEOMETRIES[name], margin=margin)
    found = warped_labels(labels, where, (31, 23))
    shares = warped(one_hot(labels), where, (31, 23), fill=(0.0,))
    rows, columns = np.nonzero(found != 255)
    # The nearest of four pixels has at least a quarter of the weight; OpenCV's positions are 1/32 of a pixel coarse.
    assert (shares[rows, columns, found[rows, columns]] > 0.25 - 1 / 16).all()
    assert shares[found == 255].sum(-1).max(initial=0) < 0.5 + 1 / 16


@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_shift_of_half_a_pixel_would_be_seen(name):
    labels, random = speckle(40, 40), np.random.default_rng(3)
    where = drawn_warp(labels, (31, 23), random, augmentation=GEOMETRIES[name])
    shares = warped(one_hot(labels), where, (31, 23), fill=(0.0,))
    shifted = np.array(where)
    if shifted.ndim == 3:
        shifted[0] += 0.6
    else:
        shifted[0] += 0.6 * (shifted[2] if len(shifted) == 3 else np.array([0, 0, 1]))
    found = warped_labels(labels, shifted, (31, 23))
    rows, columns = np.nonzero(found != 255)
    assert not (shares[rows, columns, found[rows, columns]] > 0.25 - 1 / 16).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("mirror", [False, True])
def test_any_type_and_channels(dtype, channels, mirror):
    image = np.random.default_rng(0).integers(0, 200, (20, 30, channels)).astype(dtype)
    for augmentation in GEOMETRIES.values():
        where = drawn_warp(np.zeros((20, 30), np.uint8), (40, 36), np.random.default_rng(1), augmentation=augmentation)
        out = warped(image, where, (40, 36), fill=tuple(range(channels)), mirror=mirror)
        assert (out.dtype, out.shape) == (dtype, (40, 36, channels))
        inside = warped(np.ones((20, 30, 1), np.float32), where, (40, 36), fill=(0.0,))[..., 0]
        if not mirror:
            outside = out[inside == 0]
            np.testing.assert_array_equal(outside, np.broadcast_to(np.arange(channels), outside.shape))


def test_elastic_displacements_are_those_of_the_grid_and_bicubic_between():
    random = np.random.default_rng(0)
    bend = random.normal(0, 10, (2, 3, 3))
    map_ = source_map(np.eye(3), bend, (41, 61))
    nodes = map_[:, ::20, ::30] - np.mgrid[0:41:20, 0:61:30][::-1]
    np.testing.assert_allclose(nodes, bend, atol=1e-4)
    # Half way between two points Keys' weights are -1/16, 9/16, 9/16, -1/16; beyond the ends the last is repeated.
    left, middle, right = bend[0, 1]
    expected = -left / 16 + 9 / 16 * left + 9 / 16 * middle - right / 16
    np.testing.assert_allclose(map_[0, 20, 15] - 15, expected, atol=1e-4)


@pytest.mark.parametrize("perspective", [0.0, 0.1])
def test_a_map_is_the_displacement_and_then_the_matrix(perspective):
    bend = np.random.default_rng(0).normal(0, 4, (2, 3, 3))
    matrix = np.array([[1.3, 0.2, 7], [-0.3, 0.8, -5], [perspective / 30, -perspective / 40, 1]])
    displaced = source_map(np.eye(3), bend, (30, 50)).astype(float)
    x, y, w = np.tensordot(matrix, np.stack([*displaced, np.ones((30, 50))]), 1)
    found = source_map(matrix if perspective else matrix[:2], bend, (30, 50))
    np.testing.assert_allclose(found, np.stack([x / w, y / w]), atol=1e-3)


def test_a_map_without_displacement_warps_as_its_matrix():
    image = (np.random.default_rng(0).integers(0, 255, (50, 60, 3))).astype(np.uint8)
    for augmentation in (TURNED, GEOMETRIES["perspective"]):
        matrix = drawn_warp(image[..., 0], (33, 34), np.random.default_rng(0), augmentation=augmentation)
        map_ = source_map(matrix, np.zeros((2, 3, 3)), (33, 34))
        for mirror in (False, True):
            one = warped(image, matrix, (33, 34), fill=(0.0,), mirror=mirror)
            two = warped(image, map_, (33, 34), fill=(0.0,), mirror=mirror)
            assert np.abs(one.astype(int) - two).max() <= 10  # 1/32 of a pixel of noise


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 1), (5, 6), (90, 80)])
@pytest.mark.parametrize("channels", [1, 3, 6])
def test_mirrored_surroundings_are_those_of_numpy(shape, channels):
    image = np.random.default_rng(0).integers(0, 255, (*shape, channels)).astype(np.uint8)
    big = np.pad(image, ((200, 200), (200, 200), (0, 0)), mode="reflect" if min(shape) > 1 else "symmetric")
    if min(shape) == 1:  # NumPy has no mirror for a side of one
        big = np.pad(image, ((200, 200), (200, 200), (0, 0)), mode="edge" if max(shape) == 1 else "wrap")
        if max(shape) > 1:
            axis = int(np.argmax(shape))
            widths = [(0, 0)] * 3
            widths[axis] = (200, 200)
            big = np.pad(image, widths, mode="reflect")
            widths = [(200, 200), (200, 200), (0, 0)]
            widths[axis] = (0, 0)
            big = np.pad(big, widths, mode="edge")
    for top, left in ((-150, -30), (3, 2), (20, -7), (shape[0] + 20, shape[1] + 9), (-60, shape[1] - 4)):
        where = np.array([[1.0, 0, left], [0, 1, top]])
        out = warped(image, where, (50, 40), fill=(0.0,), mirror=True)
        np.testing.assert_array_equal(out, big[200 + top : 250 + top, 200 + left : 240 + left])


def test_what_lies_outside_is_ignored_wherever_the_crop_turns():
    ones = np.ones((30, 30), np.uint8)
    seen = [
        (warped_labels(ones, drawn_warp(ones, (30, 30), np.random.default_rng(seed), augmentation=TURNED), (30, 30)))
        for seed in range(30)
    ]
    assert set(np.unique(seen)) == {1, 255}
    assert 0.05 < np.mean(np.array(seen) == 255) < 0.7


def test_object_numbers_are_moved_as_labels_are():
    numbers = np.random.default_rng(0).integers(1, 2**31 - 1, (20, 30)).astype(np.int32)
    labels = (numbers % 200).astype(np.uint8)
    for augmentation in GEOMETRIES.values():
        where = drawn_warp(labels, (25, 25), np.random.default_rng(5), augmentation=augmentation)
        moved, expected = warped_numbers(numbers, where, (25, 25)), warped_labels(labels, where, (25, 25))
        assert moved.dtype == np.int32
        np.testing.assert_array_equal(np.where(moved == 0, 255, moved % 200), expected)


def test_angles_are_the_angles():
    random = np.random.default_rng(0)
    plain = replace(NONE, rotation=30.0)
    angles = []
    for _ in range(300):
        matrix = drawn_warp(np.zeros((9, 9), np.uint8), (9, 9), random, augmentation=plain)
        np.testing.assert_allclose(matrix[:, :2] @ matrix[:, :2].T, np.eye(2), atol=1e-9)
        np.testing.assert_allclose(matrix @ [4, 4, 1], [4, 4], atol=1e-9)  # about the middle
        angles.append(np.rad2deg(np.arctan2(matrix[1, 0], matrix[0, 0])))
    assert -30 <= min(angles) < -27
    assert 27 < max(angles) <= 30


def test_perspective_changes_sizes_by_its_share():
    plain = replace(NONE, perspective=0.1)
    sizes = []
    for seed in range(200):
        matrix = drawn_warp(np.zeros((41, 41), np.uint8), (41, 41), np.random.default_rng(seed), augmentation=plain)
        sizes.append((matrix @ [40, 20, 1])[2] - 1)
    assert -0.1 <= min(sizes) < -0.08
    assert 0.08 < max(sizes) <= 0.1


@pytest.mark.parametrize("shape", [(3, 40_000), (40_000, 3)])
@pytest.mark.parametrize("mirror", [False, True])
def test_sides_that_opencv_refuses(shape, mirror):
    labels = speckle(*shape)
    sample = Sample(image=labels[..., None] * np.uint8(40), labels=labels)
    for augmentation in (replace(STRONG, elastic=2.0), LIGHT):
        seen = 0
        for seed in range(5):
            image, found = crop_sample(
                sample, (17, 19), np.random.default_rng(seed), augmentation=augmentation, mirror=mirror
            )
            assert (image.shape, found.shape) == ((17, 19, 1), (17, 19))
            seen += int((found != 255).any())
        assert seen


def test_the_identity_touches_nothing():
    image = np.random.default_rng(0).integers(0, 255, (23, 31, 3)).astype(np.uint8)
    matrix = placement(image.shape, (23, 31), factor=1, flip=False, at=(0, 0))
    for where in (matrix, np.vstack([matrix, [0, 0, 1]]), source_map(matrix, np.zeros((2, 3, 3)), (23, 31))):
        np.testing.assert_array_equal(warped(image, where, (23, 31), fill=(0.0,)), image)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"scale": (2, 1)}, r"scale \(2, 1\) is \(smallest, largest\), above 0"),
        ({"rotation": 181}, "rotation 181 came; an angle from 0 to 180 degrees is accepted"),
        ({"perspective": 0.3}, "perspective 0.3 came; a share from 0 to 0.2 is accepted"),
        ({"flip": -0.1}, "flip -0.1 came; a chance from 0 to 1 is accepted"),
        ({"elastic": float("nan")}, "elastic nan came; a standard deviation from 0 to 1000 pixels"),
        ({"crops": "left"}, "crops 'left' is not known; there are middle, anywhere, balanced, foreground"),
        ({"class_weights": (1, -1)}, r"class_weights \(1, -1\) are 0 or more, one per class"),
        ({"brightness": 2}, "brightness 2 came; a relative change from 0 to 1"),
        ({"hue": 1}, "hue 1 came; a turn from 0 to half a circle"),
        ({"jpeg": 101}, "jpeg 101 came; a quality from 0 to 100"),
        ({"gamma": -1}, "gamma -1 came; a change of the exponent's logarithm from 0 to 3"),
        ({"shear": 90}, "shear 90 came; an angle from 0 to 60 degrees"),
        ({"noise": 2}, "noise 2 came; a standard deviation from 0 to 1, as a share of the range"),
    ],
)
def test_ranges_that_cannot_be(fields, words):
    with pytest.raises(ValueError, match=words):
        Augmentation(**fields)
