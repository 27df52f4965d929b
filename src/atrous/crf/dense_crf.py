"""The fully connected CRF of Krahenbuhl and Koltun (NIPS 2011, arXiv 1210.5644), as DeepLab uses it.

Every pixel is joined with every other. The energy of a labelling x is

    E(x) = sum_i -log P(x_i) + sum_ij [x_i != x_j] (w1 k1(i, j) + w2 k2(i, j))
    k1 = exp(-|p_i - p_j|^2 / 2 sigma_alpha^2 - |I_i - I_j|^2 / 2 sigma_beta^2)    bilateral: near and of like colour
    k2 = exp(-|p_i - p_j|^2 / 2 sigma_gamma^2)                                     spatial: near

with positions p in pixels and colours I in 0..255. Mean field approximates it by marginals Q of single pixels: an
iteration filters each label's map with both kernels and takes the softmax of what they add to the logits. The
permutohedral lattice makes a filter's cost linear in the pixels; what the kernels' normalisation is changes what the
weights mean, so it is a parameter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from atrous._core.implementations import available_threads
from atrous._core.lattice import Normalisation
from atrous.crf import parameters
from atrous.crf.checks import array, one_of
from atrous.crf.inference import Pairwise, refined
from atrous.crf.lattice import FLAT, Lattice, checked_spacing

FAST: dict[str, Any] = {"precision": "float16", "prune": 0.1, "settle": 3e-3, "tolerance": 2e-5}
"""What `mode="fast"` puts where a parameter is left at its default; `settle` is less where the weights are large."""

_SURE = 0.36
"""The logarithm of how sure a pixel must be to settle, for each unit of weight: what kernels may say, they can undo."""


@dataclass(frozen=True, kw_only=True)
class DenseCRF:
    """Mean-field inference in a fully connected CRF, with the papers' names.

    `w1`, `sigma_alpha` (pixels) and `sigma_beta` (the image's units) are the bilateral kernel's, `w2` and `sigma_gamma`
    (pixels) the spatial one's; a weight of 0 leaves a kernel out. `iterations` 0 gives the softmax of what came.

    `normalisation` divides a kernel by what it makes of ones: on both sides by the root ("symmetric", PyDenseCRF's
    default), "before" or "after" filtering (the 2011 code, CRF-as-RNN), or not at all ("none", whose gain depends on
    the image). `compatibility` is "potts"; an array (labels,), by which each label's message is multiplied; or one
    (labels, labels), the penalty of each pair. `self_message=False` takes off what a pixel tells itself, as the paper's
    algorithm does and the published programs do not.

    `mode` is "full"; "fast", which puts the values of `FAST` where the four parameters below are left at their
    defaults and can be had; or "exact", the sum over all pairs, for small images.
    `precision` "float16" halves the memory of the lattice's values, with the normalisations "symmetric" and "before".
    `prune` merges labels whose probability is nowhere as high into one that gets no messages, but not with a matrix of
    penalties. `settle`: of three labels or more, a pixel whose largest marginal is above 1 - settle after two
    iterations stays as it is. `tolerance`: once the mean change of the marginals is below it, one more iteration is the
    last. `threads` defaults to every processor.

    Raises `TypeError` and `ValueError` for parameters out of range.

    Source: Krahenbuhl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials", NIPS
    2011; Chen et al., DeepLab v1 (arXiv 1412.7062) section 3.2 (the names).

    >>> image = np.uint8([[[0], [0], [0], [200], [200]]])
    >>> probabilities = np.float32([[[0.9, 0.9, 0.4, 0.1, 0.1]], [[0.1, 0.1, 0.6, 0.9, 0.9]]])
    >>> crf = DenseCRF(w1=4, sigma_alpha=67, sigma_beta=3, w2=0, sigma_gamma=3)
    >>> crf(image, probabilities).argmax(0).tolist()
    [[0, 0, 0, 1, 1]]
    """

    w1: float
    sigma_alpha: float
    sigma_beta: float
    w2: float
    sigma_gamma: float
    iterations: int = 10
    normalisation: Normalisation = "symmetric"
    compatibility: Any = "potts"
    self_message: bool = True
    mode: Literal["full", "fast", "exact"] = "full"
    precision: Literal["float32", "float16"] = "float32"
    prune: float = 0.0
    settle: float = 0.0
    tolerance: float = 0.0
    threads: int | None = None

    def __post_init__(self) -> None:
        for name, value in self._checked():
            object.__setattr__(self, name, value)
        lossy = [
            field.name for field in fields(self) if field.name in FAST and getattr(self, field.name) != field.default
        ]
        if self.mode == "exact" and lossy:
            raise ValueError(f"mode is exact, which leaves nothing out: it takes no {' and no '.join(lossy)}")
        if self.precision == "float16" and not self._sums_are_small:
            raise ValueError(
                f"precision is float16 and normalisation {self.normalisation}, which adds up values until they are too "
                "large for half precision: give precision float32, or normalisation symmetric or before"
            )
        if self.prune and self._has_matrix:
            raise ValueError(
                f"prune is {self.prune:g}: it merges labels, which the penalties of a compatibility matrix tell apart; "
                "leave prune at 0, or give a number per label"
            )

    def _checked(self) -> Iterator[tuple[str, Any]]:
        for name in ("sigma_alpha", "sigma_beta", "sigma_gamma"):
            yield name, parameters.number(name, getattr(self, name), strictly=True)
        for name in ("w1", "w2", "tolerance"):
            yield name, parameters.number(name, getattr(self, name), below=parameters.VAST)
        for name in ("prune", "settle"):
            yield name, parameters.number(name, getattr(self, name), below=1)
        yield "iterations", parameters.whole("iterations", self.iterations, 0, most=100_000)
        yield "threads", self.threads if self.threads is None else parameters.whole("threads", self.threads, 1)
        yield "compatibility", parameters.compatibility(self.compatibility)
        yield "self_message", parameters.switch("self_message", self.self_message)
        for name, choices in _CHOICES.items():
            yield name, parameters.choice(name, getattr(self, name), choices)

    def __call__(
        self,
        image: NDArray[Any] | Lattice,
        probabilities: NDArray[Any] | None = None,
        *,
        logits: NDArray[Any] | None = None,
        pairwise: Pairwise = (),
    ) -> NDArray[np.float32]:
        """Return the marginals (labels, h, w) float32; what came is left as it is.

        `image` is (h, w, c) or (h, w) of any number of channels, uint8, or float32 in the units of sigma_beta; or its
        `lattice`, whose number of threads then holds. Exactly one of `probabilities` and `logits` is given, (labels, h,
        w) floating point; probabilities are clipped to 1e-5..1. `pairwise` adds kernels of your own: pairs of features
        (d, h, w), divided by their sigmas already, or a `Lattice` of them, and a weight.

        Raises `TypeError` where it is not exactly one of the two, or no array; `ValueError` for another dtype or shape,
        for NaN and infinity, probabilities that are negative or do not sum to 1 within 0.01, and with mode="exact" for
        an image that is too large.
        """
        return refined(self._spelt_out(), image, one_of(probabilities, logits), FLAT, pairwise)

    def volume(
        self,
        image: NDArray[Any] | Lattice,
        probabilities: NDArray[Any] | None = None,
        *,
        logits: NDArray[Any] | None = None,
        spacing: Sequence[float] = (1.0, 1.0, 1.0),
        pairwise: Pairwise = (),
    ) -> NDArray[np.float32]:
        """Return the marginals (labels, d, h, w) float32 of a volume (d, h, w) or (d, h, w, c).

        `spacing` (dz, dy, dx) is the distance of neighbours, in the units of sigma_alpha and sigma_gamma. All else is
        as for an image, which a volume of one slice equals.

        Raises `TypeError` and `ValueError` as an image does, and for a spacing that is not three numbers above 0.
        """
        spacing = checked_spacing(spacing)
        if len(spacing) != 3:
            raise ValueError(f"spacing is {spacing}; (dz, dy, dx) is needed")
        return refined(self._spelt_out(), image, one_of(probabilities, logits), spacing, pairwise)

    def batch(
        self,
        images: NDArray[Any],
        probabilities: NDArray[Any] | None = None,
        *,
        logits: NDArray[Any] | None = None,
    ) -> NDArray[np.float32]:
        """Return the marginals (n, labels, h, w) float32 of images (n, h, w, c) or (n, h, w).

        `threads` images are refined at a time, with one thread each.

        Raises `TypeError` and `ValueError` as a single image does, with its number.
        """
        from concurrent.futures import ThreadPoolExecutor

        images, given = array(images, "images"), one_of(probabilities, logits)
        if given.values.ndim != 4 or images.ndim not in (3, 4) or len(images) != len(given.values):
            raise ValueError(
                f"images have shape {images.shape} and {given.name} {given.values.shape}; (n, h, w) or (n, h, w, c) "
                "and (n, labels, h, w) are needed"
            )
        marginals = np.empty(given.values.shape, np.float32)
        workers = max(1, min(available_threads(self.threads), len(images)))
        single = replace(self, threads=max(1, available_threads(self.threads) // workers))

        def refine(index: int) -> None:
            try:
                marginals[index] = single(images[index], **{given.name: given.values[index]})
            except ValueError as error:
                raise ValueError(f"image {index} of the batch: {error}") from error

        with ThreadPoolExecutor(workers) as pool:
            for _ in pool.map(refine, range(len(images))):
                pass
        return marginals

    def lattice(self, image: NDArray[Any], *, spacing: Sequence[float] = FLAT) -> Lattice:
        """Return the bilateral lattice of an image, or with three numbers as `spacing` of a volume.

        Give it in place of the image to this CRF, or to one that differs in weights, iterations or compatibility only.
        The spatial lattice needs no such care: that of the last few sizes is kept.

        Raises `TypeError` and `ValueError` for an image that cannot be used.
        """
        return Lattice.of_image(
            image,
            sigma_alpha=self.sigma_alpha,
            sigma_beta=self.sigma_beta,
            normalisation=self.normalisation,
            spacing=checked_spacing(spacing),
            threads=self.threads,
        )

    def _spelt_out(self) -> DenseCRF:
        """Return the CRF with the values of fast mode written into its parameters."""
        if self.mode != "fast":
            return self
        left = [
            field.name for field in fields(self) if field.name in FAST and getattr(self, field.name) == field.default
        ]
        unfit = {"prune": self._has_matrix, "precision": not self._sums_are_small}
        values = {name: FAST[name] for name in left if not unfit.get(name)}
        if "settle" in values:
            values["settle"] = min(FAST["settle"], 10 ** (-_SURE * (self.w1 + self.w2)))
        return replace(self, mode="full", **values)

    @property
    def _sums_are_small(self) -> bool:
        return self.normalisation in ("symmetric", "before")

    @property
    def _has_matrix(self) -> bool:
        return isinstance(self.compatibility[0], tuple)


_CHOICES = {
    "normalisation": ("symmetric", "before", "after", "none"),
    "mode": ("full", "fast", "exact"),
    "precision": ("float32", "float16"),
}
