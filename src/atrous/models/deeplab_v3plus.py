"""DeepLab v3+: DeepLab v3's pyramid as encoder, and a small decoder that gives its object borders back.

Chen, Zhu, Papandreou, Schroff, Adam: Encoder-Decoder with Atrous Separable Convolution for Semantic Image
Segmentation. ECCV 2018, arXiv 1802.02611.

| stage    | stride | channels     | layers                                                    | 513 x 513 |
|----------|--------|--------------|-----------------------------------------------------------|-----------|
| trunk    | 16 (8) | 2048         | ResNet-101 or Xception-65; its map at stride 4 has 256    | 33 (65)   |
| ASPP     | 16 (8) | 5 x 256, 256 | 1x1, 3x3 at rates 6 12 18 (twice), image pooling; 1x1     | 33 (65)   |
| reduce   | 4      | 48           | 1x1 on the trunk's map at stride 4                        | 129       |
| refine   | 4      | 256, 256     | the pyramid enlarged and concatenated with that, two 3x3  | 129       |
| classify | 4      | classes      | 1x1                                                       | 129       |

With Xception the 3x3 of pyramid and decoder are depthwise separable, as published; there is no multi-grid unless asked
for, as in the authors' code. `head="smp"` is the network of segmentation_models_pytorch: one separable 3x3 between
pyramid and enlarging, one in the decoder, both without norm and ReLU between their parts; see `deeplab_peers`.

What differs from the paper: any timm encoder with a map at stride 4 fits; dropout 0.1 after the ASPP is the authors'
code. The paper's ResNet-101 (three 3x3 root layers, strides in the last units) is `encoder="resnet101_beta"`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atrous.layers.aspp import ASPP, RATES
from atrous.layers.atrous import convolution, initialise, separable_convolution
from atrous.layers.norm import Norm, with_norm
from atrous.layers.trunk import Trunk, set_multigrid, trunk
from atrous.layers.vgg import scaled_channels
from atrous.models.arguments import check_arguments, check_flags
from atrous.models.deeplab_peers import PEER_DROPOUT, PEER_RATES, Head, as_peer, check_head


class DeepLabV3Plus(nn.Module):
    """(n, c, h, w) normalised images -> (n, classes, h/4, w/4) logits.

    `block(inputs, outputs)` makes the decoder's 3x3. There are two, both after the maps have met; with `smoothed`
    (smp) the first comes before, on the pyramid alone.
    """

    preprocessing_padding = "mean"

    def __init__(
        self,
        encoder: Trunk,
        aspp: ASPP,
        classes: int,
        *,
        reduced: int,
        block: Callable[[int, int], nn.Module],
        smoothed: bool,
    ) -> None:
        super().__init__()
        channels = aspp.channels
        self.encoder, self.aspp = encoder, aspp
        self.skip = encoder.strides.index(4)
        self.smooth = block(channels, channels) if smoothed else nn.Identity()
        self.reduce = convolution(encoder.channels[self.skip], reduced, 1)
        self.refine = nn.Sequential(block(channels + reduced, channels))
        if not smoothed:
            self.refine.append(block(channels, channels))
        self.classify = nn.Conv2d(channels, classes, 1)
        self.geometry = replace(encoder.geometry, stride=4)
        initialise([aspp, self.smooth, self.reduce, self.refine], self.classify)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        features = self.encoder(images)
        low = self.reduce(features[self.skip])  # (n, 48, h/4, w/4)
        deep = self.smooth(self.aspp(features[-1]))  # (n, 256, h/16, w/16)
        align = self.geometry.align_corners
        deep = F.interpolate(deep, low.shape[2:], mode="bilinear", align_corners=align)  # (n, 256, h/4, w/4)
        return self.classify(self.refine(torch.cat([deep, low], 1)))  # (n, classes, h/4, w/4)


def deeplab_v3plus(
    classes: int = 21,
    *,
    in_channels: int = 3,
    encoder: str | None = None,
    pretrained: bool | str | Path = False,
    output_stride: int | None = None,
    width: float = 1.0,
    head: Head = "paper",
    separable: bool | None = None,
    multigrid: Sequence[int] | None = None,
    norm: Norm = "batch",
    dropout: float | None = None,
) -> DeepLabV3Plus:
    """Build DeepLab v3+; without options the paper's: ResNet-101, output stride 16, plain convolutions.

    `encoder` is any timm name with a map at stride 4, `resnet101_beta` or `xception65`. `separable` makes the pyramid
    and the decoder atrous separable, as they are by themselves for Xception; smp's decoder always is. At output stride
    8 the rates double. Parameters: 59,344,309 (`resnet101`, 7x7 root), 59,468,085 (`resnet101_beta`), 41,055,413
    (`xception65`). timm's weights of `xception65` were trained on values normalised by a mean and deviation of 0.5.

    Raises `ValueError` for an encoder, a stride or a head that does not exist, and for fewer than 2 or more than 255
    classes; `AtrousError` for weights that cannot be had.

    Source: DeepLab v3+ sections 3.1 and 4.1, tables 1 to 5.

    >>> deeplab_v3plus(5, encoder="resnet18", width=1 / 8).eval()(torch.zeros(1, 3, 33, 65)).shape
    torch.Size([1, 5, 9, 17])
    """
    check_arguments("deeplab_v3plus", classes, in_channels, width, dropout, output_stride)
    check_flags("deeplab_v3plus", separable=False if separable is None else separable)
    check_head("deeplab_v3plus", head, ("paper", "smp"))
    paper = head == "paper"
    output_stride = 16 if output_stride is None else output_stride
    if output_stride not in RATES:
        raise ValueError(f"output stride {output_stride} came; deeplab_v3plus has 8, 16 or 32")
    name = "resnet101" if encoder is None else encoder
    body = trunk(
        name,
        in_channels=in_channels,
        output_stride=output_stride,
        pretrained=pretrained,
        width=width,
    )
    as_peer(body, head)
    if multigrid is not None:
        set_multigrid(body.body, name, multigrid)
    if 4 not in body.strides:
        raise ValueError(f"encoder {name!r} has maps at strides {body.strides}; deeplab_v3plus needs one at stride 4")
    separable = (name.startswith("xception") or not paper) if separable is None else separable
    aspp = ASPP(
        body.channels[-1],
        scaled_channels(256, width),
        rates=RATES[output_stride] if paper else PEER_RATES,
        separable=separable,
        between=paper,
        dropout=(0.1 if paper else PEER_DROPOUT) if dropout is None else dropout,
    )
    block = partial(separable_convolution, between=paper) if separable or not paper else convolution
    net = DeepLabV3Plus(
        body,
        aspp,
        classes,
        reduced=scaled_channels(48, width),
        block=block,
        smoothed=not paper,
    )
    with_norm(net, norm)
    return net
