"""Bilinear deconvolution against the authors' filter, F.interpolate, and arithmetic."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from atrous.layers.upsample import BilinearDeconvolution, bilinear_kernel


def surgery_filter(size):
    """Return `upsample_filt` of surgery.py in shelhamer/fcn.berkeleyvision.org, its formula as written there."""
    factor = (size + 1) // 2
    center = factor - 1 if size % 2 == 1 else factor - 0.5
    og = np.ogrid[:size, :size]
    return (1 - abs(og[0] - center) / factor) * (1 - abs(og[1] - center) / factor)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 16, 32, 63, 64])
def test_kernel_is_the_authors_filter(size):
    np.testing.assert_allclose(bilinear_kernel(size).numpy(), surgery_filter(size), rtol=1e-6)


def test_kernel_of_four_is_the_printed_one():
    taps = torch.tensor([0.25, 0.75, 0.75, 0.25])
    torch.testing.assert_close(bilinear_kernel(4), torch.outer(taps, taps))


def test_kernel_of_no_size_is_refused():
    with pytest.raises(ValueError, match=r"size 0 came; sizes are 1 and above, twice the stride"):
        bilinear_kernel(0)


@pytest.mark.parametrize(("classes", "stride"), [(0, 2), (2, 0)])
def test_deconvolution_of_nothing_is_refused(classes, stride):
    with pytest.raises(ValueError, match=rf"{classes} classes and stride {stride} came; .* at least 1 of each"):
        BilinearDeconvolution(classes, stride)


@pytest.mark.parametrize("learnt", [False, True])
@pytest.mark.parametrize("stride", [1, 2, 3, 8, 16, 32])
def test_interior_weights_sum_to_one(stride, learnt):
    enlarged = BilinearDeconvolution(2, stride, learnt)(torch.ones(1, 2, 4, 3))
    assert enlarged.shape == (1, 2, 5 * stride, 4 * stride)
    inside = enlarged[..., stride:-stride, stride:-stride]
    torch.testing.assert_close(inside, torch.ones_like(inside))


@pytest.mark.parametrize("stride", [2, 8, 16, 32])
def test_border_fades_below_one(stride):
    """A zero-padded deconvolution loses its rim; FCN's crops of 19 and more remove it."""
    enlarged = BilinearDeconvolution(1, stride)(torch.ones(1, 1, 3, 3))
    assert enlarged[0, 0, :stride].max() < 1
    torch.testing.assert_close(enlarged[0, 0, 0, 0].item(), (0.5 / stride) ** 2)


@settings(deadline=None)  # the first call warms torch up
@given(st.sampled_from([2, 4, 8, 16]), st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**31))
def test_interior_equals_interpolate(stride, height, width, seed):
    scores = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(seed))
    enlarged = BilinearDeconvolution(3, stride)(scores)
    half = stride // 2
    expected = functional.interpolate(scores, scale_factor=stride, mode="bilinear", align_corners=False)
    rows, columns = slice(half, stride * height - half), slice(half, stride * width - half)
    actual = enlarged[..., stride : stride * height, stride : stride * width]
    torch.testing.assert_close(actual, expected[..., rows, columns], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("stride", [1, 2, 3, 5, 32])
def test_sample_lies_at_stride_times_index_plus_stride_less_half(stride):
    scores = torch.zeros(1, 1, 7, 1)
    scores[0, 0, 4] = 1
    profile = BilinearDeconvolution(1, stride)(scores).sum((0, 1, 3)).double()
    middle = (profile * torch.arange(len(profile))).sum() / profile.sum()
    assert middle.item() == pytest.approx(stride * 4 + stride - 0.5)


def test_fixed_is_a_buffer_and_learnt_a_full_parameter():
    fixed, learnt = BilinearDeconvolution(21, 8), BilinearDeconvolution(21, 8, learnt=True)
    assert list(fixed.parameters()) == []
    assert dict(fixed.named_buffers())["weight"].shape == (21, 1, 16, 16)
    assert sum(weight.numel() for weight in learnt.parameters()) == 21 * 21 * 16 * 16
    assert list(learnt.buffers()) == []
    assert repr(learnt) == "BilinearDeconvolution(stride=8, learnt=True)"
    assert repr(fixed) == "BilinearDeconvolution(stride=8, learnt=False)"


def test_learnt_starts_on_the_diagonal_and_equals_fixed():
    learnt = BilinearDeconvolution(3, 2, learnt=True)
    torch.testing.assert_close(learnt.weight.detach()[1, 1], bilinear_kernel(4))
    assert learnt.weight.detach()[0, 1].abs().max() == 0
    scores = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(learnt(scores).detach(), BilinearDeconvolution(3, 2)(scores))


@pytest.mark.parametrize(("size", "stride", "uneven"), [(3, 2, True), (4, 2, False), (2, 2, False), (16, 8, False)])
def test_taps_per_output_are_even_when_the_stride_divides_the_kernel(size, stride, uneven):
    """Constant weights on a constant: unequal outputs are the checkerboard (distill.pub, deconv-checkerboard)."""
    taps = functional.conv_transpose1d(torch.ones(1, 1, 12), torch.ones(1, 1, size), stride=stride)
    inside = taps[..., size:-size]
    assert (inside.max() > inside.min()).item() is uneven
