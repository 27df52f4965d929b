"""The hole algorithm: a dense map equals the strided one at the old positions, and what cannot be dense is refused."""

import copy
import itertools

import pytest
import timm
import torch
import torchvision
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from atrous.contract import Geometry
from atrous.layers.dilated_pool import DilatedAveragePool
from atrous.layers.output_stride import Density, set_output_stride
from atrous.layers.resnet_beta import DEPTHS, ResNetBeta
from atrous.layers.trunk import trunk
from atrous.layers.vgg import VGG16
from atrous.models import deeplab_v3plus, fcn32s

SIZES = ((97, 130), (64, 65), (128, 96))


def images(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@torch.no_grad()
def lively(net, seed=0):
    """Give every layer weights and every norm other statistics than 0 and 1, so that equality means something."""
    generator = torch.Generator().manual_seed(seed)
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            fan = layer.weight[0].numel()
            layer.weight.normal_(0, (2 / fan) ** 0.5, generator=generator)
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1, generator=generator)
            layer.running_var.uniform_(0.5, 1.5, generator=generator)
            layer.weight.uniform_(0.5, 1.0, generator=generator)
            layer.bias.normal_(0, 0.1, generator=generator)
    return net.eval()


def deepest(maps):
    return maps if isinstance(maps, torch.Tensor) else maps[-1]


class Features(nn.Module):
    """The feature part of a timm classifier."""

    def __init__(self, name):
        super().__init__()
        self.net = timm.create_model(name)

    def forward(self, x):
        return self.net.forward_features(x)


def before_pooling(net):
    return nn.Sequential(*(child for name, child in net.named_children() if name not in ("avgpool", "fc")))


def vgg_like(batch_norm):
    configuration = [8, 8, "M", 16, 16, "M", 24, 24, 24, "M", 32, 32, 32, "M", 32, 32, 32, "M"]
    return torchvision.models.vgg.make_layers(configuration, batch_norm=batch_norm)


def small_densenet():
    return torchvision.models.DenseNet(growth_rate=8, block_config=(2, 2, 2, 2), num_init_features=16).features


EQUAL = {
    "torchvision vgg16": lambda: vgg_like(False),
    "torchvision vgg16_bn": lambda: vgg_like(True),
    "torchvision resnet18": lambda: before_pooling(torchvision.models.resnet18()),
    "torchvision resnet50": lambda: before_pooling(torchvision.models.resnet50()),
    "torchvision densenet": small_densenet,
    "torchvision mobilenet_v2": lambda: torchvision.models.mobilenet_v2(width_mult=0.25).features,
    "torchvision shufflenet_v2": lambda: before_pooling(torchvision.models.shufflenet_v2_x0_5()),
    "timm resnet18": lambda: Features("resnet18"),
    "timm resnet26d": lambda: Features("resnet26d"),
    "timm mobilenetv2": lambda: Features("mobilenetv2_050"),
    "timm regnetx": lambda: Features("regnetx_002"),
    "timm convnext": lambda: Features("convnext_atto"),
    "VGG16": lambda: VGG16(width=1 / 8),
    "ResNetBeta": lambda: ResNetBeta(DEPTHS["resnet50_beta"], output_stride=32, width=1 / 8),
    "trunk": lambda: trunk("resnet18", width=1 / 8),
}

SLOW = {
    name: (lambda name=name: Features(name))
    for name in (
        *("vgg11", "densenet121", "resnext50_32x4d", "wide_resnet50_2", "res2net50_14w_8s", "nf_resnet26"),
        *("dpn48b", "xception41", "legacy_xception", "cspresnet50", "darknet53", "repvgg_a0", "gernet_s"),
        "fbnetc_100",
    )
}


@torch.no_grad()
def check_equal(net, stride):
    dense = copy.deepcopy(net)
    density = set_output_stride(dense, stride)
    assert (density.stride, density.averages) == (stride, ())
    assert density.changed
    for size in SIZES:
        coarse, fine = deepest(net(images(1, 3, *size))), deepest(dense(images(1, 3, *size)))
        step = 32 // stride
        assert coarse.std() > 1e-3
        assert fine.shape[2] > (coarse.shape[2] - 1) * step
        largest = max(1.0, coarse.abs().max().item())
        torch.testing.assert_close(fine[:, :, ::step, ::step], coarse, atol=1e-4 * largest, rtol=0)


@pytest.mark.parametrize("stride", [16, 8, 4])
@pytest.mark.parametrize("name", EQUAL)
def test_the_old_positions_keep_their_values(name, stride):
    check_equal(lively(EQUAL[name]()), stride)


@pytest.mark.slow
@pytest.mark.parametrize("stride", [16, 4])
@pytest.mark.parametrize("name", SLOW)
def test_the_old_positions_keep_their_values_in_more_families(name, stride):
    check_equal(lively(SLOW[name]()), stride)


@st.composite
def layers(draw):
    """Draw a layer with any kernel, stride, padding, rounding and way of counting."""
    kernel = draw(st.integers(1, 4))
    options = {"stride": draw(st.sampled_from([1, 2])), "padding": draw(st.integers(0, kernel // 2))}
    kind = draw(st.sampled_from(["convolution", "maximum", "mean"]))
    if kind == "convolution":
        return nn.Conv2d(2, 2, kernel, **options, dilation=draw(st.sampled_from([1, 2])))
    options["ceil_mode"] = draw(st.booleans())
    if kind == "maximum":
        return nn.MaxPool2d(kernel, **options)
    divisor = draw(st.sampled_from([None, 3]))
    return nn.AvgPool2d(kernel, **options, count_include_pad=draw(st.booleans()), divisor_override=divisor)


@settings(deadline=None, max_examples=80)
@given(st.lists(layers(), min_size=2, max_size=6), st.integers(9, 60), st.integers(9, 60), st.integers(0, 2**31))
@torch.no_grad()
def test_any_stack_of_layers_keeps_its_values(stack, height, width, seed):
    """Twice the strides 2 and 2 before the drawn layers, so that there is something to make dense."""
    stem = [nn.Conv2d(1, 2, 3, 4, 1)]
    net = lively(nn.Sequential(*stem, *stack, nn.Conv2d(2, 2, 3, 2, 1)), seed).double()
    x = images(1, 1, 4 * height, 4 * width, seed=seed, dtype=torch.float64)
    try:
        maps = list(itertools.accumulate(net, lambda before, layer: layer(before), initial=x))
    except RuntimeError:  # the map was too small for a window
        assume(False)
    coarse = maps[-1]
    whole = 8
    for layer in stack:
        stride = layer.stride
        whole *= stride if isinstance(stride, int) else stride[0]
    dense = copy.deepcopy(net)
    assert set_output_stride(dense, 4, size=512).stride == 4
    fine = dense(x)
    step = whole // 4
    torch.testing.assert_close(fine[:, :, ::step, ::step], coarse, atol=1e-9, rtol=1e-9)
    if min(side for each in maps for side in each.shape[2:]) > 1:  # else a hole can be larger than the map
        assert torch.isfinite(fine).all()


# What averages over the whole map -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "named"),
    [
        (lambda: torchvision.models.efficientnet_b0().features, "1.0.block.1.avgpool"),
        (lambda: before_pooling(torchvision.models.regnet_y_400mf()), "1.block1.block1-0.f.se.avgpool"),
        (lambda: Features("seresnet18"), "net.layer1.0.se"),
        (lambda: Features("skresnet18"), "net.layer1.0.conv1.attn"),
    ],
)
@torch.no_grad()
def test_squeeze_and_excitation_is_named_and_nearly_equal(build, named):
    net = lively(build())
    dense = copy.deepcopy(net)
    density = set_output_stride(dense, 8)
    assert named in density.averages
    assert str(density).startswith(f"output stride 8, {len(density.changed)} layers changed; ")
    assert "up to means of the whole map" in str(density)
    coarse, fine = net(images(1, 3, 128, 96)), dense(images(1, 3, 128, 96))[:, :, ::4, ::4]
    difference = (fine - coarse).abs().mean() / coarse.abs().mean()
    assert 0 < difference < 0.2


@pytest.mark.parametrize(
    ("layer", "averages"),
    [
        (nn.GroupNorm(2, 8), True),
        (nn.InstanceNorm2d(8), True),
        (nn.AdaptiveAvgPool2d(1), True),
        (nn.AdaptiveMaxPool2d(1), True),
        (nn.AdaptiveAvgPool2d(7), True),
        (nn.BatchNorm2d(8), False),
        (nn.Softmax(1), False),
    ],
)
def test_means_of_the_map_are_told_from_means_of_channels(layer, averages):
    net = nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.Conv2d(8, 8, 3, 2, 1), layer)
    assert set_output_stride(net, 4).averages == (("2",) if averages else ())


class Mean(nn.Module):
    """Reductions written out: over the map, flattened or not, or over channels."""

    def __init__(self, reduce):
        super().__init__()
        self.conv, self.reduce = nn.Conv2d(3, 8, 8, 8), reduce

    def forward(self, x):
        return self.reduce(self.conv(x))


@pytest.mark.parametrize(
    ("reduce", "averages"),
    [
        (lambda x: x.mean((2, 3)), True),
        (lambda x: x.mean(), True),
        (lambda x: x.flatten(2).mean(-1), True),
        (lambda x: x.permute(0, 2, 3, 1).mean((1, 2)), True),
        (lambda x: x.amax((-1, -2)), True),
        (lambda x: functional.avg_pool2d(x, x.shape[2:]), True),
        (lambda x: functional.adaptive_avg_pool2d(x, 1), True),
        (lambda x: x.mean(1, keepdim=True), False),
    ],
)
def test_reductions_of_functions_are_seen(reduce, averages):
    assert set_output_stride(Mean(reduce), 4).averages == (("the module itself",) if averages else ())


def test_a_classifiers_head_is_named():
    net = torchvision.models.resnet18()
    density = set_output_stride(net, 8)
    assert density.averages == ("avgpool",)
    assert net(images(2, 3, 64, 64)).shape == (2, 1000)


# What changes ---------------------------------------------------------------------------------------------------------


def test_what_changed_is_said_and_parameters_stay_the_same_objects():
    net = before_pooling(torchvision.models.resnet18())
    before = [id(parameter) for parameter in net.parameters()]
    density = set_output_stride(net.train(), 16)
    assert [id(parameter) for parameter in net.parameters()] == before
    assert net.training
    assert density.changed == {
        "7.0.conv1": "stride 2 -> 1",
        "7.0.conv2": "padding 1 -> 2, dilation 1 -> 2",
        "7.0.downsample.0": "stride 2 -> 1",
        "7.1.conv1": "padding 1 -> 2, dilation 1 -> 2",
        "7.1.conv2": "padding 1 -> 2, dilation 1 -> 2",
    }
    assert str(density) == "output stride 16, 5 layers changed; the old positions keep their values"
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_the_stride_it_has_changes_nothing():
    net = before_pooling(torchvision.models.resnet18())
    before = repr(net)
    assert set_output_stride(net, 32) == Density(stride=32)
    assert repr(net) == before


@torch.no_grad()
def test_step_by_step_is_the_same_as_at_once():
    net = lively(trunk("resnet18", width=1 / 8))
    twice, once = copy.deepcopy(net), copy.deepcopy(net)
    set_output_stride(twice, 16)
    set_output_stride(twice, 8)
    set_output_stride(once, 8)
    torch.testing.assert_close(twice(images(1, 3, 65, 65))[-1], once(images(1, 3, 65, 65))[-1], atol=0, rtol=0)


@pytest.mark.parametrize("name", ["resnet18", "resnet50_beta"])
@torch.no_grad()
def test_a_trunk_follows_and_equals_the_one_built_dense(name):
    strided = lively(trunk(name, width=1 / 8))
    built = trunk(name, output_stride=8, width=1 / 8).eval()
    built.load_state_dict(strided.state_dict())
    set_output_stride(strided, 8)
    assert strided.strides == built.strides
    assert strided.geometry == built.geometry == Geometry(multiple=8, offset=1, minimum=9, stride=8, align_corners=True)
    if name in DEPTHS:
        assert strided.body.strides == (4, 8)
    for one, other in zip(strided(images(1, 3, 65, 49)), built(images(1, 3, 65, 49)), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def test_frozen_parts_of_a_trunk_stay_frozen():
    net = trunk("resnet18", width=1 / 8).train()
    net.body.bn1.eval()
    set_output_stride(net, 8)
    assert net.training
    assert not net.body.bn1.training


def test_pools_without_room_are_replaced_wherever_they_stand():
    pool, mean = nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.AvgPool2d(2, 2)
    net = nn.Sequential(nn.Conv2d(3, 4, 4, 4), mean, nn.Sequential(pool))
    net[0].again = pool
    net.eval()
    set_output_stride(net, 4)
    assert isinstance(net[1], DilatedAveragePool)
    assert net[2][0] is net[0].again
    assert isinstance(net[2][0][0], nn.ConstantPad2d)
    assert not any(module.training for module in net.modules())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions_are_followed_too(dtype):
    net = trunk("resnet18", width=1 / 8).to(dtype)
    set_output_stride(net, 8)
    assert net.strides[-1] == net.geometry.stride == 8
    assert {parameter.dtype for parameter in net.parameters()} == {dtype}


def test_the_weights_may_be_on_the_meta_device():
    with torch.device("meta"):
        net = VGG16()
    assert len(set_output_stride(net, 8).changed) == 5


# Refusals -------------------------------------------------------------------------------------------------------------


class Called(nn.Module):
    """A net whose second stride is taken by a function in its forward."""

    def __init__(self, call):
        super().__init__()
        self.stem, self.call, self.last = nn.Conv2d(3, 4, 4, 4), call, nn.Conv2d(4, 4, 3, padding=1)
        self.register_buffer("weight", torch.ones(4, 4, 2, 2))

    def forward(self, x):
        x = self.stem(x)
        return self.last(self.call(x) if isinstance(self.call, nn.Module) else self.call(self, x))


class Twice(nn.Module):
    """One layer called at two strides."""

    def __init__(self):
        super().__init__()
        self.stem, self.shared = nn.Conv2d(3, 4, 4, 4), nn.Conv2d(4, 4, 2, 2)

    def forward(self, x):
        return self.shared(self.shared(self.stem(x)))


class Stubborn(nn.Conv2d):
    """A convolution that does not go by its attributes."""

    def forward(self, x):
        return functional.conv2d(x, self.weight, self.bias, 2, 1)


class Rigid(nn.Module):
    """Adds what two branches make of a map; only one of them pads."""

    def __init__(self):
        super().__init__()
        self.stem, self.pool, self.conv = nn.Conv2d(3, 4, 4, 4), nn.MaxPool2d(2, 2), nn.Conv2d(4, 4, 3, 2, 1)

    def forward(self, x):
        x = self.stem(x)
        return self.pool(x) + self.conv(x)


def after_a_stem(*layers):
    return nn.Sequential(nn.Conv2d(3, 4, 4, 4), *layers)


REFUSED = {
    "a function's pool": (
        lambda: Called(lambda _, x: functional.max_pool2d(x, 2)),
        r"the module itself \(Called\): max pooling: it is called in a forward",
    ),
    "a function's convolution": (
        lambda: Called(lambda self, x: functional.conv2d(x, self.weight, stride=2)),
        r"the module itself \(Called\): convolution: it is called in a forward",
    ),
    "indexing": (
        lambda: Called(lambda _, x: x[:, :, ::2, ::2]),
        r"last \(Conv2d\): subsampling: the map .* thinned out by indexing",
    ),
    "cropping": (
        lambda: Called(nn.Sequential(nn.Conv2d(4, 4, 2, 2), nn.ZeroPad2d(-1))),
        r"call.1 \(ZeroPad2d\): padding",
    ),
    "a function's padding": (
        lambda: Called(nn.Sequential(nn.Conv2d(4, 4, 2, 2), nn.ReflectionPad2d(1))),
        r"call.1 \(ReflectionPad2d\): padding: it pads in a forward",
    ),
    "rolling": (
        lambda: Called(lambda self, x: functional.conv2d(x, self.weight, stride=2).roll(1, 2)),
        r"the module itself \(Called\): convolution",
    ),
    "two strides": (Twice, r"shared \(Conv2d\): convolution: one layer is called at several strides"),
    "padding mode": (
        lambda: after_a_stem(nn.Conv2d(4, 4, 3, 2, 1, padding_mode="reflect")),
        r"1 \(Conv2d\): convolution: its padding is 'reflect', and only zeros",
    ),
    "own padding": (
        lambda: after_a_stem(timm.layers.Conv2dSame(4, 4, 3, 2)),
        r"1 \(Conv2dSame\): convolution: its own forward pads by the size",
    ),
    "own strides": (
        lambda: after_a_stem(Stubborn(4, 4, 3, 1, 1)),
        r"1 \(Stubborn\): convolution: its own forward does not go by its attributes",
    ),
    "own strides in time": (
        lambda: after_a_stem(Stubborn(4, 4, 3, 2, 1)),
        r"1 \(Stubborn\): convolution: its own forward does not go by its attributes",
    ),
    "another blur": (
        lambda: after_a_stem(timm.layers.BlurPool2d(4)),
        r"1 \(BlurPool2d\): convolution: it is called in a forward",
    ),
    "axes": (lambda: after_a_stem(nn.Conv2d(4, 4, 3, (2, 1), 1)), r"1 \(Conv2d\): .* stride \(2, 1\) differs by axis"),
    "switches": (
        lambda: after_a_stem(nn.MaxPool2d(2, return_indices=True)),
        r"1 \(MaxPool2d\): max pooling: its switches would be those of another grid",
    ),
    "divisor": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 2, 2), nn.Conv2d(4, 4, 3, 3), nn.Conv2d(4, 4, 2, 2)),
        r"1 \(Conv2d\): convolution: it leads from stride 2 to 6, which 4 does not divide",
    ),
    "decoder": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.ConvTranspose2d(4, 4, 2, 2)),
        r"1 \(ConvTranspose2d\): transposed convolution: it enlarges the map again; give the encoder alone",
    ),
    "enlarging": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.Upsample(scale_factor=2)),
        r"1 \(Upsample\): enlarging: it enlarges the map again",
    ),
    "branches": (Rigid, r"cannot be had. the module itself \(Rigid\): .* maps that meet there differ in size"),
    "flattened": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.Flatten(), nn.Linear(4 * 28 * 28, 2)),
        r"cannot be had. 2 \(Linear\): .* see convolutionalise",
    ),
    "a transformer": (
        lambda: timm.create_model("vit_tiny_patch16_224", depth=2),
        r"patch_embed.proj \(Conv2d\): .* patches of a transformer.*blocks.0.attn \(Attention\): attention: it mixes",
    ),
    "windows": (
        lambda: timm.create_model("swin_tiny_patch4_window7_224", depths=(1, 1, 1, 1), embed_dim=24),
        r"layers.1.downsample.norm \(LayerNorm\): subsampling: the map that reaches it was thinned out",
    ),
}


def frozen_state(net):
    return repr(net), {name: value.clone() for name, value in net.state_dict().items()}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_change_is_refused_by_name_and_nothing_is_touched(name):
    build, words = REFUSED[name]
    net = build()
    before, numbers = frozen_state(net)
    with pytest.raises(ValueError, match=words):
        set_output_stride(net, 4)
    after, values = frozen_state(net)
    assert after == before
    torch.testing.assert_close(values, numbers, atol=0, rtol=0)


@pytest.mark.parametrize(
    ("build", "stride", "options", "words"),
    [
        (lambda: VGG16(width=1 / 64), 5, {}, r"output stride 5 came; 32, 16, 8 and 4 are accepted"),
        (lambda: trunk("resnet18", output_stride=8), 16, {}, r"stride 16 came, and Trunk has 8: 8, 4 can be had"),
        (lambda: nn.Conv2d(3, 3, 3, 2), 4, {}, r"came, and Conv2d has 2: none of 32, 16, 8 and 4 can be had"),
        (lambda: nn.Conv2d(3, 3, 12, 12), 8, {}, r"output stride 8 came, and Conv2d has 12: 4 can be had"),
        (lambda: nn.MaxPool2d(8), 4, {}, r"MaxPool2d has no convolution .* give in_channels="),
        (lambda: nn.MaxPool2d(8), 4, {"in_channels": 1}, r"a pool alone is no network"),
        (lambda: fcn32s(width=1 / 64), 8, {}, r"FCN32s says in its geometry where .* its encoder alone"),
        (lambda: deeplab_v3plus(width=1 / 64), 8, {}, r"DeepLabV3Plus says in its geometry"),
        (lambda: VGG16(width=1 / 64), 8, {"in_channels": 5}, r"5 x 224 x 224 cannot be followed through VGG16: "),
        (lambda: VGG16(width=1 / 64), 8, {"size": 0}, r"Give in_channels= and size= of one it takes"),
    ],
)  # fmt: skip
def test_strides_and_images_that_cannot_be_are_refused(build, stride, options, words):
    with pytest.raises(ValueError, match=words):
        set_output_stride(build(), stride, **options)


def test_layers_before_the_stride_may_be_what_they_like():
    """Only what must change is judged: an own padding at stride 2 stays, and so does attention of the last map."""
    net = nn.Sequential(
        timm.layers.Conv2dSame(3, 4, 3, 2), timm.layers.BlurPool2d(4), nn.Conv2d(4, 4, 2, 2), nn.Conv2d(4, 4, 3, 1, 1)
    )
    assert list(set_output_stride(net, 4).changed) == ["2", "3"]


@torch.no_grad()
def test_string_paddings_become_numbers():
    for padding, kernel in itertools.product(("same", "valid"), (1, 3)):
        last = nn.Conv2d(4, 4, kernel, padding=padding)
        net = lively(after_a_stem(nn.Conv2d(4, 4, 2, 2), last))
        dense = copy.deepcopy(net)
        set_output_stride(dense, 4)
        x = images(1, 3, 64, 64)
        torch.testing.assert_close(dense(x)[:, :, ::2, ::2], net(x), atol=1e-5, rtol=0)
