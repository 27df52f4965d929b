"""Bilinear deconvolution: a transposed convolution that starts as, or stays, bilinear interpolation.

Long, Shelhamer and Darrell, "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015, section 3.3, with
the filter of `surgery.py` in shelhamer/fcn.berkeleyvision.org. A kernel of twice the stride makes every interior
output a weighted mean of its two neighbours per axis, so the weights it sees sum to one.

What differs: the authors' fixed kernels are full (classes x classes) blobs whose off-diagonal is zero; a fixed one
here is grouped, one kernel per class, which gives the same numbers for 1/classes of the arithmetic.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


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
