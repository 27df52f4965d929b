"""From an image file to a training crop, per core: ours against albumentations and torchvision doing the same.

    python benchmarks/data.py [--rounds 15] [--size 600x800] [--crop 512]

One process and one thread for everybody, the sides in turn, medians of the processor's time: what a core takes for a
crop, whatever else the machine does. Every side gets the same image and labels and gives a crop of both: zoom from one
half to two, rotation by up to 20 degrees, shear by up to 5, flips, brightness, contrast, saturation and hue; with
elastic displacements; and `strong`: perspective, gamma, noise, blur and JPEG as well, all of them on every crop.

`decode` adds reading the JPEG as each library's users do: ours by `data.read_image`,
theirs by OpenCV and by torchvision. The floor is the bytes: one copy of as many pixels and labels as the crop has.

A peer that is not installed is named and left out.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import cv2
import numpy as np
from numpy.typing import NDArray

from atrous._core import separation_weights
from atrous.contract import Sample
from atrous.data import read_image, write_image
from atrous.data.augmentation import LIGHT, STRONG, Augmentation, crop_sample
from atrous.data.scenes import street_scene

Side = Callable[[NDArray[np.uint8], NDArray[np.uint8]], Any]
AFFINE = replace(LIGHT, rotation=20.0, shear=5.0)
CASES = ("affine + colour", "elastic", "affine + elastic + colour", "strong")


def ours(crop: int) -> dict[str, Side]:
    """Return our crops, each case's."""
    random = np.random.default_rng(0)

    def side(augmentation: Augmentation) -> Side:
        return lambda image, labels: crop_sample(
            Sample(image=image, labels=labels), (crop, crop), random, augmentation=augmentation
        )

    still = replace(LIGHT, scale=(1.0, 1.0), flip=0.0, brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0)
    strong = replace(STRONG, rotation=20.0, blur_chance=1.0, noise_chance=1.0, jpeg_chance=1.0)
    return dict(
        zip(
            CASES, map(side, (AFFINE, replace(still, elastic=10.0), replace(AFFINE, elastic=10.0), strong)), strict=True
        )
    )


def albumentations_sides(crop: int) -> dict[str, Side]:
    """Return the same of albumentations, the crop first: its fastest order."""
    import albumentations as peer

    place, flip = peer.RandomCrop(crop, crop, pad_if_needed=True), peer.HorizontalFlip(p=0.5)
    affine = peer.Affine(scale=(0.5, 2.0), rotate=(-20, 20), shear=(-5, 5), p=1)
    colour = peer.ColorJitter(0.3, 0.3, 0.3, 0.03, p=1)
    # Its grid of displacements is the nearest to U-Net's, and twice as fast as its ElasticTransform.
    elastic = peer.GridElasticDeform(num_grid_xy=(3, 3), magnitude=10, p=1)
    strong = [
        peer.Perspective(scale=(0.0, 0.05), p=1),
        peer.GaussianBlur(sigma_limit=(0.3, 1.5), p=1),
        peer.ColorJitter(0.4, 0.4, 0.4, 0.05, p=1),
        peer.RandomGamma((67, 150), p=1),
        peer.GaussNoise(std_range=(0.005, 0.05), p=1),
        peer.ImageCompression(quality_range=(40, 100), p=1),
    ]
    lists = ([place, flip, affine, colour], [place, elastic], [place, flip, affine, elastic, colour])

    def side(operations: list[Any]) -> Side:
        composed = peer.Compose(operations)
        return lambda image, labels: composed(image=image, mask=labels)

    return dict(zip(CASES, map(side, [*lists, [place, flip, affine, *strong]]), strict=True))


def torchvision_sides(crop: int) -> dict[str, Side]:
    """Return the same of torchvision's v2, on tensors, the crop first: its fastest order."""
    import torch
    from torchvision import tv_tensors
    from torchvision.transforms import v2 as peer

    torch.set_num_threads(1)
    bilinear = peer.InterpolationMode.BILINEAR
    place, flip = peer.RandomCrop(crop, pad_if_needed=True), peer.RandomHorizontalFlip()
    affine = peer.RandomAffine(20, scale=(0.5, 2.0), shear=5, interpolation=bilinear)
    elastic = peer.ElasticTransform(alpha=50.0, sigma=5.0)
    colour = peer.ColorJitter(0.3, 0.3, 0.3, 0.03)
    strong = [
        peer.RandomPerspective(0.05, p=1),
        peer.GaussianBlur(9, (0.3, 1.5)),
        peer.ColorJitter(0.4, 0.4, 0.4, 0.05),
        peer.Lambda(
            lambda each: peer.functional.adjust_gamma(each, 1.2) if isinstance(each, tv_tensors.Image) else each
        ),
        peer.GaussianNoise(sigma=0.03),
        peer.JPEG((40, 100)),
    ]
    lists = ([place, flip, affine, colour], [place, elastic], [place, flip, affine, elastic, colour])

    def side(operations: list[Any]) -> Side:
        composed = peer.Compose(operations)

        def call(image: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Any:
            tensor = torch.from_numpy(image).permute(2, 0, 1)
            return composed(tv_tensors.Image(tensor), tv_tensors.Mask(torch.from_numpy(labels)))

        return call

    return dict(zip(CASES, map(side, [*lists, [place, flip, affine, *strong]]), strict=True))


def median_ms(rounds: int, sides: list[Callable[[], Any]], repeats: int = 4) -> list[float]:
    """Run the sides in turn and return each one's median milliseconds of a core; the first round is not counted."""
    taken: list[list[float]] = [[] for _ in sides]
    for turn in range(rounds + 1):
        for times, side in zip(taken, sides, strict=True):
            for _ in range(repeats):
                began = time.process_time()
                side()
                if turn:
                    times.append(1000 * (time.process_time() - began))
    return [statistics.median(times) for times in taken]


def installed(crop: int) -> dict[str, dict[str, Side]]:
    """Return every side that is installed, ours first; says of the others that they are missing."""
    found = {"ours": ours(crop)}
    for name, build in (("albumentations", albumentations_sides), ("torchvision", torchvision_sides)):
        try:
            found[name] = build(crop)
        except ImportError as error:
            print(f"{name} is left out: {error}")
    return found


def decoders(path: Path) -> dict[str, Callable[[], NDArray[np.uint8]]]:
    """Return how each side's users read a JPEG as RGB."""

    def theirs() -> NDArray[np.uint8]:
        return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)

    def torchvision() -> NDArray[np.uint8]:
        from torchvision.io import decode_image

        return decode_image(str(path), mode="RGB").permute(1, 2, 0).numpy()

    return {"ours": lambda: read_image(path), "albumentations": theirs, "torchvision": torchvision}


def race(path: Path, labels: NDArray[np.uint8], crop: int, rounds: int) -> None:
    """Print a line per case, without and with decoding."""
    image, sides, reads = read_image(path), installed(crop), decoders(path)
    part, classes = np.ascontiguousarray(image[:crop, :crop]), np.ascontiguousarray(labels[:crop, :crop])
    (floor,) = median_ms(rounds, [lambda: (part.copy(), classes.copy())])
    print(f"{'':34} " + " ".join(f"{name + ' ms':>17} {'ratio':>6}" for name in sides) + f" {'floor ms':>9}")
    for decoded in (False, True):
        for case in CASES:
            calls = [
                partial(_once, side[case], reads[name] if decoded else lambda: image, labels)
                for name, side in sides.items()
            ]
            times = median_ms(rounds, calls)
            words = " ".join(f"{each:17.2f} {each / times[0]:5.1f}x" for each in times)
            print(f"{('decode + ' if decoded else '') + case:34} {words} {floor:9.3f}")


def _once(side: Side, read: Callable[[], NDArray[np.uint8]], labels: NDArray[np.uint8]) -> Any:
    return side(read(), labels)


def separation(rounds: int) -> None:
    """Print the time of U-Net's weights on 512 x 512 pixels with 50 cells."""
    from scipy.ndimage import distance_transform_edt

    random, instances = np.random.default_rng(0), np.zeros((512, 512), np.int32)
    for number in range(50):
        centre = tuple(int(each) for each in random.integers(20, 490, 2))
        cv2.circle(instances, centre, int(random.integers(8, 30)), number + 1, -1)
    cells = [number for number in np.unique(instances) if number]

    def per_cell() -> Any:
        distances = np.partition([distance_transform_edt(instances != number) for number in cells], 1, axis=0)
        return 1 + 10 * np.exp(-((distances[0] + distances[1]) ** 2) / 50)

    mine, theirs = median_ms(
        max(rounds // 5, 2), [lambda: separation_weights(instances, inside=True, threads=1), per_cell], repeats=1
    )
    apart = np.abs(separation_weights(instances, inside=True) - per_cell()).max()
    print(
        f"separation weights, 512x512, {len(cells)} cells: ours {mine:.1f} ms, a distance transform per cell (SciPy) "
        f"{theirs:.1f} ms, {theirs / mine:.1f}x; largest difference {apart:.1e}"
    )


def main() -> None:
    """Race all that are installed on one synthetic street."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--size", default="600x800")
    parser.add_argument("--crop", type=int, default=512)
    options = parser.parse_args()
    height, width = (int(side) for side in options.size.split("x"))
    cv2.setNumThreads(1)
    scene = street_scene(3, size=(height, width))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "street.jpg")
        write_image(path, scene.image)
        print(f"{height}x{width} to {options.crop}x{options.crop}, RGB of 8 bits and labels, ms of one core, medians")
        race(path, scene.labels, options.crop, options.rounds)
    separation(options.rounds)


if __name__ == "__main__":
    main()
