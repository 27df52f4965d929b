"""The DeepLabs of torchvision and of segmentation_models_pytorch, as far as they are not the papers'.

|                             | paper             | torchvision          | smp                               |
|-----------------------------|-------------------|----------------------|-----------------------------------|
| output stride               | 16                | 8                    | 8 (v3), 16 (v3+)                  |
| rates of the pyramid        | 6 12 18 at 16     | 12 24 36 always      | 12 24 36 always                   |
| dropout after the pyramid   | 0.1               | 0.5                  | 0.5                               |
| after the pyramid           | nothing           | 3x3, norm, ReLU      | the same (v3+: separable)         |
| first unit of a dense stage | the rate before   | the rate before      | the stage's rate                  |
| logits enlarged             | corner to corner  | cells                | corner to corner                  |
| sizes                       | 16k + 1           | any; aligned for 8k  | multiples of the output stride    |

A network here takes the sizes at which its grid covers the image as its peer's does: multiples of the output stride.
There `models.Segmenter` enlarges exactly as the peer; it pads other sizes with the mean at the bottom and right, where
torchvision stretches the grid a little. smp's corners are those of the image, so its logits are not quite a stride
apart, and its maps are not centred where it enlarges from; both are as it was trained.

Sources: torchvision/models/segmentation/deeplabv3.py; segmentation_models_pytorch/decoders/deeplabv3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

from torch import nn

from atrous.layers.aspp import RATES
from atrous.layers.trunk import Trunk

PEER_RATES = RATES[8]
PEER_DROPOUT = 0.5
"""The pyramid's rates and dropout in torchvision and smp, at every output stride."""

Head = Literal["paper", "torchvision", "smp"]


def check_head(name: str, head: str, known: Sequence[str] = get_args(Head)) -> None:
    """Raise `ValueError` for a head that is not known.

    >>> check_head("deeplab_v3", "keras")
    Traceback (most recent call last):
        ...
    ValueError: deeplab_v3: head 'keras' came; there are paper, torchvision, smp
    """
    if head not in known:
        raise ValueError(f"{name}: head {head!r} came; there are {', '.join(known)}")


def as_peer(encoder: Trunk, head: Head) -> None:
    """Give an encoder, in place, the sizes and in smp's case the rates that it has in its peer's network.

    Encoders that cut the image into cells (ConvNeXt) keep their sizes; nothing is done for the paper's head.

    >>> from atrous.layers.trunk import trunk
    >>> encoder = trunk("resnet18", output_stride=8, width=1 / 8)
    >>> as_peer(encoder, "torchvision")
    >>> encoder.geometry.multiple, encoder.geometry.minimum, encoder.geometry.align_corners
    (8, 16, False)
    """
    if head == "paper":
        return
    stride = encoder.strides[-1]
    if encoder.geometry.align_corners:
        encoder.geometry = replace(encoder.geometry, multiple=stride, offset=0, minimum=2 * stride)
    encoder.geometry = replace(encoder.geometry, align_corners=head == "smp")
    if head == "smp":
        _use_one_rate_per_stage(encoder.body, stride)


def _use_one_rate_per_stage(body: Any, output_stride: int) -> None:
    for name, strided in (("layer3", 16), ("layer4", 32)):
        rate = strided // output_stride
        stage = getattr(body, name, None)
        if stage is None or rate < 2:
            continue
        for layer in stage.modules():
            if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3):
                layer.dilation = layer.padding = (rate, rate)
