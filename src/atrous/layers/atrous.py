"""Atrous convolution, plain and separable, with its norm and ReLU: the one block DeepLab is built from."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from atrous.layers.norm import BatchNorm


def convolution(
    inputs: int, outputs: int, size: int = 3, *, stride: int = 1, rate: int = 1, relu: bool = True
) -> nn.Sequential:
    """Return convolution, batch norm and ReLU; the map keeps its size at stride 1, whatever the rate.

    `y[i] = sum_k x[i + rate * k] w[k]`: a 3x3 kernel at rate r reaches r pixels to every side.

    Source: DeepLab v2 (arXiv 1606.00915) section 3.1, equation 1.

    >>> convolution(8, 4, rate=6)[0].dilation
    (6, 6)
    """
    padding = rate * (size // 2)
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, size, stride, padding, dilation=rate, bias=False),
        BatchNorm(outputs),
    ]
    return nn.Sequential(*layers, nn.ReLU(inplace=True)) if relu else nn.Sequential(*layers)


def separable_convolution(inputs: int, outputs: int, *, rate: int = 1, between: bool = True) -> nn.Sequential:
    """Return a 3x3 atrous convolution of each channel alone, then a 1x1 across channels, norm and ReLU after both.

    Without `between` they come after the 1x1 only, as in segmentation_models_pytorch.

    Source: DeepLab v3+ (arXiv 1802.02611) section 3.1, "atrous separable convolution".

    >>> [tuple(p.shape) for p in separable_convolution(8, 4).parameters() if p.ndim == 4]
    [(8, 1, 3, 3), (4, 8, 1, 1)]
    """
    depthwise = nn.Conv2d(inputs, inputs, 3, 1, rate, dilation=rate, groups=inputs, bias=False)
    activated = (BatchNorm(inputs), nn.ReLU(inplace=True)) if between else ()
    return nn.Sequential(depthwise, *activated, *convolution(inputs, outputs, 1))


def initialise(parts: Iterable[nn.Module], classify: nn.Conv2d) -> None:
    """Draw the convolutions of `parts` from He's distribution, and those that score from a normal of deviation 0.01.

    Source: the released code of DeepLab v3 (arXiv 1706.05587) for the scores.

    >>> initialise([convolution(4, 8)], nn.Conv2d(8, 2, 1))
    """
    for part in parts:
        for layer in part.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    nn.init.normal_(classify.weight, std=0.01)
    if classify.bias is not None:
        nn.init.zeros_(classify.bias)
