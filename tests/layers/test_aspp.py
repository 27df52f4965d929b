"""The pyramid and its batch norm against sums written out by hand."""

import pytest
import torch
from torch import nn

from atrous.layers.aspp import ASPP, RATES, ImagePooling
from atrous.layers.atrous import convolution, initialise, separable_convolution
from atrous.layers.norm import BatchNorm


def parameters(net):
    return sum(weight.numel() for weight in net.parameters())


def images(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("separable", "count"), [(False, 15_535_104), (True, 3 * 547_328 + 2 * 524_800 + 328_192)])
def test_parameter_counts(separable, count):
    with torch.device("meta"):
        assert parameters(ASPP(2048, 256, separable=separable)) == count


def test_rates_double_where_the_map_is_twice_as_dense():
    assert RATES == {8: (12, 24, 36), 16: (6, 12, 18), 32: (3, 6, 9)}
    for separable in (False, True):
        aspp = ASPP(4, 2, rates=RATES[8], separable=separable)
        assert [branch[0].dilation for branch in aspp.branches] == [(1, 1), (12, 12), (24, 24), (36, 36)]
        assert [branch[0].padding for branch in aspp.branches] == [(0, 0), (12, 12), (24, 24), (36, 36)]


@torch.no_grad()
def test_the_pyramid_is_its_five_views_side_by_side():
    aspp = ASPP(6, 4, rates=(1, 2, 3)).eval()
    x = images(2, 6, 9, 7)
    mean = x.sum((2, 3)) / 63
    pooled = aspp.pooling.project(mean[:, :, None, None]).repeat(1, 1, 9, 7)
    views = torch.cat([*(branch(x) for branch in aspp.branches), pooled], 1)
    assert views.shape == (2, 20, 9, 7)
    torch.testing.assert_close(aspp(x), aspp.project(views))
    assert aspp.dropout.p == 0.1


@torch.no_grad()
def test_atrous_convolution_is_the_sum_of_the_paper():
    layer = convolution(1, 1, rate=3, relu=False).eval()
    x = images(1, 1, 11, 12)
    weight = layer[0].weight[0, 0]
    expected = sum(weight[row, column] * x[0, 0, 5 + 3 * (row - 1), 6 + 3 * (column - 1)]
                   for row in range(3) for column in range(3))  # fmt: skip
    torch.testing.assert_close(layer(x)[0, 0, 5, 6], expected / (1 + 1e-5) ** 0.5)


@torch.no_grad()
def test_separable_convolution_has_norm_and_relu_after_both_parts():
    block = separable_convolution(3, 5, rate=2).eval()
    assert [type(layer) for layer in block] == [nn.Conv2d, BatchNorm, nn.ReLU, nn.Conv2d, BatchNorm, nn.ReLU]
    assert (block[0].groups, block[0].dilation, block[3].kernel_size) == (3, (2, 2), (1, 1))
    assert block(images(1, 3, 8, 6)).shape == (1, 5, 8, 6)


@torch.no_grad()
def test_separable_convolution_without_anything_between():
    block = separable_convolution(3, 5, rate=2, between=False).eval()
    assert [type(layer) for layer in block] == [nn.Conv2d, nn.Conv2d, BatchNorm, nn.ReLU]
    assert (block[0].groups, block[0].dilation, block[1].kernel_size) == (3, (2, 2), (1, 1))
    aspp = ASPP(4, 2, separable=True, between=False)
    assert [len(branch) for branch in aspp.branches] == [3, 4, 4, 4]


@pytest.mark.parametrize("rates", [(), (6, 0)])
def test_rates_that_are_none_are_refused(rates):
    with pytest.raises(
        ValueError, match=r"rates .* came; one or more whole numbers of 1 and above are accepted, such as \(6, 12, 18\)"
    ):
        ASPP(4, 2, rates=rates)


def test_initialisation():
    part, classify = nn.Sequential(convolution(8, 64), nn.ReLU()), nn.Conv2d(64, 64, 1)
    initialise([part], classify)
    assert part[0][0].weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.05)
    assert classify.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert not classify.bias.any()
    initialise([], nn.Conv2d(4, 2, 1, bias=False))


@torch.no_grad()
def test_image_pooling_is_the_same_everywhere():
    pooled = ImagePooling(3, 2).eval()(images(2, 3, 4, 5))
    assert pooled.shape == (2, 2, 4, 5)
    torch.testing.assert_close(pooled, pooled[:, :, :1, :1].expand_as(pooled))


def test_batch_norm_of_a_single_value_uses_the_running_statistics():
    norm, plain = BatchNorm(3), nn.BatchNorm2d(3)
    for each in (norm, plain):
        each.running_mean.copy_(torch.tensor([1.0, 2.0, 3.0]))
        each.running_var.fill_(4.0)
    x = images(1, 3, 1, 1)
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    torch.testing.assert_close(norm(x), plain.eval()(x))
    torch.testing.assert_close(dict(norm.state_dict()), before)
    norm(x).sum().backward()
    assert norm.weight.grad.all()
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        nn.BatchNorm2d(3)(x)


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_is_otherwise_the_usual_one(training):
    norm, plain = BatchNorm(3).train(training), nn.BatchNorm2d(3).train(training)
    for shape in ((2, 3, 1, 1), (1, 3, 1, 2), (4, 3, 5, 6)):
        torch.testing.assert_close(norm(images(*shape) + 2), plain(images(*shape) + 2))
    torch.testing.assert_close(dict(norm.state_dict()), dict(plain.state_dict()))


def test_the_pyramid_trains_on_one_image():
    aspp = ASPP(8, 4).train()
    aspp(images(1, 8, 3, 3)).sum().backward()
    assert aspp.pooling.project[0].weight.grad is not None
