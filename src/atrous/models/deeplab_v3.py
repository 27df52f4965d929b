"""DeepLab v3: one map of a ResNet, seen at several atrous rates at once and as a whole.

Chen, Papandreou, Schroff, Adam: Rethinking Atrous Convolution for Semantic Image Segmentation. arXiv 1706.05587, 2017.

| stage      | output stride 16 (8)       | channels     | 513 x 513 |
|------------|----------------------------|--------------|-----------|
| root, pool | 4                          | 64           | 129       |
| block1     | 4                          | 256          | 129       |
| block2     | 8                          | 512          | 65        |
| block3     | 16 (8, rate 2)             | 1024         | 33 (65)   |
| block4     | rate 2 (4), multi-grid     | 2048         | 33 (65)   |
| ASPP       | 1x1, rates 6 12 18 (twice) | 5 x 256, 256 | 33 (65)   |
| classify   | 1x1                        | classes      | 33 (65)   |

Block4's three units have the rates 2 x (1, 2, 4), the paper's best multi-grid. `cascade` gives the paper's other
network, see `deeplab_v3_cascade`; `head` those of torchvision and segmentation_models_pytorch, see `deeplab_peers`.

What differs from the paper: the default ResNet is the usual one, with a 7x7 root and the stride in each block's first
unit; the one it was made with is `encoder="resnet101_beta"`. Any timm encoder fits. Dropout 0.1 after the ASPP is the
authors' code. Image pooling takes the whole map, whatever its size, where the code pools windows of the crop's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from atrous.layers.aspp import ASPP, RATES, check_rates
from atrous.layers.atrous import convolution, initialise
from atrous.layers.norm import Norm, with_norm
from atrous.layers.trunk import Trunk, set_multigrid, trunk
from atrous.layers.vgg import scaled_channels
from atrous.models.arguments import check_arguments, check_flags, is_whole
from atrous.models.deeplab_peers import PEER_DROPOUT, PEER_RATES, Head, as_peer, check_head
from atrous.models.deeplab_v3_cascade import CascadedDeepLabV3

MULTIGRID = (1, 2, 4)
"""The best unit rates for one block and the pyramid. Source: DeepLab v3 table 5."""

CASCADE_MULTIGRID = (1, 2, 1)
"""The best unit rates for the cascade down to block7. Source: DeepLab v3 tables 3 and 4."""


class DeepLabV3(nn.Module):
    """(n, c, h, w) normalised images -> (n, classes, h/16, w/16) logits.

    `refine` is the peers' 3x3 after the pyramid, nothing in the paper's network. `auxiliary` scores block3's map too.
    """

    preprocessing_padding = "mean"

    def __init__(self, encoder: Trunk, aspp: ASPP, classes: int, *, refined: bool, auxiliary: bool) -> None:
        super().__init__()
        channels = aspp.channels
        self.encoder, self.aspp = encoder, aspp
        self.refine = convolution(channels, channels) if refined else nn.Identity()
        self.classify = nn.Conv2d(channels, classes, 1)
        self.auxiliary = auxiliary_head(encoder.channels[-2], classes) if auxiliary else None
        self.geometry = replace(encoder.geometry, stride=encoder.strides[-1])
        initialise([aspp, self.refine], self.classify)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        return self._scores(self.encoder(images)[-1])

    def supervised(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the logits, and the auxiliary ones where there are any; both are to be compared in training."""
        *_, third, deep = self.encoder(images)  # (n, 1024, h/16, w/16), (n, 2048, h/16, w/16)
        scores = self._scores(deep)
        return (scores,) if self.auxiliary is None else (scores, self.auxiliary(third))

    def _scores(self, deep: Tensor) -> Tensor:
        pyramid = self.refine(self.aspp(deep))  # (n, 256, h/16, w/16)
        return self.classify(pyramid)  # (n, classes, h/16, w/16)


def auxiliary_head(inputs: int, classes: int) -> nn.Sequential:
    """Return 3x3 to a quarter of the channels, norm, ReLU, dropout 0.1 and 1x1 to the classes.

    Source: torchvision/models/segmentation/fcn.py, FCNHead; not in the paper.
    """
    classify = nn.Conv2d(max(1, inputs // 4), classes, 1)
    head = nn.Sequential(*convolution(inputs, max(1, inputs // 4)), nn.Dropout(0.1), classify)
    initialise(head[:3], classify)
    return head


def deeplab_v3(  # noqa: PLR0913 (the choices of the paper's tables)
    classes: int = 21,
    *,
    in_channels: int = 3,
    encoder: str | None = None,
    pretrained: bool | str | Path = False,
    output_stride: int | None = None,
    width: float = 1.0,
    head: Head = "paper",
    multigrid: Sequence[int] | None = None,
    cascade: int = 0,
    rates: Sequence[int] | None = None,
    auxiliary: bool = False,
    separable: bool | None = None,
    norm: Norm = "batch",
    dropout: float | None = None,
) -> DeepLabV3 | CascadedDeepLabV3:
    """Build DeepLab v3; without options the paper's: ResNet-101, output stride 16, multi-grid (1, 2, 4), ASPP.

    `encoder` is any timm name, `resnet101_beta` (the paper's own) or `xception65`. `head` is `"paper"`, `"torchvision"`
    or `"smp"`; peers have output stride 8, rates (12, 24, 36) and dropout 0.5, and no multi-grid. `multigrid` has a
    factor per unit of the last block; (1, 1, 1) is none. `cascade` puts 1 to 3 more blocks (up to block7) in the
    pyramid's place, each of three units; where the last block has another number of them (`resnet18`), it keeps its own
    rates, the copies have (1, 2, 1), and `multigrid` must be left out. `separable` makes the pyramid atrous separable,
    as it is by itself for Xception. `auxiliary` adds logits for training, see `supervised`. Parameters: 58,040,661
    (`resnet101`), 58,164,437 (`resnet101_beta`), 95,301,717 (`resnet101`, cascade=3), 58,630,997 (`resnet101`,
    head="torchvision").

    Raises `ValueError` for an encoder, a stride, a head or a rate that does not exist, and for options that exclude
    each other; `AtrousError` for weights that cannot be had.

    Source: DeepLab v3 sections 3.2 and 3.3; tables 3 to 6.

    >>> import torch
    >>> deeplab_v3(5, encoder="resnet18", width=1 / 8).eval()(torch.zeros(1, 3, 33, 65)).shape
    torch.Size([1, 5, 3, 5])
    """
    check_arguments("deeplab_v3", classes, in_channels, width, dropout, output_stride)
    check_flags("deeplab_v3", auxiliary=auxiliary, separable=False if separable is None else separable)
    _check_rates(cascade, rates, multigrid)
    check_head("deeplab_v3", head)
    paper = head == "paper"
    output_stride = (16 if paper else 8) if output_stride is None else output_stride
    if output_stride not in RATES:
        raise ValueError(f"output stride {output_stride} came; deeplab_v3 has 8, 16 or 32")
    if cascade:
        _check_cascade(cascade, head=head, rates=rates, auxiliary=auxiliary, separable=separable, dropout=dropout)
    name = "resnet101" if encoder is None else encoder
    body = trunk(name, in_channels=in_channels, output_stride=output_stride, pretrained=pretrained, width=width)
    as_peer(body, head)
    grid = _multigrid(body, multigrid, (CASCADE_MULTIGRID if cascade else MULTIGRID) if paper else ())
    if grid is not None:
        set_multigrid(body.body, name, grid)
    if cascade:
        cascaded = CascadedDeepLabV3(body, classes, blocks=cascade, multigrid=grid or CASCADE_MULTIGRID)
        with_norm(cascaded, norm)
        return cascaded
    if auxiliary and len(body.strides) < 4:
        raise ValueError(
            f"encoder {name!r} has maps at strides {body.strides}, and the auxiliary head needs that of the last block "
            "but one; leave auxiliary out, or choose a timm encoder"
        )
    pyramid = ASPP(
        body.channels[-1],
        scaled_channels(256, width),
        rates=(RATES[output_stride] if paper else PEER_RATES) if rates is None else rates,
        separable=(paper and name.startswith("xception")) if separable is None else separable,
        between=head != "smp",
        dropout=(0.1 if paper else PEER_DROPOUT) if dropout is None else dropout,
    )
    net = DeepLabV3(body, pyramid, classes, refined=not paper, auxiliary=auxiliary)
    with_norm(net, norm)
    return net


def _multigrid(body: Trunk, wished: Sequence[int] | None, best: Sequence[int]) -> Sequence[int] | None:
    """Return the wished unit rates, else the best ones where the last block has as many units, else None."""
    units: Any = getattr(body.body, "layer4", ())
    return best if wished is None and best and len(units) == len(best) else wished


def _check_rates(cascade: int, rates: Sequence[int] | None, multigrid: Sequence[int] | None) -> None:
    if not is_whole(cascade) or cascade not in range(4):
        raise ValueError(f"cascade {cascade!r} came; it is 0 (the pyramid) to 3 (up to block7)")
    if rates is not None:
        check_rates(rates)
    if multigrid is None:
        return
    check_rates(multigrid, "multigrid")
    if cascade and len(multigrid) != len(CASCADE_MULTIGRID):
        raise ValueError(
            f"multigrid {tuple(multigrid)} came with cascade {cascade}, whose blocks have three units; "
            f"give three factors, such as {CASCADE_MULTIGRID}, or leave one of them out"
        )


def _check_cascade(cascade: int, *, head: str, **others: Any) -> None:
    wrong = [name for name, value in others.items() if value not in (None, False)]
    if head != "paper" or wrong:
        raise ValueError(
            f"cascade {cascade} came with {', '.join(wrong or [f'head {head!r}'])}; "
            "a cascade is the paper's and has no pyramid, leave one of them out"
        )
