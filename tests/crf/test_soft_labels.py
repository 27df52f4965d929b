"""Hard labels as probabilities, and the published results that begin with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atrous.crf import pydensecrf_example, soft_labels


def test_the_label_gets_the_confidence_and_the_others_share_the_rest() -> None:
    labels = np.array([[0, 2], [255, 1]], np.uint8)
    found = soft_labels(labels, 3, confidence=0.8)
    assert found.dtype == np.float32
    assert found.shape == (3, 2, 2)
    np.testing.assert_allclose(found[:, 0, 1], [0.1, 0.1, 0.8], atol=1e-6)
    np.testing.assert_allclose(found[:, 1, 0], [1 / 3] * 3, atol=1e-6)
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-6)
    assert found.flags.c_contiguous


def test_any_integers_and_any_ignore_value_will_do() -> None:
    labels = np.array([[0, -1, 1]], np.int64)
    np.testing.assert_allclose(soft_labels(labels, 2, ignore=-1)[0, 0], [0.7, 0.5, 0.3], atol=1e-6)


def test_a_single_class_is_certain() -> None:
    assert soft_labels(np.zeros((2, 3), np.uint8), 1).tolist() == np.ones((1, 2, 3)).tolist()


@pytest.mark.parametrize(
    ("labels", "classes", "confidence", "words"),
    [
        (np.array([[3]]), 3, 0.7, r"label 3 is outside 0\.\.2 and is not the ignore value 255; 1 pixels"),
        (np.array([[0.5]]), 3, 0.7, r"labels are float64 of shape \(1, 1\); whole numbers \(h, w\) are needed"),
        (np.zeros((1, 2, 3), np.uint8), 3, 0.7, "whole numbers"),
        (np.zeros((0, 3), np.uint8), 3, 0.7, "whole numbers"),
        (np.array([[0]]), 4, 0.25, "confidence is 0.25; above 1 / 4 is needed"),
        (np.array([[0]]), 4, 1.0, "confidence is 1; a finite number of at least 0 and below 1 is needed"),
        (np.array([[0]]), 0, 0.7, "classes is 0; 1 or more is needed"),
    ],
)
def test_what_cannot_be_is_refused(labels: np.ndarray, classes: int, confidence: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        soft_labels(labels, classes, confidence=confidence)


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(TypeError, match=r"classes is 2\.5; a whole number is needed"):
        soft_labels(np.array([[0]]), 2.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"confidence is '0\.7'; a number is needed"):
        soft_labels(np.array([[0]]), 2, confidence="0.7")  # type: ignore[arg-type]


@pytest.mark.parametrize(("index", "differing"), [(1, 38), (2, 84), (3, 53)])
def test_published_results_of_coarse_annotations_are_reproduced(data_dir: Path, index: int, differing: int) -> None:
    """Of labels from colours, black unknown, confidence 0.7, and PyDenseCRF's example.

    The published program lists y before x, and the lattice depends a little on the order of its features: turned by
    the diagonal, the picture gives the same labels; as it is, as many others as PyDenseCRF's two-dimensional form.
    """
    folder = data_dir / "crf"
    image = np.array(Image.open(folder / f"im{index}.png").convert("RGB"))
    drawn, published = (np.array(Image.open(folder / f"{name}{index}.png").convert("RGB")) for name in ("anno", "out"))
    colours, labels = np.unique(drawn.reshape(-1, 3), axis=0, return_inverse=True)
    assert colours[0].tolist() == [0, 0, 0]
    labels = np.where(labels == 0, 255, labels - 1).reshape(image.shape[:2])
    probabilities = soft_labels(labels, len(colours) - 1)
    crf = replace(pydensecrf_example(), threads=1)
    turned = crf(image.transpose(1, 0, 2).copy(), probabilities.transpose(0, 2, 1).copy()).argmax(0).T
    assert (colours[1:][turned] == published).all(2).mean() >= 0.9999
    straight = crf(image, probabilities).argmax(0)
    different = int((colours[1:][straight] != published).any(2).sum())
    assert abs(different - differing) <= 8
