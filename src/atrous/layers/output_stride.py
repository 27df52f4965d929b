"""`set_output_stride`: the hole algorithm on any trained CNN, so that the same weights give a denser map.

Where a layer's stride goes, every later layer looks further apart by as much, so each output at an old position sees
what it saw before. `probing` finds the strides, `holes` has the rule and the change; here they are put in order, and
tried on a copy without weights first.

Source: DeepLab v1 (arXiv 1412.7062) section 3.1. DeepLab's own nets change their pools besides, and with them the
values; this changes nothing but the density.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from atrous.layers.holes import Change, apply, described, listed, planned
from atrous.layers.probing import Step, channels_taken, steps, without_weights
from atrous.layers.trunk import Trunk

STRIDES = (32, 16, 8, 4)


@dataclass(frozen=True, kw_only=True)
class Density:
    """What `set_output_stride` did: the `stride` of the deepest map, and per changed layer what changed.

    `averages` names the modules that average over the whole map or pool it to a fixed grid: squeeze-and-excitation,
    image pooling, group norm, a classifier's head. A dense map's mean is not the strided map's mean, so what comes
    after them is close to the strided net's and not equal.
    """

    stride: int
    changed: dict[str, str] = field(default_factory=dict)
    averages: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = f"output stride {self.stride}, {len(self.changed)} layers changed; "
        if not self.averages:
            return text + "the old positions keep their values"
        return text + f"the old positions keep their values up to means of the whole map: {listed(self.averages)}"


def set_output_stride(module: nn.Module, stride: int, *, in_channels: int | None = None, size: int = 224) -> Density:
    """Make the deepest map of a trained CNN denser, in place: 32, 16, 8 or 4 pixels between its values.

    `module` takes images (n, c, h, w); it may be a trunk, a classifier or a part of one that starts at the image. The
    map at every old position equals the strided net's, in evaluation mode and for every image size, unless
    `Density.averages` names something. Parameters stay the same objects. A `Trunk` has its `strides` and `geometry`
    follow; timm's `feature_info` does not. Go to the wanted stride in one call: a pool that had to be replaced cannot
    change again. `in_channels` and `size` are those of the image that is followed through the net on the meta device;
    a net that takes only one size needs its own.

    Equality to 1e-4 of the largest value is tested for torchvision's VGG, ResNet, DenseNet, MobileNetV2, ShuffleNetV2;
    timm's ResNet (with average pooling in its shortcuts too), ResNeXt, Wide ResNet, Res2Net, NF-ResNet, RegNetX, VGG,
    DenseNet, DPN, MobileNetV2, FBNet, ConvNeXt, Xception, CSPNet, DarkNet, RepVGG and GENet; and the trunks of this
    package. Refused are nets that pad by the image's size (timm's `tf_`), blur before they stride, pool in functions
    (Inception v3), enlarge again (HRNet) or attend, and those that add branches of which only one pads (DLA).

    Raises `ValueError` for another stride, one the net cannot have, and where a layer that must change cannot, by
    name; the module is then as it was.

    Source: DeepLab v1 (arXiv 1412.7062) section 3.1.

    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, padding=1))
    >>> set_output_stride(net, 4).changed
    {'1': 'stride 2 -> 1', '2': 'padding 1 -> 2, dilation 1 -> 2'}
    """
    if stride not in STRIDES:
        raise ValueError(f"output stride {stride} came; 32, 16, 8 and 4 are accepted")
    in_channels = in_channels or channels_taken(module)
    if in_channels is None:
        raise ValueError(f"{type(module).__name__} has no convolution to tell its channels by; give in_channels=")
    rehearsal = without_weights(module)
    found = _followed(rehearsal, in_channels, size)
    averages = tuple(dict.fromkeys(step.path or "the module itself" for step in found if step.operation == "average"))
    present = max((step.leaving for step in found), default=1)
    if present == stride:
        return Density(stride=stride, averages=averages)
    _check_possible(module, present, stride)
    changes = planned(rehearsal, found, stride)
    apply(rehearsal, changes)
    _check_rehearsed(rehearsal, _rehearsed(rehearsal, in_channels, size, stride), changes)
    _update_trunks(module, rehearsal, stride)
    apply(module, changes)
    texts = {step.path: described(step, changes[step.path]) for step in found if step.path in changes}
    return Density(stride=stride, changed=texts, averages=averages)


def _followed(module: nn.Module, in_channels: int, size: int) -> tuple[Step, ...]:
    try:
        return steps(module, in_channels, size)
    except ValueError as error:
        raise ValueError(
            f"an image of {in_channels} x {size} x {size} cannot be followed through {type(module).__name__}: {error}. "
            "Give in_channels= and size= of one it takes"
        ) from error


def _rehearsed(module: nn.Module, in_channels: int, size: int, stride: int) -> tuple[Step, ...]:
    try:
        return steps(module, in_channels, size)
    except ValueError as error:
        raise ValueError(
            f"output stride {stride} cannot be had. {error}. Either the maps that meet there differ in size, since one "
            "branch has a window without padding, or a map is flattened: see convolutionalise"
        ) from error


def _check_possible(module: nn.Module, present: int, stride: int) -> None:
    possible = [each for each in STRIDES if each <= present and present % each == 0]
    if stride not in possible:
        offer = f"{', '.join(map(str, possible))} can be had" if possible else "none of 32, 16, 8 and 4 can be had"
        raise ValueError(
            f"output stride {stride} came, and {type(module).__name__} has {present}: {offer}. "
            "Maps are made denser here, never coarser"
        )
    for each in module.modules():
        if hasattr(each, "geometry") and not isinstance(each, Trunk):
            raise ValueError(
                f"{type(each).__name__} says in its geometry where its logits lie, which would no longer hold; "
                "build it with output_stride=, or give its encoder alone"
            )


def _check_rehearsed(module: nn.Module, found: tuple[Step, ...], changes: Mapping[str, Change]) -> None:
    """See that every convolution did what its new attributes say: one with a forward of its own might not."""
    for step in found:
        layer, change = module.get_submodule(step.path), changes.get(step.path)
        if change is None or not isinstance(layer, nn.Conv2d):
            continue
        if (step.stride, step.padding, step.dilation) != (change.stride, change.padding, change.dilation):
            name = f"{step.path} ({type(layer).__name__})"
            raise ValueError(f"{name}: {step.operation}: its own forward does not go by its attributes")


def _update_trunks(module: nn.Module, rehearsal: nn.Module, stride: int) -> None:
    """Let trunks, and bodies of ours, say the strides they have now."""
    for path, each in module.named_modules():
        if not isinstance(getattr(each, "strides", None), tuple):
            continue
        copied: Any = rehearsal.get_submodule(path).float()  # a trunk looks at its geometry in single precision
        each.strides = copied.strides = tuple(min(old, stride) for old in copied.strides)
        if isinstance(copied, Trunk):
            each.geometry = Trunk(copied.body, copied.channels, copied.strides, copied.in_channels).geometry
