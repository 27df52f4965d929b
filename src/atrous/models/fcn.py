"""FCN-32s, FCN-16s and FCN-8s: a classifier slid over the image, its scores enlarged and sharpened by finer layers.

Long, Shelhamer and Darrell, "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015 (arXiv 1411.4038);
Shelhamer, Long and Darrell, TPAMI 39(4), 2017. Layers as in shelhamer/fcn.berkeleyvision.org, voc-fcn{32,16,8}s/net.py.

| layer                      | kernel, stride, padding | channels | stride | 500 x 500 |
|----------------------------|-------------------------|----------|--------|-----------|
| conv1_1, conv1_2           | 3, 1, **100** then 1    | 64       | 1      | 698       |
| pool1                      | 2, 2 (sizes round up)   | 64       | 2      | 349       |
| stage 2, pool2             | 3, 1, 1                 | 128      | 4      | 175       |
| stage 3, pool3             | 3, 1, 1                 | 256      | 8      | 88        |
| stage 4, pool4             | 3, 1, 1                 | 512      | 16     | 44        |
| stage 5, pool5             | 3, 1, 1                 | 512      | 32     | 22        |
| fc6, ReLU, dropout 0.5     | 7, 1, 0                 | 4096     | 32     | 16        |
| fc7, ReLU, dropout 0.5     | 1, 1, 0                 | 4096     | 32     | 16        |
| score_fr                   | 1, 1, 0, starts at zero | classes  | 32     | 16        |
| 32s: upscore32             | 64, 32; crop 19         | classes  | 1      | 544       |
| 16s: upscore2 + pool4      | 4, 2; pool4's crop 5    | classes  | 16     | 34        |
| 16s: upscore16             | 32, 16; crop 27         | classes  | 1      | 560       |
| 8s: upscore_pool4 + pool3  | 4, 2; pool3's crop 9    | classes  | 8      | 70        |
| 8s: upscore8               | 16, 8; crop 31          | classes  | 1      | 568       |

Score j of score_fr is centred at input pixel 32j + 12.5, and a deconvolution of stride s puts sample j at
s * j + s - 0.5: the crops 19, 27 and 31, and 5 and 9 of the skips, are what aligns them exactly. The padding of 100
leaves room for every crop at every image size from one pixel on; it lies on the normalised input, where zero is the
mean.

What differs from the reference: fixed deconvolutions are grouped, which changes no number; without pretrained weights
the trunk is drawn from He's distribution. The default weights are torchvision's, so the input is normalised their way;
for Caffe's weights use `CAFFE_PREPROCESSING`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from atrous.contract import AtrousError, Geometry, Preprocessing
from atrous.layers.upsample import BilinearDeconvolution
from atrous.layers.vgg import CLASSIFIER_NAMES, VGG16, colours_adapted, draw_he, scaled_channels, vgg16_weights

Deconvolution = Literal["fixed", "learnt", "full"]

CAFFE_PREPROCESSING = Preprocessing(
    order="BGR", low=0.0, high=1.0, mean=(104.00699, 116.66877, 122.67892), std=(1.0, 1.0, 1.0)
)
"""What weights trained by the authors in Caffe expect: BGR from 0 to 255, less the mean. Source: voc-fcn8s/net.py."""


class ConvolutionalVGG16(nn.Module):
    """VGG16 with its classifier made convolutional: images to (pool3, pool4, fc7), at strides 8, 16 and 32.

    Source: FCN, sections 3.1 and 4.1.
    """

    def __init__(self, *, in_channels: int = 3, width: float = 1.0, padding: int = 100) -> None:
        super().__init__()
        self.vgg = VGG16(in_channels=in_channels, width=width, first_padding=padding)
        hidden = scaled_channels(4096, width)
        self.channels = (*self.vgg.channels[2:4], hidden)
        self.fc6 = nn.Conv2d(self.vgg.channels[4], hidden, kernel_size=7)
        self.fc7 = nn.Conv2d(hidden, hidden, kernel_size=1)
        self.dropout = nn.Dropout(0.5)
        draw_he(self.fc6)
        draw_he(self.fc7)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return pool3 (n, 256, h', w'), pool4 (n, 512, h'', w'') and fc7 (n, 4096, h''' - 6, w''' - 6)."""
        _, _, pool3, pool4, pool5 = self.vgg(images)
        fc6 = self.dropout(functional.relu(self.fc6(pool5)))
        fc7 = self.dropout(functional.relu(self.fc7(fc6)))
        return pool3, pool4, fc7


class Scale(nn.Module):
    """Multiply by a constant, kept as a buffer as Caffe's Scale layers with rate 0 keep theirs."""

    factor: Tensor

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.register_buffer("factor", torch.tensor(factor))

    def forward(self, features: Tensor) -> Tensor:
        """Return the features times the factor."""
        return features * self.factor


def score(channels: int, classes: int) -> nn.Conv2d:
    """Return the 1x1 convolution that scores every class, with weights and biases of zero.

    Source: FCN, section 4.3 (random ones gave neither better results nor faster convergence).
    """
    layer = nn.Conv2d(channels, classes, kernel_size=1)
    for weight in layer.parameters():
        nn.init.zeros_(weight)
    return layer


def cropped(features: Tensor, offset: int, like: Tensor) -> Tensor:
    """Return the window of `features` that starts at (offset, offset) and has the height and width of `like`."""
    height, width = like.shape[-2:]
    return features[..., offset : offset + height, offset : offset + width]


class FCN32s(nn.Module):
    """Normalised images (n, in_channels, h, w) to logits (n, classes, h, w), scored at stride 32."""

    def __init__(self, classes: int, *, in_channels: int, width: float, deconvolution: Deconvolution) -> None:
        super().__init__()
        self.classes, self.in_channels = classes, in_channels
        self.geometry, self.preprocessing_padding = Geometry(), "mean"
        self.encoder = ConvolutionalVGG16(in_channels=in_channels, width=width)
        self.score_fr = score(self.encoder.channels[2], classes)
        self.upscore32 = BilinearDeconvolution(classes, 32, learnt=deconvolution == "full")

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of every pixel."""
        _, _, fc7 = self.encoder(images)  # (n, 4096, h / 32, w / 32), about
        scores = self.score_fr(fc7)  # (n, classes, h / 32, w / 32)
        return cropped(self.upscore32(scores), 19, images)  # (n, classes, h, w)


class FCN16s(nn.Module):
    """Normalised images (n, in_channels, h, w) to logits (n, classes, h, w), scored at strides 32 and 16."""

    def __init__(self, classes: int, *, in_channels: int, width: float, deconvolution: Deconvolution) -> None:
        super().__init__()
        self.classes, self.in_channels = classes, in_channels
        self.geometry, self.preprocessing_padding = Geometry(), "mean"
        self.encoder = ConvolutionalVGG16(in_channels=in_channels, width=width)
        self.score_fr = score(self.encoder.channels[2], classes)
        self.score_pool4 = score(self.encoder.channels[1], classes)
        self.upscore2 = BilinearDeconvolution(classes, 2, learnt=deconvolution != "fixed")
        self.upscore16 = BilinearDeconvolution(classes, 16, learnt=deconvolution == "full")

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of every pixel."""
        _, pool4, fc7 = self.encoder(images)
        scores = self.upscore2(self.score_fr(fc7))  # (n, classes, h / 16, w / 16)
        scores = scores + cropped(self.score_pool4(pool4), 5, scores)
        return cropped(self.upscore16(scores), 27, images)  # (n, classes, h, w)


class FCN8s(nn.Module):
    """Normalised images (n, in_channels, h, w) to logits (n, classes, h, w), scored at strides 32, 16 and 8."""

    def __init__(
        self, classes: int, *, in_channels: int, width: float, deconvolution: Deconvolution, at_once: bool
    ) -> None:
        super().__init__()
        self.classes, self.in_channels, self.at_once = classes, in_channels, at_once
        self.geometry, self.preprocessing_padding = Geometry(), "mean"
        self.encoder = ConvolutionalVGG16(in_channels=in_channels, width=width)
        self.score_fr = score(self.encoder.channels[2], classes)
        self.score_pool4 = score(self.encoder.channels[1], classes)
        self.score_pool3 = score(self.encoder.channels[0], classes)
        self.scale_pool4 = Scale(0.01) if at_once else nn.Identity()
        self.scale_pool3 = Scale(0.0001) if at_once else nn.Identity()
        self.upscore2 = BilinearDeconvolution(classes, 2, learnt=deconvolution != "fixed")
        self.upscore_pool4 = BilinearDeconvolution(classes, 2, learnt=deconvolution != "fixed")
        self.upscore8 = BilinearDeconvolution(classes, 8, learnt=deconvolution == "full")

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of every pixel."""
        pool3, pool4, fc7 = self.encoder(images)
        scores = self.upscore2(self.score_fr(fc7))  # (n, classes, h / 16, w / 16)
        scores = scores + cropped(self.score_pool4(self.scale_pool4(pool4)), 5, scores)
        scores = self.upscore_pool4(scores)  # (n, classes, h / 8, w / 8)
        scores = scores + cropped(self.score_pool3(self.scale_pool3(pool3)), 9, scores)
        return cropped(self.upscore8(scores), 31, images)  # (n, classes, h, w)


def fcn32s(
    classes: int = 21,
    *,
    in_channels: int = 3,
    encoder: str | None = None,
    pretrained: bool | str | Path = False,
    output_stride: int | None = None,
    width: float = 1.0,
    deconvolution: Deconvolution = "fixed",
) -> FCN32s:
    """Return FCN-32s: the classifier's scores, enlarged 32 times. 134,346,581 parameters.

    `pretrained` is a .safetensors file of a VGG16 classifier, or True for timm's. `deconvolution` is `"fixed"` (the
    reference version), `"learnt"` (the intermediate ones, as at CVPR; this net has none) or `"full"` (all of them).

    Raises `ValueError` for what the network does not take, `AtrousError` for weights that cannot be had or do not fit.

    Source: FCN, section 4.1; voc-fcn32s/net.py.

    >>> import torch
    >>> fcn32s(2, width=1 / 64)(torch.zeros(1, 3, 5, 7)).shape
    torch.Size([1, 2, 5, 7])
    """
    _check("fcn32s", 32, classes, encoder=encoder, output_stride=output_stride, deconvolution=deconvolution)
    net = FCN32s(classes, in_channels=in_channels, width=width, deconvolution=deconvolution)
    _start(net.encoder, pretrained)
    return net


def fcn16s(
    classes: int = 21,
    *,
    in_channels: int = 3,
    encoder: str | None = None,
    pretrained: bool | str | Path = False,
    output_stride: int | None = None,
    width: float = 1.0,
    deconvolution: Deconvolution = "fixed",
) -> FCN16s:
    """Return FCN-16s: FCN-32s with the scores of pool4 added half-way. 134,357,354 parameters.

    Options are those of `fcn32s`; `"learnt"` makes upscore2 learn. To train in stages, `load_coarser(net, fcn32s)`.

    Raises `ValueError` for what the network does not take, `AtrousError` for weights that cannot be had or do not fit.

    Source: FCN, section 4.2; voc-fcn16s/net.py.

    >>> import torch
    >>> fcn16s(2, width=1 / 64)(torch.zeros(1, 3, 5, 7)).shape
    torch.Size([1, 2, 5, 7])
    """
    _check("fcn16s", 16, classes, encoder=encoder, output_stride=output_stride, deconvolution=deconvolution)
    net = FCN16s(classes, in_channels=in_channels, width=width, deconvolution=deconvolution)
    _start(net.encoder, pretrained)
    return net


def fcn8s(
    classes: int = 21,
    *,
    in_channels: int = 3,
    encoder: str | None = None,
    pretrained: bool | str | Path = False,
    output_stride: int | None = None,
    width: float = 1.0,
    deconvolution: Deconvolution = "fixed",
    at_once: bool = False,
) -> FCN8s:
    """Return FCN-8s: FCN-16s with the scores of pool3 added too. 134,362,751 parameters.

    Options are those of `fcn32s`; `"learnt"` makes upscore2 and upscore_pool4 learn. `at_once` scales pool4 by 0.01
    and pool3 by 0.0001 before they are scored, so that one learning rate fits all and no stages are needed.

    Raises `ValueError` for what the network does not take, `AtrousError` for weights that cannot be had or do not fit.

    Source: FCN, section 4.2; voc-fcn8s/net.py, voc-fcn8s-atonce/net.py.

    >>> import torch
    >>> fcn8s(2, width=1 / 64)(torch.zeros(1, 3, 5, 7)).shape
    torch.Size([1, 2, 5, 7])
    """
    _check("fcn8s", 8, classes, encoder=encoder, output_stride=output_stride, deconvolution=deconvolution)
    net = FCN8s(classes, in_channels=in_channels, width=width, deconvolution=deconvolution, at_once=at_once)
    _start(net.encoder, pretrained)
    return net


def load_coarser(net: FCN16s | FCN8s, coarser: FCN32s | FCN16s) -> tuple[str, ...]:
    """Copy what `coarser` has learnt into the next finer `net`, by name; return the names that stayed as they were.

    FCN-32s continues as FCN-16s, and that as FCN-8s. The skip's scores stay zero, so the first outputs of `net` are
    those of `coarser`, up to enlarging in one stage more.

    Raises `ValueError` for other pairs, for an at-once net, and for shapes that differ.

    Source: FCN, section 4.2; voc-fcn16s/solve.py.

    >>> load_coarser(fcn16s(width=1 / 64), fcn32s(width=1 / 64))
    ('score_pool4.weight', 'score_pool4.bias', 'upscore2.weight', 'upscore16.weight')
    """
    pairs = ((FCN16s, FCN32s), (FCN8s, FCN16s))
    if not any(isinstance(net, finer) and isinstance(coarser, before) for finer, before in pairs):
        raise ValueError(
            f"{type(net).__name__} cannot continue from {type(coarser).__name__}; "
            "FCN16s continues from FCN32s, and FCN8s from FCN16s"
        )
    if isinstance(net, FCN8s) and net.at_once:
        raise ValueError("an at-once FCN8s is trained from the classifier, not from FCN16s; build it without at_once")
    ours, theirs = net.state_dict(), coarser.state_dict()
    shared = [name for name in ours if name in theirs]
    for name in shared:
        if ours[name].shape != theirs[name].shape:
            raise ValueError(
                f"{name} is {tuple(theirs[name].shape)} in the coarser net and {tuple(ours[name].shape)} here; "
                "build both with the same classes, in_channels, width and deconvolution"
            )
    net.load_state_dict({name: theirs.get(name, own) for name, own in ours.items()})
    return tuple(name for name in ours if name not in theirs)


def convolutionalised(classifier_state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a VGG16 classifier's state as the state of a net's `encoder`: fc6 and fc7 as 7x7 and 1x1 convolutions.

    Names are torchvision's (features.N, classifier.0, classifier.3) or timm's (pre_logits.fc1, pre_logits.fc2); the
    last layer, which tells ImageNet's classes, is dropped. Weights are flattened (channels, rows, columns), so
    reshaping is exact: on a 224 x 224 image with padding 1 the two nets agree.

    Raises `AtrousError` where a layer is missing or cannot be reshaped.

    Source: FCN, section 3.1; surgery.py.

    >>> convolutionalised({})
    Traceback (most recent call last):
        ...
    atrous.contract.AtrousError: the weights have no features.0.weight; VGG16 without batch normalisation is needed
    """
    timm_names = any(name.startswith("pre_logits.") for name in classifier_state)
    fc6, fc7 = ("pre_logits.fc1", "pre_logits.fc2") if timm_names else ("classifier.0", "classifier.3")
    names = {theirs: f"vgg.{ours}" for theirs, ours in CLASSIFIER_NAMES.items()} | {fc6: "fc6", fc7: "fc7"}
    state = {}
    for theirs, ours in names.items():
        for part in ("weight", "bias"):
            if f"{theirs}.{part}" not in classifier_state:
                raise AtrousError(f"the weights have no {theirs}.{part}; VGG16 without batch normalisation is needed")
            state[f"{ours}.{part}"] = classifier_state[f"{theirs}.{part}"]
    for name, size in (("fc6.weight", 7), ("fc7.weight", 1)):
        if state[name][0].numel() % size**2:
            raise AtrousError(
                f"{name} is {tuple(state[name].shape)}, which does not cover a {size} x {size} window; VGG16 is needed"
            )
        state[name] = state[name].reshape(len(state[name]), -1, size, size)
    return state


def _check(
    builder: str, stride: int, classes: int, *, encoder: str | None, output_stride: int | None, deconvolution: str
) -> None:
    if classes < 1:
        raise ValueError(f"{builder}: {classes} classes came; give 1 or more")
    if encoder not in (None, "vgg16"):
        raise ValueError(
            f"{builder}: encoder {encoder!r} came, but this network is VGG16; leave encoder out or give 'vgg16'"
        )
    if output_stride not in (None, stride):
        raise ValueError(
            f"{builder}: output_stride {output_stride} came, but its finest scores have stride {stride}; "
            "leave it out, or choose among fcn32s, fcn16s and fcn8s"
        )
    if deconvolution not in ("fixed", "learnt", "full"):
        raise ValueError(f"{builder}: deconvolution {deconvolution!r} came; give 'fixed', 'learnt' or 'full'")


def _start(encoder: ConvolutionalVGG16, pretrained: bool | str | Path) -> None:
    if not pretrained:
        return
    state = convolutionalised(vgg16_weights(pretrained))
    own = encoder.state_dict()
    first = "vgg.stage1.conv1_1.weight"
    state[first] = colours_adapted(state[first], own[first].shape[1])
    for name, weight in state.items():
        if weight.shape != own[name].shape:
            raise AtrousError(
                f"the pretrained {name} is {tuple(weight.shape)} and the network's {tuple(own[name].shape)}; "
                "build it with the width of the weights (1.0 for ImageNet's), or train without"
            )
    encoder.load_state_dict(state)
