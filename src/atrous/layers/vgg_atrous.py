"""VGG16 made dense, the trunk of DeepLab v1 and v2: stride 8, holes in stage 5, fc6 and fc7 with windows of their own.

    layer           rate    stride    321 x 321    channels
    stage 1, pool1  1       2         161          64
    stage 2, pool2  1       4         81           128
    stage 3, pool3  1       8         41           256
    stage 4, pool4  1       8         41           512           the pool keeps its maximum, at stride 1
    stage 5, pool5  2       8         41           512           and so does this one
    pool5a          1       8         41           512           a mean; DeepLab v1's LargeFOV alone has it
    fc6             12      8         41           1024          3x3 (LargeFOV), or one per rate (ASPP)
    fc7             1       8         41           1024          1x1

`corners=True` gives pools 1 to 3 a 3x3 window with padding 1: 8k + 1 pixels give k + 1 logits, corner on corner. The
base net has 2x2 windows with padding 1 and a 2x2 pool4 without: sizes 8k + 2, of which the authors leave the first
row and column without a label (306 -> 39, which cover 305 pixels). That row and column are padded here, with the mean,
so both take 8k + 1 pixels and logit i stands for pixel 8i in both.

A window of an even size has no middle tap: its nearest taps lie half a rate away. On a map narrower than the rate, the
middle of fc6 would see nothing but padding, so these nets take no fewer than 8 * rate - 7 pixels.

Source: DeepLab v1 (arXiv 1412.7062) section 3.1; v2 (arXiv 1606.00915) section 4.1; the authors' config/DeepLab and
config/DeepLab-LargeFOV, train.prototxt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from atrous.contract import AtrousError, Geometry
from atrous.layers.vgg import VGG16, colours_adapted, draw_he, scaled_channels, vgg16_weights
from atrous.layers.vgg_classifier import convolutionalised


def corner_pool(stage: int) -> nn.Module:
    """Return the 3x3 maximum that ends a stage: stride 2 for stages 1 to 3, then 1.

    >>> corner_pool(1)(torch.zeros(1, 1, 321, 9)).shape
    torch.Size([1, 1, 161, 5])
    """
    return nn.MaxPool2d(3, 2 if stage <= 3 else 1, padding=1, ceil_mode=True)


def base_pool(stage: int) -> nn.Module:
    """Return the maximum that ends a stage of the base net: 2x2 with padding 1, then 2x2 and 3x3 at stride 1.

    >>> [base_pool(stage)(torch.zeros(1, 1, 40, 40)).shape[-1] for stage in (1, 4, 5)]
    [21, 39, 40]
    """
    if stage <= 3:
        return nn.MaxPool2d(2, 2, padding=1, ceil_mode=True)
    return nn.MaxPool2d(2, 1) if stage == 4 else nn.MaxPool2d(3, 1, padding=1)


class AtrousVGG16(nn.Module):
    """Dense VGG16: (n, in_channels, h, w) -> its five pooled maps, and fc7 (n, hidden, h/8, w/8) for every rate.

    `rates` are those of fc6, whose window is `size` x `size`. One rate makes layers `fc6` and `fc7`, more make
    `fc6_1`, `fc7_1`, ..., as the authors call them; `suffixes` has what follows the names. `mean` adds pool5a.

    `forward` raises `ValueError` in training for a crop below `geometry.minimum`: 9 x 9, or what an even window needs.

    >>> pooled, (fc7,) = AtrousVGG16(rates=(12,), hidden=1024, width=1 / 64)(torch.zeros(1, 3, 33, 65))
    >>> [tuple(each.shape[1:]) for each in (pooled[0], pooled[2], fc7)]
    [(1, 17, 33), (4, 5, 9), (16, 5, 9)]
    """

    def __init__(
        self,
        *,
        rates: Sequence[int],
        hidden: int,
        size: int = 3,
        corners: bool = True,
        mean: bool = False,
        dropout: float = 0.5,
        in_channels: int = 3,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        least = 9 if size % 2 else 8 * min(rates) - 7
        self.geometry = Geometry(multiple=8, offset=1, minimum=least, stride=8, align_corners=True)
        self.suffixes = ("",) if len(rates) == 1 else tuple(f"_{place}" for place in range(1, len(rates) + 1))
        self.border = nn.Identity() if corners else nn.ZeroPad2d((1, 0, 1, 0))
        pool: Callable[[int], nn.Module] = corner_pool if corners else base_pool
        self.vgg = VGG16(in_channels=in_channels, width=width, rates=(1, 1, 1, 1, 2), pool=pool)
        self.pool5a = nn.AvgPool2d(3, 1, padding=1) if mean else nn.Identity()
        self.hidden = scaled_channels(hidden, width)
        for suffix, rate in zip(self.suffixes, rates, strict=True):
            padding = rate * (size - 1) // 2
            fc6 = nn.Conv2d(self.vgg.channels[4], self.hidden, size, padding=padding, dilation=rate)
            self.add_module(f"fc6{suffix}", fc6)
            self.add_module(f"fc7{suffix}", nn.Conv2d(self.hidden, self.hidden, 1))
        self.dropout = nn.Dropout(dropout)
        draw_he(self)

    def forward(self, images: Tensor) -> tuple[tuple[Tensor, ...], list[Tensor]]:
        """Return pool1 .. pool5 and the last map of every rate."""
        self._check(images)
        pooled = self.vgg(self.border(images))
        deepest = self.pool5a(pooled[4])  # (n, 512, h/8, w/8)
        views = []
        for suffix in self.suffixes:
            view = deepest
            for layer in ("fc6", "fc7"):
                view = self.dropout(functional.relu(self.get_submodule(layer + suffix)(view)))
            views.append(view)  # (n, 1024, h/8, w/8)
        return pooled, views

    def _check(self, images: Tensor) -> None:
        least = self.geometry.minimum
        height, width = images.shape[2:]
        if self.training and min(height, width) < least:
            raise ValueError(f"a crop of {height} x {width} came; training takes crops of {least} x {least} and larger")


def decimated(state: Mapping[str, Tensor], *, size: int, filters: int, seed: int = 0) -> dict[str, Tensor]:
    """Return VGG16's fc6 and fc7, as 7x7 and 1x1 convolutions, with a smaller window and fewer filters.

    Of the 7x7 window every tap stays for size 7, taps 0 2 4 6 for 4 and 0 3 6 for 3. Of the filters `filters` stay, in
    their order: a choice that `seed` draws, one for fc6, whose outputs are fc7's inputs, and one for fc7.

    Raises `AtrousError` where there are fewer filters than wanted.

    Source: DeepLab v1 section 3.1 ("simple decimation") and section 5, "controlling the receptive field" (1024 of the
    4096 filters at random). Which taps are taken of seven for three is common practice, not read in the paper.

    >>> one = {"fc6.weight": torch.arange(49.0).reshape(1, 1, 7, 7), "fc7.weight": torch.ones(1, 1, 1, 1)}
    >>> one |= {"fc6.bias": torch.zeros(1), "fc7.bias": torch.zeros(1)}
    >>> decimated(one, size=3, filters=1)["fc6.weight"][0, 0, 1].tolist()
    [21.0, 24.0, 27.0]
    """
    have = len(state["fc6.weight"])
    if filters > have:
        raise AtrousError(
            f"{filters} filters are wanted of fc6, and the weights have {have}; "
            "build the network with the width of the weights (1.0 for ImageNet's), or train without"
        )
    taps = torch.linspace(0, state["fc6.weight"].shape[-1] - 1, size).round().long()
    generator = torch.Generator().manual_seed(seed)
    sixth, seventh = (torch.randperm(have, generator=generator)[:filters].sort().values for _ in range(2))
    return {
        "fc6.weight": state["fc6.weight"][sixth][:, :, taps][:, :, :, taps],
        "fc6.bias": state["fc6.bias"][sixth],
        "fc7.weight": state["fc7.weight"][seventh][:, sixth],
        "fc7.bias": state["fc7.bias"][seventh],
    }


def start_from_classifier(encoder: AtrousVGG16, pretrained: bool | str | Path) -> None:
    """Copy an ImageNet classifier into `encoder`: a .safetensors file, True for timm's, False for none.

    fc6 and fc7 are decimated, see `decimated`, and each of several rates keeps a choice of filters of its own. The
    first layer is adapted to the encoder's number of channels.

    Raises `AtrousError` for weights that cannot be had, or are of another width.

    >>> start_from_classifier(AtrousVGG16(rates=(12,), hidden=1024, width=1 / 64), False)
    """
    if pretrained is False:
        return
    state, own = convolutionalised(vgg16_weights(pretrained)), encoder.state_dict()
    first = "vgg.stage1.conv1_1.weight"
    found = {name: weight for name, weight in state.items() if name.startswith("vgg.")}
    found[first] = colours_adapted(state[first], own[first].shape[1])
    for seed, suffix in enumerate(encoder.suffixes):
        size = own[f"fc6{suffix}.weight"].shape[-1]
        for name, weight in decimated(state, size=size, filters=encoder.hidden, seed=seed).items():
            layer, part = name.split(".")
            found[f"{layer}{suffix}.{part}"] = weight
    for name, weight in found.items():
        if weight.shape != own[name].shape:
            raise AtrousError(
                f"the pretrained {name} is {tuple(weight.shape)} and the network's {tuple(own[name].shape)}; "
                "build it with the width of the weights (1.0 for ImageNet's), or train without"
            )
    encoder.load_state_dict(found)
