"""`convolutionalise`: a trained classifier slid over an image of any size, as the first step of FCN.

Long, Shelhamer and Darrell, "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015, section 3.1. A layer
that reads a flattened map is a convolution whose kernel is the whole map; a mean over the map is a mean over a window
of that size; every later layer is a 1x1 convolution. On an image of the classifier's size the result is the same score,
on a larger one it is a map of scores.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from atrous.layers.probing import channels_taken

POINTWISE = (nn.ReLU, nn.ReLU6, nn.Hardswish, nn.SiLU, nn.GELU, nn.Tanh, nn.Dropout, nn.Identity)
"""What may stand between the linear layers: whatever treats every value alike."""
TOLERANCE = 1e-4
"""How far, as a share of the largest score, the dense net may be from the classifier on one image."""


@torch.no_grad()
def convolutionalise(classifier: nn.Module, *, size: int = 224) -> nn.Sequential:
    """Return a dense net from a trained classifier: images (n, c, h, w) to score maps (n, classes, h', w').

    `classifier` is torchvision's or timm's, or shaped like one: `features`, `avgpool` and a `classifier` of linear
    layers (VGG, AlexNet, MobileNetV3), or layers, `avgpool` and `fc` (ResNet, RegNet); of timm any that pools by the
    mean. Linear layers become convolutions, the mean over a map becomes one over a window of stride 1. `size` is the
    side of the images it was trained on: one such image gives 1 x 1 scores, the classifier's own; a larger one gives a
    position per stride. A position's score is that of its window, up to the padding: inside an image, convolutions
    see what lies around the window where the classifier saw zeros. Squeeze-and-excitation stays as it is and averages
    over the larger image.

    The result is a copy and shares no weight with the classifier; it is in the classifier's mode and on its device.
    That it gives the classifier's scores is seen on one random image before it is returned.

    Raises `ValueError`, with the name of what is in the way, for other networks.

    Source: FCN, section 3.1; surgery.py.

    >>> import torchvision
    >>> net = convolutionalise(torchvision.models.resnet18(num_classes=5), size=64)
    >>> net(torch.zeros(1, 3, 64, 128)).shape
    torch.Size([1, 5, 1, 3])
    """
    whole = copy.deepcopy(classifier).eval()
    image = _image(whole, size)
    expected = _run(whole, image, size)
    parts = _timm_parts if hasattr(whole, "reset_classifier") else _torchvision_parts
    features, grid, head = parts(whole)
    maps = _run(features, image, size)
    if not isinstance(maps, Tensor) or maps.ndim != 4:
        shape = f"{tuple(maps.shape)}" if isinstance(maps, Tensor) else type(maps).__name__
        raise _refused(classifier, f"its features are {shape}, no map (n, c, h, w). Transformers have none")
    pool, window = _pool(classifier, (maps.shape[2], maps.shape[3]), grid, size)
    scored = _convolutional(classifier, head, maps.shape[1], window)
    dense = nn.Sequential(OrderedDict(features=features, pool=pool, classifier=scored))
    scores = dense(image)
    if scores.shape[2:] != (1, 1) or not _close(scores[:, :, 0, 0], expected):
        raise _refused(classifier, "made dense it does not give its own scores, so its forward does more than is known")
    return dense.train(classifier.training)


def _refused(classifier: nn.Module, reason: str) -> ValueError:
    return ValueError(
        f"{type(classifier).__name__}: {reason}. VGG-like classifiers (features, avgpool, classifier) and ResNet-like "
        "ones (layers, avgpool, fc) of torchvision or timm can be made convolutional"
    )


def _image(net: nn.Module, size: int) -> Tensor:
    weight = next(net.parameters(), torch.empty(0))
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, channels_taken(net) or 3, size, size, generator=generator)
    return image.to(weight.device, weight.dtype)


def _run(net: nn.Module, image: Tensor, size: int) -> Any:
    try:
        return net(image)
    except Exception as error:  # whatever a forward of anyone's may raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise _refused(net, f"it does not take an image of {size} x {size} ({reason}); give size=") from error


# The parts of a classifier --------------------------------------------------------------------------------------------


def _timm_parts(net: Any) -> tuple[nn.Module, int, list[nn.Module]]:
    """Return a timm classifier without its head, the side of the grid it pools to, and its head's layers."""
    last = net.get_classifier()
    head = getattr(net, "head", None)
    pool = getattr(net, "global_pool", None) or getattr(head, "global_pool", None)
    kind = getattr(pool, "pool_type", pool)
    if kind not in ("avg", "fast", "fastavg"):
        raise _refused(net, f"it pools its map by {kind or 'nothing'!r}, not by the mean")
    rate = float(getattr(net, "drop_rate", 0.0) or 0.0)
    net.reset_classifier(0, "")
    return net, 1, [nn.Dropout(rate), last] if rate else [last]


def _torchvision_parts(net: nn.Module) -> tuple[nn.Module, int, list[nn.Module]]:
    """Return what comes before `avgpool`, the side of the grid it pools to, and the layers after it."""
    children = OrderedDict(net.named_children())
    pool = children.get("avgpool")
    head = children.get("classifier", children.get("fc"))
    if not isinstance(pool, nn.AdaptiveAvgPool2d) or head is None:
        raise _refused(net, f"its parts are {', '.join(children) or 'none'}")
    names = list(children)
    before = OrderedDict((name, children[name]) for name in names[: names.index("avgpool")])
    grid: Any = pool.output_size
    grid = grid if isinstance(grid, int) else grid[0] if grid[0] == grid[1] else None
    if grid is None:
        raise _refused(net, f"its avgpool makes {pool.output_size}, no square")
    return nn.Sequential(before), grid, list(head if isinstance(head, nn.Sequential) else [head])


# Made dense -----------------------------------------------------------------------------------------------------------


def _pool(classifier: nn.Module, present: tuple[int, int], grid: int, size: int) -> tuple[nn.Module, int]:
    """Return the pooling of stride 1, and the side of the map that the first linear layer reads."""
    if present == (grid, grid):
        return nn.Identity(), grid
    if grid == 1:
        return nn.AvgPool2d(present, stride=1), 1
    raise _refused(
        classifier,
        f"an image of {size} x {size} has a map of {present[0]} x {present[1]}, which it pools to {grid} x {grid} by "
        "bins of several sizes; give the size= it was trained on",
    )


def _convolutional(classifier: nn.Module, head: list[nn.Module], channels: int, window: int) -> nn.Sequential:
    """Return the head's layers as convolutions, the first with a kernel of `window`."""

    def layers() -> Iterator[nn.Module]:
        inputs, kernel = channels, window
        for layer in head:
            if isinstance(layer, nn.Linear):
                if layer.in_features != inputs * kernel**2:
                    raise _refused(
                        classifier,
                        f"a linear layer reads {layer.in_features} values, where the map has {inputs} channels of "
                        f"{kernel} x {kernel}",
                    )
                yield _as_convolution(layer, inputs, kernel)
                inputs, kernel = layer.out_features, 1
            elif isinstance(layer, POINTWISE) or (isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1)):
                yield layer
            elif not isinstance(layer, nn.Flatten):
                raise _refused(classifier, f"its head has a {type(layer).__name__}")

    return nn.Sequential(*layers())


def _as_convolution(layer: nn.Linear, channels: int, kernel: int) -> nn.Conv2d:
    """Return a linear layer over a flattened map (channels, kernel, kernel) as a convolution, without copying."""
    with torch.device("meta"):
        made = nn.Conv2d(channels, layer.out_features, kernel, bias=layer.bias is not None)
    learns = layer.weight.requires_grad
    made.weight = nn.Parameter(layer.weight.detach().view(made.weight.shape), requires_grad=learns)
    made.bias = layer.bias
    return made


def _close(scores: Tensor, expected: Tensor) -> bool:
    share = max(TOLERANCE, 16 * torch.finfo(expected.dtype).eps)  # half precision is coarser
    return scores.shape == expected.shape and bool((scores - expected).abs().max() <= share * expected.abs().max())
