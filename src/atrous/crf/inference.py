"""How a `DenseCRF` refines one image or volume: checks, lattices, mean field."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from atrous import _core
from atrous._core.implementations import available_threads
from atrous.crf.checks import Unary, checked_features, checked_image, checked_unary, fault, image_fault, turned
from atrous.crf.exact import check_memory, exact_mean_field
from atrous.crf.features import Shape, Spacing, image_features, position_features
from atrous.crf.lattice import Lattice, check_settings, image_settings, small_sigma
from atrous.crf.parameters import VAST, compatibility_array, number
from atrous.crf.pruning import likely, rest_apart, softened

if TYPE_CHECKING:
    from atrous.crf.dense_crf import DenseCRF

Pairwise = Sequence[tuple[NDArray[Any] | Lattice, float]]
Own = list[tuple[Any, float]]
Lattices = list[tuple[_core.Lattice, float]]
_LEAST_PROBABILITY = 1e-5


def refined(
    crf: DenseCRF, image: NDArray[Any] | Lattice, given: Unary, spacing: Spacing, pairwise: Pairwise
) -> NDArray[np.float32]:
    """Return the marginals (labels, *shape) float32 of an image or, where `spacing` has three numbers, a volume.

    Raises `TypeError` and `ValueError` for whatever cannot be used.
    """
    if words := turned(image, given):
        raise ValueError(words)
    if isinstance(image, Lattice):
        check_settings(image, image_settings(crf.sigma_alpha, crf.sigma_beta, crf.normalisation, spacing))
        shape = image.shape
    else:
        image = checked_image(image, len(spacing))
        shape = image.shape[:-1]
    unary = checked_unary(given, shape)
    compatibility = compatibility_array(crf.compatibility, len(unary.values))
    own = list(_checked(pairwise, shape))
    flat = Unary(unary.values.reshape(len(unary.values), -1), unary.name)
    if crf.mode == "exact":
        check_memory(shape)
        kernels = list(_features(crf, image, shape, spacing, own))
        marginals = None if fault(unary) else _exact(crf, flat, compatibility, kernels)
    else:
        # Without iterations, or with a single label, no kernel has a say.
        idle = crf.iterations == 0 or len(flat.values) == 1
        marginals = _inferred(crf, flat, compatibility, [] if idle else _lattices(crf, image, shape, spacing, own))
    if marginals is None:
        raise ValueError(fault(unary) or f"the {unary.name} cannot be used")
    return marginals.reshape(unary.values.shape)


def _checked(pairwise: Any, shape: Shape) -> Iterator[tuple[Any, float]]:
    """Yield the kernels of one's own whose weight is not 0."""
    if not isinstance(pairwise, Iterable):
        raise TypeError(
            f"pairwise is {pairwise!r}; a sequence of pairs (features, weight) is needed, or () for no kernels of your "
            "own"
        )
    for index, pair in enumerate(pairwise):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise TypeError(f"pairwise holds a {type(pair).__name__}; pairs (features, weight) are needed")
        features, weight = pair[0], number("a weight of pairwise", pair[1], below=VAST)
        came = features.shape if isinstance(features, Lattice) else checked_features(features).shape[1:]
        if came != shape:
            raise ValueError(f"features of pairwise are for an image of {came}; {shape} is needed, as the image is")
        if not isinstance(features, Lattice) and not np.isfinite(features).all():
            raise ValueError(f"kernel {index} of pairwise: {_ENDLESS}")
        if weight:
            yield features, weight


def _lattices(crf: DenseCRF, image: NDArray[Any] | Lattice, shape: Shape, spacing: Spacing, own: Own) -> Lattices:
    """Return every kernel's lattice with its weight, all cut into as many strips as those that were made before."""
    made = [each for each in (image, *(features for features, _ in own)) if isinstance(each, Lattice)]
    threads = made[0].core.strips if made else available_threads(crf.threads)
    settings: Any = {"normalisation": crf.normalisation, "threads": threads}
    lattices = []
    if crf.w1:
        sigmas: Any = {"sigma_alpha": crf.sigma_alpha, "sigma_beta": crf.sigma_beta}
        bilateral = (
            image if isinstance(image, Lattice) else Lattice.of_image(image, spacing=spacing, **sigmas, **settings)
        )
        lattices.append((bilateral.core, crf.w1))
    if crf.w2:
        spatial = Lattice.of_positions(shape, sigma_gamma=crf.sigma_gamma, spacing=spacing, **settings)
        lattices.append((spatial.core, crf.w2))
    for features, weight in own:
        if isinstance(features, Lattice):
            check_settings(features, (("normalisation", crf.normalisation),))
        lattice = features if isinstance(features, Lattice) else Lattice.of_features(features, **settings)
        lattices.append((lattice.core, weight))
    return lattices


def _inferred(
    crf: DenseCRF, unary: Unary, compatibility: NDArray[np.float32] | None, lattices: Lattices
) -> NDArray[np.float32] | None:
    """Return the marginals (labels, points) by the lattices, None where the unary cannot be used."""
    kept = None
    if crf.prune and lattices:
        unary = softened(unary)
        kept = likely(unary.values, crf.prune, crf.threads)
    return _core.mean_field(
        unary.values,
        lattices,
        iterations=crf.iterations if lattices else 0,
        from_probabilities=unary.name == "probabilities",
        kept=kept,
        compatibility=compatibility if kept is None else rest_apart(compatibility, kept),
        self_message=crf.self_message,
        precision=crf.precision,
        settle=crf.settle,
        # The mean change is over all labels, also those that were merged.
        tolerance=crf.tolerance if kept is None else crf.tolerance * len(unary.values) / (len(kept) + 1),
    )


def _features(
    crf: DenseCRF, image: NDArray[Any] | Lattice, shape: Shape, spacing: Spacing, own: Own
) -> Iterator[tuple[NDArray[Any], float]]:
    """Yield every kernel's features (d, points) with its weight."""
    if isinstance(image, Lattice) or any(isinstance(features, Lattice) for features, _ in own):
        raise ValueError("mode is exact, which uses no lattice: give the image and the features themselves")
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        colours = image_features(image, crf.sigma_alpha, crf.sigma_beta, spacing)
        places = position_features(shape, crf.sigma_gamma, spacing)
    if not np.isfinite(colours).all():
        raise ValueError(image_fault(image, crf.sigma_alpha, crf.sigma_beta))
    if not np.isfinite(places).all():
        raise ValueError(small_sigma(crf.sigma_gamma))
    for features, weight in ((colours, crf.w1), (places, crf.w2), *own):
        if weight:
            yield np.asarray(features).reshape(len(features), -1), weight


_ENDLESS = "features hold NaN or infinity; every feature of every point must be a finite number"


def _exact(crf: DenseCRF, unary: Unary, compatibility: NDArray[np.float32] | None, kernels: Own) -> NDArray[np.float32]:
    values = unary.values.astype(np.float64)
    logits = values if unary.name == "logits" else np.log(np.clip(values, _LEAST_PROBABILITY, 1))
    return exact_mean_field(
        logits,
        kernels,
        iterations=crf.iterations,
        normalisation=crf.normalisation,
        compatibility=compatibility,
        self_message=crf.self_message,
    ).astype(np.float32)
