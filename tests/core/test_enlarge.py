"""Maps enlarged in floats: the samples of torch's interpolation, and of the fused choice of the best class."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from atrous._core import enlarge, enlarge_argmax

MAPS = np.random.default_rng(0).normal(size=(2, 3, 5, 4)).astype(np.float32)


@pytest.mark.parametrize("align", [True, False])
@pytest.mark.parametrize("size", [(17, 13), (5, 4), (1, 9), (3, 2)])
def test_samples_are_those_of_torch(size: tuple[int, int], align: bool) -> None:
    expected = interpolate(torch.from_numpy(MAPS), size, mode="bilinear", align_corners=align).numpy()
    found = enlarge(MAPS, size, align_corners=align)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)
    crop = (size[0], max(size[1] - 3, 1))
    np.testing.assert_array_equal(enlarge(MAPS, size, align_corners=align, crop=crop), found[..., : crop[1]])


def test_its_best_class_is_that_of_the_fused_kernel() -> None:
    found = enlarge(MAPS, (40, 33), align_corners=False).argmax(1)
    fused = np.stack([enlarge_argmax(each, (40, 33), align_corners=False) for each in MAPS])
    assert (found != fused).mean() < 0.001


def test_it_refuses_what_the_fused_kernel_refuses() -> None:
    with pytest.raises(ValueError, match=r"logits have dtype float64; float32 is needed"):
        enlarge(MAPS.astype(np.float64), (8, 8), align_corners=False)
    with pytest.raises(ValueError, match=r"crop \(9, 8\) is not within size \(8, 8\)"):
        enlarge(MAPS, (8, 8), align_corners=False, crop=(9, 8))
