"""The networks, one file per paper, and the table that names them.

A builder returns a plain `nn.Module` from normalised images to logits on its own grid; `net.geometry` says which sizes
it takes and where its logits lie.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from atrous.models.deconvnet import deconvnet
from atrous.models.deeplab_v1 import deeplab_v1
from atrous.models.deeplab_v2 import deeplab_v2
from atrous.models.deeplab_v3 import deeplab_v3
from atrous.models.deeplab_v3plus import deeplab_v3plus
from atrous.models.fcn import fcn8s, fcn16s, fcn32s
from atrous.models.hypercolumn import hypercolumn
from atrous.models.multiscale import MultiScale
from atrous.models.segmenter import Segmenter
from atrous.models.unet import unet

TABLE: dict[str, Callable[..., nn.Module]] = {
    "fcn32s": fcn32s,
    "fcn16s": fcn16s,
    "fcn8s": fcn8s,
    "hypercolumn": hypercolumn,
    "unet": unet,
    "deconvnet": deconvnet,
    "deeplab_v1": deeplab_v1,
    "deeplab_v2": deeplab_v2,
    "deeplab_v3": deeplab_v3,
    "deeplab_v3plus": deeplab_v3plus,
}

__all__ = [
    "TABLE",
    "MultiScale",
    "Segmenter",
    "build",
    "deconvnet",
    "deeplab_v1",
    "deeplab_v2",
    "deeplab_v3",
    "deeplab_v3plus",
    "described",
    "fcn8s",
    "fcn16s",
    "fcn32s",
    "hypercolumn",
    "unet",
]


def build(name: str, classes: int, **options: Any) -> nn.Module:
    """Build the network `name` of the table; options are its builder's keywords.

    Raises `ValueError` for a name that is not in the table, with the nearest ones, and for an option it has not.

    >>> build("deeplab_v3plus", 3, encoder="resnet18", width=1 / 8).geometry.stride
    4
    """
    if name not in TABLE:
        plain = {_plain(each): each for each in TABLE}
        same = [_plain(name)] if _plain(name) in plain else []
        near = [plain[each] for each in same or difflib.get_close_matches(_plain(name), plain, n=3, cutoff=0.5)]
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(f"model {name!r} is not known; there are {', '.join(TABLE)}.{hint}")
    builder = TABLE[name]
    known = [key for key in inspect.signature(builder).parameters if key != "classes"]
    for key in options:
        if key not in known:
            raise ValueError(f"{name} has no option {key!r}; it has {', '.join(known)}")
    return builder(classes, **options)


def _plain(name: str) -> str:
    """Return a name as it is compared: papers and libraries write one network as v3+, v3plus and V3Plus."""
    return name.lower().replace("+", "plus").replace("_", "").replace("-", "")


def described() -> list[dict[str, str]]:
    """Return a row per network of the table: `name`, and `summary`, its builder's first sentence.

    >>> described()[0]["name"]
    'fcn32s'
    """
    return [
        {"name": name, "summary": (builder.__doc__ or "").strip().splitlines()[0]} for name, builder in TABLE.items()
    ]
