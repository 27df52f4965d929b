"""Ways to enlarge a map: bilinear deconvolution as FCN has it, and `upsampling`, a menu of all the usual ones.

Bilinear deconvolution is a transposed convolution that starts as, or stays, bilinear interpolation: Long, Shelhamer and
Darrell, "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015, section 3.3, with the filter of
`surgery.py` in shelhamer/fcn.berkeleyvision.org. A kernel of twice the stride makes every interior output a weighted
mean of its two neighbours per axis, so the weights it sees sum to one.

What differs: the authors' fixed kernels are full (classes x classes) blobs whose off-diagonal is zero; a fixed one
here is grouped, one kernel per class, which gives the same numbers for 1/classes of the arithmetic.

The menu's kinds all map (n, c, h, w) to (n, c', stride h, stride w) with centred cells, as `F.interpolate` does without
aligned corners, so that one can be exchanged for another. Source for checkerboards and what to do about them: Odena,
Dumoulin and Olah, "Deconvolution and Checkerboard Artifacts", Distill 2016.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

Kind = Literal[
    "bilinear",
    "deconvolution",
    "learnt-deconvolution",
    "transposed",
    "nearest-convolution",
    "bilinear-convolution",
    "sub-pixel",
]


def bilinear_kernel(size: int) -> Tensor:
    """Return the (size, size) float32 kernel that interpolates bilinearly; for a stride s use size 2s.

    Raises `ValueError` for a size below 1.

    Source: FCN, `upsample_filt` in surgery.py.

    >>> bilinear_kernel(4)[1].mul(16).tolist()
    [3.0, 9.0, 9.0, 3.0]
    """
    if size < 1:
        raise ValueError(f"a bilinear kernel of size {size} came; sizes are 1 and above, twice the stride to enlarge")
    factor = (size + 1) // 2
    centre = factor - 1 if size % 2 else factor - 0.5
    taps = 1 - (torch.arange(size, dtype=torch.float32) - centre).abs() / factor
    return torch.outer(taps, taps)


class BilinearDeconvolution(nn.Module):
    """Enlarge (n, classes, h, w) to (n, classes, stride * (h + 1), stride * (w + 1)), bilinearly.

    With pixel centres at integers, sample j comes to lie at `stride * j + stride - 0.5`. Fixed, `weight` is a buffer
    (classes, 1, 2 stride, 2 stride); learnt, it is a parameter (classes, classes, 2 stride, 2 stride) that starts
    bilinear on the diagonal and zero elsewhere, so it may learn to mix classes. There is no bias.

    Raises `ValueError` for classes or stride below 1.

    Source: FCN, sections 3.3 and 4.2.

    >>> BilinearDeconvolution(21, 8)(torch.zeros(1, 21, 3, 4)).shape
    torch.Size([1, 21, 32, 40])
    """

    weight: Tensor

    def __init__(self, classes: int, stride: int, learnt: bool = False) -> None:
        super().__init__()
        if classes < 1 or stride < 1:
            raise ValueError(f"{classes} classes and stride {stride} came; a deconvolution needs at least 1 of each")
        self.stride = stride
        self.groups = 1 if learnt else classes
        kernel = bilinear_kernel(2 * stride)
        if learnt:
            diagonal = torch.eye(classes, dtype=kernel.dtype)[:, :, None, None]
            self.weight = nn.Parameter(diagonal * kernel)
        else:
            self.register_buffer("weight", kernel.repeat(classes, 1, 1, 1))

    def forward(self, scores: Tensor) -> Tensor:
        """Return the enlarged scores; the outermost `stride` rows and columns fade towards zero."""
        return functional.conv_transpose2d(scores, self.weight, stride=self.stride, groups=self.groups)

    def extra_repr(self) -> str:
        """Return what `print(net)` shows."""
        return f"stride={self.stride}, learnt={isinstance(self.weight, nn.Parameter)}"


def upsampling(
    kind: Kind,
    in_channels: int,
    out_channels: int,
    stride: int,
    *,
    kernel: int | None = None,
    uneven: bool = False,
) -> nn.Module:
    """Return a module that enlarges (n, in_channels, h, w) to (n, out_channels, stride * h, stride * w), h and w >= 1.

    | kind                    | what it is                                                                |
    |-------------------------|---------------------------------------------------------------------------|
    | `bilinear`              | interpolation; nothing is learnt                                          |
    | `deconvolution`         | the same, as a fixed transposed convolution that fades at the border      |
    | `learnt-deconvolution`  | a transposed convolution that starts bilinear                             |
    | `transposed`            | a transposed convolution of `kernel`, by default 2 * stride               |
    | `nearest-convolution`   | every pixel repeated, then a 3x3 convolution                              |
    | `bilinear-convolution`  | interpolation, then a 3x3 convolution                                     |
    | `sub-pixel`             | a 3x3 convolution to stride^2 times the channels, which become the pixels |

    Where channels change, the first two have a 1x1 convolution before, and the third starts as one. Convolutions pad
    with the border's own value: that is how both enlargements go on, and zeros would be an edge that the image has not.
    `sub-pixel` starts with its stride^2 kernels per channel alike (ICNR), which is its 3x3 convolution, then every
    pixel repeated.

    `kernel` and `uneven` are of `transposed` alone. A kernel that the stride does not divide puts more taps on some
    outputs than on others, a checkerboard before anything is learnt; it is refused unless `uneven`. Unpooling is not
    on the menu, since it needs the switches of its pooling besides the map: `layers.unpool`.

    Raises `ValueError` for another kind, for what it does not take, and for a stride below 2.

    Source: Odena et al. (Distill 2016); sub-pixel: Shi et al. (CVPR 2016); ICNR: Aitken et al. (arXiv 1707.02937), of
    which only the start described here is relied on.

    >>> upsampling("transposed", 8, 4, 2)(torch.zeros(1, 8, 5, 7)).shape
    torch.Size([1, 4, 10, 14])
    """
    _check_menu(kind, in_channels, out_channels, stride, kernel=kernel, uneven=uneven)
    match kind:
        case "bilinear":
            return _after_1x1(in_channels, out_channels, nn.Upsample(scale_factor=stride, mode="bilinear"))
        case "deconvolution":
            return _after_1x1(in_channels, out_channels, CentredDeconvolution(out_channels, stride))
        case "learnt-deconvolution":
            return _learnt_deconvolution(in_channels, out_channels, stride)
        case "transposed":
            return _transposed(in_channels, out_channels, stride, kernel or 2 * stride)
        case "sub-pixel":
            return nn.Sequential(_sub_pixel_convolution(in_channels, out_channels, stride), nn.PixelShuffle(stride))
        case _:
            enlarge = nn.Upsample(scale_factor=stride, mode="nearest" if kind.startswith("nearest") else "bilinear")
            return nn.Sequential(enlarge, _padded_convolution(in_channels, out_channels))


class CentredDeconvolution(nn.Module):
    """Enlarge (n, channels, h, w) to (n, channels, stride * h, stride * w), bilinearly, by a fixed deconvolution.

    Away from the border, where it fades into zeros, it equals `F.interpolate` without aligned corners.
    """

    weight: Tensor

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.register_buffer("weight", centred_kernel(stride).repeat(channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        padding, more = _padding(2 * self.stride, self.stride)
        groups = self.weight.shape[0]
        return functional.conv_transpose2d(x, self.weight, None, self.stride, padding, more, groups)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, stride={self.stride}"


def centred_kernel(stride: int) -> Tensor:
    """Return the bilinear kernel (2 stride, 2 stride) whose outputs lie in the middles of their cells.

    For an even stride it is `bilinear_kernel(2 * stride)`. For an odd one that would be off by half a pixel; here it
    is `bilinear_kernel(2 * stride - 1)` after a row and a column of zeros, so that the stride divides its size.

    >>> centred_kernel(3)[3].mul(3).round().tolist()
    [0.0, 1.0, 2.0, 3.0, 2.0, 1.0]
    """
    odd = stride % 2
    return functional.pad(bilinear_kernel(2 * stride - odd), (odd, 0, odd, 0))


def _padding(kernel: int, stride: int) -> tuple[int, int]:
    """Return `padding` and `output_padding` with which a transposed convolution enlarges by `stride` exactly."""
    padding = max(0, (kernel - stride + 1) // 2)
    return padding, 2 * padding - (kernel - stride)


def _after_1x1(in_channels: int, out_channels: int, enlarge: nn.Module) -> nn.Module:
    if in_channels == out_channels:
        return enlarge
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1), enlarge)


def _transposed(in_channels: int, out_channels: int, stride: int, kernel: int, bias: bool = True) -> nn.ConvTranspose2d:
    padding, more = _padding(kernel, stride)
    return nn.ConvTranspose2d(in_channels, out_channels, kernel, stride, padding, more, bias=bias)


@torch.no_grad()
def _learnt_deconvolution(in_channels: int, out_channels: int, stride: int) -> nn.ConvTranspose2d:
    """Return a full deconvolution that starts bilinear, with a drawn 1x1 convolution in it where channels change."""
    layer = _transposed(in_channels, out_channels, stride, 2 * stride, bias=False)
    mixing = torch.eye(in_channels)
    if in_channels != out_channels:
        mixing = nn.Conv2d(in_channels, out_channels, 1, bias=False).weight[:, :, 0, 0].T
    layer.weight.copy_(mixing[:, :, None, None] * centred_kernel(stride))
    return layer


def _padded_convolution(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, padding_mode="replicate")


@torch.no_grad()
def _sub_pixel_convolution(in_channels: int, out_channels: int, stride: int) -> nn.Conv2d:
    layer = _padded_convolution(in_channels, out_channels * stride**2)
    for parameter in layer.parameters():
        parameter.copy_(parameter[:: stride**2].repeat_interleave(stride**2, 0))
    return layer


def _check_menu(kind: str, *channels_and_stride: int, kernel: int | None, uneven: bool) -> None:
    if kind == "unpooling":
        raise ValueError(
            "unpooling needs the switches of its pooling besides the map: use SwitchPool and Unpool of "
            "atrous.layers.unpool"
        )
    if kind not in get_args(Kind):
        raise ValueError(f"upsampling {kind!r} came; there are {', '.join(get_args(Kind))}")
    in_channels, out_channels, stride = channels_and_stride
    if min(in_channels, out_channels) < 1 or stride < 2:
        raise ValueError(
            f"{in_channels} to {out_channels} channels at stride {stride} came; upsampling takes at least 1 channel "
            "and a stride of 2 or more"
        )
    if kind != "transposed" and (kernel is not None or uneven):
        raise ValueError(f"kernel and uneven are of kind 'transposed'; {kind!r} has none")
    if kernel is not None and kernel < 1:
        raise ValueError(f"a kernel of {kernel} came; kernels are 1 and above, best 2 * stride = {2 * stride}")
    if kernel is not None and kernel % stride and not uneven:
        counts = ", ".join(map(str, dict.fromkeys(tap_counts(kernel, stride))))
        nearest = max(1, (2 * kernel + stride) // (2 * stride)) * stride
        raise ValueError(
            f"a kernel of {kernel} came, which stride {stride} does not divide: {counts} taps fall on its outputs in "
            f"turn, a checkerboard. The nearest kernel without is {nearest}; uneven=True takes {kernel} all the same"
        )


def tap_counts(kernel: int, stride: int, dilation: int = 1) -> tuple[int, ...]:
    """Return how many taps of a transposed convolution fall on each of `stride` outputs in turn, per axis.

    The turn starts where the numbers are smallest in order.

    >>> tap_counts(3, 2), tap_counts(4, 2), tap_counts(5, 2)
    ((1, 2), (2, 2), (2, 3))
    """
    counts = [sum(dilation * tap % stride == place for tap in range(kernel)) for place in range(stride)]
    return min(tuple(counts[start:] + counts[:start]) for start in range(stride))
