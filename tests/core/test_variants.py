"""The kernels for other processors than this one's best: the same lattice, and the same sums but for rounding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from atrous._core import Lattice, build_lattice, filtered, mean_field

_kernels: Any = pytest.importorskip("atrous._core._kernels", reason="atrous was installed without a compiler")
VARIANTS = ("plain", "avx2", "avx512")


@pytest.fixture
def best() -> Iterator[str]:
    """Return the variant in use, and choose it again afterwards."""
    name = str(_kernels.variant())
    yield name
    assert _kernels.use_variant(name)


def made() -> tuple[Lattice, Lattice]:
    """Return the lattices of a random image with smooth parts, in two strips."""
    generator = np.random.default_rng(5)
    rows, columns = np.indices((33, 47), np.float32)
    colours = np.round(generator.random((3, 33, 47), np.float32) * 40) + 3 * columns
    bilateral = np.concatenate([np.stack([columns, rows]) / np.float32(20), colours / np.float32(13)])
    return build_lattice(bilateral, threads=2), build_lattice(np.stack([columns, rows]) / np.float32(3), threads=2)


def here() -> list[str]:
    """Return the variants that this processor runs."""
    name = _kernels.variant()
    runs = [variant for variant in VARIANTS if _kernels.use_variant(variant)]
    _kernels.use_variant(name)
    return runs


def test_the_best_is_chosen_and_plain_runs_everywhere(best: str) -> None:
    assert here()[0] == "plain"
    assert here()[-1] == best


def test_an_unknown_variant_is_refused(best: str) -> None:
    assert not _kernels.use_variant("abacus")
    assert _kernels.variant() == best


@pytest.mark.parametrize("variant", here())
def test_points_lie_in_the_same_simplices(variant: str, best: str) -> None:
    expected = made()
    assert _kernels.use_variant(variant)
    for lattice, other in zip(made(), expected, strict=True):
        np.testing.assert_array_equal(lattice.vertices, other.vertices)
        np.testing.assert_array_equal(lattice.chains, other.chains)
        np.testing.assert_allclose(lattice.splat, other.splat, rtol=1e-5)


@pytest.mark.parametrize("labels", [2, 3, 8, 21, 70])
@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize("variant", here())
def test_marginals_agree(variant: str, precision: Any, labels: int, best: str) -> None:
    bilateral, spatial = made()
    unary = np.random.default_rng(6).dirichlet(np.ones(labels), 33 * 47).T.astype(np.float32).copy()
    settings: Any = {"iterations": 5, "from_probabilities": True, "precision": precision}
    expected = mean_field(unary, [(bilateral, 4.0), (spatial, 3.0)], **settings)
    assert _kernels.use_variant(variant)
    marginals = mean_field(unary, [(bilateral, 4.0), (spatial, 3.0)], **settings)
    np.testing.assert_allclose(marginals, expected, atol=1e-5 if precision == "float32" else 2e-2)


@pytest.mark.parametrize("channels", [1, 5, 16, 64, 65])
@pytest.mark.parametrize("variant", here())
def test_filters_agree(variant: str, channels: int, best: str) -> None:
    lattice, _ = made()
    values = np.random.default_rng(7).random((channels, 33 * 47), np.float32)
    expected = filtered(lattice, values)
    assert _kernels.use_variant(variant)
    np.testing.assert_allclose(filtered(lattice, values), expected, atol=1e-6)
