"""FCN-32s, FCN-16s and FCN-8s: a classifier slid over the image, its scores enlarged and sharpened by finer layers.

Long, Shelhamer and Darrell, "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015 (arXiv 1411.4038);
Shelhamer, Long and Darrell, TPAMI 39(4), 2017.

| builder | scores at strides | the paper's, on VGG16 (`fcn_vgg`) | on another encoder (`fcn_trunk`) |
|---------|-------------------|-----------------------------------|----------------------------------|
| fcn32s  | 32                | fc7                               | its deepest map                  |
| fcn16s  | 32, 16            | fc7, pool4                        | and its map at stride 16         |
| fcn8s   | 32, 16, 8         | fc7, pool4, pool3                 | and its map at stride 8          |

Layers, sizes, crops, and what differs from the paper, are in those two files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from atrous.contract import Preprocessing
from atrous.layers.norm import Norm
from atrous.layers.vgg_classifier import ConvolutionalVGG16, convolutionalised
from atrous.models.arguments import check_arguments, check_flags
from atrous.models.fcn_trunk import TorchvisionFCN, TrunkFCN, fcn_of_torchvision, fcn_on_trunk, refuse_options_of_vgg
from atrous.models.fcn_vgg import Deconvolution, FCN8s, FCN16s, FCN32s, fcn_on_vgg

__all__ = [
    "CAFFE_PREPROCESSING",
    "ConvolutionalVGG16",
    "FCN8s",
    "FCN16s",
    "FCN32s",
    "TorchvisionFCN",
    "TrunkFCN",
    "convolutionalised",
    "fcn8s",
    "fcn16s",
    "fcn32s",
    "load_coarser",
]

CAFFE_PREPROCESSING = Preprocessing(
    order="BGR", low=0.0, high=1.0, mean=(104.00699, 116.66877, 122.67892), std=(1.0, 1.0, 1.0)
)
"""What weights trained by the authors in Caffe expect: BGR from 0 to 255, less the mean. Source: voc-fcn8s/net.py."""


def fcn32s(
    classes: int = 21,
    *,
    in_channels: int = 3,
    encoder: str | None = None,
    pretrained: bool | str | Path = False,
    output_stride: int | None = None,
    width: float = 1.0,
    deconvolution: Deconvolution = "fixed",
    head: Literal["paper", "torchvision"] = "paper",
    auxiliary: bool = False,
    norm: Norm | None = None,
    dropout: float | None = None,
) -> FCN32s | TrunkFCN | TorchvisionFCN:
    """Return FCN-32s: the classifier's scores, enlarged 32 times. 134,346,581 parameters.

    `pretrained` is a .safetensors file of a VGG16 classifier, or True for timm's. `deconvolution` is `"fixed"` (the
    reference version), `"learnt"` (the intermediate ones, as at CVPR; this net has none) or `"full"` (all of them).
    `dropout` follows fc6 and fc7, at 0.5.

    `encoder` puts the scores on any other trunk, with its `norm` and its `output_stride` of 32, 16 or 8, and without
    dropout unless told. `head="torchvision"` is torchvision's network, by default on a `resnet50` at stride 8 with
    dropout 0.1: 32,957,013 parameters, or 35,322,218 with `auxiliary` logits, which `supervised` returns. Both are
    described in `atrous.models.fcn_trunk`.

    Raises `ValueError` for what the network does not take, `AtrousError` for weights that cannot be had or do not fit.

    Source: FCN, section 4.1; voc-fcn32s/net.py.

    >>> import torch
    >>> fcn32s(2, width=1 / 64)(torch.zeros(1, 3, 5, 7)).shape
    torch.Size([1, 2, 5, 7])
    >>> fcn32s(2, encoder="resnet18", width=1 / 8).eval()(torch.zeros(1, 3, 33, 65)).shape
    torch.Size([1, 2, 2, 3])
    """
    _check_head(head, auxiliary)
    if head == "torchvision":
        check_arguments("fcn32s", classes, in_channels, width, dropout, output_stride)
        refuse_options_of_vgg("fcn32s", deconvolution=deconvolution)
        return fcn_of_torchvision(
            classes,
            encoder="resnet50" if encoder is None else encoder,
            in_channels=in_channels,
            pretrained=pretrained,
            output_stride=output_stride,
            width=width,
            auxiliary=auxiliary,
            norm=norm,
            dropout=dropout,
        )
    return _built(
        FCN32s,
        "fcn32s",
        classes,
        in_channels=in_channels,
        encoder=encoder,
        pretrained=pretrained,
        output_stride=output_stride,
        width=width,
        deconvolution=deconvolution,
        norm=norm,
        dropout=dropout,
    )


def fcn16s(
    classes: int = 21,
    *,
    in_channels: int = 3,
    encoder: str | None = None,
    pretrained: bool | str | Path = False,
    output_stride: int | None = None,
    width: float = 1.0,
    deconvolution: Deconvolution = "fixed",
    norm: Norm | None = None,
    dropout: float | None = None,
) -> FCN16s | TrunkFCN:
    """Return FCN-16s: FCN-32s with the scores of pool4 added half-way. 134,357,354 parameters.

    Options are those of `fcn32s`; `"learnt"` makes upscore2 learn, and an `encoder` has an `output_stride` of 32. To
    train in stages, `load_coarser(net, fcn32s)`.

    Raises `ValueError` for what the network does not take, `AtrousError` for weights that cannot be had or do not fit.

    Source: FCN, section 4.2; voc-fcn16s/net.py.

    >>> import torch
    >>> fcn16s(2, width=1 / 64)(torch.zeros(1, 3, 5, 7)).shape
    torch.Size([1, 2, 5, 7])
    """
    return _built(
        FCN16s,
        "fcn16s",
        classes,
        in_channels=in_channels,
        encoder=encoder,
        pretrained=pretrained,
        output_stride=output_stride,
        width=width,
        deconvolution=deconvolution,
        norm=norm,
        dropout=dropout,
    )


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
    norm: Norm | None = None,
    dropout: float | None = None,
) -> FCN8s | TrunkFCN:
    """Return FCN-8s: FCN-16s with the scores of pool3 added too. 134,362,751 parameters.

    Options are those of `fcn32s`; `"learnt"` makes upscore2 and upscore_pool4 learn, and an `encoder` has an
    `output_stride` of 32 or 16. `at_once` scales pool4 by 0.01 and pool3 by 0.0001 before they are scored, so that one
    learning rate fits all and no stages are needed.

    Raises `ValueError` for what the network does not take, `AtrousError` for weights that cannot be had or do not fit.

    Source: FCN, section 4.2; voc-fcn8s/net.py, voc-fcn8s-atonce/net.py.

    >>> import torch
    >>> fcn8s(2, width=1 / 64)(torch.zeros(1, 3, 5, 7)).shape
    torch.Size([1, 2, 5, 7])
    >>> fcn8s(2, encoder="resnet18", width=1 / 8).eval()(torch.zeros(1, 3, 33, 65)).shape
    torch.Size([1, 2, 5, 9])
    """
    return _built(
        FCN8s,
        "fcn8s",
        classes,
        in_channels=in_channels,
        encoder=encoder,
        pretrained=pretrained,
        output_stride=output_stride,
        width=width,
        deconvolution=deconvolution,
        norm=norm,
        dropout=dropout,
        at_once=at_once,
    )


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


def _built(
    network: type[FCN32s | FCN16s | FCN8s],
    name: str,
    classes: int,
    *,
    in_channels: int,
    encoder: str | None,
    output_stride: int | None,
    width: float,
    deconvolution: Deconvolution,
    dropout: float | None,
    at_once: bool = False,
    **options: Any,
) -> Any:
    check_arguments(name, classes, in_channels, width, dropout, output_stride)
    check_flags(name, at_once=at_once)
    options |= {"in_channels": in_channels, "width": width, "dropout": dropout, "output_stride": output_stride}
    if encoder in (None, "vgg16"):
        own: dict[str, Any] = {"at_once": at_once} if network is FCN8s else {}
        return fcn_on_vgg(network, name, classes, deconvolution=deconvolution, **own, **options)
    refuse_options_of_vgg(name, deconvolution=deconvolution, at_once=at_once)
    return fcn_on_trunk(name, classes, encoder=encoder, **options)


def _check_head(head: str, auxiliary: bool) -> None:
    check_flags("fcn32s", auxiliary=auxiliary)
    if head not in ("paper", "torchvision"):
        raise ValueError(f"fcn32s: head {head!r} came; there are paper, torchvision")
    if auxiliary and head == "paper":
        raise ValueError("fcn32s: auxiliary came, but only torchvision's network has it; give head='torchvision' too")
