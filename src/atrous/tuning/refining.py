"""What refines files of masks, probabilities and strokes, with defaults that fit each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.crf import DenseCRF, Scribbles, soft_labels
from atrous.crf.parameters import number
from atrous.prediction import refine
from atrous.prediction.refined_files import Kind
from atrous.tuning.choosing import Chosen, chosen

_DEFAULTS: dict[Kind, str] = {"labels": "deeplab_v2", "probabilities": "mild", "strokes": "deeplab_v2"}


def refining_function(
    kind: Kind, crf: Any, numbers: dict[str, Any], confidence: float
) -> tuple[Callable[[NDArray[Any], NDArray[Any], int], NDArray[np.float32]], str]:
    """Return the function that refines arrays of a kind, with an image and a number of classes; and its words.

    `crf` is what `chosen` takes, True being the default of the kind, and `numbers` replace those of a `DenseCRF`.
    `confidence` is for labels, of which a single class stays as it is.

    Raises `ValueError` for numbers that are not a `DenseCRF`'s or out of range, and as `chosen` does; the function does
    so where the refiner returns anything but finite numbers of the probabilities' shape.
    """
    number("confidence", confidence, strictly=True, below=1)
    found = _with_numbers(chosen(_DEFAULTS[kind] if crf is True else crf), numbers)
    refiner = partial(refine, found.refiner or (lambda image, probabilities: probabilities))
    if kind == "probabilities":
        return (lambda image, values, classes: refiner(image, values)), found.words
    if kind == "strokes":
        scribbles = Scribbles(refiner=None if found.refiner is None else refiner)
        return (lambda image, strokes, classes: scribbles(image, strokes)), found.words

    def of_labels(image: NDArray[Any], labels: NDArray[Any], classes: int) -> NDArray[np.float32]:
        probabilities = soft_labels(labels, classes, confidence=confidence)
        return refiner(image, probabilities) if classes > 1 else probabilities

    return of_labels, found.words


def _with_numbers(found: Chosen, numbers: dict[str, Any]) -> Chosen:
    if not numbers:
        return found
    if not isinstance(found.refiner, DenseCRF):
        raise ValueError(f"{', '.join(numbers)} came, which are numbers of a CRF, and {found.words} is none")
    changed = ", ".join(f"{name} {value}" for name, value in numbers.items())
    try:
        return Chosen(refiner=replace(found.refiner, **numbers), words=f"{found.words} with {changed}")
    except TypeError as error:
        raise ValueError(str(error)) from error
