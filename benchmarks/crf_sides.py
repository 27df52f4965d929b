"""Who is raced on what: the two CRFs, the photos, labels and parameters, and the clock."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from crf_inputs import Photo, image_of, photos, softmax_like
from numpy.typing import NDArray

from atrous.crf import DenseCRF

Floats = NDArray[np.float32]
Side = Callable[[Photo, Floats], Floats]

PARAMETERS = {
    "DeepLab v2": DenseCRF(w1=4, sigma_alpha=67, sigma_beta=3, w2=3, sigma_gamma=3),
    "peer's README": DenseCRF(w1=10, sigma_alpha=80, sigma_beta=13, w2=3, sigma_gamma=3),
}
SIZES = {(375, 500): "coffee", (512, 512): "astronaut", (1024, 1024): "mosaic"}
LABELS = (2, 21, 150)
HEADLINE = (375, 500), 21, "DeepLab v2"
ARRAYS = 12  # as large as the probabilities, which a race holds at once: the peer's eight, what came, what is compared


@dataclass(frozen=True)
class Race:
    """One photo with its labels and parameters; `file` holds a real network's probabilities."""

    photo: str
    size: tuple[int, int]
    labels: int
    parameters: str
    file: Path | None = None

    @property
    def name(self) -> str:
        """What `--only` looks at, such as coffee 375x500/21 DeepLab v2."""
        return f"{self.photo} {self.size[0]}x{self.size[1]}/{self.labels} {self.parameters}"

    @property
    def values(self) -> int:
        """How many probabilities there are."""
        return self.labels * self.size[0] * self.size[1]

    @property
    def fits(self) -> bool:
        """Whether there is enough memory that is free."""
        return self.gibibytes < available_memory()

    @property
    def gibibytes(self) -> float:
        """About how much memory the race takes."""
        return 4 * self.values * ARRAYS / 2**30

    def inputs(self) -> tuple[Photo, Floats]:
        """Return the photo and the probabilities."""
        if self.file is not None:
            return network_output(self.file)
        image = image_of(photos(), self.photo, *self.size)
        return image, softmax_like(image, self.labels)


def network_output(file: Path) -> tuple[Photo, Floats]:
    """Return the image and the probabilities of a file."""
    with np.load(file) as arrays:
        return arrays["image"], np.ascontiguousarray(arrays["probabilities"], np.float32)


def races(options: argparse.Namespace) -> Iterator[Race]:
    """Yield what is raced: sizes by labels by parameters, then every photo at the headline's, then real outputs."""
    size, labels, parameters = HEADLINE
    for each, photo in SIZES.items():
        for count in LABELS:
            if not options.quick or (each == size and count < 100):
                yield from (Race(photo, each, count, numbers) for numbers in PARAMETERS)
    if not options.quick:
        yield from (Race(photo, size, labels, parameters) for photo in photos() if photo != SIZES[size])
    for file in options.softmax:
        shape = network_output(file)[1].shape
        yield from (Race(file.stem, shape[1:], shape[0], numbers, file) for numbers in PARAMETERS)


def peer(crf: DenseCRF, image: Photo, probabilities: Floats) -> Floats:
    """Refine as the peer's README does."""
    from pydensecrf.densecrf import DenseCRF2D
    from pydensecrf.utils import unary_from_softmax

    labels, height, width = probabilities.shape
    model = DenseCRF2D(width, height, labels)
    model.setUnaryEnergy(np.ascontiguousarray(unary_from_softmax(probabilities)))
    model.addPairwiseGaussian(sxy=crf.sigma_gamma, compat=crf.w2)
    model.addPairwiseBilateral(sxy=crf.sigma_alpha, srgb=crf.sigma_beta, rgbim=image, compat=crf.w1)
    return np.array(model.inference(crf.iterations)).reshape(probabilities.shape)


def sides(crf: DenseCRF) -> dict[str, Side]:
    """Return the five that are raced."""
    return {
        "peer": lambda image, probabilities: peer(crf, image, probabilities),
        "1 thread": replace(crf, threads=1),
        "2 threads": replace(crf, threads=2),
        "fast, 1 thread": replace(crf, threads=1, mode="fast"),
        "fast, 2 threads": replace(crf, threads=2, mode="fast"),
    }


def medians(rounds: int, *runs: Callable[[], Any]) -> list[float]:
    """Run all in turn after one warm-up, in an order that changes every round; return each one's median seconds."""
    taken: list[list[float]] = [[] for _ in runs]
    for turn in range(rounds + 1):
        for index in range(len(runs)) if turn % 2 else reversed(range(len(runs))):
            began = time.perf_counter()
            runs[index]()
            if turn:
                taken[index].append(time.perf_counter() - began)
    return [statistics.median(times) for times in taken]


def available_memory() -> float:
    """Return the GiB that are free for this process; where the system does not say, as much as one likes."""
    table = Path("/proc/meminfo")
    lines = table.read_text("ascii").splitlines() if table.exists() else []
    sizes = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable")]
    return sizes[0] / 2**20 if sizes else float("inf")
