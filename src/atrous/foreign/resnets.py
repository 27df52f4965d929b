"""Which ResNet a file holds, by the shapes of its tensors; torchvision, timm and smp name them alike."""

from __future__ import annotations

import re

from atrous.foreign.matching import Tensors

_DEPTHS: dict[tuple[bool, tuple[int, ...]], str] = {
    (False, (2, 2, 2, 2)): "resnet18",
    (False, (3, 4, 6, 3)): "resnet34",
    (True, (3, 4, 6, 3)): "resnet50",
    (True, (3, 4, 23, 3)): "resnet101",
    (True, (3, 8, 36, 3)): "resnet152",
}


def resnet_in(tensors: Tensors, prefix: str = "") -> str | None:
    """Return the name of the ResNet below `prefix`, or None where its units are not those of any.

    A unit counts by any tensor of it, so that a single one that is missing does not hide the rest.

    >>> resnet_in({}) is None
    True
    """
    units = re.compile(re.escape(prefix) + r"layer([1-4])\.(\d+)\.")
    found = {match.groups() for name in tensors if (match := units.match(name))}
    depths = tuple(sum(stage == each for each, _ in found) for stage in "1234")
    bottleneck = any(units.match(name) and name.endswith(".conv3.weight") for name in tensors)
    stem = tensors.get(f"{prefix}conv1.weight")
    middle = tensors.get(f"{prefix}layer1.0.conv2.weight")
    plain = f"{prefix}bn1.weight" in tensors if stem is None else stem.ndim == 4 and stem.shape[2] == 7
    deep = any(name.startswith(f"{prefix}conv1.0.") for name in tensors)
    grouped = middle is not None and bottleneck and middle.shape[:1] != middle.shape[1:2]
    return _DEPTHS.get((bottleneck, depths)) if plain and not (deep or grouped) else None


def resnet_options(tensors: Tensors, prefix: str = "") -> dict[str, object]:
    """Return the encoder's name, its input channels, and its width where the channels are not the paper's.

    >>> resnet_options({})
    {}
    """
    name = resnet_in(tensors, prefix)
    if name is None:
        return {}
    first, unit = tensors.get(f"{prefix}conv1.weight"), tensors.get(f"{prefix}layer1.0.conv1.weight")
    planes = 64 if unit is None else int(unit.shape[0])
    width = {} if planes == 64 else {"width": planes / 64}
    return {"encoder": name, "in_channels": 3 if first is None else int(first.shape[1]), **width}
