"""The exact mean field against loops, and the lattice against it."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from atrous.crf import DenseCRF, Lattice, exact_mean_field
from atrous.crf.exact import check_memory

CRF = DenseCRF(w1=4, sigma_alpha=67, sigma_beta=3, w2=3, sigma_gamma=3)
SCALES = {  # of the kernel between i and j, by the sums of i and j
    "symmetric": lambda i, j: 1 / math.sqrt(i * j),
    "before": lambda i, j: 1 / j,
    "after": lambda i, j: 1 / i,
    "none": lambda i, j: 1.0,
}


def softmax(logits: NDArray[Any]) -> NDArray[Any]:
    return np.exp(logits) / np.exp(logits).sum(0)


def looped(
    logits: NDArray[Any], kernels: list[tuple[NDArray[Any], float]], normalisation: str, mu: NDArray[Any], own: bool
) -> NDArray[Any]:
    """Return the marginals after three iterations, with a loop for every sum of the paper; `mu` is a penalty."""
    labels, points = logits.shape
    marginals = softmax(logits)
    for _ in range(3):
        penalty = np.zeros_like(logits)
        for features, weight in kernels:
            k = [[math.exp(-sum((f - g) ** 2) / 2) for g in features.T] for f in features.T]
            for i, j, x, other in itertools.product(range(points), range(points), range(labels), range(labels)):
                scale = SCALES[normalisation](sum(k[i]), sum(k[j]))
                penalty[x, i] += (own or i != j) * weight * mu[x, other] * scale * k[i][j] * marginals[other, j]
        marginals = softmax(logits - penalty)
    return marginals


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("normalisation", SCALES)
def test_exact_is_the_sum_over_all_pairs(normalisation: Any, own: bool) -> None:
    rng = np.random.default_rng(0)
    logits, kernels = rng.normal(size=(3, 6)), [(rng.normal(size=(5, 6)), 2.0), (rng.normal(size=(2, 6)), 0.7)]
    matrix = rng.normal(size=(3, 3))
    options: Any = {"iterations": 3, "normalisation": normalisation, "self_message": own}
    for compatibility, mu in ((None, 1 - np.eye(3)), (matrix[0], -np.diag(matrix[0])), (matrix, matrix)):
        ours = exact_mean_field(logits, kernels, compatibility=compatibility, **options)
        expected = looped(logits, kernels, normalisation, mu, own)
        np.testing.assert_allclose(ours, expected, atol=1e-12)


def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    logits, kernels = rng.normal(size=(2, 50)), [(rng.normal(size=(3, 50)), 2.0)]
    whole = exact_mean_field(logits, kernels, iterations=2)
    monkeypatch.setattr("atrous.crf.exact._BLOCK", 7 * 50)
    np.testing.assert_allclose(exact_mean_field(logits, kernels, iterations=2), whole, atol=1e-14)


def test_mode_exact_takes_the_features_of_image_volume_and_ones_own() -> None:
    rng = np.random.default_rng(2)
    volume, probabilities = rng.integers(0, 20, (2, 5, 6), np.uint8), softmax(rng.normal(size=(3, 2, 5, 6)))
    z, y, x = (axis.ravel() for axis in np.mgrid[:2, :5, :6].astype(float))
    bilateral = np.stack([x / 67, y / 67, z * 4 / 67, volume.ravel() / 3])
    own = rng.random((1, 2, 5, 6))
    expected = exact_mean_field(
        np.log(probabilities).reshape(3, -1),
        [(bilateral, 4), (np.stack([x, y, z * 4]) / 3, 3), (own.reshape(1, -1), 2)],
        iterations=10,
    ).reshape(3, 2, 5, 6)
    exact = replace(CRF, mode="exact")
    marginals = exact.volume(volume, probabilities, spacing=(4, 1, 1), pairwise=[(own, 2)])
    assert marginals.dtype == np.float32
    np.testing.assert_allclose(marginals, expected, atol=1e-5)
    np.testing.assert_allclose(
        exact(volume[0], logits=np.log(probabilities[:, 0])), exact(volume[0], probabilities[:, 0]), atol=1e-5
    )


def test_images_too_large_are_told_the_memory() -> None:
    words = (
        r"exact mean field of 375 x 500 pixels would take 261\.93 GiB for its pairs; 0\.25 GiB is the limit, that of "
        r"76 x 76 pixels: crop the image, or leave mode at 'full'"
    )
    with pytest.raises(ValueError, match=words):
        replace(CRF, mode="exact")(np.zeros((375, 500), np.uint8), np.full((2, 375, 500), 0.5, np.float32))
    check_memory((76, 76))
    check_memory((77, 77), memory=1 << 29)
    with pytest.raises(ValueError, match="of 77 x 77 pixels"):
        check_memory((77, 77))
    with pytest.raises(ValueError, match="of 9 pixels would take"):
        exact_mean_field(np.zeros((2, 9)), [], iterations=1, memory=8 * 80)


def test_exact_mode_refuses_what_cannot_be_exact() -> None:
    exact, image, probabilities = replace(CRF, mode="exact"), np.zeros((3, 4), np.uint8), np.full((2, 3, 4), 0.5)
    with pytest.raises(ValueError, match="exact, which uses no lattice: give the image and the features themselves"):
        exact(CRF.lattice(image), probabilities)
    with pytest.raises(ValueError, match="mode is exact, which uses no lattice"):
        exact(image, probabilities, pairwise=[(Lattice.of_positions((3, 4), sigma_gamma=1), 1)])
    with pytest.raises(ValueError, match=r"image holds infinity: 12 of 12 values, the first at pixel \(0, 0\) of ch"):
        exact(np.full((3, 4), np.inf, np.float32), probabilities)
    with pytest.raises(ValueError, match="features hold NaN or infinity"):
        exact(image, probabilities, pairwise=[(np.full((1, 3, 4), np.nan), 1)])
    with pytest.raises(ValueError, match="probabilities of a pixel must sum to 1"):
        exact(image, probabilities * 2)
    with pytest.raises(ValueError, match="mode is exact, which leaves nothing out: it takes no precision and no prune"):
        replace(exact, precision="float16", prune=0.1)


POINTS: Any = np.zeros((1, 6))


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"logits": [[0.0] * 6] * 2}, TypeError, "logits: a list came; a NumPy array is needed"),
        ({"logits": np.zeros(6)}, ValueError, "logits are float64 of shape (6,); numbers (labels, points) are needed"),
        ({"logits": np.zeros((0, 6))}, ValueError, "logits are float64 of shape (0, 6); numbers (labels, points) are"),
        ({"logits": np.full((2, 6), np.nan)}, ValueError, "logits hold NaN or infinity; every value must be finite"),
        ({"iterations": -1}, ValueError, "iterations is -1; 0 or more is needed"),
        ({"iterations": 1.5}, TypeError, "iterations is 1.5; a whole number is needed"),
        ({"normalisation": "x"}, ValueError, "normalisation is 'x'; symmetric, before, after or none is accepted"),
        ({"pairwise": [POINTS]}, TypeError, "kernel 0 of pairwise is a ndarray; a pair (features, weight) is needed"),
        ({"pairwise": [(POINTS, 1), (POINTS[:, :5], 1)]}, ValueError, "features of kernel 1 of pairwise are float64 of "
         "shape (1, 5); numbers (d, 6) are needed, of the points that the logits have"),
        ({"pairwise": [(POINTS[:0], 1)]}, ValueError, "features of kernel 0 of pairwise are float64 of shape (0, 6);"),
        ({"pairwise": [(POINTS * np.nan, 1)]}, ValueError, "features of kernel 0 of pairwise hold NaN or infinity; ev"),
        ({"pairwise": [(POINTS, np.nan)]}, ValueError, "the weight of kernel 0 of pairwise is nan; a finite number of"),
        ({"compatibility": np.eye(3)}, ValueError, "compatibility is for 3 labels, and 2 came; give a number for each"),
        ({"compatibility": np.array([1, np.nan])}, ValueError, "compatibility holds NaN, infinity or numbers above"),
    ],
)  # fmt: skip
def test_what_the_exact_sums_cannot_use_is_refused(changes: dict[str, Any], kind: type[Exception], words: str) -> None:
    given: dict[str, Any] = {"logits": np.zeros((2, 6)), "pairwise": [(POINTS, 1)], "iterations": 2} | changes
    with pytest.raises(kind, match=f"^{re.escape(words)}"):
        exact_mean_field(**given)


def test_what_is_finite_gives_marginals_however_large() -> None:
    logits, features = np.array([[1e308, 0.0], [-1e308, 0.0]]), np.array([[1e200, -1e200]])
    marginals = exact_mean_field(logits, [(features, 1e9)], iterations=2)
    np.testing.assert_allclose(marginals.sum(0), 1)


def photo(data_dir: Path, name: str, top: int, left: int) -> NDArray[np.uint8]:
    with Image.open(data_dir / "crf" / name) as image:
        return np.asarray(image.convert("RGB"))[top : top + 40, left : left + 40]


def enlarged(coarse: NDArray[Any]) -> NDArray[Any]:
    """Enlarge maps (labels, 6, 6) to 40 x 40, bilinearly."""
    grid = np.arange(6) * 8
    weights = np.stack([np.interp(np.arange(40), grid, corner) for corner in np.eye(6)], axis=1)
    return weights @ coarse @ weights.T


def scored(image: NDArray[np.uint8], labels: int = 6) -> NDArray[np.float32]:
    """Return probabilities like a network's: labels by colour at a stride of 8, with noise, enlarged as logits."""
    rng = np.random.default_rng(3)
    grey = np.pad(image.mean(-1), ((0, 8), (0, 8)), mode="edge").reshape(6, 8, 6, 8).mean((1, 3))
    centres = np.quantile(grey, (np.arange(labels) + 0.5) / labels)
    nearest = np.abs(grey - centres[:, None, None]).argmin(0)
    logits = 6 * np.moveaxis(np.eye(labels)[nearest], -1, 0) + rng.normal(size=(labels, 6, 6))
    return softmax(enlarged(logits)).astype(np.float32)


CROPS = [("im1.png", 60, 100), ("im2.png", 100, 60), ("im3.png", 40, 150), ("im3.png", 150, 60)]


@pytest.mark.parametrize("crop", CROPS)
@pytest.mark.parametrize("numbers", [(4, 67, 3, 3, 3), (5, 50, 3, 3, 3), (10, 80, 13, 3, 3)])
def test_lattice_is_near_the_exact_sums_on_photos(
    data_dir: Path, crop: tuple[str, int, int], numbers: tuple[float, ...]
) -> None:
    """A lattice's error is a few per cent per filter; labels differ far less than by what the CRF changes."""
    image = photo(data_dir, *crop)
    probabilities = scored(image)
    names = ("w1", "sigma_alpha", "sigma_beta", "w2", "sigma_gamma")
    crf = DenseCRF(**dict(zip(names, numbers, strict=True)))
    lattice, exact = crf(image, probabilities), replace(crf, mode="exact")(image, probabilities)
    agree = (lattice.argmax(0) == exact.argmax(0)).mean()
    changed = (probabilities.argmax(0) != exact.argmax(0)).mean()
    assert agree >= 0.93
    assert 1 - agree <= changed / 4
    assert np.abs(lattice - exact).mean() <= 0.025


@pytest.mark.parametrize("crop", CROPS)
def test_lattice_filters_as_the_gaussian_does_within_a_few_per_cent(data_dir: Path, crop: tuple[str, int, int]) -> None:
    image = photo(data_dir, *crop)
    values = scored(image)
    y, x = (axis.ravel() for axis in np.mgrid[:40, :40].astype(float))
    colours = image.reshape(-1, 3).T / 3
    lattices = {
        "bilateral": (
            Lattice.of_image(image, sigma_alpha=67, sigma_beta=3),
            np.stack([x / 67, y / 67, *colours]),
            0.15,
        ),
        "spatial": (Lattice.of_positions((40, 40), sigma_gamma=3), np.stack([x, y]) / 3, 0.03),
    }
    for lattice, features, most in lattices.values():
        kernel = np.exp(-0.5 * sum((f[:, None] - f) ** 2 for f in features))
        root = kernel.sum(0) ** -0.5
        exact = (values.reshape(6, -1) * root) @ kernel * root
        off = lattice.filter(values).reshape(6, -1) - exact
        assert np.linalg.norm(off) <= most * np.linalg.norm(exact)
