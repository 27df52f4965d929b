"""Probabilities smoothed over the frames of a video."""

import cv2
import numpy as np
import pytest
import torch

from atrous.prediction.smoothing import difference, followed, is_cut, smoothed, smoothing


@pytest.mark.parametrize("array", [np.asarray, torch.asarray])
def test_a_share_of_the_frame_before(array):
    before, now = np.random.default_rng(0).random((2, 3, 4, 5), np.float32)
    found = smoothed(array(before), array(now), 0.25)
    np.testing.assert_allclose(np.asarray(found), 0.25 * before + 0.75 * now, rtol=1e-6)
    assert found.dtype == array(now).dtype
    np.testing.assert_array_equal(np.asarray(smoothed(array(before), array(now), 0.0)), now)


def test_sums_stay_one_and_inputs_as_they_are():
    before, now = np.random.default_rng(0).dirichlet([1, 1, 1], (2, 4)).astype(np.float32).transpose(0, 2, 1)
    copies = before.copy(), now.copy()
    np.testing.assert_allclose(smoothed(before, now, 0.6).sum(0), 1, rtol=1e-6)
    np.testing.assert_array_equal((before, now), copies)


def test_arguments_that_are_refused():
    one = np.zeros((1, 2, 3))
    for share in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match=r"share .* came; a share from 0 to below 1 is accepted"):
            smoothed(one, one, share)
    with pytest.raises(ValueError, match=r"\(1, 2, 3\) came before \(1, 3, 2\); frames have one shape"):
        smoothed(one, one.transpose(0, 2, 1), 0.5)


def test_what_is_a_cut():
    frame = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    smooth = np.tile(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], (48, 1, 3))
    assert not is_cut(frame, frame)
    assert not is_cut(smooth, np.roll(smooth, 2, axis=1))  # a camera that pans
    assert not is_cut(smooth, np.clip(smooth.astype(int) + 25, 0, 255).astype(np.uint8))  # a cloud that goes
    assert is_cut(smooth, smooth[:, ::-1])
    assert is_cut(frame, frame[:-1])
    assert difference(np.zeros((1, 1, 3), np.uint8), np.full((1, 1, 3), 7, np.uint8)) == 7


def test_a_film_is_smoothed_afresh_after_a_cut():
    steady = smoothing(0.5)
    day, night = np.full((4, 4, 3), 200, np.uint8), np.zeros((4, 4, 3), np.uint8)
    frames = [(day, 0.0), (day, 1.0), (day, 1.0), (night, 0.0), (night, 1.0), (night[:2], 1.0)]
    found = [steady(frame, np.full((2, *frame.shape[:2]), level, np.float32)) for frame, level in frames]
    assert [each[0, 0, 0] for each in found] == [0, 0.5, 0.75, 0, 0.5, 1]


def scene(shift):
    """Return a frame (64, 96, 3) of blurred noise that moved to the right, and where a square of it is."""
    noise = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (64, 96), dtype=np.uint8), (0, 0), 2)
    noise = cv2.normalize(noise, None, 0, 255, cv2.NORM_MINMAX)
    square = np.zeros((64, 96), np.float32)
    square[20:40, 30:50] = 1
    return np.repeat(np.roll(noise, shift, 1)[..., None], 3, 2), np.roll(square, shift, 1)


def test_maps_follow_what_moves():
    (before, square), (after, wanted) = scene(0), scene(4)
    maps = np.stack([square, 1 - square])
    moved = followed(maps, before, after)
    assert np.abs(square - wanted).mean() > 5 * np.abs(moved[0] - wanted).mean()
    np.testing.assert_allclose(moved.sum(0), 1, atol=1e-5)
    assert moved.dtype == np.float32
    np.testing.assert_array_equal(moved, followed(maps, before, after))


def test_what_moves_leaves_no_trail():
    steady = smoothing(0.8)
    for shift in (0, 4, 8, 12):
        frame, square = scene(shift)
        found = steady(frame, np.stack([square, 1 - square]))
    assert np.abs(found[0] - square).mean() < 0.02


@pytest.mark.parametrize("size", [(1, 1), (8, 64), (31, 40), (32, 257), (300, 32)])
def test_frames_too_small_for_motion_come_back_as_they_are(size):
    maps = np.random.default_rng(0).random((2, *size), np.float32)
    before, after = np.random.default_rng(1).integers(0, 255, (2, *size, 3), dtype=np.uint8)
    np.testing.assert_array_equal(followed(maps, before, after), maps)


@pytest.mark.parametrize("size", [(32, 32), (32, 256), (256, 32), (45, 77)])
def test_sizes_that_motion_takes(size):
    maps = np.random.default_rng(0).random((2, *size), np.float32)
    frames = np.random.default_rng(1).integers(0, 255, (2, *size, 3), dtype=np.uint8)
    assert np.isfinite(followed(maps, *frames)).all()
