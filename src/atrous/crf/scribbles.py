"""A full mask from a few strokes: a random walk over superpixels, a mixture of colours for each class, then the CRF."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import IGNORE
from atrous.crf import mixtures, parameters
from atrous.crf.checks import Unary, array, checked_image, colours_fault, turned
from atrous.crf.presets import deeplab_v2
from atrous.crf.superpixels import in_lab, means, segments

Refiner = Callable[[NDArray[Any], NDArray[np.float32]], NDArray[np.float32]]
_COMPONENTS = 5
_LEAST_WEIGHT = 0.003  # of an edge between colours however far apart, so that no region is cut off from all strokes
_LEAST_DENSITY = 0.02  # a colour that no stroke has says little
_SURE = 1 - 1e-4
_MOST_COLOURS = 50  # a density of _LEAST_DENSITY / 254 to that power is still above 0
_LEAST_SIGMA, _MOST_SIGMA = 1e-3, 1e6  # their squares can be divided by


@dataclass(frozen=True, kw_only=True)
class Scribbles:
    """Probabilities for every pixel of an image of which a few strokes are known.

    The CRF alone carries a stroke no further than sigma_alpha and leaves what is beyond to chance. So the image is cut
    into about `superpixels` regions, and a random walk from each of them, which crosses edges between colours `sigma`
    apart (in Lab) seldom, tells how probably it meets each class's strokes first. That is multiplied by how well the
    colour fits those of the class's strokes, a mixture of Gaussians, to the power of `colours` (below 50; 0 leaves it
    out). The strokes themselves are held, before and after `refiner`, by default the CRF with DeepLab v2's parameters;
    None leaves the probabilities of the superpixels.

    Raises `TypeError` and `ValueError` for parameters out of range.

    Source: Grady, "Random Walks for Image Segmentation", TPAMI 2006; Rother, Kolmogorov and Blake, "GrabCut", SIGGRAPH
    2004 (mixtures of colours); Krahenbuhl and Koltun, NIPS 2011.

    >>> image = np.repeat(np.uint8([[10] * 5 + [200] * 5]), 4, axis=0)
    >>> strokes = np.full((4, 10), 255, np.uint8)
    >>> strokes[1, 1], strokes[2, 8] = 0, 1
    >>> Scribbles()(image, strokes).argmax(0)[0].tolist()
    [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]
    """

    refiner: Refiner | None = field(default_factory=deeplab_v2)
    superpixels: int = 1500
    sigma: float = 10.0
    colours: float = 0.3

    def __post_init__(self) -> None:
        object.__setattr__(self, "superpixels", parameters.whole("superpixels", self.superpixels, 1))
        object.__setattr__(self, "sigma", parameters.number("sigma", self.sigma, least=_LEAST_SIGMA, below=_MOST_SIGMA))
        object.__setattr__(self, "colours", parameters.number("colours", self.colours, below=_MOST_COLOURS))

    def __call__(self, image: NDArray[Any], strokes: NDArray[Any]) -> NDArray[np.float32]:
        """Return probabilities (classes, h, w) float32 for strokes (h, w), 0..classes-1 and 255 where there are none.

        `image` is (h, w, c) or (h, w), uint8 or float32 in 0..255. The highest label says how many classes there are.

        Raises `TypeError` and `ValueError` for an image or strokes that cannot be used, fewer than two classes, or a
        class without a stroke.
        """
        classes = _checked(image, array(strokes, "strokes"))
        shares = self._of_superpixels(image, strokes, classes)
        held = _held(shares, strokes, _SURE)
        if self.refiner is not None:
            held = self.refiner(image, held)
        return _held(held, strokes, 1.0)

    def _of_superpixels(self, image: NDArray[Any], strokes: NDArray[Any], classes: int) -> NDArray[np.float32]:
        colours = in_lab(image)
        side = round((strokes.size / self.superpixels) ** 0.5)
        regions = segments(image, size=max(side, 1))
        mean_colours = np.stack([means(regions, plane) for plane in np.moveaxis(colours, 2, 0)], axis=1)
        first, second, lengths = _neighbours(regions)
        apart = ((mean_colours[first] - mean_colours[second]) ** 2).sum(1, dtype=np.float64)
        weights = lengths / max(side, 1) * np.exp(-apart / (2 * self.sigma**2)) + _LEAST_WEIGHT
        shares = _walked(first, second, weights, _seeds(regions, strokes, classes), classes)
        if self.colours:
            shares *= _fits(colours, mean_colours, strokes, classes) ** self.colours
            shares /= shares.sum(0)
        return shares.astype(np.float32)[:, regions]


def _checked(given: Any, strokes: NDArray[Any]) -> int:
    """Return the number of classes; raises `ValueError` for an image and strokes that cannot be used."""
    if words := turned(given, Unary(strokes[None], "probabilities")):
        raise ValueError(words)
    image = checked_image(given, 2)
    if strokes.shape != image.shape[:2] or strokes.dtype.kind not in "iu":
        raise ValueError(
            f"strokes are {strokes.dtype} of shape {strokes.shape}; whole numbers of the image's {image.shape[:2]} are "
            "needed"
        )
    if words := colours_fault(image):
        raise ValueError(words)
    labels = np.unique(strokes[strokes != IGNORE])
    if len(labels) < 2:
        raise ValueError(
            f"strokes of {len(labels)} classes came; at least 2 are needed, one of them for what is around the others"
        )
    if labels[0] < 0 or labels[-1] != len(labels) - 1 or labels[-1] >= IGNORE:
        raise ValueError(
            f"strokes have the labels {', '.join(map(str, labels[:12].tolist()))}; 0, 1, 2 and so on without a gap are "
            f"needed, and {IGNORE} where there is no stroke"
        )
    return len(labels)


def _held(probabilities: NDArray[np.float32], strokes: NDArray[Any], sure: float) -> NDArray[np.float32]:
    """Return the probabilities with the strokes' own at `sure`."""
    classes = len(probabilities)
    held = probabilities.copy()
    known = strokes != IGNORE
    held[:, known] = (1 - sure) / (classes - 1)
    held[strokes[known], known] = sure
    return held


def _neighbours(regions: NDArray[np.int32]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return the pairs of regions that touch, and how many pixels long their border is."""
    count = int(regions.max()) + 1
    sides = [(regions[:, :-1], regions[:, 1:]), (regions[:-1], regions[1:])]
    first = np.concatenate([np.minimum(one, other).ravel() for one, other in sides]).astype(np.int64)
    second = np.concatenate([np.maximum(one, other).ravel() for one, other in sides])
    keys, lengths = np.unique((first * count + second)[first != second], return_counts=True)
    return keys // count, keys % count, lengths


def _seeds(regions: NDArray[np.int32], strokes: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """Return (regions,): the class with most stroke pixels in each, -1 where there are none.

    A class that has the most nowhere gets the region that holds most of it.
    """
    known = strokes != IGNORE
    counts = np.zeros((int(regions.max()) + 1, classes), np.int64)
    np.add.at(counts, (regions[known], strokes[known]), 1)
    seeds = np.where(counts.any(1), counts.argmax(1), -1)
    for label in set(range(classes)) - set(seeds.tolist()):
        seeds[counts[:, label].argmax()] = label
    return seeds


def _walked(
    first: NDArray[Any], second: NDArray[Any], weights: NDArray[Any], seeds: NDArray[np.int64], classes: int
) -> NDArray[np.float64]:
    """Return (classes, regions): the probability that a random walk from a region meets each class's seeds first.

    It is harmonic: every region has the mean of its neighbours', weighted, so a system of equations gives it.
    """
    count = len(seeds)
    laplacian = np.zeros((count, count))
    laplacian[first, second] = laplacian[second, first] = -weights
    np.fill_diagonal(laplacian, -laplacian.sum(1))
    shares = np.eye(classes)[np.maximum(seeds, 0)]
    free = seeds < 0
    rest = -laplacian[np.ix_(free, ~free)] @ shares[~free]
    shares[free] = np.linalg.solve(laplacian[np.ix_(free, free)], rest)
    return np.ascontiguousarray(np.maximum(shares, 0).T)


def _fits(
    colours: NDArray[np.float32], mean_colours: NDArray[np.float32], strokes: NDArray[Any], classes: int
) -> NDArray[np.float64]:
    """Return (classes, regions): how well a region's mean colour fits those of each class's strokes."""
    densities = np.stack(
        [mixtures.fitted(colours[strokes == label], _COMPONENTS).log_density(mean_colours) for label in range(classes)]
    )
    shares = np.exp(densities - np.logaddexp.reduce(densities, axis=0))
    return (1 - _LEAST_DENSITY) * shares + _LEAST_DENSITY / classes
