"""What each short cut of the CRF saves, and what it changes: made-up probabilities, and a run's own on its images.

    python benchmarks/modes.py [--run RUN IMAGES ...] [--every 12] [--rounds 3]

Each mode against `mode="full"` with two threads: how many times as fast, the share of pixels with the same likeliest
label, the mean and the largest difference of a marginal; means over the images. `--run` may come several times: a run
and a pattern of images, of which every so many is taken.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from glob import glob
from itertools import starmap
from typing import Any

import numpy as np
from crf_inputs import image_of, photos, softmax_like
from crf_sides import medians
from numpy.typing import NDArray

from atrous.crf import DenseCRF, deeplab_v2, mild
from atrous.crf.dense_crf import FAST

Case = tuple[NDArray[np.uint8], NDArray[np.float32]]
MODES: dict[str, dict[str, Any]] = {
    **{f"`{name}={value!r}`": {name: value} for name, value in FAST.items()},
    '`mode="fast"`': {"mode": "fast"},
}


def synthetic(labels: int) -> Iterator[Case]:
    """Yield three photos of 375x500 with made-up probabilities."""
    for name in list(photos())[:3]:
        image = image_of(photos(), name, 375, 500)
        yield image, softmax_like(image, labels)


def predicted(run: str, pattern: str, every: int) -> Iterator[Case]:
    """Yield images with what a run says of them."""
    import atrous
    from atrous.data import read_image

    segmenter = atrous.load(run)
    for path in sorted(glob(pattern))[::every]:  # noqa: PTH207 - the user's pattern may be absolute
        probabilities = atrous.predict(segmenter, path, space=segmenter.space, probabilities=True).probabilities
        yield read_image(path), probabilities


def compared(crf: DenseCRF, rounds: int, image: NDArray[Any], probabilities: NDArray[np.float32]) -> list[list[float]]:
    """Return what each mode comes to on one image."""
    modes = [crf, *(replace(crf, **changes) for changes in MODES.values())]
    full, *times = medians(rounds, *(partial(mode, image, probabilities) for mode in modes))
    expected = crf(image, probabilities)
    rows = []
    for mode, seconds in zip(modes[1:], times, strict=True):
        marginals = mode(image, probabilities)
        difference = np.abs(marginals - expected)
        same = (marginals.argmax(0) == expected.argmax(0)).mean()
        rows.append([full / seconds, 100 * float(same), float(difference.mean()), float(difference.max())])
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", nargs=2, action="append", default=[], metavar=("RUN", "IMAGES"))
    parser.add_argument("--every", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    cases = {f"made up, {labels} labels": list(synthetic(labels)) for labels in (21, 150)}
    for run, pattern in options.run:
        found = list(predicted(run, pattern, options.every))
        cases[f"{len(found)} images of {run.rstrip('/').split('/')[-1]}, {len(found[0][1])} labels"] = found
    print("| probabilities | numbers | mode | times as fast | same label, % | mean difference | largest |")
    print("|---|---|---|---|---|---|---|")
    for name, images in cases.items():
        for numbers, crf in (("mild", mild()), ("DeepLab v2", deeplab_v2())):
            each = starmap(partial(compared, replace(crf, threads=2), options.rounds), images)
            for mode, row in zip(MODES, np.mean(list(each), axis=0), strict=True):
                print(f"| {name} | {numbers} | {mode} | {row[0]:.2f} | {row[1]:.3f} | {row[2]:.0e} | {row[3]:.0e} |")


if __name__ == "__main__":
    main()
