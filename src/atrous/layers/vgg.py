"""The convolutional stages of VGG16, on which FCN, DeconvNet and DeepLab v1 and v2 stand.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015, column D:
small 3x3 filters, many of them, halve and double.

| stage | layers               | channels | stride after its pool |
|-------|----------------------|----------|-----------------------|
| 1     | 2 x conv 3x3, ReLU   | 64       | 2                     |
| 2     | 2 x conv 3x3, ReLU   | 128      | 4                     |
| 3     | 3 x conv 3x3, ReLU   | 256      | 8                     |
| 4     | 3 x conv 3x3, ReLU   | 512      | 16                    |
| 5     | 3 x conv 3x3, ReLU   | 512      | 32                    |

What differs from the paper: pools round up, as Caffe's do, where torchvision's round down; the same at the paper's
224 x 224. Without weights to start from, the filters are drawn from He's distribution, since with Gaussians of a fixed
width thirteen layers do not start to learn.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from atrous.contract import AtrousError

STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Channels and number of convolutions of each stage."""

CLASSIFIER_NAMES = dict(
    zip(
        (f"features.{index}" for index in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)),
        (
            f"stage{stage}.conv{stage}_{place}"
            for stage, (_, depth) in enumerate(STAGES, 1)
            for place in range(1, depth + 1)
        ),
        strict=True,
    )
)
"""What each convolution is called in torchvision's and timm's VGG16, and what it is called here."""


def scaled_channels(channels: int, width: float) -> int:
    """Return the channel count of a layer at this width, at least one.

    >>> scaled_channels(64, 1 / 8), scaled_channels(64, 1 / 1000)
    (8, 1)
    """
    return max(1, round(channels * width))


def halving_pool(stage: int) -> nn.Module:
    """Return the 2x2 maximum of stride 2 that rounds sizes up, the same for every stage.

    >>> halving_pool(1)(torch.zeros(1, 1, 5, 6)).shape
    torch.Size([1, 1, 3, 3])
    """
    return nn.MaxPool2d(2, 2, ceil_mode=True)


def draw_he(module: nn.Module) -> None:
    """Draw the weights of every convolution in `module` from He's normal distribution and set its biases to zero.

    Source: He et al., "Delving Deep into Rectifiers", ICCV 2015, equation 10.

    >>> draw_he(nn.Conv2d(1, 1, 3))
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class VGG16(nn.Module):
    """The five stages; `forward` turns (n, in_channels, h, w) into the five pooled maps, finest first.

    `first_padding` pads the first convolution alone (FCN: 100). `rates` are the atrous rates of the stages and
    `pool(stage)` makes the pool that ends stage 1..5; DeepLab replaces both. `channels` are those of the five maps.

    Source: VGG, table 1, column D.

    >>> [tuple(pooled.shape[1:]) for pooled in VGG16(width=1 / 8)(torch.zeros(1, 3, 64, 50))]
    [(8, 32, 25), (16, 16, 13), (32, 8, 7), (64, 4, 4), (64, 2, 2)]
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        width: float = 1.0,
        first_padding: int = 1,
        rates: Sequence[int] = (1, 1, 1, 1, 1),
        pool: Callable[[int], nn.Module] = halving_pool,
    ) -> None:
        super().__init__()
        self.channels = tuple(scaled_channels(channels, width) for channels, _ in STAGES)
        sources = (in_channels, *self.channels)
        for stage, (_, depth) in enumerate(STAGES, 1):
            layers: OrderedDict[str, nn.Module] = OrderedDict()
            for place in range(1, depth + 1):
                first = stage == place == 1
                layers[f"conv{stage}_{place}"] = nn.Conv2d(
                    sources[stage - 1] if place == 1 else sources[stage],
                    sources[stage],
                    kernel_size=3,
                    padding=first_padding if first else rates[stage - 1],
                    dilation=rates[stage - 1],
                )
                layers[f"relu{stage}_{place}"] = nn.ReLU(inplace=True)
            layers[f"pool{stage}"] = pool(stage)
            self.add_module(f"stage{stage}", nn.Sequential(layers))
        draw_he(self)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return pool1 .. pool5."""
        pooled = []
        features = images
        for stage in self.children():
            features = stage(features)
            pooled.append(features)
        return tuple(pooled)


def vgg16_weights(pretrained: bool | str | Path) -> Mapping[str, Tensor]:
    """Return the state of a VGG16 trained on ImageNet: of a .safetensors file, or for `True` of timm, fetched once.

    Raises `ValueError` for anything else, `AtrousError` where the file is missing, is no safetensors file, or nothing
    could be fetched.

    >>> vgg16_weights("nowhere.safetensors")
    Traceback (most recent call last):
        ...
    atrous.contract.AtrousError: nowhere.safetensors: there is no such file; give the path of a .safetensors file
    """
    check_pretrained(pretrained)
    if pretrained is False:
        raise ValueError("pretrained False came, which asks for no weights; give True or a .safetensors file")
    return _fetched() if pretrained is True else _read(Path(str(pretrained)))


def check_pretrained(pretrained: object) -> None:
    """Raise `ValueError` unless `pretrained` is True, False or a path.

    >>> check_pretrained(5)
    Traceback (most recent call last):
        ...
    ValueError: pretrained 5 came; True, False or the path of a .safetensors file is accepted
    """
    if not isinstance(pretrained, bool | str | Path):
        raise ValueError(f"pretrained {pretrained!r} came; True, False or the path of a .safetensors file is accepted")


def _fetched() -> Mapping[str, Tensor]:
    import timm

    try:
        return timm.create_model("vgg16", pretrained=True).state_dict()
    except Exception as error:  # each of the hub's transports fails with classes of its own
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise AtrousError(
            f"pretrained weights of vgg16 could not be fetched ({reason}): "
            "give a local file with --pretrained FILE, or train without"
        ) from error


def _read(path: Path) -> Mapping[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise AtrousError(f"{path}: there is no such file; give the path of a .safetensors file")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise AtrousError(f"{path}: not a safetensors file ({error}); convert the weights to .safetensors") from error


def colours_adapted(weight: Tensor, in_channels: int) -> Tensor:
    """Return the (filters, 3, k, k) weight of a first layer for another number of channels.

    One grey channel takes the sum over the colours, which equals three equal ones; any other number repeats the
    colours in turn, scaled by 3 / in_channels so that responses keep their size.

    >>> colours_adapted(torch.ones(8, 3, 3, 3), 1)[0, 0, 0].tolist()
    [3.0, 3.0, 3.0]
    """
    colours = weight.shape[1]
    if in_channels == colours:
        return weight
    if in_channels == 1:
        return weight.sum(1, keepdim=True)
    return weight[:, torch.arange(in_channels, device=weight.device) % colours] * (colours / in_channels)
