"""segmentation_models_pytorch's Unet, DeepLabV3 and DeepLabV3Plus on ResNets, and on timm's encoders by their name.

A head of one class, which smp reads by a sigmoid, becomes one of two by softmax: with scores (0, s) the second class
has the probability sigmoid(s).

Source: segmentation_models_pytorch/decoders, unet and deeplabv3.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from atrous.foreign.matching import Recognised, Tensors, classes_of, mostly, renamed
from atrous.foreign.resnets import resnet_options

_PARTS = ("encoder.", "decoder.", "segmentation_head.", "classification_head.")
_ENCODER = (r"^encoder\.(?:model\.)?(.+)$", r"encoder.body.\1")
_UNET = (_ENCODER, (r"^segmentation_head\.0\.", "score."))
_COMMON = (_ENCODER, (r"^segmentation_head\.0\.", "classify."))
_V3 = (
    *_COMMON,
    (r"^decoder\.aspp\.convs\.4\.1\.", "aspp.pooling.project.0."),
    (r"^decoder\.aspp\.convs\.4\.2\.", "aspp.pooling.project.1."),
    (r"^decoder\.aspp\.convs\.", "aspp.branches."),
    (r"^decoder\.aspp\.project\.", "aspp.project."),
    (r"^decoder\.conv\.", "refine.0."),
    (r"^decoder\.bn\.", "refine.1."),
)
_V3PLUS = (
    *_COMMON,
    (r"^decoder\.aspp\.0\.convs\.4\.1\.", "aspp.pooling.project.0."),
    (r"^decoder\.aspp\.0\.convs\.4\.2\.", "aspp.pooling.project.1."),
    (r"^decoder\.aspp\.0\.convs\.([123])\.0\.([01])\.", r"aspp.branches.\1.\2."),
    (r"^decoder\.aspp\.0\.convs\.([123])\.1\.", r"aspp.branches.\1.2."),
    (r"^decoder\.aspp\.0\.convs\.0\.", "aspp.branches.0."),
    (r"^decoder\.aspp\.0\.project\.", "aspp.project."),
    (r"^decoder\.aspp\.1\.([01])\.", r"smooth.\1."),
    (r"^decoder\.aspp\.2\.", "smooth.2."),
    (r"^decoder\.block1\.", "reduce."),
    (r"^decoder\.block2\.0\.([01])\.", r"refine.0.\1."),
    (r"^decoder\.block2\.1\.", "refine.0.2."),
)


def recognised(tensors: Tensors) -> Recognised | None:
    """Return smp's Unet, DeepLabV3 or DeepLabV3Plus, or None for other weights."""
    for mark, name, model, rules, options in _ARCHITECTURES:
        if mostly(tensors, _PARTS, mark):
            return _recognised(tensors, name, model, rules, options)
    return None


def _recognised(
    tensors: Tensors, name: str, model: str, rules: tuple[tuple[str, str], ...], options: dict[str, Any]
) -> Recognised:
    body = resnet_options(tensors, "encoder.") or resnet_options(tensors, "encoder.model.")
    state, theirs = renamed(tensors, lambda key: _ours(key, rules))
    classes, notes = classes_of(tensors, "segmentation_head.0"), []
    if classes == 1:
        classes, state = 2, {key: _two(key, value) for key, value in state.items()}
        notes.append("its one class, by sigmoid, became two, by softmax, with the same probabilities: the rest first")
    dropped = sorted({key.split(".")[0] for key in tensors if _ours(key, rules) is None})
    notes += [f"left out: {', '.join(dropped)}"] if dropped else []
    stride = options.get("output_stride")
    guesses = {"output_stride": f"output stride {stride} is smp's default; the file does not tell"} if stride else {}
    return Recognised(
        source=f"segmentation_models_pytorch's {name}" + (f" on {body['encoder']}" if body else ""),
        model=model,
        classes=classes,
        options={**body, **options},
        state=state,
        theirs=theirs,
        notes=tuple(notes),
        guesses=guesses,
        needs_encoder=not body,
    )


def _ours(name: str, rules: tuple[tuple[str, str], ...]) -> str | None:
    if name.startswith("classification_head."):
        return None
    for pattern, replacement in rules:
        if re.match(pattern, name):
            return re.sub(pattern, replacement, name)
    return name


def _two(name: str, value: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(value), value]) if name.startswith(("classify.", "score.")) else value


_ARCHITECTURES: tuple[tuple[str, str, str, tuple[tuple[str, str], ...], dict[str, Any]], ...] = (
    (
        "decoder.aspp.0.",
        "DeepLabV3Plus",
        "deeplab_v3plus",
        _V3PLUS,
        {"output_stride": 16, "head": "smp"},
    ),
    ("decoder.aspp.convs.", "DeepLabV3", "deeplab_v3", _V3, {"output_stride": 8, "head": "smp"}),
    ("decoder.blocks.0.conv1.", "Unet", "unet", _UNET, {}),
)
