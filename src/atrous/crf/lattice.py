"""A lattice that is made once and used often: by several label sets, weights, heads, or frames."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous import _core
from atrous._core.implementations import available_threads
from atrous._core.lattice import Normalisation
from atrous.crf.checks import array, checked_features, checked_image, image_fault
from atrous.crf.features import Shape, Spacing, image_features, position_features
from atrous.crf.parameters import number, whole

FLAT: Spacing = (1.0, 1.0)
"""The spacing of an image's pixels."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Lattice:
    """The Gaussian filter of an image, or of any features, of `shape` (h, w) or (d, h, w).

    `settings` tells what it was made for, so that no CRF takes another's. Give it to a `DenseCRF` in place of the
    image, or of features of your own: what the CRF would make for itself at every call is then shared. Sweeps of the
    weights and of the iterations, other probabilities and other compatibilities leave it as it is.

    >>> from atrous.crf import DenseCRF
    >>> crf = DenseCRF(w1=4, sigma_alpha=67, sigma_beta=3, w2=3, sigma_gamma=3)
    >>> lattice = crf.lattice(np.zeros((3, 4, 3), np.uint8))
    >>> halves = np.full((2, 3, 4), 0.5, np.float32)
    >>> bool((crf(lattice, halves) == crf(np.zeros((3, 4, 3), np.uint8), halves)).all())
    True
    """

    core: _core.Lattice
    shape: Shape
    settings: tuple[tuple[str, Any], ...]

    @classmethod
    def of_image(
        cls,
        image: NDArray[Any],
        *,
        sigma_alpha: float,
        sigma_beta: float,
        normalisation: Normalisation = "symmetric",
        spacing: Spacing = FLAT,
        threads: int | None = None,
    ) -> Lattice:
        """Make the bilateral lattice: of positions over `sigma_alpha` and colours over `sigma_beta`.

        `image` is (h, w) or (h, w, c), uint8 or float32 in the units of `sigma_beta`; with a `spacing` of three numbers
        (dz, dy, dx) it is a volume (d, h, w) or (d, h, w, c), and `sigma_alpha` is in the units of the spacing.

        Raises `TypeError` and `ValueError` for another image, NaN or infinity in it, and parameters out of range.

        Source: Krahenbuhl and Koltun, NIPS 2011, equation 3, the first kernel.
        """
        spacing = checked_spacing(spacing)
        sigma_alpha = number("sigma_alpha", sigma_alpha, strictly=True)
        sigma_beta = number("sigma_beta", sigma_beta, strictly=True)
        pixels = checked_image(image, len(spacing))
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            features = image_features(pixels, sigma_alpha, sigma_beta, spacing)
        try:
            core = _built(features, normalisation, threads)
        except ValueError as error:
            if np.isfinite(features).all():
                raise
            raise ValueError(image_fault(pixels, sigma_alpha, sigma_beta)) from error
        settings = image_settings(sigma_alpha, sigma_beta, normalisation, spacing)
        return cls(core=core, shape=pixels.shape[:-1], settings=settings)

    @classmethod
    def of_positions(
        cls,
        shape: Shape,
        *,
        sigma_gamma: float,
        normalisation: Normalisation = "symmetric",
        spacing: Spacing = FLAT,
        threads: int | None = None,
    ) -> Lattice:
        """Make the spatial lattice of `shape` (h, w), or return that of an earlier call: the last few sizes are kept.

        With a `spacing` of three numbers (dz, dy, dx) the `shape` is a volume's, (d, h, w).

        Raises `TypeError` and `ValueError` for a shape and parameters out of range.

        Source: Krahenbuhl and Koltun, NIPS 2011, equation 3, the second kernel.
        """
        spacing = checked_spacing(spacing)
        settings = (
            ("sigma_gamma", number("sigma_gamma", sigma_gamma, strictly=True)),
            ("normalisation", normalisation),
            ("spacing", spacing),
        )
        shape = _checked_shape(shape, len(spacing))
        key = (shape, settings, available_threads(_checked_threads(threads)), _core.implementation())
        return _KEPT.get(key) or _KEPT.put(key, cls._of_positions(shape, dict(settings), threads))

    @classmethod
    def _of_positions(cls, shape: Shape, settings: dict[str, Any], threads: int | None) -> Lattice:
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            features = position_features(shape, settings["sigma_gamma"], settings["spacing"])
        if not np.isfinite(features[:, -1, ..., -1]).all():
            raise ValueError(small_sigma(settings["sigma_gamma"]))
        core = _built(features, settings["normalisation"], threads)
        return cls(core=core, shape=shape, settings=tuple(settings.items()))

    @classmethod
    def of_features(
        cls, features: NDArray[Any], *, normalisation: Normalisation = "symmetric", threads: int | None = None
    ) -> Lattice:
        """Make the lattice of any features (d, h, w), or (d, depth, h, w), divided by their sigmas already.

        Raises `TypeError` for what is no array, `ValueError` for other shapes and dtypes, NaN and infinity.
        """
        features = checked_features(features)
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused as such
            narrow = features.astype(np.float32, copy=False)
        core = _built(narrow, normalisation, threads)
        return cls(core=core, shape=features.shape[1:], settings=(("normalisation", normalisation),))

    def filter(self, values: NDArray[Any], *, transposed: bool = False) -> NDArray[np.float32]:
        """Return values (channels, h, w) or (channels, d, h, w), filtered with the Gaussian, float32 of the same shape.

        `transposed` is the adjoint, by which gradients go back.

        Raises `TypeError` for what is no array, `ValueError` for other shapes and dtypes, no channels, and values that
        are not finite.

        >>> Lattice.of_positions((2, 3), sigma_gamma=1).filter(np.ones((1, 2, 3))).shape
        (1, 2, 3)
        """
        values = array(values, "values")
        if values.dtype.kind != "f" or values.shape[1:] != self.shape or not len(values):
            raise ValueError(
                f"values are {values.dtype} of shape {values.shape}; floating-point numbers (channels, "
                f"{', '.join(map(str, self.shape))}), of at least one channel, are needed"
            )
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused as such
            flat = values.astype(np.float32, copy=False).reshape(len(values), -1)
        if not np.isfinite(flat).all():
            raise ValueError("values hold NaN or infinity, or are too large for float32; every value must be finite")
        return _core.filtered(self.core, flat, transposed=transposed).reshape(values.shape)


def image_settings(
    sigma_alpha: float, sigma_beta: float, normalisation: str, spacing: Spacing
) -> tuple[tuple[str, Any], ...]:
    """Return the `settings` of an image's lattice."""
    names = ("sigma_alpha", "sigma_beta", "normalisation", "spacing")
    return tuple(zip(names, (sigma_alpha, sigma_beta, normalisation, spacing), strict=True))


def check_settings(lattice: Lattice, wanted: tuple[tuple[str, Any], ...]) -> None:
    """Raise `ValueError` where a lattice was made for other settings than are wanted."""
    if lattice.settings != wanted:
        came, needed = (", ".join(f"{name} {value}" for name, value in each) for each in (lattice.settings, wanted))
        raise ValueError(f"the lattice has {came}; {needed} is needed: make it with lattice(image) of the same CRF")


def small_sigma(sigma_gamma: float) -> str:
    """Return why the features of positions are not finite."""
    return f"sigma_gamma is {sigma_gamma:g}, too small for float32; give a larger one"


def checked_spacing(spacing: Any) -> Spacing:
    """Return the spacing as a tuple of two or three floats.

    Raises `ValueError` for another number of them, or one that is not above 0.
    """
    if not isinstance(spacing, tuple | list | np.ndarray) or len(spacing) not in (2, 3):
        raise ValueError(f"spacing is {spacing!r}; (dz, dy, dx) is needed")
    return tuple(number("spacing", float(step), strictly=True) for step in spacing)


def _checked_shape(shape: Any, dimensions: int) -> Shape:
    """Return the shape as a tuple of whole numbers, two, or three where the spacing has three."""
    axes = "(h, w)" if dimensions == 2 else "(d, h, w)"
    if not isinstance(shape, tuple | list) or len(shape) != dimensions:
        raise ValueError(
            f"shape is {shape!r}; {axes} is needed for a spacing of {dimensions} numbers. An image has (h, w) and two, "
            "a volume (d, h, w) and three"
        )
    return tuple(whole(f"a side of shape {axes}", side, 1) for side in shape)


def _checked_threads(threads: int | None) -> int | None:
    return threads if threads is None else whole("threads", threads, 1)


def _built(features: NDArray[np.float32], normalisation: Normalisation, threads: int | None) -> _core.Lattice:
    """Build the lattice of features (d, *shape); a volume's slices lie below each other."""
    rows = features.reshape(len(features), -1, features.shape[-1])
    return _core.build_lattice(rows, normalisation=normalisation, threads=_checked_threads(threads))


class _Kept:
    """The lattices used last, as long as they take little memory."""

    most, most_bytes = 8, 1 << 26

    def __init__(self) -> None:
        self._lattices: OrderedDict[Any, Lattice] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Any) -> Lattice | None:
        with self._lock:
            if key in self._lattices:
                self._lattices.move_to_end(key)
            return self._lattices.get(key)

    def put(self, key: Any, lattice: Lattice) -> Lattice:
        if _bytes(lattice) > self.most_bytes:
            return lattice
        with self._lock:
            self._lattices[key] = lattice
            while len(self._lattices) > self.most or sum(map(_bytes, self._lattices.values())) > self.most_bytes:
                self._lattices.popitem(last=False)
        return lattice


def _bytes(lattice: Lattice) -> int:
    core = lattice.core
    arrays = (core.vertices, core.splat, core.chains, *(() if core.slice is core.splat else (core.slice,)))
    return sum(each.nbytes for each in arrays)


_KEPT = _Kept()
