"""Mean field against matrices and against the marginals of the authors' program, its properties, and its words."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise as pairs
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from atrous._core import Lattice, build_lattice, filtered, implementations, lattice_twin, mean_field, self_response

SETTINGS = [
    "gauss_sym",
    "bilat_sym",
    "both_sym",
    "both_before",
    "both_after",
    "both_none",
    "deeplab",
    "matrix_compat",
]
Pairwise = list[tuple[Lattice, float]]

# Both implementations, but for the tests that choose themselves.
both = pytest.mark.usefixtures("kernels")


def positions(shape: tuple[int, int], sigma: float) -> NDArray[np.float32]:
    """Return the columns and rows of pixels, divided by a standard deviation."""
    rows, columns = np.indices(shape, np.float32)
    return np.stack([columns, rows]) / np.float32(sigma)


def colours(shape: tuple[int, int], seed: int = 1) -> NDArray[np.float32]:
    """Return noisy colours of 0 to 255, two halves of which differ."""
    noise = np.random.default_rng(seed).normal(0, 12, (3, *shape))
    halves = np.where(np.arange(shape[1]) * 2 < shape[1], 80, 160)
    return np.clip(np.round(noise + halves), 0, 255).astype(np.float32)


def kernels_of(shape: tuple[int, int], *, threads: int = 1) -> Pairwise:
    """Return a bilateral and a spatial kernel with their weights."""
    bilateral = np.concatenate([positions(shape, 6), colours(shape) / np.float32(13)])
    return [
        (build_lattice(bilateral, threads=threads), 4.0),
        (build_lattice(positions(shape, 2), threads=threads), 1.5),
    ]


def probabilities(labels: int, points: int, seed: int = 2) -> NDArray[np.float32]:
    """Return probabilities of which a few are large."""
    shares = np.random.default_rng(seed).random((labels, points), np.float32) ** 4 + np.float32(1e-7)
    return shares / shares.sum(axis=0)


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the softmax over labels."""
    powers = np.exp(logits - logits.max(axis=0))
    return powers / powers.sum(axis=0)


def steps_by_matrix(
    unary: NDArray[np.float32],
    pairwise: Pairwise,
    iterations: int,
    *,
    compatibility: NDArray[np.float32] | None = None,
    self_message: bool = True,
) -> list[NDArray[np.float64]]:
    """Return the marginals before the first iteration and after each, with the filters as one dense matrix."""
    points = unary.shape[1]
    matrix = np.zeros((points, points))
    for lattice, weight in pairwise:
        response = filtered(lattice, np.eye(points, dtype=np.float32)).T.astype(np.float64)
        matrix += weight * (response if self_message else response - np.diag(self_response(lattice)))
    logits = np.log(np.clip(unary.astype(np.float64), 1e-5, 1))
    steps = [softmax(logits)]
    for _ in range(iterations):
        message = steps[-1] @ matrix.T
        if compatibility is not None:
            vector = compatibility.ndim == 1
            message = compatibility[:, None] * message if vector else -(compatibility.astype(np.float64) @ message)
        steps.append(softmax(logits + message))
    return steps


@both
@pytest.mark.parametrize("labels", [*range(1, 10), 15, 16, 17, 21, 24, 25, 33, 70, 150])
@pytest.mark.parametrize("kind", ["potts", "vector", "matrix"])
def test_equals_matrices(labels: int, kind: str) -> None:
    generator = np.random.default_rng(labels)
    compatibility = {
        "potts": None,
        "vector": generator.normal(1, 1, labels).astype(np.float32),
        "matrix": generator.normal(0, 1, (labels, labels)).astype(np.float32),
    }[kind]
    unary, pairwise = probabilities(labels, 91), kernels_of((7, 13))
    marginals = mean_field(unary, pairwise, iterations=3, from_probabilities=True, compatibility=compatibility)
    expected = steps_by_matrix(unary, pairwise, 3, compatibility=compatibility)[-1]
    assert marginals is not None
    assert (marginals.shape, marginals.dtype) == ((labels, 91), np.float32)
    np.testing.assert_allclose(marginals, expected, atol=5e-5)
    np.testing.assert_allclose(marginals.sum(axis=0), 1, atol=1e-5)


@both
@pytest.mark.parametrize("dimensions", range(1, 9))
def test_kernels_of_any_dimension(dimensions: int) -> None:
    features = np.random.default_rng(dimensions).standard_normal((dimensions, 17, 11), np.float32)
    pairwise = [(build_lattice(features, threads=2), 3.0), (build_lattice(positions((17, 11), 2), threads=2), 1.0)]
    for chosen in (pairwise[:1], pairwise, [*pairwise, pairwise[0]]):
        unary = probabilities(5, 187)
        marginals = mean_field(unary, chosen, iterations=4, from_probabilities=True)
        np.testing.assert_allclose(marginals, steps_by_matrix(unary, chosen, 4)[-1], atol=5e-5)


@both
@pytest.mark.parametrize("labels", [2, 5, 21])
def test_without_what_a_point_tells_itself(labels: int) -> None:
    unary, pairwise = probabilities(labels, 91), kernels_of((7, 13))
    marginals = mean_field(unary, pairwise, iterations=3, from_probabilities=True, self_message=False)
    expected = steps_by_matrix(unary, pairwise, 3, self_message=False)
    np.testing.assert_allclose(marginals, expected[-1], atol=5e-5)
    assert np.abs(expected[-1] - steps_by_matrix(unary, pairwise, 3)[-1]).max() > 0.01


@both
def test_what_a_point_tells_itself_is_the_filters_diagonal() -> None:
    # Every vertex is there in the middle of a dense grid.
    lattice = build_lattice(positions((31, 31), 4))
    diagonal = np.diag(filtered(lattice, np.eye(961, dtype=np.float32))).reshape(31, 31)
    own = self_response(lattice).reshape(31, 31)
    np.testing.assert_allclose(own[9:22, 9:22], diagonal[9:22, 9:22], rtol=1e-5)
    line = build_lattice(np.linspace(0, 20, 400, dtype=np.float32).reshape(1, 20, 20), normalisation="after")
    diagonal = np.diag(filtered(line, np.eye(400, dtype=np.float32)))
    np.testing.assert_allclose(self_response(line)[50:-50], diagonal[50:-50], rtol=1e-5)


@both
@pytest.mark.parametrize("labels", [2, 3, 21])
def test_strips_do_not_matter(labels: int) -> None:
    unary = probabilities(labels, 29 * 17)
    one, two, three = (
        mean_field(unary, kernels_of((29, 17), threads=strips), iterations=5, from_probabilities=True)
        for strips in (1, 2, 3)
    )
    assert kernels_of((29, 17), threads=3)[0][0].strips == 3
    np.testing.assert_allclose(two, one, atol=2e-5)
    np.testing.assert_allclose(three, one, atol=2e-5)


@pytest.mark.parametrize("shape", [(1, 23), (23, 1), (7, 13), (1, 1), (33, 19)])
@pytest.mark.parametrize("labels", [*range(1, 10), 17, 33, 70, 150])
@pytest.mark.parametrize("self_message", [True, False])
def test_both_implementations_agree(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int], labels: int, self_message: bool
) -> None:
    unary = probabilities(labels, shape[0] * shape[1])
    found = []
    for core in ("", "numpy"):
        monkeypatch.setenv("ATROUS_CORE", core)
        pairwise = kernels_of(shape, threads=2)
        marginals = mean_field(
            unary, pairwise, iterations=5, from_probabilities=True, self_message=self_message, settle=0.05
        )
        found.append(marginals)
    assert np.abs(found[0] - found[1]).mean() < 1e-5
    assert np.quantile(np.abs(found[0] - found[1]), 0.999) < 1e-3


@both
def test_logits_are_used_as_they_are() -> None:
    unary, pairwise = probabilities(4, 91), kernels_of((7, 13))
    expected = mean_field(unary, pairwise, iterations=3, from_probabilities=True)
    logits = np.log(np.clip(unary, 1e-5, 1)) + np.random.default_rng(3).normal(0, 5, 91).astype(np.float32)
    np.testing.assert_allclose(
        mean_field(logits, pairwise, iterations=3, from_probabilities=False), expected, atol=1e-4
    )


@both
def test_nothing_told_is_the_softmax() -> None:
    unary, pairwise = probabilities(6, 91), kernels_of((7, 13))
    expected = steps_by_matrix(unary, [], 0)[0]
    for chosen, iterations in ((pairwise, 0), ([], 0), ([], 4)):
        marginals = mean_field(unary, chosen, iterations=iterations, from_probabilities=True)
        np.testing.assert_allclose(marginals, expected, atol=1e-6)


@both
def test_certain_probabilities_are_clipped() -> None:
    unary = np.zeros((3, 91), np.float32)
    unary[np.arange(91) % 3, np.arange(91)] = 1
    marginals = mean_field(unary, kernels_of((7, 13)), iterations=0, from_probabilities=True)
    assert marginals is not None
    np.testing.assert_allclose(np.unique(marginals.round(8)), [1e-5, 1], rtol=1e-3)


@both
@pytest.mark.parametrize("labels", [2, 4])
def test_large_logits_make_finite_marginals(labels: int) -> None:
    logits = np.random.default_rng(4).choice(np.float32([-3e38, -1e9, -200, 0, 200, 1e9, 3e38]), (labels, 91))
    for compatibility in (None, np.eye(labels, dtype=np.float32) * -50):
        marginals = mean_field(
            logits, kernels_of((7, 13)), iterations=3, from_probabilities=False, compatibility=compatibility
        )
        assert marginals is not None
        assert np.isfinite(marginals).all()
        np.testing.assert_allclose(marginals.sum(axis=0), 1, atol=1e-5)


def in_a_gap(values: NDArray[Any]) -> float:
    """Return a number near the median that no value is close to."""
    middle = np.sort(values)[len(values) // 3 : 2 * len(values) // 3]
    widest = int(np.argmax(np.diff(middle)))
    return float(middle[widest] + middle[widest + 1]) / 2


@both
@pytest.mark.parametrize("labels", [3, 5, 17])
@pytest.mark.parametrize("self_message", [True, False])
def test_settled_points_keep_their_marginals(labels: int, self_message: bool) -> None:
    unary, pairwise = probabilities(labels, 91), kernels_of((7, 13))

    def after(iterations: int, settle: float) -> NDArray[np.float32]:
        marginals = mean_field(
            unary, pairwise, iterations=iterations, from_probabilities=True, self_message=self_message, settle=settle
        )
        assert marginals is not None
        return marginals

    second, without = after(2, 0), after(6, 0)
    settle = 1 - in_a_gap(second.max(axis=0))
    settled = second.max(axis=0) > 1 - settle
    np.testing.assert_allclose(after(2, settle), second, atol=1e-6)
    marginals = after(6, settle)
    np.testing.assert_allclose(marginals[:, settled], second[:, settled], atol=1e-6)
    assert np.abs(without - second)[:, settled].max() > 1e-3
    assert np.abs(marginals - second)[:, ~settled].max(axis=0).min() > 1e-6


@both
@pytest.mark.parametrize("labels", [3, 5, 17])
def test_points_that_have_not_settled_go_on(labels: int) -> None:
    unary, pairwise = probabilities(labels, 91), kernels_of((7, 13))
    second, third = steps_by_matrix(unary, pairwise, 3)[2:]
    least = in_a_gap(second.max(axis=0))
    kept = np.where(second.max(axis=0) > least, second, third)
    marginals = mean_field(unary, pairwise, iterations=3, from_probabilities=True, settle=1 - least)
    np.testing.assert_allclose(marginals, kept, atol=5e-5)


@both
def test_two_labels_in_a_potts_model_never_settle() -> None:
    settings: Any = {"iterations": 4, "from_probabilities": True}
    unary, pairwise = probabilities(2, 91), kernels_of((7, 13))
    expected = mean_field(unary, pairwise, **settings)
    np.testing.assert_array_equal(mean_field(unary, pairwise, settle=0.3, **settings), expected)


@both
@pytest.mark.parametrize("number", [0, 3])
def test_labels_that_are_not_kept_are_one(number: float) -> None:
    unary, pairwise = probabilities(6, 91), kernels_of((7, 13))
    kept = np.int32([1, 3, 4])
    merged = np.concatenate([unary[kept], unary[[0, 2, 5]].sum(axis=0, keepdims=True)])
    weights = np.float32([1, 2, 0.5, number])
    settings: Any = {"iterations": 4, "from_probabilities": True, "compatibility": weights}
    expected = mean_field(merged, pairwise, **settings)
    marginals = mean_field(unary, pairwise, kept=kept, **settings)
    assert marginals is not None
    assert expected is not None
    np.testing.assert_allclose(marginals[kept], expected[:-1], atol=1e-6)
    np.testing.assert_allclose(marginals[[0, 2, 5]].sum(axis=0), expected[-1], atol=1e-6)
    shares = (unary[[0, 2, 5]] + 1e-5) / (unary[[0, 2, 5]] + 1e-5).sum(axis=0)
    np.testing.assert_allclose(marginals[[0, 2, 5]], shares * expected[-1], atol=1e-6)


def steps_and_tolerances(labels: int) -> tuple[Pairwise, list[NDArray[np.float32]], list[tuple[int, float]]]:
    """Return kernels, the marginals after 0 to 8 iterations, and tolerances with the first iteration below each."""
    unary, pairwise = probabilities(labels, 61 * 53), kernels_of((61, 53), threads=3)
    steps = [mean_field(unary, pairwise, iterations=count, from_probabilities=True) for count in range(9)]
    changes = [np.abs(after - before)[:, ::16].mean() for before, after in pairs(steps)]
    assert changes == sorted(changes, reverse=True)
    return pairwise, steps, [(last, (changes[last - 2] * changes[last - 1]) ** 0.5) for last in (2, 4, 6)]


@both
@pytest.mark.parametrize("labels", [2, 5, 17])
def test_tolerance_ends_the_iterations(labels: int) -> None:
    # The iteration after the one that changed little is the last.
    pairwise, steps, tolerances = steps_and_tolerances(labels)
    for last, tolerance in tolerances:
        marginals = mean_field(
            probabilities(labels, 61 * 53), pairwise, iterations=8, from_probabilities=True, tolerance=tolerance
        )
        equal = [count for count, step in enumerate(steps) if np.abs(step - marginals).max() < 2e-5]
        assert equal == [last + 1]


@both
@pytest.mark.parametrize("labels", [2, 3, 8, 21])
def test_half_precision_differs_little(labels: int) -> None:
    unary, pairwise = probabilities(labels, 91), kernels_of((7, 13))
    single = mean_field(unary, pairwise, iterations=3, from_probabilities=True)
    half = mean_field(unary, pairwise, iterations=3, from_probabilities=True, precision="float16")
    np.testing.assert_allclose(half, single, atol=2e-2)


@both
@pytest.mark.parametrize("labels", [1, 2, 21])
@pytest.mark.parametrize("place", [(0, 0), (-1, -1), (0, 48), (-1, 64)])
def test_a_value_that_is_not_finite_cannot_be_used(labels: int, place: tuple[int, int]) -> None:
    pairwise = kernels_of((17, 5), threads=2)
    for wrong in (np.nan, np.inf, -np.inf):
        for from_probabilities in (True, False):
            unary = probabilities(labels, 85)
            unary[place] = wrong
            assert mean_field(unary, pairwise, iterations=2, from_probabilities=from_probabilities) is None


@both
@pytest.mark.parametrize("place", [0, 48, 84])
def test_what_is_not_a_probability_cannot_be_used(place: int) -> None:
    pairwise = kernels_of((17, 5), threads=2)

    def usable(*values: float) -> bool:
        unary = np.full((len(values), 85), 1 / len(values), np.float32)
        unary[:, place] = values
        return mean_field(unary, pairwise, iterations=1, from_probabilities=True) is not None

    assert usable(1, 0)
    assert usable(0.501, 0.503, 0)
    assert usable(0.2, 0.3, 0.491)
    assert not usable(-0.001, 1.001)
    assert not usable(0.3, 0.9, -0.2)
    assert not usable(0.5, 0.52)
    assert not usable(0.5, 0.48)
    assert not usable(0, 0)
    assert not usable(1, 1, 1)
    assert not usable(3e38, 3e38)


@both
def test_views_are_read_and_left_unchanged() -> None:
    pairwise = kernels_of((7, 13))
    unary = np.ascontiguousarray(probabilities(6, 91).T)[::-1].T
    before = unary.copy()
    marginals = mean_field(unary, pairwise, iterations=3, from_probabilities=True)
    np.testing.assert_array_equal(marginals, mean_field(before, pairwise, iterations=3, from_probabilities=True))
    np.testing.assert_array_equal(unary, before)


def refused(words: str, unary: NDArray[Any], pairwise: Pairwise, compatibility: Any = None) -> None:
    """Expect a `ValueError` of exactly these words."""
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        mean_field(unary, pairwise, iterations=1, from_probabilities=True, compatibility=compatibility)


@both
def test_wrong_arguments_are_refused() -> None:
    good, pairwise = probabilities(3, 91), kernels_of((7, 13))
    for bad in (good.astype(np.float64), good[0], good[:0], good[:, :0]):
        words = f"unary is {bad.dtype} of shape {bad.shape}; float32 of shape (labels, points) is needed"
        refused(words, bad, pairwise)
    refused(
        "a lattice has points of (7, 13) in 1 strips; 90 points, of (7, 13) in 1 strips as the first lattice's, are "
        "needed",
        good[:, :90],
        pairwise,
    )
    mixed = [kernels_of((29, 17), threads=2)[0], kernels_of((29, 17), threads=3)[0]]
    refused(
        "a lattice has points of (29, 17) in 3 strips; 493 points, of (29, 17) in 2 strips as the first lattice's, are "
        "needed",
        probabilities(3, 493),
        mixed,
    )
    turned = [kernels_of((29, 17), threads=2)[0], kernels_of((17, 29), threads=2)[0]]
    refused(
        "a lattice has points of (17, 29) in 2 strips; 493 points, of (29, 17) in 2 strips as the first lattice's, are "
        "needed",
        probabilities(3, 493),
        turned,
    )
    refused(
        "weights come to 2e+30 with the compatibility; below 1e+24 is needed",
        good,
        [(lattice, 1e20) for lattice, _ in pairwise],
        np.full(3, 1e10, np.float32),
    )
    with pytest.raises(ValueError, match=r"^iterations is -1; 0 or more is needed$"):
        mean_field(good, pairwise, iterations=-1, from_probabilities=True)
    for kept in ([2, 0], [0, 0], [0, 9], [0, 1, 2], []):
        words = f"kept is {kept}; some of the labels 0..2 are needed, in ascending order"
        with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
            mean_field(good, pairwise, iterations=1, from_probabilities=True, kept=np.int32(kept))
    for shape in ((2,), (3, 2), (2, 3), (3, 3, 1), ()):
        words = f"compatibility has shape {shape}; (3,) or (3, 3) is needed, for 3 labels"
        refused(words, good, pairwise, np.ones(shape, np.float32))


@pytest.fixture
def _no_compiled_kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "atrous._core._kernels", None)
    monkeypatch.delattr("atrous._core._kernels", raising=False)
    monkeypatch.delenv("ATROUS_CORE", raising=False)
    implementations._chosen.cache_clear()
    lattice_twin._tell_the_cost.cache_clear()
    yield
    implementations._chosen.cache_clear()  # else every later test would run on NumPy


@pytest.mark.usefixtures("_no_compiled_kernels")
def test_the_cost_of_missing_kernels_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "atrous"):
        for _ in range(2):
            mean_field(probabilities(3, 91), kernels_of((7, 13)), iterations=1, from_probabilities=True)
    missing, cost = (record.getMessage() for record in caplog.records)
    assert missing.startswith("the compiled kernels are missing")
    assert cost == (
        "a fully connected CRF takes seconds for an image in NumPy: about 1.5 s for 500 x 375 pixels and 21 labels "
        "on one processor, 3.5 s without SciPy"
    )


def test_the_cost_is_not_told_to_who_asked_for_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lattice_twin._tell_the_cost.cache_clear()
    monkeypatch.setenv("ATROUS_CORE", "numpy")
    with caplog.at_level(logging.WARNING, "atrous"):
        mean_field(probabilities(3, 91), kernels_of((7, 13)), iterations=1, from_probabilities=True)
    assert caplog.records == []


@pytest.mark.parametrize("labels", [1, 2, 21])
def test_numpy_alone_equals_scipy(monkeypatch: pytest.MonkeyPatch, labels: int) -> None:
    monkeypatch.setenv("ATROUS_CORE", "numpy")
    unary, pairwise = probabilities(labels, 29 * 17), kernels_of((29, 17), threads=2)
    expected = mean_field(unary, pairwise, iterations=5, from_probabilities=True)
    monkeypatch.setitem(sys.modules, "scipy.sparse", None)
    np.testing.assert_allclose(
        mean_field(unary, kernels_of((29, 17), threads=2), iterations=5, from_probabilities=True), expected, atol=2e-5
    )


def golden_kernels(setting: dict[str, Any], image: NDArray[np.uint8]) -> tuple[Pairwise, NDArray[np.float32] | None]:
    """Return the kernels of a setting of the authors' program, and its matrix of penalties if it has one."""
    word = setting["norm"].removeprefix("NORMALIZE_").lower()
    normalisation = "none" if word == "no_normalization" else word
    pairwise, compatibility = [], None
    if "g" in setting:
        features = positions(image.shape[:2], setting["g"][0])
        pairwise.append((build_lattice(features, normalisation=normalisation), float(setting["gc"])))
    if "b" in setting:
        (sigma, _), (spread, _, _) = setting["b"]
        colours = np.moveaxis(image, -1, 0) / np.float32(spread)
        features = np.concatenate([positions(image.shape[:2], sigma), colours])
        is_matrix = isinstance(setting["bc"], list)
        compatibility = np.array(setting["bc"], np.float32) if is_matrix else None
        weight = 1.0 if is_matrix else float(setting["bc"])
        pairwise.append((build_lattice(features, normalisation=normalisation), weight))
    return pairwise, compatibility


@both
@pytest.mark.parametrize("name", SETTINGS)
def test_marginals_are_those_of_the_authors_program(data_dir: Path, name: str) -> None:
    settings = json.loads((data_dir / "crf" / "meta.json").read_text())["configs"]
    assert sorted(settings) == sorted(SETTINGS)
    with np.load(data_dir / "crf" / "densecrf2d_96.npz") as golden:
        pairwise, compatibility = golden_kernels(settings[name], golden["image_rgb"])
        unary = golden["prob"].reshape(3, -1)
        for iterations in (1, 2, 5, 10):
            expected = golden[f"{name}_q{iterations}"].reshape(3, -1)
            marginals = mean_field(
                unary, pairwise, iterations=iterations, from_probabilities=True, compatibility=compatibility
            )
            assert marginals is not None
            difference = np.abs(marginals - expected)
            assert (marginals.argmax(axis=0) == expected.argmax(axis=0)).mean() >= 0.9999
            assert difference.mean() <= 1e-6
            assert np.quantile(difference, 0.9999) <= 1e-3


def test_too_many_lattices() -> None:
    unary, pairwise = probabilities(3, 91), [*kernels_of((7, 13))] * 9
    with pytest.raises(ValueError, match=r"^18 lattices came; 16 are the most$"):
        mean_field(unary, pairwise, iterations=1, from_probabilities=True)
    marginals = mean_field(unary, pairwise[:16], iterations=1, from_probabilities=True)
    weighted = [(lattice, 8 * weight) for lattice, weight in pairwise[:2]]
    np.testing.assert_allclose(marginals, mean_field(unary, weighted, iterations=1, from_probabilities=True), atol=1e-4)


def test_arrays_of_a_lattice_are_taken_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATROUS_CORE", "compiled")
    lattice, _ = kernels_of((7, 13))[0]
    wrong = replace(lattice, vertices=lattice.vertices.astype(np.int64))
    with pytest.raises(RuntimeError, match="bad_cast"):
        filtered(wrong, np.zeros((1, 91), np.float32))


@both
def test_negative_weights_and_large_penalties_make_marginals() -> None:
    unary, pairwise = probabilities(3, 91), kernels_of((7, 13))
    for weight, compatibility in ((-300.0, None), (1e3, np.full((3, 3), 1e20, np.float32))):
        marginals = mean_field(
            unary,
            [(lattice, weight) for lattice, _ in pairwise],
            iterations=2,
            from_probabilities=True,
            compatibility=compatibility,
        )
        assert marginals is not None
        np.testing.assert_allclose(marginals.sum(axis=0), 1, atol=1e-5)
