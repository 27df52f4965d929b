"""The dense VGG16: sizes, fields, where logits lie, and what fc6 and fc7 keep of the classifier they come from."""

import pytest
import torch
from torch.nn import functional

from atrous.contract import AtrousError
from atrous.layers.vgg_atrous import AtrousVGG16, decimated


def images(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def numbered(filters, channels, size):
    """Return an fc6 and fc7 whose weights tell where they come from."""
    return {
        "fc6.weight": torch.arange(filters * channels * size**2, dtype=torch.float64).reshape(
            filters, channels, size, size
        ),
        "fc6.bias": torch.arange(filters, dtype=torch.float64),
        "fc7.weight": torch.arange(filters**2, dtype=torch.float64).reshape(filters, filters, 1, 1),
        "fc7.bias": -torch.arange(filters, dtype=torch.float64),
    }


@pytest.mark.parametrize(("side", "sides"), [(321, [161, 81, 41, 41, 41]), (513, [257, 129, 65, 65, 65])])
def test_sizes_of_corner_pools(side, sides):
    with torch.device("meta"):
        net = AtrousVGG16(rates=(12,), hidden=1024, mean=True)
        pooled, (fc7,) = net(torch.empty(1, 3, side, 33))
    assert [features.shape[2] for features in pooled] == sides
    assert fc7.shape == (1, 1024, sides[-1], 5)


def test_sizes_of_base_pools():
    """305 pixels and the border make the authors' 306: 306, 154, 78, 40, 39, 39, 39."""
    with torch.device("meta"):
        net = AtrousVGG16(rates=(4,), hidden=4096, size=4, corners=False)
        pooled, (fc7,) = net(torch.empty(1, 3, 305, 33))
    assert [features.shape[2] for features in pooled] == [154, 78, 40, 39, 39]
    assert fc7.shape == (1, 4096, 39, 5)


@pytest.mark.parametrize(
    ("options", "before", "after"),
    [
        ({"rates": (12,), "mean": True}, 217, 217),
        ({"rates": (12,)}, 209, 209),
        ({"rates": (4,), "size": 4, "corners": False}, 154, 153),
        ({"rates": (8,), "size": 4, "corners": False}, 202, 201),
        ({"rates": (4,), "size": 7, "corners": False}, 202, 201),
        ({"rates": (4,), "size": 4}, 161, 161),
    ],
)
@torch.no_grad()
def test_logit_i_lies_at_pixel_8i(options, before, after):
    """A pixel that is not a number reaches the logits i whose field, 8i - before to 8i + after, holds it, and no other.

    Where the number of pixels seen is even, the pixel whose label is compared is the later one of the middle two.
    """
    net = AtrousVGG16(hidden=64, in_channels=1, width=1 / 64, **options).eval()
    centres = 8 * torch.arange(81)
    for pixel in (0, 103, 320, 321, 327, 640):
        image = torch.zeros(1, 1, 641, 57)
        image[:, :, pixel] = torch.nan
        expected = (centres - before <= pixel) & (pixel <= centres + after)
        down, across = net(image)[1][0], net(image.mT)[1][0].mT
        for fc7 in (down, across):
            torch.testing.assert_close(fc7[0, 0].isnan(), expected[:, None].expand(81, 8))


@torch.no_grad()
def test_forward_by_hand():
    net = AtrousVGG16(rates=(6, 12), hidden=1024, mean=True, width=1 / 64).eval()
    image = images(1, 3, 41, 33)
    pooled, views = net(image)
    deepest = functional.avg_pool2d(net.vgg(image)[4], 3, 1, 1)
    for view, rate, (fc6, fc7) in zip(views, (6, 12), ((net.fc6_1, net.fc7_1), (net.fc6_2, net.fc7_2)), strict=True):
        expected = torch.relu(functional.conv2d(deepest, fc6.weight, fc6.bias, padding=rate, dilation=rate))
        torch.testing.assert_close(view, torch.relu(functional.conv2d(expected, fc7.weight, fc7.bias)))
    assert net.suffixes == ("_1", "_2")
    assert len(pooled) == 5


@torch.no_grad()
def test_forward_by_hand_of_the_base():
    net = AtrousVGG16(rates=(4,), hidden=4096, size=4, corners=False, width=1 / 64).eval()
    image = images(1, 3, 41, 33)
    x = functional.pad(image, (1, 0, 1, 0))
    for place, stage in enumerate(net.vgg.children(), 1):
        for layer in list(stage)[:-1]:
            x = layer(x)
        if place <= 3:
            x = functional.max_pool2d(x, 2, 2, 1)
        else:
            x = functional.max_pool2d(x, 2, 1) if place == 4 else functional.max_pool2d(x, 3, 1, 1)
    x = torch.relu(functional.conv2d(x, net.fc6.weight, net.fc6.bias, padding=6, dilation=4))
    torch.testing.assert_close(net(image)[1][0], torch.relu(net.fc7(x)))


@pytest.mark.parametrize(
    ("options", "least"), [({}, 9), ({"size": 7}, 9), ({"size": 4}, 25), ({"size": 4, "rates": (8,)}, 57)]
)
def test_the_least_crop(options, least):
    net = AtrousVGG16(**{"rates": (4,), "hidden": 4096, "corners": False, "width": 1 / 64, **options})
    assert net.geometry.minimum == least
    words = f"a crop of 65 x {least - 1} came; training takes crops of {least} x {least} and larger"
    with pytest.raises(ValueError, match=words):
        net(torch.zeros(1, 3, 65, least - 1))
    assert net.eval()(torch.zeros(1, 3, 65, least - 1))[1][0].shape[2] == 9


@pytest.mark.parametrize(("size", "rate"), [(3, 12), (4, 4), (4, 8), (7, 4)])
@torch.no_grad()
def test_every_logit_of_the_least_crop_sees_something(size, rate):
    net = AtrousVGG16(rates=(rate,), hidden=64, size=size, corners=size == 3, width=1 / 64).eval()
    least = net.geometry.minimum
    for side, whole in ((least, True), (least - 8, size % 2)):
        if side > 0:
            seen = net(torch.full((1, 3, side, side), torch.nan))[1][0].isnan()
            assert bool(seen.all()) == bool(whole), side


@pytest.mark.parametrize(("size", "taps"), [(3, (0, 3, 6)), (4, (0, 2, 4, 6)), (7, range(7))])
def test_decimated_keeps_these_taps(size, taps):
    state = numbered(2, 3, 7)
    kept = decimated(state, size=size, filters=2)
    torch.testing.assert_close(kept["fc6.weight"], state["fc6.weight"][:, :, list(taps)][:, :, :, list(taps)])
    for name in ("fc6.bias", "fc7.weight", "fc7.bias"):
        torch.testing.assert_close(kept[name], state[name])


def test_decimated_keeps_filters_with_what_belongs_to_them():
    state = numbered(32, 2, 7)
    kept = decimated(state, size=3, filters=8)
    sixth, seventh = kept["fc6.bias"].long(), -kept["fc7.bias"].long()
    assert len(set(sixth.tolist())) == len(set(seventh.tolist())) == 8
    assert sixth.tolist() != seventh.tolist()
    taps = torch.tensor([0, 3, 6])
    torch.testing.assert_close(kept["fc6.weight"], state["fc6.weight"][sixth][:, :, taps][:, :, :, taps])
    torch.testing.assert_close(kept["fc7.weight"], state["fc7.weight"][seventh][:, sixth])


def test_decimated_draws_by_its_seed_alone():
    state = numbered(32, 1, 7)
    first, again, other = (decimated(state, size=3, filters=8, seed=seed) for seed in (0, 0, 1))
    torch.testing.assert_close(first, again)
    assert not torch.equal(first["fc6.bias"], other["fc6.bias"])


def test_decimated_at_three_times_the_rate_is_the_window_without_its_other_taps():
    """The 3x3 window at rate 12 looks where taps 0 3 6 of the 7x7 window at rate 4 look."""
    state = {name: weight.float() for name, weight in numbered(1, 1, 7).items()}
    x = images(1, 1, 41, 41)
    sparse = torch.zeros(7)
    sparse[[0, 3, 6]] = 1
    whole = functional.conv2d(x, state["fc6.weight"] * torch.outer(sparse, sparse), padding=12, dilation=4)
    small = decimated(state, size=3, filters=1)["fc6.weight"]
    torch.testing.assert_close(functional.conv2d(x, small, padding=12, dilation=12), whole)


def test_decimated_refuses_too_few_filters():
    with pytest.raises(
        AtrousError, match="9 filters are wanted of fc6, and the weights have 8; build the network with the"
    ):
        decimated(numbered(8, 1, 7), size=3, filters=9)
