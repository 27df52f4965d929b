"""DeepLab v2 as kazuto1011/deeplab-pytorch names it, whose published weights come from the authors' Caffe files.

Its images are BGR from 0 to 255, less the mean. Source: that repository, libs/models/{resnet,deeplabv2,msc}.py.
"""

from __future__ import annotations

import re

from atrous.foreign.matching import Recognised, Tensors, caffe_preprocessing, renamed

_CONVOLUTIONS = {"reduce": 1, "conv3x3": 2, "increase": 3}
_UNIT = re.compile(r"layer([2-5])\.block(\d+)\.(reduce|conv3x3|increase|shortcut|proj)\.(conv|bn)\.(\w+)$")


def recognised(tensors: Tensors) -> Recognised | None:
    """Return its DeepLab v2, single-scale or the one within its MSC wrapper, or None for other weights."""
    wrapper = next((each for each in ("base.", "scale.", "") if f"{each}layer1.conv1.conv.weight" in tensors), None)
    if wrapper is None or not any(".aspp." in f".{name}" for name in tensors):
        return None
    state, theirs = renamed(tensors, lambda name: _ours(name.removeprefix(wrapper)))
    units = {match[2] for name in tensors if (match := _UNIT.search(name)) and match[1] == "4"}
    encoder = "resnet101_caffe" if len(units) > 6 else "resnet50_caffe"
    first = state["encoder.body.conv1.weight"]
    width = {} if len(first) == 64 else {"width": len(first) / 64}
    scales = {"multiscale": "it was applied at three scales; --option multiscale=true does so here"}
    return Recognised(
        source="DeepLab v2 of deeplab-pytorch",
        model="deeplab_v2",
        classes=len(state["aspp.c0.weight"]) if "aspp.c0.weight" in state else 21,
        options={"encoder": encoder, "in_channels": int(first.shape[1]), **width},
        state=state,
        theirs=theirs,
        preprocessing=caffe_preprocessing(),
        notes=(
            "it enlarged its logits from cell to cell; here they are enlarged from corner to corner, as in the paper",
        ),
        guesses=scales if wrapper else {},
    )


def _ours(name: str) -> str:
    unit = _UNIT.match(name)
    if unit is None:
        name = re.sub(r"^aspp\.(?:stages\.)?", "aspp.", name)
        return re.sub(r"^layer1\.conv1\.(conv|bn)\.", _root, name)
    stage, place, part, kind, rest = unit.groups()
    start = f"encoder.body.layer{int(stage) - 1}.{int(place) - 1}"
    if part in _CONVOLUTIONS:
        return f"{start}.{kind}{_CONVOLUTIONS[part]}.{rest}"
    return f"{start}.downsample.{0 if kind == 'conv' else 1}.{rest}"


def _root(match: re.Match[str]) -> str:
    return f"encoder.body.{match[1]}1."
