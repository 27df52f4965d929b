"""Pooling with switches against a loop over windows, and its inverse."""

import pytest
import torch

from atrous.layers.unpool import Switches, SwitchPool, Unpool

SIZES = [(6, 8), (5, 7), (1, 1), (1, 6), (7, 2)]


def features(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def scattered(x, window):
    """Return what is left of x when every window keeps its first maximum only, by a loop."""
    kept = torch.zeros_like(x)
    n, c, h, w = x.shape
    for image in range(n):
        for channel in range(c):
            for top in range(0, h, window):
                for left in range(0, w, window):
                    cells = [
                        (row, column)
                        for row in range(top, min(top + window, h))
                        for column in range(left, min(left + window, w))
                    ]
                    row, column = max(cells, key=lambda cell: x[image, channel, *cell].item())
                    kept[image, channel, row, column] = x[image, channel, row, column]
    return kept


@pytest.mark.parametrize("window", [2, 3])
@pytest.mark.parametrize("size", SIZES)
def test_maxima_stay_in_place_and_all_else_is_zero(size, window):
    x = features(2, 3, *size)
    pooled, switches = SwitchPool(window)(x)
    assert pooled.shape == (2, 3, -(-size[0] // window), -(-size[1] // window))
    assert switches.size == size
    torch.testing.assert_close(Unpool(window)(pooled, switches), scattered(x, window), rtol=0, atol=0)


def test_switches_count_row_by_row():
    x = torch.tensor([[[[0.0, 1.0, 9.0], [2.0, 0.0, 0.0], [4.0, 5.0, 6.0]]]])
    pooled, switches = SwitchPool()(x)
    assert pooled.tolist() == [[[[2.0, 9.0], [5.0, 6.0]]]]
    assert switches.places.tolist() == [[[[3, 2], [7, 8]]]]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_of_equal_values_the_first_is_the_maximum(layout):
    x = torch.ones(1, 2, 5, 4).contiguous(memory_format=layout)
    _, switches = SwitchPool()(x)
    assert switches.places[0, 1].tolist() == [[0, 2], [8, 10], [16, 18]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_other_values_go_where_the_switches_point(dtype):
    x, values = features(1, 2, 5, 6), torch.arange(18.0).reshape(1, 2, 3, 3)
    _, switches = SwitchPool()(x)
    unpooled = Unpool()(values.to(dtype), switches)
    assert (unpooled.dtype, unpooled.shape) == (dtype, (1, 2, 5, 6))
    found = unpooled.flatten(2).gather(2, switches.places.flatten(2)).reshape(values.shape)
    torch.testing.assert_close(found.float(), values)
    assert unpooled.float().sum() == values.sum()


def test_the_gradient_takes_the_same_way():
    x = features(1, 1, 5, 5).requires_grad_()
    pooled, switches = SwitchPool()(x)
    weights = features(1, 1, 5, 5, seed=1)
    (Unpool()(pooled, switches) * weights).sum().backward()
    torch.testing.assert_close(x.grad, weights * (scattered(x.detach(), 2) != 0))


def test_switches_of_another_size():
    _, switches = SwitchPool()(features(1, 1, 6, 6))
    words = r"features of \(1, 1, 2, 3\) came, and the switches are \(1, 1, 3, 3\); unpool with the switches of the"
    with pytest.raises(ValueError, match=words):
        Unpool()(features(1, 1, 2, 3), Switches(switches.places, (6, 6)))
