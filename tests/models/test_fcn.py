"""FCN against the paper's and the reference repository's numbers."""

from functools import partial

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from atrous.contract import AtrousError, Geometry
from atrous.layers.vgg import VGG16, colours_adapted, draw_he, vgg16_weights
from atrous.layers.vgg_classifier import ConvolutionalVGG16, convolutionalised
from atrous.models.fcn import CAFFE_PREPROCESSING, fcn8s, fcn16s, fcn32s
from atrous.models.fcn import load_coarser as load

BUILDERS = (fcn32s, fcn16s, fcn8s)
ONE_CHANNEL = 1e-9
"""A width at which every hidden layer has a single channel."""


def parameters(net):
    return sum(weight.numel() for weight in net.parameters())


def randomised(net, seed=0):
    """Give the zero-initialised score layers random weights."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in net.named_parameters():
        if name.startswith("score"):
            nn.init.normal_(weight, generator=generator)
    return net.eval()


def images(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def heights(net, side):
    """Return the output height of every named layer for a square image, without computing anything."""
    found = {}

    def record(name, _module, _inputs, output):
        if isinstance(output, torch.Tensor):
            found[name] = output.shape[-2]

    for name, module in net.named_modules():
        module.register_forward_hook(partial(record, name.rpartition(".")[2]))
    net(torch.empty(1, net.in_channels, side, side, device="meta"))
    return found


# Counts ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("builder", "deconvolution", "count"),
    [
        (fcn32s, "fixed", 134_346_581),
        (fcn16s, "fixed", 134_357_354),
        (fcn8s, "fixed", 134_362_751),
        (fcn32s, "full", 136_152_917),
        (fcn16s, "full", 134_815_994),
        (fcn8s, "full", 134_489_759),
        (fcn32s, "learnt", 134_346_581),
        (fcn16s, "learnt", 134_357_354 + 21 * 21 * 16),
        (fcn8s, "learnt", 134_362_751 + 2 * 21 * 21 * 16),
    ],
)
def test_parameter_counts(builder, deconvolution, count):
    with torch.device("meta"):
        assert parameters(builder(deconvolution=deconvolution)) == count


def test_parameter_counts_of_the_trunk():
    with torch.device("meta"):
        net = fcn8s()
    assert parameters(net.encoder.vgg) == 14_714_688
    assert parameters(net.encoder.fc6) == 102_764_544
    assert parameters(net.encoder.fc7) == 16_781_312
    outside = {name.split(".")[0] for name, _ in net.named_parameters() if not name.startswith("encoder.")}
    assert outside == {"score_fr", "score_pool4", "score_pool3"}


def test_width_scales_every_hidden_channel():
    with torch.device("meta"):
        net = fcn8s(5, width=1 / 8)
    assert net.encoder.vgg.channels == (8, 16, 32, 64, 64)
    assert net.encoder.channels == (32, 64, 512)
    assert net.score_fr.weight.shape == (5, 512, 1, 1)
    assert fcn8s(5, width=ONE_CHANNEL).encoder.channels == (1, 1, 1)


# Sizes ----------------------------------------------------------------------------------------------------------------

TABLE = [
    # image, conv1, pools, score, (up, margin), (up2, pool4 margin, up16, margin), (up4, pool3 margin, up8, margin)
    (224, 422, (211, 106, 53, 27, 14), 8, (288, 45), (18, 4, 304, 53), (38, 6, 312, 57)),
    (320, 518, (259, 130, 65, 33, 17), 11, (384, 45), (24, 4, 400, 53), (50, 6, 408, 57)),
    (360, 558, (279, 140, 70, 35, 18), 12, (416, 37), (26, 4, 432, 45), (54, 7, 440, 49)),
    (375, 573, (287, 144, 72, 36, 18), 12, (416, 22), (26, 5, 432, 30), (54, 9, 440, 34)),
    (480, 678, (339, 170, 85, 43, 22), 16, (544, 45), (34, 4, 560, 53), (70, 6, 568, 57)),
    (500, 698, (349, 175, 88, 44, 22), 16, (544, 25), (34, 5, 560, 33), (70, 9, 568, 37)),
    (512, 710, (355, 178, 89, 45, 23), 17, (576, 45), (36, 4, 592, 53), (74, 6, 600, 57)),
]


@pytest.mark.parametrize("row", TABLE, ids=[str(row[0]) for row in TABLE])
def test_sizes_of_the_table(row):
    side, conv1, pools, score, net32, net16, net8 = row
    with torch.device("meta"):
        coarse, middle, fine = (heights(builder(width=1 / 64), side) for builder in BUILDERS)
    assert coarse["conv1_1"] == coarse["conv1_2"] == conv1
    assert tuple(coarse[f"pool{stage}"] for stage in range(1, 6)) == pools
    assert coarse["fc6"] == coarse["fc7"] == coarse["score_fr"] == score
    assert (coarse["upscore32"], coarse["upscore32"] - 19 - side) == net32
    up2, up16 = middle["upscore2"], middle["upscore16"]
    assert (up2, middle["pool4"] - 5 - up2, up16, up16 - 27 - side) == net16
    up4, up8 = fine["upscore_pool4"], fine["upscore8"]
    assert (up4, fine["pool3"] - 9 - up4, up8, up8 - 31 - side) == net8


def test_every_size_leaves_room_for_every_crop():
    for side in range(1, 1200):
        pools = [side + 198]
        for _ in range(5):
            pools.append((pools[-1] + 1) // 2)
        score = pools[5] - 6
        up2, up4 = 2 * (score + 1), 2 * (2 * (score + 1) + 1)
        assert score >= 1
        assert min(pools[4] - 5 - up2, pools[3] - 9 - up4) >= 0
        assert min(32 * (score + 1) - 19, 16 * (up2 + 1) - 27, 8 * (up4 + 1) - 31) >= side


@pytest.mark.parametrize("builder", BUILDERS)
def test_every_size_comes_back(builder):
    with torch.device("meta"):
        net = builder(3, width=1 / 64)
        for height in (*range(1, 40), *range(40, 301, 13)):
            width = 302 - height
            assert net(torch.empty(2, 3, height, width)).shape == (2, 3, height, width)


@pytest.mark.parametrize("builder", BUILDERS)
@pytest.mark.parametrize("size", [(1, 1), (1, 37), (33, 2)])
def test_tiny_images_have_finite_scores(builder, size):
    net = randomised(builder(4, in_channels=2, width=1 / 64))
    with torch.no_grad():
        scores = net(images(1, 2, *size))
    assert scores.shape == (1, 4, *size)
    assert torch.isfinite(scores).all()
    assert scores.abs().max() > 0


# Alignment ------------------------------------------------------------------------------------------------------------


class Impulse(nn.Module):
    """An encoder whose maps are zero but for a single one at (row, column) of one of them."""

    def __init__(self, sides, which, row, column):
        super().__init__()
        self.sides, self.which, self.row, self.column = sides, which, row, column

    def forward(self, _images):
        maps = [torch.zeros(1, 1, side, side) for side in self.sides]
        maps[self.which][0, 0, self.row, self.column] = 1
        return tuple(maps)


@pytest.mark.parametrize(
    ("builder", "which", "place"),
    [
        *((builder, 2, place) for builder in BUILDERS for place in ((4, 5), (2, 7))),
        (fcn16s, 1, (14, 17)),
        (fcn8s, 1, (14, 17)),
        (fcn8s, 0, (30, 33)),
    ],
)
def test_scores_come_out_centred_where_they_looked(builder, which, place):
    """A score map's impulse is a symmetric bump centred at stride * j + start: no crop is off by half a pixel."""
    row, column = place
    stride, start = ((8, -95.5), (16, -91.5), (32, 12.5))[which]
    net = builder(2, in_channels=1, width=ONE_CHANNEL)
    net.encoder = Impulse((65, 33, 11), which, row, column)
    for name, weight in net.named_parameters():
        if name.startswith("score") and name.endswith("weight"):
            nn.init.ones_(weight)
    bump = net(torch.zeros(1, 1, 320, 320))[0, 0].detach().double()
    assert bump.sum().item() == pytest.approx(stride**2, rel=1e-5)
    places = torch.arange(320, dtype=torch.float64)
    assert (bump.sum(1) @ places / bump.sum()).item() == pytest.approx(stride * row + start, abs=1e-5)
    assert (bump.sum(0) @ places / bump.sum()).item() == pytest.approx(stride * column + start, abs=1e-5)
    if builder is fcn32s:
        peak = (bump == bump.max()).nonzero().tolist()
        assert peak == [[32 * row + a, 32 * column + b] for a in (12, 13) for b in (12, 13)]


@pytest.mark.parametrize(
    ("which", "stride", "start", "field"),
    [(0, 8, -95.5, 44), (1, 16, -91.5, 100), (2, 32, 12.5, 404)],
)
@pytest.mark.parametrize("place", [0, 100, 171, 319])
def test_receptive_fields(which, stride, start, field, place):
    """A pixel that is not a number reaches exactly the units whose field holds it: FCN table 1, 404 at fc7."""
    encoder = ConvolutionalVGG16(in_channels=1, width=ONE_CHANNEL).eval()
    image = torch.zeros(1, 1, 320, 3)
    image[0, 0, place, 1] = torch.nan
    with torch.no_grad():
        reached = encoder(image)[which].isnan().any(3).flatten()
    centres = stride * torch.arange(len(reached)) + start
    expected = (centres - place).abs() <= (field - 1) / 2
    assert reached.tolist() == expected.tolist()


# Start and stages -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("builder", BUILDERS)
def test_first_scores_are_zero(builder):
    assert builder(3, width=1 / 64)(images(1, 3, 30, 20)).abs().max() == 0


def enlarged(scores, factor):
    """Enlarge by F.interpolate amid zeros, on the grid of a deconvolution."""
    amid = functional.pad(scores, (1, 1, 1, 1))
    half = factor // 2
    return functional.interpolate(amid, scale_factor=factor, mode="bilinear")[..., half:-half, half:-half]


@pytest.mark.parametrize("deconvolution", ["fixed", "learnt", "full"])
@torch.no_grad()
def test_a_finer_net_starts_as_the_coarser_enlarged_in_stages(deconvolution):
    coarse = randomised(fcn32s(3, width=1 / 64))
    middle = fcn16s(3, width=1 / 64, deconvolution=deconvolution).eval()
    kept = load(middle, coarse)
    assert kept == ("score_pool4.weight", "score_pool4.bias", "upscore2.weight", "upscore16.weight")
    image = images(1, 3, 75, 61)
    scores = coarse.score_fr(coarse.encoder(image)[2])
    expected = enlarged(enlarged(scores, 2), 16)[..., 27 : 27 + 75, 27 : 27 + 61]
    torch.testing.assert_close(middle(image), expected, atol=1e-4, rtol=1e-4)

    fine = fcn8s(3, width=1 / 64, deconvolution=deconvolution).eval()
    kept = load(fine, randomised(middle, seed=1))
    assert kept == ("score_pool3.weight", "score_pool3.bias", "upscore_pool4.weight", "upscore8.weight")
    _, pool4, fc7 = middle.encoder(image)
    scores = enlarged(middle.score_fr(fc7), 2)
    scores = scores + middle.score_pool4(pool4)[..., 5 : 5 + scores.shape[2], 5 : 5 + scores.shape[3]]
    expected = enlarged(enlarged(scores, 2), 8)[..., 31 : 31 + 75, 31 : 31 + 61]
    torch.testing.assert_close(fine(image), expected, atol=1e-4, rtol=1e-4)


def test_load_coarser_leaves_the_coarser_alone():
    coarse, middle = randomised(fcn32s(2, width=1 / 64)), fcn16s(2, width=1 / 64)
    load(middle, coarse)
    before = coarse.score_fr.weight.detach().clone()
    nn.init.zeros_(middle.score_fr.weight)
    torch.testing.assert_close(coarse.score_fr.weight.detach(), before)


@pytest.mark.parametrize(
    ("net", "coarser"), [(fcn8s, fcn32s), (fcn16s, fcn16s), (fcn32s, fcn16s), (fcn8s, fcn8s), (fcn16s, fcn8s)]
)
def test_load_coarser_refuses_other_pairs(net, coarser):
    words = "cannot continue from .*; FCN16s continues from FCN32s, and FCN8s from FCN16s"
    with pytest.raises(ValueError, match=words):
        load(net(width=1 / 64), coarser(width=1 / 64))


def test_load_coarser_refuses_an_at_once_net():
    with pytest.raises(ValueError, match="trained from the classifier, not from FCN16s; build it without at_once"):
        load(fcn8s(width=1 / 64, at_once=True), fcn16s(width=1 / 64))


def test_load_coarser_refuses_other_shapes():
    words = r"score_fr.weight is \(3, 64, 1, 1\) in the coarser net and \(2, 64, 1, 1\) here; .* the same classes"
    with pytest.raises(ValueError, match=words):
        load(fcn16s(2, width=1 / 64), fcn32s(3, width=1 / 64))


@torch.no_grad()
def test_at_once_scales_the_features_before_they_are_scored():
    staged, at_once = randomised(fcn8s(3, width=1 / 64)), fcn8s(3, width=1 / 64, at_once=True).eval()
    assert dict(at_once.named_buffers())["scale_pool4.factor"].item() == pytest.approx(0.01)
    assert dict(at_once.named_buffers())["scale_pool3.factor"].item() == pytest.approx(0.0001)
    assert parameters(at_once) == parameters(staged)
    at_once.load_state_dict(staged.state_dict(), strict=False)
    image = images(1, 3, 40, 50)
    assert (at_once(image) - staged(image)).abs().max() > 1e-2
    at_once.score_pool4.weight *= 100
    at_once.score_pool3.weight *= 10_000
    torch.testing.assert_close(at_once(image), staged(image), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("builder", BUILDERS)
def test_gradient_reaches_every_parameter(builder):
    net = randomised(builder(3, width=1 / 64, deconvolution="full"))
    net(images(1, 3, 64, 64)).square().sum().backward()
    assert [name for name, weight in net.named_parameters() if weight.grad is None or not weight.grad.any()] == []


def test_contract():
    net = fcn8s(7, in_channels=2, width=1 / 64)
    assert net.geometry == Geometry(multiple=1, offset=0, minimum=1, margin=0, stride=1)
    assert (net.classes, net.in_channels, net.preprocessing_padding) == (7, 2, "mean")
    assert net.encoder.vgg.stage1.conv1_1.padding == (100, 100)
    assert net.encoder.dropout.p == 0.5
    assert fcn16s(2, width=1 / 64, dropout=0.2).encoder.dropout.p == 0.2


def test_caffe_preprocessing():
    assert CAFFE_PREPROCESSING.order == "BGR"
    assert (CAFFE_PREPROCESSING.low, CAFFE_PREPROCESSING.high) == (0, 1)
    assert CAFFE_PREPROCESSING.mean == (104.00699, 116.66877, 122.67892)
    assert CAFFE_PREPROCESSING.std == (1, 1, 1)


# Refusals -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("builder", BUILDERS)
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"norm": "batch"}, "norm 'batch' came, but VGG16 has no norms; leave it out, or give an encoder such as"),
        ({"in_channels": 0}, "0 input channels came"),
        ({"output_stride": 4}, "output_stride 4 came, but its finest scores have stride .*; leave it out, or choose"),
        ({"deconvolution": "cubic"}, "deconvolution 'cubic' came; give 'fixed', 'learnt' or 'full'"),
        ({"classes": 1}, "1 classes came; a segmentation has 2 to 255"),
    ],
)
def test_builders_refuse(builder, options, words):
    with pytest.raises(ValueError, match=f"{builder.__name__}: {words}"):
        builder(**options, width=1 / 64)


@pytest.mark.parametrize(("builder", "stride"), [(fcn32s, 32), (fcn16s, 16), (fcn8s, 8)])
def test_builders_accept_their_own_numbers(builder, stride):
    assert builder(2, encoder="vgg16", output_stride=stride, width=1 / 64).classes == 2


# Weights of classifiers -----------------------------------------------------------------------------------------------


def narrow_classifier(in_channels=3):
    """Return torchvision's VGG16 at 1/64 of its width, with the same names."""
    from torchvision.models.vgg import VGG, make_layers

    plan = [1, 1, "M", 2, 2, "M", 4, 4, 4, "M", 8, 8, 8, "M", 8, 8, 8, "M"]
    with torch.device("meta"):  # its own classifier has 4096 units, and is replaced
        net = VGG(make_layers(plan), init_weights=False)
    net.features = make_layers(plan)
    net.classifier = nn.Sequential(
        nn.Linear(8 * 49, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, 10)
    )
    draw_he(net)
    return net.eval()


@torch.no_grad()
def check_convolutionalised(classifier, width):
    encoder = ConvolutionalVGG16(width=width, padding=1).eval()
    encoder.load_state_dict(convolutionalised(classifier.state_dict()))
    image = images(1, 3, 224, 224)
    fc7 = encoder(image)[2]
    assert fc7.shape[2:] == (1, 1)
    expected = classifier.classifier[:5](classifier.avgpool(classifier.features(image)).flatten(1))
    assert expected.abs().max() > 0
    torch.testing.assert_close(fc7.flatten(1), expected, atol=1e-4, rtol=1e-3)


def test_convolutionalised_equals_the_classifier():
    check_convolutionalised(narrow_classifier(), width=1 / 64)


@pytest.mark.slow
def test_convolutionalised_equals_the_classifier_at_full_width():
    from torchvision.models import vgg16

    check_convolutionalised(vgg16(weights=None).eval(), width=1.0)


@torch.no_grad()
def test_timm_names_are_understood():
    import timm

    with torch.device("meta"):
        state = convolutionalised(timm.create_model("vgg16").state_dict())
        own = fcn8s().encoder.state_dict()
    assert {name: weight.shape for name, weight in state.items()} == {k: v.shape for k, v in own.items()}


def test_convolutionalised_says_what_is_missing():
    state = narrow_classifier().state_dict()
    del state["classifier.3.bias"]
    with pytest.raises(AtrousError, match=r"have no classifier.3.bias; VGG16 without batch normalisation is needed"):
        convolutionalised(state)


def test_convolutionalised_says_what_cannot_be_a_window():
    state = narrow_classifier().state_dict() | {"classifier.0.weight": torch.zeros(64, 50)}
    with pytest.raises(AtrousError, match=r"fc6.weight is \(64, 50\), which does not cover a 7 x 7 window"):
        convolutionalised(state)


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "vgg16.safetensors"
    save_file(narrow_classifier().state_dict(), path)
    return path


@pytest.mark.parametrize("builder", BUILDERS)
def test_pretrained_from_a_file(builder, weights):
    net = builder(2, width=1 / 64, pretrained=str(weights))
    expected = convolutionalised(vgg16_weights(weights))
    for name, weight in net.encoder.state_dict().items():
        torch.testing.assert_close(weight, expected[name], rtol=0, atol=0)
    assert net.score_fr.weight.abs().max() == 0


@pytest.mark.parametrize("in_channels", [1, 2, 3, 5])
def test_pretrained_for_other_numbers_of_channels(in_channels, weights):
    net = fcn8s(2, in_channels=in_channels, width=1 / 64, pretrained=weights)
    colours = vgg16_weights(weights)["features.0.weight"]
    first = net.encoder.vgg.stage1.conv1_1.weight.detach()
    torch.testing.assert_close(first, colours_adapted(colours, in_channels))


def test_grey_weights_answer_a_grey_image_as_colours_do():
    colours = images(4, 3, 3, 3)
    grey = images(1, 1, 8, 8, seed=1)
    expected = functional.conv2d(grey.expand(-1, 3, -1, -1), colours)
    torch.testing.assert_close(functional.conv2d(grey, colours_adapted(colours, 1)), expected, atol=1e-5, rtol=1e-5)


def test_pretrained_of_another_width_is_refused(weights):
    words = (
        r"the pretrained vgg.stage1.conv1_1.weight is \(1, .* network's \(4, .* build it with the width of the weights"
    )
    with pytest.raises(AtrousError, match=words):
        fcn8s(2, width=1 / 16, in_channels=3, pretrained=weights)


def test_pretrained_from_no_file_is_refused(tmp_path):
    with pytest.raises(AtrousError, match=r"vgg.safetensors: there is no such file; give the path of"):
        fcn8s(2, width=1 / 64, pretrained=str(tmp_path / "vgg.safetensors"))


def test_pretrained_from_another_format_is_refused(tmp_path):
    path = tmp_path / "vgg.pth"
    path.write_bytes(b"PK\x03\x04 a pickle, perhaps")
    with pytest.raises(AtrousError, match=r"vgg.pth: not a safetensors file .*; convert the weights to .safetensors"):
        fcn8s(2, width=1 / 64, pretrained=str(path))


def test_pretrained_without_a_network_says_so(monkeypatch):
    import timm

    def unreachable(name, pretrained):
        raise OSError(f"no route to the host of {name}\nand more lines")

    monkeypatch.setattr(timm, "create_model", unreachable)
    words = (
        r"^pretrained weights of vgg16 could not be fetched \(no route to the host of vgg16\): "
        r"give a local file with --pretrained FILE, or train without$"
    )
    with pytest.raises(AtrousError, match=words):
        fcn8s(2, width=1 / 64, pretrained=True)


def test_pretrained_by_timm(monkeypatch):
    import timm

    asked = []

    def fetched(name, pretrained):
        asked.append((name, pretrained))
        return narrow_classifier()

    monkeypatch.setattr(timm, "create_model", fetched)
    net = fcn32s(2, width=1 / 64, pretrained=True)
    assert asked == [("vgg16", True)]
    assert net.encoder.fc6.weight.shape == (64, 8, 7, 7)


@torch.no_grad()
def test_classifiers_maps_are_as_wished():
    plain = ConvolutionalVGG16(width=1 / 64, padding=1).eval()
    every = ConvolutionalVGG16(width=1 / 64, padding=1, classifier_padding=3, maps=range(6)).eval()
    every.load_state_dict(plain.state_dict())
    assert (plain.channels, plain.strides) == ((4, 8, 64), (8, 16, 32))
    assert (every.channels, every.strides) == ((1, 2, 4, 8, 8, 64), (2, 4, 8, 16, 32, 32))
    image = images(1, 3, 256, 224)
    maps = every(image)
    assert [each.shape[2] for each in maps] == [128, 64, 32, 16, 8, 8]
    torch.testing.assert_close(maps[5][..., 3:-3, 3:-3], plain(image)[2])


# The stages -----------------------------------------------------------------------------------------------------------


def test_atrous_stages_keep_their_size():
    net = VGG16(
        width=1 / 64,
        rates=(1, 1, 1, 1, 2),
        pool=lambda stage: nn.MaxPool2d(3, 2 if stage < 4 else 1, padding=1, ceil_mode=True),
    )
    assert net.stage5.conv5_1.dilation == (2, 2)
    assert [pooled.shape[2] for pooled in net(torch.zeros(1, 3, 321, 9))] == [161, 81, 41, 41, 41]


def test_trunk_keeps_the_size_of_its_signal():
    """He's weights carry a unit image through thirteen layers; with smaller ones the last map is all but zero."""
    torch.manual_seed(0)
    pooled = VGG16(width=1 / 8)(images(1, 3, 64, 64))
    assert 0.1 < pooled[4].detach().std() < 10
