"""Bilinear deconvolution against the authors' filter, F.interpolate, and arithmetic."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from atrous.layers.upsample import (
    BilinearDeconvolution,
    CentredDeconvolution,
    bilinear_kernel,
    centred_kernel,
    tap_counts,
    upsampling,
)

KINDS = (
    "bilinear",
    "deconvolution",
    "learnt-deconvolution",
    "transposed",
    "nearest-convolution",
    "bilinear-convolution",
    "sub-pixel",
)
LEARNT = KINDS[2:]


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


# The menu -------------------------------------------------------------------------------------------------------------


def features(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def enlarged(x, stride):
    return functional.interpolate(x, scale_factor=stride, mode="bilinear", align_corners=False)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stride", [2, 3, 4, 8])
@pytest.mark.parametrize("channels", [(3, 3), (3, 5)])
def test_every_kind_enlarges_by_the_stride_from_one_pixel_on(kind, stride, channels):
    layer = upsampling(kind, *channels, stride)
    for height, width in ((1, 1), (1, 4), (3, 2), (5, 7)):
        out = layer(features(2, channels[0], height, width))
        assert out.shape == (2, channels[1], stride * height, stride * width)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_said_to_learn_learns(kind):
    layer = upsampling(kind, 3, 3, 2)
    assert bool(list(layer.parameters())) is (kind in LEARNT)
    if kind in LEARNT:
        layer(features(1, 3, 4, 4)).square().sum().backward()
        assert all(weight.grad is not None and weight.grad.any() for weight in layer.parameters())


@pytest.mark.parametrize("kind", ["deconvolution", "learnt-deconvolution"])
@pytest.mark.parametrize("stride", [2, 3, 4, 5, 8])
@torch.no_grad()
def test_deconvolutions_equal_interpolation_inside_and_fade_at_the_border(kind, stride):
    x = features(2, 3, 6, 5)
    out, expected = upsampling(kind, 3, 3, stride)(x), enlarged(x, stride)
    inside = (..., slice(stride, -stride), slice(stride, -stride))
    torch.testing.assert_close(out[inside], expected[inside], atol=1e-5, rtol=0)
    ones = upsampling(kind, 1, 1, stride)(torch.ones(1, 1, 4, 4))
    assert ones[0, 0, 0, 0] < 0.8


def test_the_centred_kernel_is_the_bilinear_one_for_even_strides():
    for stride in (2, 4, 8):
        torch.testing.assert_close(centred_kernel(stride), bilinear_kernel(2 * stride))
    assert centred_kernel(3).shape == (6, 6)
    torch.testing.assert_close(centred_kernel(3)[1:, 1:], bilinear_kernel(5))
    assert list(CentredDeconvolution(4, 3).parameters()) == []


@torch.no_grad()
def test_a_learnt_deconvolution_between_channels_starts_as_a_1x1_and_interpolation():
    layer, x = upsampling("learnt-deconvolution", 3, 5, 2), features(1, 3, 6, 6)
    mixing = layer.weight.sum((2, 3)).T[:, :, None, None] / 4
    assert mixing.std() > 0.1
    expected = enlarged(functional.conv2d(x, mixing), 2)
    torch.testing.assert_close(layer(x)[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2], atol=1e-5, rtol=0)


@torch.no_grad()
def test_fixed_kinds_mix_channels_before_they_enlarge():
    x = features(1, 3, 4, 4)
    layer = upsampling("bilinear", 3, 2, 2)
    torch.testing.assert_close(layer(x), enlarged(layer[0](x), 2))
    torch.testing.assert_close(upsampling("bilinear", 3, 3, 2)(x), enlarged(x, 2))


@pytest.mark.parametrize("stride", [2, 3, 4])
@torch.no_grad()
def test_sub_pixel_starts_as_its_convolution_with_every_pixel_repeated(stride):
    layer, x = upsampling("sub-pixel", 3, 5, stride), features(2, 3, 4, 6)
    scores = layer[0](x)[:, :: stride**2]
    assert scores.shape[1] == 5
    repeated = scores.repeat_interleave(stride, 2).repeat_interleave(stride, 3)
    torch.testing.assert_close(layer(x), repeated)
    assert layer[0].weight[:: stride**2].unique(dim=0).shape[0] == 5


@pytest.mark.parametrize("kind", ["nearest-convolution", "bilinear-convolution"])
@torch.no_grad()
def test_padding_goes_on_as_the_enlargement_does(kind):
    """The border's value repeated before or after enlarging is the same, so the border sees no edge of zeros."""
    layer, x = upsampling(kind, 2, 3, 2), features(1, 2, 4, 5)
    wide = layer(functional.pad(x, (2, 2, 2, 2), mode="replicate"))
    torch.testing.assert_close(layer(x), wide[..., 4:-4, 4:-4], atol=1e-6, rtol=0)


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5, 6, 9])
@pytest.mark.parametrize("stride", [2, 3, 4])
def test_any_kernel_of_a_transposed_convolution_keeps_the_size(kernel, stride):
    layer = upsampling("transposed", 2, 2, stride, kernel=kernel, uneven=True)
    assert layer.kernel_size == (kernel, kernel)
    assert layer(features(1, 2, 3, 1)).shape == (1, 2, 3 * stride, stride)


def test_the_default_kernel_is_twice_the_stride():
    assert upsampling("transposed", 2, 2, 3).kernel_size == (6, 6)


@pytest.mark.parametrize(
    ("kernel", "stride", "counts", "nearest"),
    [(3, 2, "1, 2", 4), (5, 2, "2, 3", 6), (63, 32, "1, 2", 64), (1, 2, "0, 1", 2), (4, 3, "1, 2", 3)],
)
def test_a_kernel_that_the_stride_does_not_divide_is_refused(kernel, stride, counts, nearest):
    words = (
        rf"kernel of {kernel} came, which stride {stride} does not divide: {counts} taps .* nearest .* is {nearest};"
    )
    with pytest.raises(ValueError, match=words):
        upsampling("transposed", 2, 2, stride, kernel=kernel)
    assert nearest % stride == 0


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        (("magic", 2, 2, 2), {}, r"upsampling 'magic' came; there are bilinear, .* sub-pixel"),
        (("unpooling", 2, 2, 2), {}, r"needs the switches .* SwitchPool and Unpool of atrous.layers.unpool"),
        (("bilinear", 0, 2, 2), {}, r"0 to 2 channels at stride 2 came; .* at least 1 channel"),
        (("bilinear", 2, 2, 1), {}, r"2 to 2 channels at stride 1 came; .* a stride of 2 or more"),
        (("bilinear", 2, 2, 2), {"kernel": 4}, r"of kind 'transposed'; 'bilinear' has none"),
        (("sub-pixel", 2, 2, 2), {"uneven": True}, r"of kind 'transposed'; 'sub-pixel' has none"),
        (("transposed", 2, 2, 2), {"kernel": 0}, r"kernel of 0 came; .* best 2 \* stride = 4"),
    ],
)
def test_what_is_not_on_the_menu_is_refused(arguments, options, words):
    with pytest.raises(ValueError, match=words):
        upsampling(*arguments, **options)


def test_the_refusal_of_unpooling_points_at_what_exists():
    from atrous.layers import unpool

    assert unpool.SwitchPool
    assert unpool.Unpool


@pytest.mark.parametrize(
    ("kernel", "stride", "counts"),
    [
        (3, 2, (1, 2)),
        (4, 2, (2, 2)),
        (5, 2, (2, 3)),
        (2, 2, (1, 1)),
        (16, 8, (2,) * 8),
        (63, 32, (1,) + (2,) * 31),
        (1, 3, (0, 0, 1)),
    ],
)
@pytest.mark.parametrize("dilation", [1, 3])
@torch.no_grad()
def test_tap_counts_are_what_ones_become(kernel, stride, counts, dilation):
    if dilation == 1:
        assert tap_counts(kernel, stride) == counts
    ones, taps = torch.ones(1, 1, 400), torch.ones(1, 1, kernel)
    answer = functional.conv_transpose1d(ones, taps, stride=stride, dilation=dilation)[0, 0]
    reach = dilation * kernel
    seen = answer[reach : reach + stride].round().int().tolist()
    rotations = [tuple(seen[start:] + seen[:start]) for start in range(stride)]
    assert tap_counts(kernel, stride, dilation) == min(rotations)
