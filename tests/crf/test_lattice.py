"""Lattices that are made once: their filter, and which of them are kept."""

from __future__ import annotations

import re

import numpy as np
import pytest

from atrous import _core
from atrous.crf import Lattice
from atrous.crf import lattice as module


def test_filter_is_that_of_the_kernels() -> None:
    rng = np.random.default_rng(0)
    image, values = rng.integers(0, 30, (9, 10, 2), np.uint8), rng.random((3, 9, 10))
    lattice = Lattice.of_image(image, sigma_alpha=4, sigma_beta=5, normalisation="after", threads=1)
    y, x = np.mgrid[:9, :10].astype(np.float32)
    features = np.stack([x / 4, y / 4, *(np.moveaxis(image, -1, 0) / np.float32(5))])
    core = _core.build_lattice(features, normalisation="after", threads=1)
    flat = values.astype(np.float32).reshape(3, -1)
    np.testing.assert_array_equal(lattice.filter(values).reshape(3, -1), _core.filtered(core, flat))
    back = lattice.filter(values[:, ::-1], transposed=True)
    assert np.vdot(lattice.filter(values), values[:, ::-1]) == pytest.approx(np.vdot(values, back), rel=1e-5)
    assert not np.allclose(lattice.filter(values[:, ::-1]), back, rtol=1e-3)


def test_normalised_filter_of_ones() -> None:
    image, ones = np.random.default_rng(0).integers(0, 30, (20, 10), np.uint8), np.ones((1, 20, 10))
    after = Lattice.of_image(image, sigma_alpha=4, sigma_beta=5, normalisation="after")
    np.testing.assert_allclose(after.filter(ones), ones, atol=1e-5)
    unnormalised = Lattice.of_image(image, sigma_alpha=4, sigma_beta=5, normalisation="none")
    assert unnormalised.filter(ones).min() > 1


def test_values_of_another_shape_are_refused() -> None:
    lattice = Lattice.of_positions((3, 4), sigma_gamma=2)
    for bad in (np.zeros((2, 4, 3)), np.zeros((3, 4)), np.zeros((1, 3, 4), int)):
        words = f"values are {bad.dtype} of shape {bad.shape}; floating-point numbers (channels, 3, 4), of at"
        with pytest.raises(ValueError, match=re.escape(words)):
            lattice.filter(bad)
    with pytest.raises(TypeError, match="values: a list came"):
        lattice.filter([[1.0]])  # type: ignore[arg-type]


def test_parameters_are_checked() -> None:
    image = np.zeros((3, 4), np.uint8)
    with pytest.raises(ValueError, match="normalisation is 'mean'; symmetric, before, after or none is accepted"):
        Lattice.of_image(image, sigma_alpha=1, sigma_beta=1, normalisation="mean")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="sigma_beta is 0; a finite number above 0"):
        Lattice.of_image(image, sigma_alpha=1, sigma_beta=0)
    with pytest.raises(ValueError, match="sigma_gamma is 0; a finite number above 0"):
        Lattice.of_positions((3, 4), sigma_gamma=0)
    with pytest.raises(ValueError, match="threads is 0"):
        Lattice.of_image(image, sigma_alpha=1, sigma_beta=1, threads=0)
    for make in (
        lambda: Lattice.of_image(image, sigma_alpha=1, sigma_beta=1, threads=1.5),  # type: ignore[arg-type]
        lambda: Lattice.of_positions((3, 4), sigma_gamma=1, threads=1.5),  # type: ignore[arg-type]
        lambda: Lattice.of_features(np.zeros((1, 3, 4)), threads=1.5),  # type: ignore[arg-type]
    ):
        with pytest.raises(TypeError, match=r"^threads is 1\.5; a whole number is needed$"):
            make()


def test_shapes_of_positions_are_checked() -> None:
    for shape in ((2, 3, 4), (5,), 5):
        words = f"shape is {shape}; (h, w) is needed for a spacing of 2 numbers. An image has (h, w) and two, a volume"
        with pytest.raises(ValueError, match=f"^{re.escape(words)} "):
            Lattice.of_positions(shape, sigma_gamma=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^shape is \(2, 3\); \(d, h, w\) is needed for a spacing of 3 numbers"):
        Lattice.of_positions((2, 3), sigma_gamma=1, spacing=(1, 1, 1))
    with pytest.raises(ValueError, match=r"^a side of shape \(h, w\) is 0; 1 or more is needed$"):
        Lattice.of_positions((0, 3), sigma_gamma=1)
    with pytest.raises(TypeError, match=r"^a side of shape \(h, w\) is 2\.5; a whole number is needed$"):
        Lattice.of_positions((2.5, 3), sigma_gamma=1)  # type: ignore[arg-type]
    assert Lattice.of_positions((2, 3, 4), sigma_gamma=1, spacing=(1, 1, 1)).shape == (2, 3, 4)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_values_to_filter_are_finite(bad: float) -> None:
    values = np.ones((2, 3, 4))
    values[1, 2, 3] = bad
    with pytest.raises(
        ValueError, match=r"^values hold NaN or infinity, or are too large for float32; every value must"
    ):
        Lattice.of_positions((3, 4), sigma_gamma=2).filter(values)


def test_something_must_be_filtered() -> None:
    with pytest.raises(
        ValueError, match=r"^values are float64 of shape \(0, 3, 4\); .*, of at least one channel, are n"
    ):
        Lattice.of_positions((3, 4), sigma_gamma=2).filter(np.ones((0, 3, 4)))


def test_spatial_lattice_is_made_once_for_each_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KEPT", module._Kept())
    first = Lattice.of_positions((30, 31), sigma_gamma=3, threads=1)
    assert Lattice.of_positions((30, 31), sigma_gamma=3.0, threads=1) is first
    others = [
        Lattice.of_positions((31, 30), sigma_gamma=3, threads=1),
        Lattice.of_positions((30, 31), sigma_gamma=2, threads=1),
        Lattice.of_positions((30, 31), sigma_gamma=3, threads=2),
        Lattice.of_positions((30, 31), sigma_gamma=3, threads=1, normalisation="none"),
        Lattice.of_positions((30, 31), sigma_gamma=3, threads=1, spacing=(1, 2)),
    ]
    assert first not in others
    assert Lattice.of_positions((30, 31), sigma_gamma=3, threads=1) is first  # and so the one that was used last
    for height in range(1, module._Kept.most):
        Lattice.of_positions((height, 7), sigma_gamma=3)
    assert Lattice.of_positions((30, 31), sigma_gamma=3, threads=1) is first
    for height in range(module._Kept.most):
        Lattice.of_positions((height + 1, 8), sigma_gamma=3)
    assert Lattice.of_positions((30, 31), sigma_gamma=3, threads=1) is not first


def test_large_lattices_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KEPT", module._Kept())
    small = Lattice.of_positions((5, 5), sigma_gamma=3)
    monkeypatch.setattr(module._Kept, "most_bytes", 2 * module._bytes(small))
    large = Lattice.of_positions((20, 20), sigma_gamma=3)
    assert Lattice.of_positions((20, 20), sigma_gamma=3) is not large
    assert Lattice.of_positions((5, 5), sigma_gamma=3) is small
    for width in (6, 7):
        Lattice.of_positions((5, width), sigma_gamma=3)
    assert Lattice.of_positions((5, 5), sigma_gamma=3) is not small
