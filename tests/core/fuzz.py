"""Odd input for the lattice and mean field, until the time is over: `make sanitize` runs it under sanitizers.

    python tests/core/fuzz.py [--minutes 5] [--seed 0]

Each round draws a shape, features, labels and options, mostly sensible and sometimes not. The marginals must be finite
and sum to one, or the input must have been refused with an error of ours; and where it is small, the compiled kernels
must agree with their NumPy twins.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous import _core
from atrous.crf import DenseCRF

_SIDES = (1, 1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 100, 129)
_LABELS = (1, 2, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 21, 24, 31, 32, 33, 63, 64, 65, 72, 129)
_SCALES = (1e-3, 0.1, 1, 10, 255, 1e4, 1e6)
_BAD = (np.nan, np.inf, -np.inf, -0.5, 3e38)


def image_of(draw: np.random.Generator, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return an image of noise, of one colour, or of a few."""
    kind = draw.integers(4)
    if kind == 0:
        return draw.integers(0, 256, shape, np.uint8)
    if kind == 1:
        return np.full(shape, draw.integers(256), np.uint8)
    scale = np.float32(draw.choice(_SCALES))
    values = draw.standard_normal(shape, np.float32) * scale
    return np.round(values / scale * 2) * scale if kind == 2 else values


def unary_of(draw: np.random.Generator, labels: int, shape: tuple[int, ...]) -> dict[str, NDArray[np.float32]]:
    """Return probabilities or logits; now and then with a value that they must not hold."""
    values = draw.standard_normal((labels, *shape), np.float32) * np.float32(draw.choice((0.1, 3, 30, 1e3)))
    name = "logits"
    if draw.random() < 0.6:
        values = np.exp(values - values.max(0))
        values /= values.sum(0)
        name = "probabilities"
    if draw.random() < 0.1:
        values[tuple(draw.integers(side) for side in values.shape)] = draw.choice(_BAD)
    return {name: values}


def crf_of(draw: np.random.Generator, labels: int) -> DenseCRF:
    """Return a CRF of random parameters."""
    compatibility: Any = "potts"
    if draw.random() < 0.2:
        compatibility = draw.standard_normal(labels)
    elif draw.random() < 0.2:
        compatibility = draw.standard_normal((labels, labels)) * draw.choice((1, 50))
    crf = DenseCRF(
        w1=float(draw.choice((0, 0.1, 4, 1e4))),
        sigma_alpha=float(draw.choice((1e-2, 1, 67, 1e5))),
        sigma_beta=float(draw.choice((1e-2, 3, 13, 1e5))),
        w2=float(draw.choice((0, 1, 3))),
        sigma_gamma=float(draw.choice((1e-2, 0.5, 3, 1e4))),
        iterations=int(draw.integers(6)),
        normalisation=str(draw.choice(("symmetric", "symmetric", "before", "after", "none"))),
        compatibility=compatibility,
        self_message=bool(draw.random() < 0.8),
        threads=int(draw.integers(1, 6)),
        settle=float(draw.choice((0, 0.01, 0.5))),
        tolerance=float(draw.choice((0, 1e-3))),
    )
    if crf.normalisation in ("symmetric", "before") and draw.random() < 0.3:
        crf = replace(crf, precision="float16")
    return replace(crf, prune=0.2) if np.ndim(compatibility) != 2 and draw.random() < 0.3 else crf


def once(draw: np.random.Generator) -> bool:
    """Draw and refine one image or volume; return False where the input was refused."""
    labels = int(draw.choice(_LABELS))
    volume = draw.random() < 0.2
    sides = tuple(int(draw.choice(_SIDES)) for _ in range(3 if volume else 2))
    if np.prod(sides) * labels > 2_000_000:
        sides = (*(1 for _ in sides[1:]), sides[-1])
    channels = () if draw.random() < 0.3 else (int(draw.choice((1, 2, 3, 4, 9, 17))),)
    image, unary = image_of(draw, sides + channels), unary_of(draw, labels, sides)
    crf = crf_of(draw, labels)
    infer = crf.volume if volume else crf
    try:
        marginals = infer(image, **unary)
    except ValueError:
        return False
    if not np.isfinite(marginals).all() or np.abs(marginals.sum(0) - 1).max() > 1e-3:
        raise AssertionError(f"{crf} on {image.dtype} {image.shape}, {labels} labels: no marginals came")
    return True


def lattices(draw: np.random.Generator) -> None:
    """Compare a small random lattice's filter with the twin's."""
    dimensions = int(draw.integers(1, 19))
    shape = (dimensions, int(draw.choice(_SIDES)), int(draw.choice(_SIDES[:8])))
    scale = np.float32(draw.choice((0, 0.1, 1, 30, 1e3)))
    features = draw.standard_normal(shape, np.float32) * scale
    values = draw.random((int(draw.choice((1, 3, 16, 65))), shape[1] * shape[2]), np.float32)
    results = []
    for core in ("compiled", "numpy"):
        os.environ["ATROUS_CORE"] = core
        lattice = _core.build_lattice(features, threads=int(draw.integers(1, 5)))
        results.append(_core.filtered(lattice, values))
    os.environ["ATROUS_CORE"] = "compiled"
    np.testing.assert_allclose(*results, atol=1e-4)


def main() -> None:
    """Go on until the time is over, and say how much was tried."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.environ["ATROUS_CORE"] = "compiled"
    end, refused, tried = time.monotonic() + 60 * options.minutes, 0, 0
    while time.monotonic() < end:
        draw = np.random.default_rng((options.seed, tried))
        try:
            refused += not once(draw)
            if tried % 4 == 0:
                lattices(draw)
        except Exception:
            print(f"in round {tried} of seed {options.seed}:")
            raise
        tried += 1
    print(f"{tried} rounds, {refused} refused, none wrong")


if __name__ == "__main__":
    main()
