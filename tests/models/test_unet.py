"""U-Net against the figure's sizes, the paper's counts, and its overlap-tile strategy."""

from math import sqrt

import pytest
import torch
from torch import nn

from atrous import conformance
from atrous.contract import Geometry, mirrored
from atrous.layers.norm import FrozenBatchNorm
from atrous.models.unet import Expansion, centre, unet
from atrous.models.unet_geometry import same_geometry, valid_geometry


def parameters(net):
    return sum(weight.numel() for weight in net.parameters())


def images(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def narrow():
    torch.manual_seed(0)
    return unet(2, in_channels=1, width=1 / 16).double().eval()


# Counts and sizes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("classes", "in_channels", "count"),
    [(2, 1, 31_030_658), (21, 3, 31_033_045), (11, 3, 31_032_395), (2, 3, 31_031_810)],
)
def test_parameter_counts(classes, in_channels, count):
    with torch.device("meta"):
        assert parameters(unet(classes, in_channels=in_channels)) == count


def test_parameter_counts_of_the_stages():
    with torch.device("meta"):
        net = unet(2, in_channels=1)
    encoder = net.encoder
    levels = [parameters(level) for level in (encoder.level1, encoder.level2, encoder.level3, encoder.level4)]
    assert levels == [640 + 36_928, 73_856 + 147_584, 295_168 + 590_080, 1_180_160 + 2_359_808]
    assert parameters(encoder.bottom) == 4_719_616 + 9_438_208
    ups = [net.expand4, net.expand3, net.expand2, net.expand1]
    assert [parameters(step.up) for step in ups] == [2_097_664, 524_544, 131_200, 32_832]
    assert [parameters(step.convolutions) for step in ups] == [
        4_719_104 + 2_359_808,
        1_179_904 + 590_080,
        295_040 + 147_584,
        73_792 + 36_928,
    ]
    assert parameters(net.score) == 130


def test_twenty_three_convolutional_layers():
    net = unet(2, in_channels=1, width=1 / 64)
    layers = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
    assert len(layers) == 23
    assert all(layer.padding == (0, 0) for layer in layers)


def test_sizes_of_the_figure():
    with torch.device("meta"):
        net = unet(2, in_channels=1)
        sizes = []
        for layer in net.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                layer.register_forward_hook(lambda _module, _inputs, output: sizes.append(tuple(output.shape[1:3])))
        assert net(torch.empty(1, 1, 572, 572)).shape == (1, 2, 388, 388)
    assert sizes == [
        *[(64, 570), (64, 568), (128, 282), (128, 280), (256, 138), (256, 136), (512, 66), (512, 64)],
        *[(1024, 30), (1024, 28)],
        *[(512, 56), (512, 54), (512, 52), (256, 104), (256, 102), (256, 100)],
        *[(128, 200), (128, 198), (128, 196), (64, 392), (64, 390), (64, 388), (2, 388)],
    ]


def test_every_valid_size_loses_184():
    with torch.device("meta"):
        net = unet(3, width=1 / 64)
        for side in range(188, 800, 16):
            other = 188 + (side * 3) % 400 // 16 * 16
            assert net(torch.empty(2, 3, side, other)).shape == (2, 3, side - 184, other - 184)


def test_geometry_fits_the_sizes():
    net = unet(width=1 / 64)
    assert net.geometry == Geometry(multiple=16, offset=12, minimum=188, margin=92, stride=1)
    assert (net.classes, net.in_channels, net.preprocessing_padding) == (21, 3, "mirror")
    assert net.geometry.valid(388 + 2 * 92) == 572
    for side in range(1, 300):
        before, after = net.geometry.padding(side)
        assert net.geometry.valid(side + before + after) == side + before + after
        assert (before, after >= 92) == (92, True)


@pytest.mark.parametrize(
    ("height", "width", "advice"), [(256, 256, "268 x 268"), (572, 570, "572 x 572"), (1, 172, "188 x 188")]
)
def test_other_sizes_are_refused(narrow, height, width, advice):
    words = (
        rf"an image of {height} x {width} came; sides are 188 or more and 12 above a multiple of 16: pad it to {advice}"
    )
    with pytest.raises(ValueError, match=words):
        narrow(torch.zeros(1, 1, height, width, dtype=torch.float64))


# Position -------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def carried(through):
    """Return a net of one channel per layer that carries the image through one level, by centre taps of one.

    A layer that concatenates listens to the skip at that level (its second channel), and below to what comes up.
    """
    net = unet(2, in_channels=1, width=1e-9).double().eval()
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.weight.zero_()
            layer.bias.zero_()
            if isinstance(layer, nn.ConvTranspose2d):
                layer.weight.fill_(1)
            elif layer.in_channels == 1:
                layer.weight[0, 0, layer.kernel_size[0] // 2, layer.kernel_size[1] // 2] = 1
    for level, step in enumerate((net.expand1, net.expand2, net.expand3, net.expand4), 1):
        step.convolutions[0].weight[0, 1 if level == through else 0, 1, 1] = 1
    return net


@torch.no_grad()
def test_the_finest_level_returns_the_image_less_its_margin():
    image = images(1, 1, 204, 220).abs()
    torch.testing.assert_close(carried(1)(image)[:, :1], image[..., 92:-92, 92:-92])


@pytest.mark.parametrize(("through", "cell"), [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16)])
@torch.no_grad()
def test_every_level_comes_back_where_it_was(through, cell):
    """A bright pixel comes out as the cell of its level that holds it: no skip is cropped off its place."""
    net = carried(through)
    for place in range(92, 92 + 36, 5):
        image = torch.zeros(1, 1, 220, 220, dtype=torch.float64)
        image[0, 0, place, 100] = 1
        lit = net(image)[0, 0].amax(1).nonzero().flatten().tolist()
        assert place - 92 in lit
        assert lit == list(range(lit[0], lit[-1] + 1))
        assert len(lit) == cell or lit[0] == 0 or lit[-1] == 35


@pytest.mark.parametrize("place", [0, 60, 139, 140, 155, 203])
@torch.no_grad()
def test_receptive_field_of_the_bottom(place):
    """140 pixels at stride 16, from 16 j on: a pixel that is not a number reaches those units and no others."""
    net = unet(2, in_channels=1, width=1e-9).eval()
    image = torch.zeros(1, 1, 204, 188)
    image[0, 0, place, 94] = torch.nan
    reached = net.encoder(image)[4].isnan().any(3).flatten().tolist()
    assert reached == [16 * index <= place < 16 * index + 140 for index in range(len(reached))]


@torch.no_grad()
def test_overlap_tiles_equal_the_whole_image(narrow):
    image = images(1, 1, 90, 75)
    rows, columns = (narrow.geometry.padding(side) for side in image.shape[2:])
    whole = image[..., mirrored(90, *rows), :][..., mirrored(75, *columns)]
    expected = narrow(whole)
    stitched = torch.full_like(expected, torch.nan)
    for top in range(0, expected.shape[2] - 19, 16):
        for left in range(0, expected.shape[3] - 19, 16):
            tile = whole[..., top : top + 204, left : left + 204]
            stitched[..., top : top + 20, left : left + 20] = narrow(tile)
    torch.testing.assert_close(stitched, expected)


@torch.no_grad()
def test_tiles_off_the_grid_of_the_pools_differ(narrow):
    image = images(1, 1, 236, 204)
    shifted = narrow(image[..., 8 : 8 + 204, :])
    assert (shifted - narrow(image)[..., 8 : 8 + 20, :]).abs().max() > 1e-3


# Layers ---------------------------------------------------------------------------------------------------------------


def test_skips_are_cropped_at_their_centre():
    skip = torch.arange(64.0).reshape(1, 1, 64, 1).expand(1, 1, 64, 64)
    window = centre(skip, torch.zeros(1, 1, 56, 56))
    assert (window.shape[2:], window[0, 0, 0, 0].item(), window[0, 0, -1, 0].item()) == ((56, 56), 4, 59)


@torch.no_grad()
def test_upsampled_comes_before_the_skip_and_without_relu():
    step = Expansion(4, 2)
    seen = []
    step.convolutions.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    features, skip = images(1, 4, 6, 6).float(), images(1, 2, 20, 20, seed=1).float()
    step(features, skip)
    torch.testing.assert_close(seen[0][:, :2], step.up(features))
    torch.testing.assert_close(seen[0][:, 2:], skip[..., 4:16, 4:16])
    assert seen[0][:, :2].min() < 0


def test_weights_are_drawn_by_incoming_nodes():
    torch.manual_seed(0)
    net = unet(2, in_channels=1, width=1 / 4)
    second = net.encoder.level2[2]
    assert second.in_channels == 32
    assert second.weight.std().item() == pytest.approx(sqrt(2 / (9 * 32)), rel=0.03)
    assert net.expand4.up.weight.std().item() == pytest.approx(sqrt(2 / 256), rel=0.02)
    assert all(bias.abs().max() == 0 for name, bias in net.named_parameters() if name.endswith("bias"))


def test_dropout_ends_the_contracting_path():
    net = unet(2, in_channels=1, width=1 / 64)
    shapes = []
    net.encoder.dropout.register_forward_hook(lambda _module, _inputs, output: shapes.append(output.shape[2]))
    net(torch.zeros(1, 1, 572, 188))
    assert shapes == [64, 28]
    assert net.encoder.dropout.p == 0.5
    assert unet(2, width=1 / 64, dropout=0.1).encoder.dropout.p == 0.1


def test_dropout_is_for_training_alone(narrow):
    image = images(1, 1, 188, 188)
    with torch.no_grad():
        torch.testing.assert_close(narrow(image), narrow(image), rtol=0, atol=0)
        narrow.train()
        assert (narrow(image) - narrow(image)).abs().max() > 0
        narrow.eval()


def test_gradient_reaches_every_parameter():
    torch.manual_seed(0)
    net = unet(3, in_channels=2, width=1 / 16).eval()
    net(images(1, 2, 204, 188).float()).square().sum().backward()
    assert [name for name, weight in net.named_parameters() if weight.grad is None or not weight.grad.any()] == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"encoder": "resnet18", "depth": 3}, "depth 3 came with encoder 'resnet18', which has levels of its own"),
        (
            {"encoder": "resnet18", "channels": 9},
            "channels 9 came with encoder 'resnet18', .*; leave channels or the enc",
        ),
        ({"encoder": "resnet18", "padding": "full"}, "padding 'full' came with encoder 'resnet18'"),
        ({"encoder": "resnet18", "upsampling": "nearest"}, "upsampling 'nearest' came with encoder 'resnet18'"),
        ({"padding": "full"}, r"padding 'full' came; give 'valid' \(the paper's\) or 'same'"),
        ({"depth": 0}, "depth 0 came; U-Net has 1 to 7 pools, the paper's 4"),
        ({"depth": 8}, "depth 8 came; U-Net has 1 to 7"),
        ({"channels": 0}, "0 channels came; the first level has 1 or more, the paper's 64"),
        ({"pretrained": True}, "pretrained True came, but U-Net is trained from scratch; leave it out, or g"),
        ({"output_stride": 8}, "output_stride 8 came, but its logits have stride 1; leave it out"),
        ({"classes": 1}, r"1 classes came; a segmentation has 2 to 255"),
        ({"in_channels": 0}, "0 input channels came"),
    ],
)
def test_builder_refuses(options, words):
    with pytest.raises(ValueError, match=f"unet: {words}"):
        unet(**options, width=1 / 64)


def test_an_unknown_upsampling_is_refused():
    with pytest.raises(ValueError, match=r"upsampling 'cubic' came; there are bilinear, .*transposed"):
        unet(upsampling="cubic", width=1 / 64)


def test_an_unknown_norm_is_refused():
    with pytest.raises(ValueError, match="norm 'instance' came; there are batch, frozen, group"):
        unet(norm="instance", width=1 / 64)


# Options --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({"padding": "same"}, 31_033_045),
        ({"padding": "same", "norm": "batch"}, 31_038_933),
        ({"padding": "same", "norm": "frozen"}, 31_038_933),
        ({"padding": "same", "norm": "group"}, 31_038_933),
        ({"norm": "batch"}, 31_038_933),
    ],
)
def test_parameter_counts_of_the_options(options, count):
    with torch.device("meta"):
        assert parameters(unet(**options)) == count


def test_names_without_options_stay_the_papers():
    with torch.device("meta"):
        names = {name.rpartition(".")[0] for name, _ in unet().named_parameters()}
    levels = [f"encoder.{level}" for level in ("level1", "level2", "level3", "level4", "bottom")]
    steps = [f"expand{level}" for level in (1, 2, 3, 4)]
    doubles = [*levels, *(f"{step}.convolutions" for step in steps)]
    assert names == {f"{each}.{place}" for each in doubles for place in (0, 2)} | {f"{s}.up" for s in steps} | {"score"}


def test_geometries_of_the_paper():
    assert valid_geometry(4) == Geometry(multiple=16, offset=12, minimum=188, margin=92, stride=1)
    assert same_geometry(4) == Geometry(multiple=16, minimum=32, stride=1)
    assert [valid_geometry(depth).minimum for depth in (1, 2, 3)] == [20, 44, 92]


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("depth", range(1, 8))
def test_every_depth_fits_its_geometry(depth, padding):
    with torch.device("meta"):
        net = unet(2, width=1 / 64, depth=depth, padding=padding)
        geometry = net.geometry
        for side in (geometry.minimum, geometry.valid(geometry.minimum + 1)):
            logits = net(torch.empty(1, 3, side, geometry.minimum))
            assert logits.shape[2:] == (side - 2 * geometry.margin, geometry.minimum - 2 * geometry.margin)
    layers = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
    assert len(layers) == 5 * depth + 3
    assert net.encoder.bottom[0].out_channels == 2**depth


def test_valid_skips_are_cropped_alike_on_both_sides():
    """Every depth leaves an even difference, so the centre is exact."""
    for depth in range(1, 8):
        side = valid_geometry(depth).minimum
        skips = []
        for _ in range(depth):
            skips.append(side - 4)
            assert skips[-1] % 2 == 0
            side = skips[-1] // 2
        side -= 4
        for skip in reversed(skips):
            assert (skip - 2 * side) % 2 == 0
            side = 2 * side - 4
        assert side == 4


def test_channels_and_width_scale_every_level():
    with torch.device("meta"):
        net = unet(2, channels=32, depth=2, width=1 / 4)
    assert [net.encoder.level1[0].out_channels, net.encoder.bottom[0].out_channels] == [8, 32]
    assert net.score.in_channels == 8


def test_norms_replace_the_biases():
    net = unet(2, padding="same", norm="frozen", width=1 / 64)
    assert [type(layer).__name__ for layer in net.encoder.level1] == ["Conv2d", "FrozenBatchNorm", "ReLU"] * 2
    assert isinstance(net.expand1.convolutions[1], FrozenBatchNorm)
    assert all(layer.bias is None for layer in net.modules() if isinstance(layer, nn.Conv2d) and layer is not net.score)
    assert net.expand1.up.bias is not None
    assert isinstance(unet(2, norm="group", width=1 / 64).encoder.bottom[4], nn.GroupNorm)


@torch.no_grad()
def test_same_padding_equals_valid_inside():
    """Far from the border padding changes nothing, where the pools of both see the same pixels: 2 further on."""
    torch.manual_seed(0)
    valid = unet(2, in_channels=1, width=1 / 16, depth=2).double().eval()
    same = unet(2, in_channels=1, width=1 / 16, depth=2, padding="same").double().eval()
    same.load_state_dict(valid.state_dict())
    image = images(1, 1, 92, 108)
    padded = nn.functional.pad(image, (2, 2, 2, 2))
    torch.testing.assert_close(valid(image), same(padded)[..., 22:-22, 22:-22])
    assert (same.preprocessing_padding, valid.preprocessing_padding) == ("mean", "mirror")


def test_sides_that_are_no_multiples_are_refused():
    net = unet(2, padding="same", width=1 / 64)
    with pytest.raises(ValueError, match=r"40 x 31 came; sides are 32 or more and multiples of 16: pad it to 48 x 32"):
        net(torch.zeros(1, 3, 40, 31))


@torch.no_grad()
def test_other_upsamplings_start_as_their_menu_says():
    """A learnt deconvolution and a sub-pixel convolution begin as enlargements, which U-Net's drawing would undo."""
    step = Expansion(4, 4, upsampling="learnt-deconvolution")
    features = images(1, 4, 8, 8).float()
    expected = nn.functional.interpolate(features, scale_factor=2, mode="bilinear")
    torch.testing.assert_close(step.up(features)[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2])
    weight = unet(2, upsampling="sub-pixel", width=1 / 16).expand2.up[0].weight
    torch.testing.assert_close(weight[0::4], weight[3::4])


def test_one_least_crop_can_be_trained_on():
    net = unet(2, padding="same", norm="batch", width=1 / 64).train()
    net(torch.zeros(1, 3, 32, 32)).sum().backward()


@pytest.mark.parametrize(
    "options",
    [
        {"padding": "same"},
        {"norm": "batch"},
        {"padding": "same", "norm": "batch"},
        {"padding": "same", "norm": "frozen"},
        {"padding": "same", "norm": "group", "depth": 2},
        {"depth": 1},
        {"depth": 3, "channels": 32, "dropout": 0.1},
        {"depth": 5, "padding": "same", "width": 1 / 32},
        {"upsampling": "nearest-convolution", "padding": "same"},
        {"upsampling": "sub-pixel"},
        {"upsampling": "learnt-deconvolution", "depth": 2},
    ],
    ids=str,
)
def test_variants_conform(options):
    conformance.check(unet, **({"width": 1 / 8} | options))
