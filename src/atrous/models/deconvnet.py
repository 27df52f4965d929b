"""DeconvNet: a classifier mirrored, whose pools remember where each maximum was, so that objects regain their shape.

Noh, Hong and Han, "Learning Deconvolution Network for Semantic Segmentation", ICCV 2015 (arXiv 1505.04366). Layers as
in HyeonwooNoh/DeconvNet, training/001_stage_1/stage_1_train.prototxt. Batch norm and ReLU follow every convolution and
every deconvolution; only seg-score has neither.

| layer                              | kernel, stride, padding | channels      | stride | 224 x 224 |
|------------------------------------|-------------------------|---------------|--------|-----------|
| stage 1, pool1 with switches       | 2 x (3, 1, 1); 2, 2     | 64            | 2      | 224, 112  |
| stage 2, pool2                     | 2 x (3, 1, 1); 2, 2     | 128           | 4      | 56        |
| stage 3, pool3                     | 3 x (3, 1, 1); 2, 2     | 256           | 8      | 28        |
| stage 4, pool4                     | 3 x (3, 1, 1); 2, 2     | 512           | 16     | 14        |
| stage 5, pool5                     | 3 x (3, 1, 1); 2, 2     | 512           | 32     | 7         |
| fc6                                | 7, 1, 0                 | 4096          | 32     | 1         |
| fc7                                | 1, 1, 0                 | 4096          | 32     | 1         |
| fc6-deconv                         | 7, 1, 0                 | 512           | 32     | 7         |
| unpool5, deconv5_1 to 5_3          | 3 x (3, 1, 1)           | 512, 512, 512 | 16     | 14        |
| unpool4, deconv4_1 to 4_3          | 3 x (3, 1, 1)           | 512, 512, 256 | 8      | 28        |
| unpool3, deconv3_1 to 3_3          | 3 x (3, 1, 1)           | 256, 256, 128 | 4      | 56        |
| unpool2, deconv2_1, 2_2            | 2 x (3, 1, 1)           | 128, 64       | 2      | 112       |
| unpool1, deconv1_1, 1_2            | 2 x (3, 1, 1)           | 64, 64        | 1      | 224       |
| seg-score                          | 1, 1, 0                 | classes       | 1      | 224       |

The network is made for one object, or a few, that fill a square of 224 pixels: `data.objects.object_crops` makes the
two stages of training data, and `prediction.proposed` scores a whole image proposal by proposal. Larger inputs are
taken too: every side that is a multiple of 32, of which fc6 sees each window of 224 and fc6-deconv adds up the answers.

What differs from the reference: without pretrained weights the encoder is drawn from He's distribution, where the
authors start from VGG16 always; epsilon of batch norm is 1e-5 (the authors' inference script has 1e-9); a batch of a
single crop leaves fc6 one value per channel, which batch norm cannot normalise, so it uses its running statistics
there. These are kept with momentum; `training.measured_statistics` measures them afterwards, as the authors do.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Literal, cast

from torch import Tensor, nn
from torch.nn import functional

from atrous.contract import AtrousError, Geometry
from atrous.layers.memory import large_window
from atrous.layers.norm import BatchNorm, Norm, with_norm
from atrous.layers.unpool import Switches, SwitchPool, Unpool
from atrous.layers.vgg import STAGES, colours_adapted, draw_he, scaled_channels, vgg16_weights
from atrous.layers.vgg_classifier import convolutionalised
from atrous.models.arguments import check_arguments, check_dropout, check_whole

HIDDEN = 4096
"""Channels of fc6 and fc7 in VGG16."""


class SwitchedVGG16(nn.Module):
    """VGG16 with batch norm and switches: images to fc7, at stride 32, and the switches of its five pools.

    Source: DeconvNet, section 3.2.
    """

    def __init__(self, *, in_channels: int, width: float, hidden: int, dropout: float) -> None:
        super().__init__()
        channels = tuple(scaled_channels(count, width) for count, _ in STAGES)
        sources = (in_channels, *channels)
        self.channels = (*channels, hidden)
        for stage, (_, depth) in enumerate(STAGES, 1):
            self.add_module(f"stage{stage}", layers("conv", stage, sources[stage - 1], (sources[stage],) * depth))
        self.pool = SwitchPool()
        self.fc6 = nn.Conv2d(channels[4], hidden, kernel_size=7)
        self.norm6 = BatchNorm(hidden)
        self.fc7 = nn.Conv2d(hidden, hidden, kernel_size=1)
        self.norm7 = BatchNorm(hidden)
        self.dropout = nn.Dropout(dropout)
        draw_he(self)

    def forward(self, images: Tensor) -> tuple[Tensor, list[Switches]]:
        """Return fc7 (n, 4096, h / 32 - 6, w / 32 - 6), and the switches of pool1 to pool5."""
        features, every = images, []
        for stage in range(1, 6):
            features, switches = self.pool(self.get_submodule(f"stage{stage}")(features))
            every.append(switches)
        fc6 = self.dropout(functional.relu(self.norm6(large_window(self.fc6, features))))
        fc7 = self.dropout(functional.relu(self.norm7(self.fc7(fc6))))
        return fc7, every


def layers(kind: Literal["conv", "deconv"], stage: int, in_channels: int, channels: Sequence[int]) -> nn.Sequential:
    """Return the 3x3 convolutions or deconvolutions of a stage, each with its norm and ReLU; maps keep their size.

    Source: DeconvNet, section 3.2 and stage_1_train.prototxt, whose names the layers have.

    >>> [name for name, _ in layers("deconv", 2, 128, (128, 64)).named_children()][:4]
    ['deconv2_1', 'norm2_1', 'relu2_1', 'deconv2_2']
    """
    layer = nn.Conv2d if kind == "conv" else nn.ConvTranspose2d
    found: OrderedDict[str, nn.Module] = OrderedDict()
    for place, (source, count) in enumerate(pairwise((in_channels, *channels)), 1):
        found[f"{kind}{stage}_{place}"] = layer(source, count, kernel_size=3, padding=1)
        found[f"norm{stage}_{place}"] = BatchNorm(count)
        found[f"relu{stage}_{place}"] = nn.ReLU(inplace=True)
    return nn.Sequential(found)


class DeconvNet(nn.Module):
    """Normalised images (n, in_channels, h, w), sides multiples of 32 from 224 on, to logits (n, classes, h, w)."""

    def __init__(self, classes: int, *, in_channels: int, width: float, hidden: int, dropout: float) -> None:
        super().__init__()
        self.classes, self.in_channels = classes, in_channels
        self.geometry = Geometry(multiple=32, offset=0, minimum=224, margin=0, stride=1)
        self.preprocessing_padding = "mean"
        self.encoder = SwitchedVGG16(in_channels=in_channels, width=width, hidden=hidden, dropout=dropout)
        (_, _, _, _, deepest, hidden), wide = self.encoder.channels, partial(scaled_channels, width=width)
        self.fc6_deconv = nn.ConvTranspose2d(hidden, deepest, kernel_size=7)
        self.norm6 = BatchNorm(deepest)
        self.unpool = Unpool()
        self.deconv5 = layers("deconv", 5, deepest, [wide(512), wide(512), wide(512)])
        self.deconv4 = layers("deconv", 4, wide(512), [wide(512), wide(512), wide(256)])
        self.deconv3 = layers("deconv", 3, wide(256), [wide(256), wide(256), wide(128)])
        self.deconv2 = layers("deconv", 2, wide(128), [wide(128), wide(64)])
        self.deconv1 = layers("deconv", 1, wide(64), [wide(64), wide(64)])
        self.seg_score = nn.Conv2d(wide(64), classes, kernel_size=1)
        _initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of every pixel; raises `ValueError` for a side that is not 224, 256, 288, ..."""
        check_sides(self.geometry, images)
        fc7, switches = self.encoder(images)  # (n, 4096, h / 32 - 6, w / 32 - 6)
        features = functional.relu(self.norm6(large_window(self.fc6_deconv, fc7)))  # (n, 512, h / 32, w / 32)
        features = self.deconv5(self.unpool(features, switches[4]))  # (n, 512, h / 16, w / 16)
        features = self.deconv4(self.unpool(features, switches[3]))  # (n, 256, h / 8, w / 8)
        features = self.deconv3(self.unpool(features, switches[2]))  # (n, 128, h / 4, w / 4)
        features = self.deconv2(self.unpool(features, switches[1]))  # (n, 64, h / 2, w / 2)
        features = self.deconv1(self.unpool(features, switches[0]))  # (n, 64, h, w)
        return self.seg_score(features)  # (n, classes, h, w)


def check_sides(geometry: Geometry, images: Tensor) -> None:
    """Raise `ValueError` where a side of (n, c, h, w) images is not one that `geometry` takes.

    >>> import torch
    >>> check_sides(Geometry(multiple=32, minimum=224), torch.empty(1, 3, 224, 480))
    """
    height, width = images.shape[-2:]
    valid = geometry.valid(height), geometry.valid(width)
    if valid != (height, width):
        least = geometry.minimum
        raise ValueError(
            f"an image of {height} x {width} came; {least} x {least} is the least, and sides are multiples of "
            f"{geometry.multiple}: make it {valid[0]} x {valid[1]}, or use Segmenter, which pads and crops by itself"
        )


def _initialise(net: DeconvNet) -> None:
    """Draw deconvolutions and scores from a Gaussian of 0.01 without bias; every norm begins at scale 1, shift 0.001.

    Source: DeconvNet, stage_1_train.prototxt.
    """
    for layer in net.modules():
        if isinstance(layer, BatchNorm):
            nn.init.constant_(layer.bias, 0.001)
    for layer in (net.seg_score, *(each for each in net.modules() if isinstance(each, nn.ConvTranspose2d))):
        nn.init.normal_(layer.weight, std=0.01)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def deconvnet(
    classes: int = 21,
    *,
    in_channels: int = 3,
    encoder: str | None = None,
    pretrained: bool | str | Path = False,
    output_stride: int | None = None,
    width: float = 1.0,
    hidden: int = HIDDEN,
    norm: Norm = "batch",
    dropout: float = 0.0,
) -> DeconvNet:
    """Return DeconvNet: VGG16 and its mirror image, unpooled by switches. 251,805,653 parameters.

    `hidden` is the number of channels of fc6 and fc7; 1024 is the variant of the SegNet paper, which fits a smaller
    memory. `pretrained` is a .safetensors file of a VGG16 classifier, or True for timm's; with another `hidden` than
    the classifier's only the convolutions before fc6 are taken from it. `dropout` follows fc6 and fc7, where the
    paper has none. `norm` other than `"batch"` is not the paper's: without batch norm its training got stuck.

    Raises `ValueError` for what the network does not take, `AtrousError` for weights that cannot be had or do not fit.

    Source: DeconvNet, section 3.2; stage_1_train.prototxt.

    >>> import torch
    >>> deconvnet(2, width=1 / 64).eval()(torch.zeros(1, 3, 224, 256)).shape
    torch.Size([1, 2, 224, 256])
    """
    check_arguments("deconvnet", classes, in_channels, width, output_stride=output_stride)
    check_dropout("deconvnet", dropout)
    check_whole("deconvnet", hidden=hidden)
    _check(encoder=encoder, output_stride=output_stride, hidden=hidden)
    channels = scaled_channels(hidden, width)
    if norm == "group" and channels < 64:
        raise ValueError(
            f"deconvnet: norm 'group' came with {channels} channels of fc6, whose map may be a single pixel: groups of "
            "one value normalise to nothing; make it 64 channels or more, or leave norm out"
        )
    net = DeconvNet(classes, in_channels=in_channels, width=width, hidden=channels, dropout=dropout)
    if pretrained is not False:
        _start(net.encoder, pretrained, classifier=hidden == HIDDEN)
    return cast(DeconvNet, with_norm(net, norm))


def _check(*, encoder: str | None, output_stride: int | None, hidden: int) -> None:
    if encoder not in (None, "vgg16"):
        raise ValueError(
            f"deconvnet: encoder {encoder!r} came, but this network is VGG16; leave encoder out or give 'vgg16'"
        )
    if output_stride not in (None, 1):
        raise ValueError(f"deconvnet: output_stride {output_stride} came, but its logits have stride 1; leave it out")
    if hidden < 1:
        raise ValueError(f"deconvnet: hidden {hidden} came; it is the number of channels of fc6 and fc7, 1 or more")


def _start(encoder: SwitchedVGG16, pretrained: bool | str | Path, *, classifier: bool) -> None:
    """Copy a VGG16's weights into the encoder, whose norms stay as they are; fc6 and fc7 only with `classifier`."""
    given = convolutionalised(vgg16_weights(pretrained))
    state = {
        name.removeprefix("vgg."): weight for name, weight in given.items() if classifier or name.startswith("vgg.")
    }
    own = encoder.state_dict()
    first = "stage1.conv1_1.weight"
    state[first] = colours_adapted(state[first], own[first].shape[1])
    for name, weight in state.items():
        if weight.shape != own[name].shape:
            raise AtrousError(
                f"the pretrained {name} is {tuple(weight.shape)} and the network's {tuple(own[name].shape)}; "
                "build it with the width of the weights (1.0 for ImageNet's), or train without"
            )
    encoder.load_state_dict(own | state)
