"""A scorer that sees large images through windows, and blends what it says of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Literal, get_args

import numpy as np
from array_api_compat import array_namespace, device
from numpy.typing import NDArray

from atrous.contract import Geometry, LabelSpace, Preprocessing, Scorer
from atrous.prediction.arrays import beside, from_numpy, probabilities_of, scored, sides_of
from atrous.prediction.passing import geometry_of, preprocessing_of, space_of
from atrous.prediction.surroundings import takes_surroundings, told
from atrous.prediction.window_plan import Span, Window, sides, windows

Weights = Literal["gaussian", "flat", "nearest"]
Read = Callable[[slice, slice], Any]
"""Returns the images (n, c, rows, columns) of the named rows and columns, as a scorer takes them."""

_DEVIATION = 1 / 8
"""Of the Gaussian, as a share of what a window keeps: its border weighs exp(-8) of its centre."""


def windowed(
    scorer: Scorer, size: int | tuple[int, int], *, overlap: float = 0.25, weights: Weights = "gaussian"
) -> Windowed:
    """Return a scorer that looks at images larger than `size` through windows, as `windows` plans them.

    `size` is a side or (height, width) in pixels, `overlap` the share of a window that the next one sees too. Where
    windows overlap their probabilities are averaged: by Gaussian weights, which trust a window's centre most, by `flat`
    ones, or not at all: `nearest` takes each pixel from the window in which it is farther from the border. An image
    that is not larger than a window is scored as by `scorer`, exactly.

    Where a scorer with a margin offers `surrounded`, as the `Segmenter` of a U-Net does, `size` is the side of the
    network's input, of which the margin is a part: of 572 pixels 384 are kept. An image is one window where it and the
    margin around it are not larger.

    The result is that of the whole image, up to rounding, where every pixel's receptive field is in its window: always
    for networks with a margin, such as U-Net, whose windows read it; for others with `nearest` where the overlap is at
    least the receptive field, and nothing is pooled over the whole image. That is 460 pixels for the FCNs of VGG16, and
    windows that start at least 256 apart. Elsewhere it is another result, often as good.

    Raises `ValueError` for a size below what the network needs, an overlap outside 0 to 0.9, and unknown weights.

    Source: U-Net, section 2 (the overlap-tile strategy).

    >>> bright = lambda images: np.concatenate([255 - images, images], 1, dtype=np.float32) / 255
    >>> image = np.arange(60, dtype=np.uint8).reshape(1, 1, 6, 10)
    >>> bool(np.allclose(windowed(bright, 4)(image), bright(image)))
    True
    """
    if weights not in get_args(Weights):
        raise ValueError(f"weights {weights!r} is not known; there are {', '.join(get_args(Weights))}")
    found = Windowed(scorer, size, overlap, weights)
    found.windows(1, 1)
    return found


@dataclass(frozen=True)
class Windowed:
    """What `windowed` returns: a scorer whose `labels` need the probabilities of one row of windows at a time."""

    scorer: Any
    size: int | tuple[int, int]
    overlap: float = 0.25
    weights: Weights = "gaussian"

    def __call__(self, images: Any, /) -> Any:
        """Return the probabilities (n, classes, h, w) float32 of images (n, c, h, w)."""
        plan = self.plan(images)
        if len(plan) == 1:
            return probabilities_of(self.scorer, images)
        result: Any = None
        for rows, band in self._bands(images, plan):
            if result is None:
                result = _zeros(band, images.shape[2], images.shape[3])
            result[:, :, rows, :] = band
        return result

    def labels(self, images: Any) -> Any:
        """Return the most probable class (n, h, w) uint8, the lowest on a tie: one row of windows after the other."""
        plan = self.plan(images)
        if hasattr(self.scorer, "labels") and (len(plan) == 1 or self._abut):
            return _stitched(self.scorer, images, plan)
        if len(plan) == 1:
            return _best(probabilities_of(self.scorer, images))
        bands = [_best(band) for _, band in self._bands(images, plan)]
        return array_namespace(bands[0]).concat(bands, axis=1)

    def plan(self, images: Any) -> tuple[Window, ...]:
        """Return the windows through which images (n, c, h, w) are seen."""
        return self.windows(*sides_of(images))

    def windows(self, height: int, width: int) -> tuple[Window, ...]:
        """Return the windows through which images of a height and width are seen."""
        return windows(
            height,
            width,
            size=self.size,
            overlap=self.overlap,
            geometry=self.geometry,
            surrounded=takes_surroundings(self.scorer),
        )

    def from_numpy(self, images: NDArray[Any]) -> Any:
        """Return the images as the inner scorer takes them."""
        return from_numpy(self.scorer, images)

    @property
    def geometry(self) -> Geometry:
        """The inner scorer's."""
        return geometry_of(self.scorer)

    @property
    def space(self) -> LabelSpace | None:
        """The inner scorer's classes, None where it does not say."""
        return space_of(self.scorer)

    @property
    def preprocessing(self) -> Preprocessing | None:
        """The inner scorer's, None where it has none."""
        return preprocessing_of(self.scorer)

    @property
    def words(self) -> str:
        """What this does, for people.

        >>> windowed(lambda images: images, (256, 512)).words
        'windows of 256 x 512 that overlap by 25 %, blended by gaussian weights'
        """
        height, width = sides(self.size)
        if self.geometry.margin:
            return f"windows of {height} x {width}, of which the margin of {self.geometry.margin} is thrown away"
        blend = "each pixel of the nearest" if self.weights == "nearest" else f"blended by {self.weights} weights"
        return f"windows of {height} x {width} that overlap by {100 * self.overlap:g} %, {blend}"

    @property
    def _abut(self) -> bool:
        return self.weights == "nearest" or self.geometry.margin > 0

    def _bands(self, images: Any, plan: Sequence[Window]) -> Iterator[tuple[slice, Any]]:
        return bands(self.scorer, lambda rows, columns: images[:, :, rows, columns], plan, weights=self.weights)


def bands(
    scorer: Scorer, read: Read, plan: Sequence[Window], *, weights: Weights = "gaussian"
) -> Iterator[tuple[slice, Any]]:
    """Yield the blended probabilities (n, classes, rows, width) of an image from top to bottom, and which rows they
    are.

    `plan` is what `windows` returns for this scorer, and `read` gives the pixels of its windows. Every row comes once.
    There are never the probabilities of more than one row of windows.

    >>> bright = lambda images: images.astype(np.float32)
    >>> image = np.ones((1, 1, 6, 4), np.uint8)
    >>> plan = windows(6, 4, size=4, overlap=0.5)
    >>> found = bands(bright, lambda rows, columns: image[:, :, rows, columns], plan)
    >>> [(rows, band.shape) for rows, band in found]
    [(slice(0, 2, None), (1, 1, 2, 4)), (slice(2, 6, None), (1, 1, 4, 4))]
    """
    plan = _unblended(plan) if weights == "nearest" else plan
    lines = [list(line) for _, line in groupby(plan, key=lambda window: window.rows)]
    spans = [line[0].rows for line in lines]
    beneath = [*(span.kept_start for span in spans[1:]), spans[-1].kept_stop]
    by_row, by_column = (shares(each, weights=weights) for each in (spans, [window.columns for window in lines[0]]))
    carried: Any = None
    for line, span, until, share in zip(lines, spans, beneath, by_row, strict=True):
        band = _line(scorer, read, line, share, by_column)
        if carried is not None:
            band[:, :, : carried.shape[2], :] += carried
        done = until - span.kept_start
        # A copy, since a view would keep the whole band while the next one is made.
        carried = array_namespace(band).asarray(band[:, :, done:, :], copy=True) if done < band.shape[2] else None
        yield slice(span.kept_start, until), band[:, :, :done, :]


def shares(spans: Sequence[Span], *, weights: Weights = "gaussian") -> list[NDArray[np.float32]]:
    """Return which share every window has in each position that it keeps; over all windows they sum to 1.

    The share of a pixel is that of its row times that of its column.

    >>> [each.tolist() for each in shares([Span(0, 3, 0, 3, 0, 2), Span(1, 4, 1, 4, 2, 4)], weights="flat")]
    [[1.0, 0.5, 0.5], [0.5, 0.5, 1.0]]
    """
    total = np.zeros(max(span.kept_stop for span in spans))
    raw = [_raw(span.kept_stop - span.kept_start, gaussian=weights == "gaussian") for span in spans]
    for span, each in zip(spans, raw, strict=True):
        total[span.kept_start : span.kept_stop] += each
    return [
        (each / total[span.kept_start : span.kept_stop]).astype(np.float32)
        for span, each in zip(spans, raw, strict=True)
    ]


def _raw(side: int, *, gaussian: bool) -> NDArray[np.float64]:
    distance = (np.arange(side) - (side - 1) / 2) / (side * _DEVIATION)
    return np.exp(-(distance**2) / 2) if gaussian else np.ones(side)


def _line(
    scorer: Scorer,
    read: Read,
    line: Sequence[Window],
    by_row: NDArray[np.float32],
    by_column: Sequence[NDArray[np.float32]],
) -> Any:
    """Return a row of windows (n, classes, kept rows, width), each weighted by its shares, added up."""
    result: Any = None
    for window, share in zip(line, by_column, strict=True):
        found = probabilities_of(told(scorer, window), read(*window.read))
        if result is None:
            result = _zeros(found, len(by_row), line[-1].columns.kept_stop)
        weight = beside(by_row[:, None] * share, found)
        rows, columns = window.within(window.kept)
        result[:, :, :, window.kept[1]] += found[:, :, rows, columns] * weight
    return result


def _stitched(scorer: Any, images: Any, plan: Sequence[Window]) -> Any:
    """Return the labels of windows of which each gives its own part, found by the scorer's own `labels`."""
    if len(plan) == 1:
        return scored(scorer.labels, images)
    result: Any = None
    for window in plan:
        found = scored(told(scorer, window).labels, images[:, :, *window.read])
        if result is None:
            result = array_namespace(found).zeros(
                (images.shape[0], *images.shape[2:]), dtype=found.dtype, device=device(found)
            )
        result[:, *window.own] = found[:, *window.within(window.own)]
    return result


def _unblended(plan: Sequence[Window]) -> list[Window]:
    """Return the windows that keep only what is their own."""

    def own(span: Span) -> Span:
        return replace(span, kept_start=span.own_start, kept_stop=span.own_stop)

    return [Window(own(window.rows), own(window.columns)) for window in plan]


def _best(probabilities: Any) -> Any:
    arrays = array_namespace(probabilities)
    return arrays.astype(arrays.argmax(probabilities, axis=1), arrays.uint8)


def _zeros(like: Any, height: int, width: int) -> Any:
    """Return zeros (n, classes, height, width) float32 in the library of `like`, and on its device."""
    arrays = array_namespace(like)
    return arrays.zeros((*like.shape[:2], height, width), dtype=arrays.float32, device=device(like))
