"""Weights of a trunk or a classifier (timm, torchvision, VGG16 of Caffe): the encoder of a net with a fresh head."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import nn

from atrous.contract import Preprocessing
from atrous.foreign.matching import Tensors, caffe_preprocessing, listed
from atrous.foreign.resnets import resnet_in
from atrous.layers.vgg import CLASSIFIER_NAMES
from atrous.models import TABLE, build

_HEADS = ("fc.", "classifier.", "head.", "pre_logits.", "heads.")


def looks_like_a_trunk(tensors: Tensors) -> bool:
    """Return whether these are weights of a classifier, or of the body of one.

    >>> looks_like_a_trunk({"decoder.x": 0})
    False
    """
    return not any(name.startswith(("decoder.", "aux_", "segmentation_head")) for name in tensors) and (
        resnet_in(tensors) is not None
        or "features.0.weight" in tensors
        or _is_features_alone(tensors)
        or _is_vgg_of_caffe(tensors)
        or any(
            name.startswith(("stem.", "stem_", "conv_stem.", "blocks.", "stages.", "patch_embed.")) for name in tensors
        )
    )


def started(
    tensors: Tensors, path: Path, model: str, classes: int, wishes: Mapping[str, Any]
) -> tuple[nn.Module, dict[str, Any], Preprocessing, list[str]]:
    """Return the network `model` with its trunk filled, the options that build it again, its preprocessing, and notes.

    The trunk takes the weights as the builder takes `pretrained`, so a network that decimates or adapts its first
    layers does so here.

    Raises `AtrousError` where the weights are not those of the encoder, `ValueError` where it is not named.
    """
    from safetensors.torch import save_file

    preprocessing = caffe_preprocessing() if _is_vgg_of_caffe(tensors) else Preprocessing()
    tensors = _with_names_of_torchvision(tensors)
    if _is_features_alone(tensors):
        tensors = {f"features.{name}": tensor for name, tensor in tensors.items()}
    encoder = wishes.get("encoder") or resnet_in(tensors)
    known = inspect.signature(TABLE[model]).parameters
    options = {**wishes, **({"encoder": encoder} if encoder and "encoder" in known else {})}
    last = tensors.get("features.28.weight")  # VGG16's last convolution; with batch norms it is one of these
    if encoder is None and (last is None or last.ndim != 4):
        raise ValueError(f"{path}: which encoder is it? Give --encoder with timm's name")
    with TemporaryDirectory() as folder:
        file = Path(folder) / path.with_suffix(".safetensors").name
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)
        net = build(model, classes, **options, pretrained=str(file))
    heads = sorted({name.split(".")[0] for name in tensors if name.startswith(_HEADS)})
    notes = ["the head is fresh: it knows no class before it is trained (atrous train --pretrained FOLDER)"]
    notes += [f"the classifier is left out: {listed(heads)}"] if heads else []
    return net, options, preprocessing, notes


def _is_features_alone(tensors: Tensors) -> bool:
    """Return whether these are the `features` of a classifier of torchvision, saved without that name."""
    return "0.weight" in tensors and all(name[:1].isdigit() for name in tensors)


def _is_vgg_of_caffe(tensors: Tensors) -> bool:
    return "conv5_3.0" in tensors and "fc7.0" in tensors and tensors["fc6.0"].shape[-1] > 7


def _with_names_of_torchvision(tensors: Tensors) -> Tensors:
    """Return a VGG16 classifier of Caffe by torchvision's names, its inner products with two sides."""
    if not _is_vgg_of_caffe(tensors):
        return tensors
    names = {ours.rpartition(".")[2]: theirs for theirs, ours in CLASSIFIER_NAMES.items()}
    names |= {"fc6": "classifier.0", "fc7": "classifier.3", "fc8": "classifier.6"}
    state = {}
    for key, value in tensors.items():
        layer, _, number = key.rpartition(".")
        if layer in names:
            flat = (
                value.flatten() if number == "1" else value if value.shape[0] > 1 else value.reshape(value.shape[-2:])
            )
            state[f"{names[layer]}.{'bias' if number == '1' else 'weight'}"] = flat
    return state
