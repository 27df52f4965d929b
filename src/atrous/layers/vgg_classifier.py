"""VGG16 with its classifier made convolutional, on which FCN and the hypercolumns stand, and ImageNet's weights for it.

Long, Shelhamer and Darrell, "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015, section 3.1: the two
fully connected layers of VGG16 are convolutions of 7x7 and 1x1 whose window is the whole map, so they slide over any.

What differs from VGG: with a padding of 1 on every convolution the net answers a 224 x 224 image as the classifier
does; FCN pads the first by 100, and the hypercolumns fc6 by 3, so that images of any size have scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional

from atrous.contract import AtrousError
from atrous.layers.memory import large_window
from atrous.layers.vgg import CLASSIFIER_NAMES, VGG16, colours_adapted, draw_he, scaled_channels, vgg16_weights


class ConvolutionalVGG16(nn.Module):
    """VGG16 with its classifier made convolutional: (n, in_channels, h, w) to maps, at strides 8, 16 and 32.

    `padding` is that of the first convolution, `classifier_padding` that of fc6: without any its map is 6 lower and
    narrower than pool5, with 3 as high and wide. `dropout` follows fc6 and fc7. `maps` says which come out, of pool1
    to pool5 (0 to 4) and fc7 (5); `channels` and `strides` are theirs.

    Source: FCN, sections 3.1 and 4.1.

    >>> import torch
    >>> [tuple(each.shape[1:]) for each in ConvolutionalVGG16(width=1 / 64)(torch.zeros(1, 3, 20, 20))]
    [(4, 28, 28), (8, 14, 14), (64, 1, 1)]
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        width: float = 1.0,
        padding: int = 100,
        classifier_padding: int = 0,
        dropout: float = 0.5,
        maps: Sequence[int] = (2, 3, 5),
    ) -> None:
        super().__init__()
        self.vgg = VGG16(in_channels=in_channels, width=width, first_padding=padding)
        hidden = scaled_channels(4096, width)
        self.in_channels, self.maps = in_channels, tuple(maps)
        self.channels = tuple((*self.vgg.channels, hidden)[index] for index in maps)
        self.strides = tuple((2, 4, 8, 16, 32, 32)[index] for index in maps)
        self.fc6 = nn.Conv2d(self.vgg.channels[4], hidden, kernel_size=7, padding=classifier_padding)
        self.fc7 = nn.Conv2d(hidden, hidden, kernel_size=1)
        self.dropout = nn.Dropout(dropout)
        draw_he(self.fc6)
        draw_he(self.fc7)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the maps asked for: unless told, pool3 (n, 256, ..), pool4 (n, 512, ..) and fc7 (n, 4096, ..)."""
        pooled = self.vgg(images)
        fc6 = self.dropout(functional.relu(large_window(self.fc6, pooled[4])))
        fc7 = self.dropout(functional.relu(self.fc7(fc6)))
        return tuple((*pooled, fc7)[index] for index in self.maps)


def load_classifier(encoder: ConvolutionalVGG16, pretrained: bool | str | Path) -> None:
    """Copy the weights of an ImageNet classifier into `encoder`: a .safetensors file, True for timm's, False for none.

    The first layer is adapted to the encoder's number of channels, see `colours_adapted`.

    Raises `AtrousError` for weights that cannot be had, or are of another width.

    >>> load_classifier(ConvolutionalVGG16(width=1 / 64), False)
    """
    if pretrained is False:
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


def convolutionalised(classifier_state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a VGG16 classifier's state as that of `ConvolutionalVGG16`: fc6 and fc7 as 7x7 and 1x1 convolutions.

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
