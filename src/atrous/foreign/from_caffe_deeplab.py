"""DeepLab v1 and v2 of their authors, trained in Caffe: on VGG16, and v2 on ResNet-101.

Names as in the published prototxts: fc6, fc7 and fc8_voc12 (v1 and LargeFOV), fc6_1 .. fc8_voc12_4 (v2's ASPP on
VGG16), res2a_branch1 .. fc1_voc12_c3 (v2 on ResNet). The middle of fc8's and fc1's name is the data set's. The layers
of MSc's branches are called data_conv, data_fc, data_ms and so on for pool1 to pool4, as ports of them are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from atrous.foreign.matching import Recognised, Tensors, caffe_preprocessing
from atrous.foreign.vgg_caffe import put_convolution, vgg_state
from atrous.models.deeplab_v1 import BRANCHES

_VARIANTS = {3: "largefov", 4: "4x4", 7: "7x7"}
_FC8 = re.compile(r"(fc8(?:[-_]\w+?)?)(_[1-4])?\.0$")
_FC1 = re.compile(r"(fc1_\w+?)(?:_(c[0-3]))?\.0$")
_BRANCH = {"1": "downsample", "2a": "1", "2b": "2", "2c": "3"}


def recognised(tensors: Tensors) -> Recognised | None:
    """Return DeepLab v1 on VGG16, or None for other weights."""
    score = _score(tensors, "")
    variant = _VARIANTS.get(tensors["fc6.0"].shape[-1]) if "fc6.0" in tensors else None
    if "conv1_1.0" not in tensors or variant is None or score is None:
        return None
    multiscale = "pool1_ms.0" in tensors
    found = _on_vgg(tensors, {"": score}, _vgg_branches(tensors) if multiscale else ())
    notes = {
        "largefov": "LargeFOV; --as deeplab_v2 takes it for v2's, which has no mean after pool5",
        "4x4": "a 4x4 window at rate 4; --option variant=4x4-wide takes rate 8, of which the file says nothing",
    }
    return _found(
        found,
        source="DeepLab v1 of its authors, trained in Caffe",
        model="deeplab_v1",
        options={"variant": variant} | ({"multiscale_features": True} if multiscale else {}),
        notes=(notes[variant],) if variant in notes and not multiscale else (),
    )


def recognised_as_v2(tensors: Tensors) -> Recognised | None:
    """Return DeepLab v2 on VGG16: with its pyramid, or LargeFOV, whose weights v1 could have; None for others."""
    if "conv1_1.0" not in tensors:
        return None
    scores = {suffix: score for suffix in ("_1", "_2", "_3", "_4") if (score := _score(tensors, suffix))}
    pyramid = "fc6_1.0" in tensors and bool(scores)
    single = _score(tensors, "")
    if not pyramid and (single is None or "fc6.0" not in tensors or tensors["fc6.0"].shape[-1] != 3):
        return None
    found = _on_vgg(tensors, scores if pyramid else {"": single or ""}, ())
    return _found(
        found,
        source="DeepLab v2 of its authors on VGG16, trained in Caffe",
        model="deeplab_v2",
        options={"encoder": "vgg16"} | ({} if pyramid else {"head": "largefov"}),
        notes=("ASPP-L; --option head=aspp-s takes its smaller rates, of which the file says nothing",)
        if pyramid
        else (),
    )


def recognised_on_resnet(tensors: Tensors) -> Recognised | None:
    """Return DeepLab v2 on ResNet-101 (or 50), or None for other weights."""
    if "res2a_branch1.0" not in tensors:
        return None
    state: dict[str, Tensor] = {}
    theirs: dict[str, str] = {}
    heads = {match[2] or "c0": match[1] + (f"_{match[2]}" if match[2] else "") for match in _heads(tensors)}
    for layer in _layers(tensors):
        if ours := _resnet_name(layer):
            put_convolution(tensors, layer, f"encoder.body.{ours[0]}", 1, state, theirs)
            _put_norm(tensors, _norm_of(layer), f"encoder.body.{ours[1]}", state, theirs)
    for place, layer in heads.items():
        put_convolution(tensors, layer, f"aspp.{place}", 3, state, theirs)
    width = len(tensors["conv1.0"]) / 64 if "conv1.0" in tensors else 1.0
    encoder = "resnet101_caffe" if "res4b22_branch2a.0" in tensors else "resnet50_caffe"
    options = {"encoder": encoder, "in_channels": int(tensors["conv1.0"].shape[1])} if "conv1.0" in tensors else {}
    notes = ["it was applied at three scales; --option multiscale=true does so here"]
    return Recognised(
        source="DeepLab v2 of its authors on ResNet, trained in Caffe",
        model="deeplab_v2",
        classes=len(state[f"aspp.{min(heads)}.weight"]) if heads else 21,
        options={
            **options,
            **({"width": width} if width != 1 else {}),
            **({"head": "largefov"} if len(heads) == 1 else {}),
        },
        state=state,
        theirs=theirs,
        preprocessing=caffe_preprocessing(),
        notes=tuple(notes) if any("res075" in name or "res05" in name for name in tensors) else (),
    )


def _found(
    found: Recognised, *, source: str, model: str, options: Mapping[str, object], notes: tuple[str, ...]
) -> Recognised:
    from dataclasses import replace

    return replace(found, source=source, model=model, options={**found.options, **options}, notes=notes)


def _score(tensors: Tensors, suffix: str) -> str | None:
    """Return the name of the layer that scores, whatever the data set between `fc8` and the suffix is called."""
    return next(
        (match[1] + suffix for name in tensors if (match := _FC8.match(name)) and (match[2] or "") == suffix), None
    )


def _on_vgg(tensors: Tensors, scores: dict[str, str], branches: Iterable[tuple[str, str]]) -> Recognised:
    state, theirs, width = vgg_state(tensors, "encoder.vgg.")
    for suffix, score in scores.items():
        size = tensors[f"fc6{suffix}.0"].shape[-1] if f"fc6{suffix}.0" in tensors else 3
        put_convolution(tensors, f"fc6{suffix}", f"encoder.fc6{suffix}", size, state, theirs)
        put_convolution(tensors, f"fc7{suffix}", f"encoder.fc7{suffix}", 1, state, theirs)
        put_convolution(tensors, score, f"fc8{suffix}", 1, state, theirs)
    for layer, ours in branches:
        put_convolution(tensors, layer, ours, 1, state, theirs)
    return Recognised(
        source="",
        model="",
        classes=len(state[f"fc8{next(iter(scores))}.weight"]),
        options={"in_channels": int(tensors["conv1_1.0"].shape[1]), **width},
        state=state,
        theirs=theirs,
        preprocessing=caffe_preprocessing(),
    )


def _vgg_branches(tensors: Tensors) -> list[tuple[str, str]]:
    parts = ("conv", "fc", "ms")
    return [(f"{branch}_{part}", f"branches.{branch}.{part}") for branch in BRANCHES for part in parts]


def _layers(tensors: Tensors) -> list[str]:
    return sorted({name.rsplit(".", 1)[0] for name in tensors})


def _heads(tensors: Tensors) -> list[re.Match[str]]:
    return [match for name in tensors if "res0" not in name and (match := _FC1.match(name))]


def _resnet_name(layer: str) -> tuple[str, str] | None:
    """Return our names of a convolution and of its norm: res4b3_branch2a is layer3.3.conv1 with layer3.3.bn1."""
    if layer == "conv1":
        return "conv1", "bn1"
    match = re.match(r"res([2-5])([a-f]|b\d+)_branch(1|2[abc])$", layer)
    if match is None:
        return None
    unit = int(match[2][1:]) if len(match[2]) > 1 else "abcdef".index(match[2])
    start, branch = f"layer{int(match[1]) - 1}.{unit}", _BRANCH[match[3]]
    if branch == "downsample":
        return f"{start}.downsample.0", f"{start}.downsample.1"
    return f"{start}.conv{branch}", f"{start}.bn{branch}"


def _norm_of(layer: str) -> str:
    return "_conv1" if layer == "conv1" else layer.removeprefix("res")


def _put_norm(tensors: Tensors, norm: str, ours: str, state: dict[str, Tensor], theirs: dict[str, str]) -> None:
    """Put Caffe's two layers in one: sums of mean and variance with their count, then scale and shift."""
    for part, place in (("running_mean", 0), ("running_var", 1)):
        blob, count = tensors.get(f"bn{norm}.{place}"), tensors.get(f"bn{norm}.2")
        if blob is not None:
            divisor = count.flatten()[0] if count is not None else torch.tensor(1.0)
            state[f"{ours}.{part}"] = blob.flatten() / divisor if divisor else torch.zeros_like(blob.flatten())
            theirs[f"{ours}.{part}"] = f"bn{norm}.{place}"
    for part, place in (("weight", 0), ("bias", 1)):
        blob = tensors.get(f"scale{norm}.{place}")
        if blob is not None:
            state[f"{ours}.{part}"], theirs[f"{ours}.{part}"] = blob.flatten(), f"scale{norm}.{place}"
