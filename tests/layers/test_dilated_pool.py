"""Average pooling with holes against torch's, on the interleaved maps that the holes leave."""

import itertools

import pytest
import torch
from torch import nn

from atrous.layers.dilated_pool import DilatedAveragePool


def features(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


OPTIONS = list(itertools.product([2, 3], [1, 2], [0, 1], [True, False], [None, 5]))


@pytest.mark.parametrize(("kernel", "stride", "padding", "count", "divisor"), OPTIONS)
def test_without_holes_it_is_torchs(kernel, stride, padding, count, divisor):
    options = {"count_include_pad": count, "divisor_override": divisor}
    ours = DilatedAveragePool((kernel,) * 2, stride=(stride,) * 2, padding=(padding,) * 2, **options)
    theirs = nn.AvgPool2d(kernel, stride, padding, **options)
    for size in ((7, 8), (4, 5)):
        torch.testing.assert_close(ours(features(2, 3, *size)), theirs(features(2, 3, *size)))


@pytest.mark.parametrize("count", [True, False])
def test_what_lies_beyond_the_border_never_counts(count):
    ours = DilatedAveragePool((3, 3), stride=(2, 2), padding=(1, 1), extra=(1, 1), count_include_pad=count)
    theirs = nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=count)
    for size in ((6, 6), (7, 8), (8, 9)):
        torch.testing.assert_close(ours(features(1, 2, *size)), theirs(features(1, 2, *size)))


def test_holes_pool_every_second_value():
    x = features(2, 3, 10, 12)
    out = DilatedAveragePool((2, 3), padding=(0, 2), dilation=(2, 2))(x)
    assert out.shape == (2, 3, 8, 12)
    for row, column in itertools.product(range(2), repeat=2):
        expected = nn.functional.avg_pool2d(x[:, :, row::2, column::2], (2, 3), 1, (0, 1))
        torch.testing.assert_close(out[:, :, row::2, column::2], expected)


def test_half_precision_and_gradients():
    x = features(1, 2, 5, 5).requires_grad_()
    DilatedAveragePool((2, 2), dilation=(2, 2))(x).sum().backward()
    assert x.grad.sum().item() == pytest.approx(18, rel=1e-5)
    assert DilatedAveragePool((2, 2))(x.detach().bfloat16()).dtype == torch.bfloat16


def test_it_shows_its_numbers():
    shown = repr(DilatedAveragePool((2, 2), dilation=(4, 4)))
    assert shown == "DilatedAveragePool((2, 2), stride=(1, 1), padding=(0, 0), dilation=(4, 4))"
