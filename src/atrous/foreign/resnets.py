"""Which ResNet a file holds, by the shapes of its tensors; torchvision, timm and smp name them alike."""

from __future__ import annotations

import re

from atrous.foreign.matching import Tensors

_DEPTHS = {
    (False, (2, 2, 2, 2)): "resnet18",
    (False, (3, 4, 6, 3)): "resnet34",
    (True, (3, 4, 6, 3)): "resnet50",
    (True, (3, 4, 23, 3)): "resnet101",
    (True, (3, 8, 36, 3)): "resnet152",
}


def resnet_in(tensors: Tensors, prefix: str = "") -> str | None:
    """Return the name of the ResNet below `prefix`, or None where its units are not those of any.

    >>> resnet_in({}) is None
    True
    """
    units = re.compile(re.escape(prefix) + r"layer([1-4])\.(\d+)\.conv1\.weight$")
    found = [match for name in tensors if (match := units.match(name))]
    depths = tuple(sum(match[1] == stage for match in found) for stage in "1234")
    bottleneck = f"{prefix}layer1.0.conv3.weight" in tensors
    stem = tensors.get(f"{prefix}conv1.weight")
    middle = tensors.get(f"{prefix}layer1.0.conv2.weight")
    plain = stem is not None and stem.ndim == 4 and stem.shape[2] == 7
    grouped = middle is not None and bottleneck and middle.shape[0] != middle.shape[1]
    return _DEPTHS.get((bottleneck, depths)) if plain and not grouped else None


def resnet_options(tensors: Tensors, prefix: str = "") -> dict[str, object]:
    """Return the encoder's name, its input channels, and its width where the channels are not the paper's.

    >>> resnet_options({})
    {}
    """
    name = resnet_in(tensors, prefix)
    if name is None:
        return {}
    planes = int(tensors[f"{prefix}layer1.0.conv1.weight"].shape[0])
    width = {} if planes == 64 else {"width": planes / 64}
    return {"encoder": name, "in_channels": int(tensors[f"{prefix}conv1.weight"].shape[1]), **width}
