"""The confusion matrix of two label maps against torchmetrics, scikit-learn and NumPy: time, agreement, the floor.

    python benchmarks/evaluation.py [--rounds 9] [--size 1024x2048] [--classes 19 150] [--measures]

All sides count the same labels, of which one in twenty is ignored, and must come to the same matrix. The peers get
what they take (torchmetrics int64 tensors, scikit-learn flat arrays), made beforehand. One process, the sides in turn
in an order that changes every round, medians in milliseconds; a ratio is the side's time over that of the core. The
floor is reading both maps once, at the speed with which this machine finds the largest byte of a large array. With
`--measures` the other measures are timed too, on the same labels.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from atrous._core import confusion
from atrous.contract import IGNORE, LabelSpace
from atrous.evaluation import MEASURES, Evaluation

Labels = NDArray[np.uint8]
Side = Callable[[], Any]


def labels_of(classes: int, size: tuple[int, int]) -> tuple[Labels, Labels]:
    """Return truth and prediction (h, w): regions of 32 pixels, nine of ten right, one in twenty ignored."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, classes, (-(-size[0] // 32), -(-size[1] // 32)))
    truth = np.kron(coarse, np.ones((32, 32), int))[: size[0], : size[1]].astype(np.uint8)
    found = np.where(random.random(size) < 0.9, truth, random.integers(0, classes, size)).astype(np.uint8)
    truth[random.random(size) < 0.05] = IGNORE
    return truth, found


def by_bincount(truth: Labels, found: Labels, classes: int) -> NDArray[np.int64]:
    """Return the matrix as most programs count it."""
    counted = truth != IGNORE
    numbers = classes * truth[counted].astype(np.int64) + found[counted]
    return np.bincount(numbers, minlength=classes * classes).reshape(classes, classes)


def sides(truth: Labels, found: Labels, classes: int) -> dict[str, Side]:
    """Return what is raced, the core first; peers that are not installed are left out."""
    raced: dict[str, Side] = {
        "core": partial(confusion, truth, found, classes),
        "core, 1 thread": partial(confusion, truth, found, classes, threads=1),
        "NumPy bincount": partial(by_bincount, truth, found, classes),
    }
    try:
        from torchmetrics.functional.classification import multiclass_confusion_matrix

        tensors = [torch.from_numpy(each.astype(np.int64)) for each in (found, truth)]
        raced["torchmetrics"] = partial(
            multiclass_confusion_matrix, *tensors, num_classes=classes, ignore_index=IGNORE, validate_args=False
        )
    except ImportError:
        print("torchmetrics is not installed, and is left out")
    try:
        from sklearn.metrics import confusion_matrix

        flat = truth.ravel(), found.ravel()
        raced["scikit-learn"] = partial(confusion_matrix, *flat, labels=np.arange(classes))
    except ImportError:
        print("scikit-learn is not installed, and is left out")
    return raced


def medians(rounds: int, raced: dict[str, Side]) -> dict[str, float]:
    """Return the median of each side in milliseconds, the sides in turn."""
    names = list(raced)
    times: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            start = time.perf_counter()
            raced[name]()
            times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(each) for name, each in times.items()}


def reading_speed() -> float:
    """Return how many bytes a second this machine reads from memory with one thread."""
    large = np.ones(1 << 28, np.uint8)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        large.max()
        times.append(time.perf_counter() - start)
    return large.size / statistics.median(times)


def race(classes: int, size: tuple[int, int], rounds: int) -> None:
    """Print a row per side, after all have come to the same matrix."""
    truth, found = labels_of(classes, size)
    raced = sides(truth, found, classes)
    expected = by_bincount(truth, found, classes)
    for name, side in raced.items():
        np.testing.assert_array_equal(np.asarray(side()), expected, err_msg=name)
    times = medians(rounds, raced)
    for name, milliseconds in times.items():
        print(f"| {size[0]}x{size[1]} | {classes} | {name} | {milliseconds:.2f} | {milliseconds / times['core']:.1f} |")
    floor = 1000 * 2 * truth.size / reading_speed()
    print(f"| {size[0]}x{size[1]} | {classes} | floor: reading the bytes | {floor:.2f} | {floor / times['core']:.2f} |")


def measures(classes: int, size: tuple[int, int]) -> None:
    """Print how long each of the other measures takes on the same labels."""
    truth, found = labels_of(classes, size)
    space = LabelSpace(names=tuple(map(str, range(classes))))
    for measure in MEASURES:
        if measure in ("rand", "warping", "calibration", "flicker"):
            continue
        start = time.perf_counter()
        Evaluation.of("x", truth, found, space, measures=(measure,))
        print(f"| {size[0]}x{size[1]} | {classes} | {measure} | {time.perf_counter() - start:.2f} s |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--size", default="1024x2048")
    parser.add_argument("--classes", type=int, nargs="*", default=[19, 150])
    parser.add_argument("--measures", action="store_true")
    options = parser.parse_args()
    height, width = (int(side) for side in options.size.split("x"))
    if hasattr(os, "getloadavg"):
        print(f"{os.cpu_count()} processors, of which {os.getloadavg()[0]:.1f} were busy during the last minute.\n")
    print("| size | classes | side | milliseconds | times the core's |\n|---|---|---|---|---|")
    for classes in options.classes:
        race(classes, (height, width), options.rounds)
    if options.measures:
        print("\n| size | classes | measure | seconds |\n|---|---|---|---|")
        for classes in options.classes:
            measures(classes, (height, width))


if __name__ == "__main__":
    main()
