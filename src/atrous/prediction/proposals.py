"""Prediction proposal by proposal: boxes that may hold an object, each scored alone, their scores put together.

Noh, Hong and Han, "Learning Deconvolution Network for Semantic Segmentation", ICCV 2015 (arXiv 1505.04366), section
5.1: a network that has learnt objects of one size sees small ones enlarged and large ones whole.

    image -> boxes -> crops of 224 x 224 -> logits -> resized into their boxes -> maximum over boxes -> softmax

The boxes come from selective search (Uijlings et al., IJCV 2013) or Edge Boxes (Zitnick and Dollar, ECCV 2014), as
OpenCV has them, or from any function `propose(image, count=50)` from an image (h, w, c) to boxes (k, 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import cv2
import numpy as np
from array_api_compat import array_namespace, device
from numpy.typing import NDArray

from atrous.contract import AtrousError, Scorer
from atrous.prediction.arrays import from_numpy, resized, scored, softmax, to_numpy

Boxes = NDArray[np.int64]
"""(k, 4): top, left, bottom and right of each box; the last two are the first row and column outside it."""

MINIMUM = 32
"""The least side of a proposal, in pixels. The authors' code leaves out those below 112, half of the crop's side."""

_TOGETHER = 8  # crops scored at once: memory stays the same for any number of proposals


class Propose(Protocol):
    """A function from an image (h, w, c), as stored, to boxes (k, 4) that may hold an object, the likeliest first."""

    def __call__(self, image: NDArray[Any], /, *, count: int) -> Boxes:
        """Return at most `count` boxes: top, left, bottom, right."""
        ...


def selective_search(
    image: NDArray[Any], *, count: int = 50, minimum: int = MINIMUM, overlap: float = 0.6, side: int = 300
) -> Boxes:
    """Return up to `count` boxes (k, 4) around regions that belong together by colour, texture, size and fit.

    There is no objectness: the largest box comes first, and one that overlaps a former by more than `overlap` (as
    intersection over union) is left out. `minimum` is the least side of a box in pixels. The image is (h, w, c) of
    any depth, shrunk until its longer side is `side`, since the time grows with its regions. Where nothing is found,
    as in an image that is smaller than `minimum`, the whole image is the only box. The same image gives the same boxes.

    Raises `ValueError` for arguments out of range, `AtrousError` where OpenCV lacks its contributed modules.

    Source: Uijlings et al., "Selective Search for Object Recognition", IJCV 2013, in its fast setting.

    >>> selective_search(np.zeros((20, 30, 3), np.uint8)).tolist()
    [[0, 0, 20, 30]]
    """
    _check(image, count=count, minimum=minimum, overlap=overlap, side=side)
    small, factor = _shrunk(image, side)
    search = _contributed().segmentation.createSelectiveSearchSegmentation()
    search.setBaseImage(small[:, :, ::-1].copy())
    search.switchToSelectiveSearchFast()
    boxes = _in_image(search.process(), factor, image, minimum)
    boxes = np.unique(boxes, axis=0)  # OpenCV returns them in an order drawn at random
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return _spread(boxes[np.argsort(-areas, kind="stable")], overlap, count)


def edge_boxes(
    image: NDArray[Any],
    *,
    count: int = 50,
    minimum: int = MINIMUM,
    overlap: float = 0.75,
    side: int = 500,
    blur: float = 3.0,
) -> Boxes:
    """Return up to `count` boxes (k, 4) that wholly enclose many contours, the highest objectness first.

    The contours are ridges of the image's gradient (Sobel's, after a Gaussian of `blur` pixels, of the channel where
    it is largest), so that nothing has to be downloaded; the authors take those of a trained structured forest, which
    finds more objects with as many boxes. Other arguments, small images and errors are those of `selective_search`.

    Source: Zitnick and Dollar, "Edge Boxes: Locating Object Proposals from Edges", ECCV 2014.

    >>> image = np.zeros((80, 80, 3), np.uint8)
    >>> image[20:60, 15:70] = 255
    >>> edge_boxes(image, blur=1)[0].tolist()
    [19, 14, 62, 74]
    """
    _check(image, count=count, minimum=minimum, overlap=overlap, side=side)
    if not blur > 0:
        raise ValueError(f"blur {blur} came; it is the width of a Gaussian in pixels, above 0")
    small, factor = _shrunk(image, side)
    finder = _contributed().createEdgeBoxes()
    finder.setBeta(overlap)
    finder.setMaxBoxes(40 * count)  # some of them are too small: the authors keep 50 of about 2,000
    finder.setMinBoxArea((minimum * factor) ** 2)
    found, objectness = finder.getBoundingBoxes(*_edges(small, blur))
    order = np.argsort(-np.ravel(0 if objectness is None else objectness), kind="stable")
    boxes = _in_image(found if objectness is None else found[order], factor, image, minimum)
    return boxes[:count]


def _edges(image: NDArray[np.uint8], blur: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return how strong the edge is at each pixel, 0 to 1 and thinned, and the angle across it, 0 to pi."""
    smooth = cv2.GaussianBlur(image, (0, 0), blur).astype(np.float32)
    right, down = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    strongest = np.hypot(right, down).argmax(2)[..., None]
    right, down = (np.take_along_axis(each, strongest, 2)[..., 0] for each in (right, down))
    strength = np.hypot(right, down)
    # The few strongest edges of a picture would make all others weak.
    strength = np.minimum(strength / max(float(np.percentile(strength, 99)), 1e-6), 1).astype(np.float32)
    return _thinned(strength, right, down), np.mod(np.arctan2(down, right), np.pi).astype(np.float32)


def _thinned(strength: NDArray[Any], right: NDArray[Any], down: NDArray[Any]) -> NDArray[np.float32]:
    """Return the strength where it is not below that of the two points a pixel away across the edge, zero elsewhere."""
    length = np.maximum(np.hypot(right, down), 1e-6)
    rows, columns = np.indices(strength.shape, dtype=np.float32)
    kept = np.ones(strength.shape, bool)
    for way in (1, -1):
        x, y = columns + way * right / length, rows + way * down / length
        beside = cv2.remap(strength, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        kept &= 1.01 * strength >= beside
    return np.where(kept, strength, 0).astype(np.float32)


def _check(image: NDArray[Any], *, count: int, minimum: int, overlap: float, side: int) -> None:
    if image.ndim != 3 or not image.size:
        raise ValueError(f"an image of shape {image.shape} came; (h, w, c) is wanted, of one pixel or more")
    _check_positive(count=count, minimum=minimum, side=side)
    if not 0 < overlap <= 1:
        raise ValueError(f"overlap {overlap} came; it is an intersection over union, above 0 and up to 1")


def _check_positive(**counts: int) -> None:
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{name} {value} came; it is 1 or more")


def _contributed() -> Any:
    if not hasattr(cv2, "ximgproc"):
        raise AtrousError(
            "this OpenCV has no ximgproc, which finds the proposals: uninstall every opencv package, then install "
            "opencv-contrib-python-headless"
        )
    return cv2.ximgproc


def _shrunk(image: NDArray[Any], side: int) -> tuple[NDArray[np.uint8], float]:
    """Return the image as (h, w, 3) of 8 bits whose longer side is at most `side`, and by what it was multiplied."""
    channels = image[:, :, :3] if image.shape[2] >= 3 else np.repeat(image[:, :, :1], 3, 2)
    if channels.dtype != np.uint8:
        channels = np.nan_to_num(channels.astype(np.float32))
        low, high = channels.min(), channels.max()
        channels = ((channels - low) * (255 / max(high - low, 1e-6))).astype(np.uint8)
    height, width = image.shape[:2]
    factor = min(1.0, side / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return np.asarray(cv2.resize(channels, size, interpolation=cv2.INTER_AREA), np.uint8), factor


def _in_image(found: Any, factor: float, image: NDArray[Any], minimum: int) -> Boxes:
    """Return OpenCV's (x, y, width, height) as boxes of the image before it shrunk, the whole one if all are small."""
    x, y, wide, high = np.asarray(found, np.float64).reshape(-1, 4).T / factor
    height, width = image.shape[:2]
    boxes = np.stack([np.floor(y), np.floor(x), np.ceil(y + high), np.ceil(x + wide)], 1)
    boxes = np.clip(boxes, 0, [height, width, height, width]).astype(np.int64)
    large = boxes[(boxes[:, 2:] - boxes[:, :2] >= minimum).all(1)]
    return large if len(large) else np.array([[0, 0, height, width]])


def _spread(boxes: Boxes, overlap: float, count: int) -> Boxes:
    """Return the first `count` boxes that overlap none before them by more than `overlap`."""
    kept = np.empty((0, 4), np.int64)
    for box in boxes:
        if len(kept) == count:
            break
        if not (_shares(box, kept) > overlap).any():
            kept = np.vstack([kept, box])
    return kept


def _shares(box: Boxes, others: Boxes) -> NDArray[np.float64]:
    """Return the intersection over union of one box (4,) with each of the others (k, 4)."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    common = np.maximum(sides, 0).prod(1)
    return common / ((box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(1) - common)


def proposed(
    scorer: Scorer,
    propose: Propose = selective_search,
    *,
    size: int = 224,
    count: int = 50,
    fuse: Literal["max", "sum"] = "max",
) -> OverProposals:
    """Return a scorer that scores each proposal of an image alone and puts their logits together.

    Each box is cut out, resized to `size` x `size`, scored, and its logits resized back into the box, on a map that
    is zero where no box is. `fuse` is the pixelwise maximum over boxes, and so of zero too: logits below zero count
    as zero; or the sum. The whole image is always one of the boxes, before the up to `count` of `propose`: a pixel
    outside all others has its scores from there. Eight crops are scored at a time.

    `scorer` needs `logits`, as a `Segmenter` has. With the sum any scorer will do: the logarithms of probabilities
    differ from logits by a number per pixel, the same for all classes, which softmax does not see. With the maximum
    they would all be below zero, and every class would come out the same, so that is refused.

    Raises `ValueError` for another `fuse`, a size or count below 1, boxes that do not lie in the image, and scores of
    another shape; `TypeError` for the maximum over a scorer without logits.

    Source: DeconvNet, section 5.1 (maximum and sum; 50 proposals in 6.1); the authors' code begins with zeros, too. The
    whole image as one of the proposals is ours.

    >>> def bright(images): return np.stack([255 - images[:, 0], images[:, 0]], 1) / np.float32(255)
    >>> proposed(bright, fuse="sum", count=4)(np.full((1, 1, 40, 60), 255, np.uint8)).argmax(1).min()
    np.int64(1)
    """
    if fuse not in ("max", "sum"):
        raise ValueError(f"fuse {fuse!r} came; it is 'max' or 'sum'")
    _check_positive(size=size, count=count)
    if fuse == "max" and not hasattr(scorer, "logits"):
        raise TypeError(
            "the maximum over proposals needs a scorer with `logits`, as a Segmenter has: logarithms of probabilities "
            "are never above zero, so they would vanish in the empty map; give one with logits, or fuse='sum'"
        )
    return OverProposals(scorer, propose, size, count, fuse)


@dataclass(frozen=True)
class OverProposals:
    """What `proposed` returns: a scorer that also has the fused `logits`; it has no `labels`, whose maps it needs."""

    scorer: Any
    propose: Propose
    size: int
    count: int
    fuse: Literal["max", "sum"]

    def __call__(self, images: Any, /) -> Any:
        """Return the probabilities (n, classes, h, w) float32 of images (n, c, h, w)."""
        return softmax(self.logits(images))

    def logits(self, images: Any) -> Any:
        """Return the fused logits (n, classes, h, w) float32."""
        return array_namespace(images).stack([self._fused(image) for image in images])

    def from_numpy(self, images: NDArray[Any]) -> Any:
        """Return the images as the inner scorer takes them."""
        return from_numpy(self.scorer, images)

    def _fused(self, image: Any) -> Any:
        """Return the fused logits (classes, h, w) of one image (c, h, w)."""
        arrays, boxes, fused = array_namespace(image), self._boxes(image), None
        combine = arrays.maximum if self.fuse == "max" else arrays.add
        for first in range(0, len(boxes), _TOGETHER):
            several = boxes[first : first + _TOGETHER]
            logits = self._scored(arrays.concat([self._crop(image, box) for box in several]))
            if fused is None:
                shape = (logits.shape[1], *image.shape[1:])
                fused = arrays.zeros(shape, dtype=arrays.float32, device=device(logits))
            for each, (top, left, bottom, right) in zip(logits, several, strict=True):
                place = fused[:, top:bottom, left:right]
                place[...] = combine(place, resized(each[None], (bottom - top, right - left))[0])
        return fused

    def _boxes(self, image: Any) -> Sequence[Sequence[int]]:
        """Return the whole image, then the proposals that are not."""
        stored = np.ascontiguousarray(to_numpy(image).transpose(1, 2, 0))
        height, width = stored.shape[:2]
        found = np.asarray(self.propose(stored, count=self.count))
        if found.ndim != 2 or found.shape[1:] != (4,) or (len(found) and found.dtype.kind not in "iu"):
            raise ValueError(f"the proposals are {found.dtype} of shape {found.shape}; (k, 4) whole numbers are wanted")
        inside = (found[:, :2] >= 0) & (found[:, :2] < found[:, 2:]) & (found[:, 2:] <= (height, width))
        if not inside.all():
            wrong = found[~inside.all(1)][0].tolist()
            raise ValueError(f"the proposal {wrong} is not (top, left, bottom, right) in {height} x {width} pixels")
        whole = [0, 0, height, width]
        return [whole, *(box for box in found.tolist() if box != whole)]

    def _crop(self, image: Any, box: Sequence[int]) -> Any:
        top, left, bottom, right = box
        return resized(image[None, :, top:bottom, left:right], (self.size, self.size))

    def _scored(self, crops: Any) -> Any:
        logits = scored(getattr(self.scorer, "logits", self._logarithms), crops)
        shape = tuple(logits.shape)
        if len(shape) != 4 or (shape[0], *shape[2:]) != (len(crops), self.size, self.size):
            raise ValueError(
                f"the scorer returned {shape} for {len(crops)} crops of {self.size} x {self.size}; "
                f"({len(crops)}, classes, {self.size}, {self.size}) is wanted"
            )
        return logits

    def _logarithms(self, crops: Any) -> Any:
        arrays: Any = array_namespace(crops)
        probabilities: Any = self.scorer(crops)
        return arrays.log(arrays.clip(probabilities, min=1e-30))
