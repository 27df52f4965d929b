"""Whether a decoder lays a checkerboard over its output by its structure alone, before anything is learnt.

A transposed convolution whose stride does not divide its kernel puts more taps on some outputs than on others. Given
ones everywhere and equal weights, it answers with a pattern, and so does every decoder that contains it.

Source: Odena, Dumoulin and Olah, "Deconvolution and Checkerboard Artifacts", Distill 2016.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils._python_dispatch import TorchDispatchMode

from atrous.layers.norm import FrozenBatchNorm
from atrous.layers.probing import Pair, channels_taken, owners, pair
from atrous.layers.upsample import tap_counts

TOLERANCE = 1e-4
"""How far apart, as a share, two sums of the same taps may lie in float32."""
LARGEST = 1024
NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm, FrozenBatchNorm)


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """One transposed convolution: how many taps fall on its outputs in turn, by rows and by columns.

    `ratio` is the largest over the smallest sum of the taps on one output, with the layer's own weights where they
    are fixed and with equal ones where they are learnt: a bilinear kernel has 1 whatever its counts.
    """

    name: str
    kernel: Pair
    stride: Pair
    taps: tuple[tuple[int, ...], tuple[int, ...]]
    ratio: float

    def __str__(self) -> str:
        text = f"{self.name or 'the module itself'}: kernel {_by(self.kernel)}, stride {_by(self.stride)}: "
        rows, columns = (", ".join(map(str, dict.fromkeys(counts))) for counts in self.taps)
        return text + (rows if rows == columns else f"{rows} by {columns}") + f" taps in turn, ratio {self.ratio:.4g}"


@dataclass(frozen=True, kw_only=True)
class Checkerboard:
    """What ones become: `ratio` is that of the largest to the smallest output, `period` (rows, columns) its repeat.

    `layers` are the transposed convolutions, the most uneven first.
    """

    ratio: float
    period: Pair
    layers: tuple[Overlap, ...]

    @property
    def even(self) -> bool:
        """Whether ones stay equal, away from the border."""
        return self.ratio <= 1 + TOLERANCE

    @property
    def worst(self) -> tuple[str, ...]:
        """The names of the layers that are uneven, the most uneven first."""
        return tuple(layer.name for layer in self.layers if layer.ratio > 1 + TOLERANCE)

    def __str__(self) -> str:
        if self.even:
            return "even: no checkerboard by structure"
        text = f"uneven: ratio {self.ratio:.4g}, repeating every {_by(self.period)}"
        return "\n  ".join([text, *(str(layer) for layer in self.layers if layer.name in self.worst)])


@torch.no_grad()
def checkerboard(module: nn.Module, *, in_channels: int | None = None, size: int = 8) -> Checkerboard:
    """Measure the checkerboard that `module` makes by its structure: a transposed convolution or a whole decoder.

    Works on a copy whose learnt weights are all equal and whose biases are zero; norms and activations, which do not
    overlap, are left out. Weights that are buffers stay as they are. The copy sees ones (1, in_channels, size, size),
    and larger ones in turn until the middle of the output repeats itself, border effects being outside it.

    Evenness is of the structure: learnt weights can still make a pattern, only none is forced upon them.

    Raises `ValueError` where the module does not take such a map, and where no middle without border is found up to
    1024.

    Source: Odena et al., Distill 2016.

    >>> print(checkerboard(nn.ConvTranspose2d(8, 4, 3, 2)))
    uneven: ratio 4, repeating every 2 x 2
      the module itself: kernel 3 x 3, stride 2 x 2: 1, 2 taps in turn, ratio 4
    """
    in_channels = in_channels or channels_taken(module) or _channels_of_kernel(module)
    if size < 1:
        raise ValueError(f"size {size} came; it is the side of the first map of ones, at least 1")
    equal = _with_equal_weights(module)
    geometry = getattr(module, "geometry", None)
    while size <= LARGEST:
        side = geometry.valid(size) if geometry else size
        output, layers = _answered(equal, torch.ones(1, in_channels, side, side))
        middle = _middle(output)
        period = _period(middle, 2), _period(middle, 3)
        if 0 not in period:
            ranked = sorted(layers.values(), key=lambda layer: -layer.ratio)
            return Checkerboard(ratio=_ratio(middle.flatten(2)), period=period, layers=tuple(ranked))
        size *= 2
    raise ValueError(
        f"the output of {type(module).__name__} does not repeat itself in its middle, even for maps of {LARGEST}: "
        "its border reaches everywhere. Measure its decoder alone"
    )


def _channels_of_kernel(module: nn.Module) -> int:
    """Return the channels of the first kernel that a forward uses as a function; 1 where anything will do."""
    tensors = (*module.parameters(), *module.buffers())
    return next((tensor.shape[0] for tensor in tensors if tensor.ndim == 4), 1)


def _with_equal_weights(module: nn.Module) -> nn.Module:
    """Return a copy on the CPU, linear in the map: equal weights, no biases, no norms, no activations."""
    equal = copy.deepcopy(module).cpu().float().eval()
    for parent in list(equal.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, NORMS) or _is_activation(child):
                setattr(parent, name, nn.Identity())
    for name, parameter in equal.named_parameters():
        scale = 1.0 if parameter.ndim < 2 else parameter.shape[0] / parameter.numel()
        parameter.fill_(0.0 if name.rpartition(".")[2] == "bias" else scale)
    return equal


def _is_activation(module: nn.Module) -> bool:
    return type(module).__module__ == nn.ReLU.__module__ and not isinstance(module, nn.MultiheadAttention)


def _answered(module: nn.Module, ones: Tensor) -> tuple[Tensor, dict[str, Overlap]]:
    watcher = _Watcher()
    try:
        with owners(module, watcher.owners), watcher:
            output = module(ones)
    except Exception as error:  # whatever a forward of anyone's may raise
        raise ValueError(f"{type(module).__name__} does not take a map of {tuple(ones.shape)}: {error}") from error
    if not isinstance(output, Tensor) or output.ndim != 4:
        raise ValueError(f"{type(module).__name__} returns no map (n, c, h, w); give the part of it that does")
    return output, watcher.layers


class _Watcher(TorchDispatchMode):
    """Sees every transposed convolution, those of functions in a forward too."""

    def __init__(self) -> None:
        super().__init__()
        self.layers: dict[str, Overlap] = {}
        self.owners: list[str] = [""]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._schema.name == "aten::convolution" and args[6]:
            weight, stride, dilation = args[1], pair(args[3]), pair(args[5])
            self.layers[self.owners[-1]] = _overlap(self.owners[-1], weight, stride, dilation)
        return func(*args, **(kwargs or {}))


def _overlap(name: str, weight: Tensor, stride: Pair, dilation: Pair) -> Overlap:
    kernel = pair(weight.shape[2:])
    rows, columns = (tap_counts(*axis) for axis in zip(kernel, stride, dilation, strict=True))
    return Overlap(name=name, kernel=kernel, stride=stride, taps=(rows, columns), ratio=_sums(weight, stride, dilation))


def _sums(weight: Tensor, stride: Pair, dilation: Pair) -> float:
    """Return the ratio of the sums of the taps that meet on each output of one period."""
    sums = weight.new_zeros(*weight.shape[:2], *stride)
    for row in range(weight.shape[2]):
        for column in range(weight.shape[3]):
            place = (..., row * dilation[0] % stride[0], column * dilation[1] % stride[1])
            sums[place] += weight[..., row, column]
    return _ratio(sums.sum(0).flatten(1)[None])


def _ratio(values: Tensor) -> float:
    """Return the largest ratio of extremes, over channels: (1, c, positions) -> at least 1, infinite with gaps."""
    values = values.abs()
    small, large = values.amin(-1), values.amax(-1)
    ratios = torch.where(large == 0, torch.ones_like(large), large / small)
    return float(ratios.max())


def _middle(output: Tensor) -> Tensor:
    height, width = output.shape[2:]
    return output[:, :, height // 4 : height - height // 4, width // 4 : width - width // 4]


def _period(middle: Tensor, axis: int) -> int:
    """Return after how many steps along an axis the map repeats itself, twice at least; 0 where it does not."""
    length = middle.shape[axis]
    bound = TOLERANCE * middle.abs().max()
    for period in range(1, length // 2 + 1):
        moved, stayed = middle.narrow(axis, period, length - period), middle.narrow(axis, 0, length - period)
        if (moved - stayed).abs().max() <= bound:
            return period
    return 0


def _by(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))
