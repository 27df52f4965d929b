"""Whether a file computes what torch computes: its three outputs at four sizes, or there is no file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from atrous.contract import AtrousError, Geometry, Preprocessing
from atrous.exporting.graph import OUTPUTS
from atrous.models import Segmenter

Compute = Callable[[str, NDArray[np.float32]], NDArray[Any]]
"""What runs a file: the name of an output and images -> that output."""


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """How far a file may lie from torch: `logits` as a share of the largest logit where that is above 1.

    `probabilities` are absolute. A label may only be another where torch's two best probabilities are nearer to each
    other than twice that, since each of them may move by it.
    """

    logits: float
    probabilities: float


TOLERANCES = {
    # The same sums in another order: float32 has 24 bits, 6e-8, and a hundred layers of it have stayed below 1e-5.
    "fp32": Tolerance(logits=1e-4, probabilities=1e-4),
    # 11 bits, 5e-4 at every layer, and what one layer rounds the next ones carry on: 2e-3 on trained networks.
    "fp16": Tolerance(logits=1e-2, probabilities=2e-2),
}


@dataclass(frozen=True, kw_only=True)
class Differences:
    """How far a file lies from torch, over all sizes.

    `logits` is the largest difference, as a share of the largest logit where that is above 1; `probabilities` the
    largest there; `labels` how many of `pixels` have another, and `sizes` the (n, height, width) that were compared.
    """

    logits: float
    probabilities: float
    labels: int
    pixels: int
    sizes: tuple[tuple[int, int, int], ...]

    def __add__(self, other: Differences) -> Differences:
        """Return how far both together lie from torch."""
        return Differences(
            logits=max(self.logits, other.logits),
            probabilities=max(self.probabilities, other.probabilities),
            labels=self.labels + other.labels,
            pixels=self.pixels + other.pixels,
            sizes=self.sizes + other.sizes,
        )

    def __str__(self) -> str:
        return (
            f"logits {self.logits:.1e}, probabilities {self.probabilities:.1e} away at most, "
            f"{self.labels} of {self.pixels:,} labels differ, at {len(self.sizes)} sizes"
        )


def reference_sizes(geometry: Geometry) -> tuple[tuple[int, int, int], ...]:
    """Return the (n, height, width) that are compared: one pixel, two odd images, one above the least, a valid one.

    >>> reference_sizes(Geometry(multiple=16, offset=1, minimum=17))
    ((1, 1, 1), (2, 37, 50), (1, 20, 39), (1, 97, 145))
    """
    least = geometry.valid(2 * geometry.margin + 1) - 2 * geometry.margin
    valid = [geometry.valid(side + 2 * geometry.margin) - 2 * geometry.margin for side in (96, 130)]
    return (1, 1, 1), (2, 37, 50), (1, least + 3, least + geometry.multiple + 6), (1, valid[0], valid[1])


def reference_images(preprocessing: Preprocessing, geometry: Geometry) -> list[NDArray[np.float32]]:
    """Return the images (n, c, h, w) that are compared: stored values, whole numbers, the same ones every time.

    Half of each value belongs to a patch of 16 x 16 pixels, half to the pixel alone, so that no layer sees only noise.

    >>> [each.shape for each in reference_images(Preprocessing(), Geometry())]
    [(1, 3, 1, 1), (2, 3, 37, 50), (1, 3, 4, 8), (1, 3, 96, 130)]
    """
    random = np.random.default_rng(0)
    found = []
    for count, height, width in reference_sizes(geometry):
        patches = random.random((count, preprocessing.channels, -(-height // 16), -(-width // 16)))
        wide = patches.repeat(16, axis=2).repeat(16, axis=3)[:, :, :height, :width]
        shares = (wide + random.random(wide.shape)) / 2
        values = preprocessing.low + (preprocessing.high - preprocessing.low) * shares
        # Where the range is a small one, as that of 0 to 1, whole numbers would be all that there is.
        whole = preprocessing.high - preprocessing.low > 2
        found.append((np.round(values) if whole else values).astype(np.float32))
    return found


def check_agreement(segmenter: Segmenter, compute: Compute, tolerance: Tolerance, *, path: Path) -> Differences:
    """Compare what `compute` answers with what torch does at every reference size, and return how far they lie apart.

    `segmenter` is one on the host, in float32. `path` is the file that is spoken of.

    Raises `AtrousError` where the file cannot be run, or an output has another shape or type than torch's, is not
    finite, or lies further from it than the tolerance.
    """
    found = [
        _difference(path, images, _by_torch(segmenter, images), _answered(path, images, compute), tolerance)
        for images in reference_images(segmenter.preprocessing, segmenter.geometry)
    ]
    return reduce(add, found)


def _answered(path: Path, images: NDArray[np.float32], compute: Compute) -> dict[str, NDArray[Any]]:
    try:
        return {name: compute(name, images) for name in OUTPUTS}
    except Exception as error:  # the errors of runtimes have no class in common
        raise _refused(path, images, f"running it raised {error!r}") from error


@torch.no_grad()
def _by_torch(segmenter: Segmenter, images: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    given = torch.from_numpy(images)
    found = segmenter.grid(given)[0].float(), segmenter(given), segmenter.labels(given)
    return {name: each.numpy() for name, each in zip(OUTPUTS, found, strict=True)}


def _difference(
    path: Path,
    images: NDArray[np.float32],
    wanted: dict[str, NDArray[Any]],
    came: dict[str, NDArray[Any]],
    tolerance: Tolerance,
) -> Differences:
    for name, each in wanted.items():
        kind, kind_wanted = (f"{array.shape} {array.dtype}" for array in (came[name], each))
        if kind != kind_wanted:
            raise _refused(path, images, f"{name} are {kind}, and {kind_wanted} in torch")
    scale = max(1.0, float(np.abs(wanted["logits"]).max()))
    logits = float(np.abs(came["logits"] - wanted["logits"]).max()) / scale
    probabilities = float(np.abs(came["probabilities"] - wanted["probabilities"]).max())
    for name, far in (("logits", logits), ("probabilities", probabilities)):
        allowed = getattr(tolerance, name)
        if not far <= allowed:  # what is not a number is refused too
            share = " of the largest" if name == "logits" and scale > 1 else ""
            raise _refused(path, images, f"{name} are {far:.2g}{share} away, and {allowed:g} is allowed")
    other = came["labels"] != wanted["labels"]
    best = np.sort(wanted["probabilities"], axis=1)[:, -2:]
    clear = int((other & (best[:, -1] - best[:, 0] > 2 * tolerance.probabilities)).sum())
    if clear:
        raise _refused(
            path, images, f"{clear} of {other.size} pixels have another label, though one class leads clearly"
        )
    count, _, height, width = images.shape
    return Differences(
        logits=logits,
        probabilities=probabilities,
        labels=int(other.sum()),
        pixels=other.size,
        sizes=((count, height, width),),
    )


def _refused(path: Path, images: NDArray[np.float32], what: str) -> AtrousError:
    count, _, height, width = images.shape
    size = f"{count} image{'s' if count > 1 else ''} of {height} x {width}"
    return AtrousError(
        f"{path}: was not written, since it does not compute what torch does: for {size} {what}. "
        "Please report this with the network's options"
    )
