"""What counts as agreement: shapes, numbers, labels; each can fail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from atrous import conformance
from atrous.contract import AtrousError, Geometry, Preprocessing
from atrous.exporting import TOLERANCES, check_agreement, reference_images, reference_sizes
from atrous.exporting.comparing import _by_torch
from atrous.exporting.exported import weights_sha256
from atrous.models import Segmenter

PATH = Path("net.onnx")


def _like_torch(segmenter: Segmenter, changed: Callable[[str, NDArray[Any]], NDArray[Any]]) -> Any:
    return lambda name, images: changed(name, _by_torch(segmenter, images)[name])


def test_equal(segmenter: Segmenter) -> None:
    found = check_agreement(segmenter, _like_torch(segmenter, lambda _, x: x), TOLERANCES["fp32"], path=PATH)
    assert (found.logits, found.probabilities, found.labels) == (0, 0, 0)
    assert found.sizes == reference_sizes(segmenter.geometry)
    assert found.pixels == sum(count * height * width for count, height, width in found.sizes)
    assert str(found).startswith("logits 0.0e+00, probabilities 0.0e+00 away at most, 0 of ")


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        (
            "logits",
            lambda x: x[:, :, :-1],
            r"for 1 image of 1 x 1 logits are \(1, 2, 1, 2\) float32, and \(1, 2, 2, 2\)",
        ),
        ("logits", lambda x: x.astype(np.float64), r"logits are .* float64, and .* float32 in torch"),
        ("logits", lambda x: x + 1e-3, r"logits are 0.001 away, and 0.0001 is allowed"),
        ("probabilities", lambda x: x + 1e-3, r"probabilities are 0.001 away, and 0.0001 is allowed"),
        ("probabilities", lambda x: x * np.nan, r"probabilities are nan away"),
        ("labels", lambda x: 1 - x, r"pixels? have another label, though one class leads clearly"),
    ],
)
def test_what_differs_is_refused(segmenter: Segmenter, name: str, change: Any, words: str) -> None:
    compute = _like_torch(segmenter, lambda each, x: change(x) if each == name else x)
    with pytest.raises(AtrousError, match=rf"net.onnx: was not written, .*{words}"):
        check_agreement(segmenter, compute, TOLERANCES["fp32"], path=PATH)


def test_runtime_that_raises(segmenter: Segmenter) -> None:
    def compute(name: str, images: NDArray[np.float32]) -> NDArray[Any]:
        raise RuntimeError("no such operation")

    with pytest.raises(AtrousError, match=r"running it raised RuntimeError\('no such operation'\)"):
        check_agreement(segmenter, compute, TOLERANCES["fp32"], path=PATH)


def test_labels_of_a_tie_may_be_either(segmenter: Segmenter) -> None:
    even = conformance.copy.deepcopy(segmenter)
    with torch.no_grad():
        for parameter in even.net.second.parameters():
            parameter.zero_()
    compute = _like_torch(even, lambda name, x: 1 - x if name == "labels" else x)
    found = check_agreement(even, compute, TOLERANCES["fp32"], path=PATH)
    assert found.labels == found.pixels


def test_reference_images_are_stored_values() -> None:
    deep = Preprocessing(mean=(0.5,), std=(0.5,), low=-1000, high=3000)
    images = reference_images(deep, Geometry())
    assert [each.shape[1] for each in images] == [1] * 4
    assert all(each.dtype == np.float32 and (each == np.round(each)).all() for each in images)
    assert -1000 <= min(each.min() for each in images) < 0 < max(each.max() for each in images) <= 3000
    shares = reference_images(Preprocessing(mean=(0.5,), std=(0.5,), low=0, high=1), Geometry())
    assert 0 < shares[1].min() < shares[1].max() < 1


def test_hash_is_of_names_shapes_and_values(segmenter: Segmenter) -> None:
    other = conformance.copy.deepcopy(segmenter)
    other.net.first.weight.data = other.net.first.weight.data.contiguous()
    assert weights_sha256(other) == weights_sha256(segmenter)
    with torch.no_grad():
        other.net.first.weight[0, 0, 0, 0] += 1
    assert weights_sha256(other) != weights_sha256(segmenter)


@pytest.mark.slow
def test_conformance_sees_a_network_that_does_not_export(segmenter: Segmenter) -> None:
    conformance.check_export(segmenter)
    broken = conformance.copy.deepcopy(segmenter)
    broken.net.forward = lambda images: segmenter.net(images) * (1 if images.shape[2] > 40 else 2)
    with pytest.raises(AtrousError, match=r"Small: exporting it raised .*logits are"):
        conformance.check_export(broken)
