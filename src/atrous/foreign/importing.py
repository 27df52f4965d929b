"""From a file of others to a network of ours: read, recognised, built, filled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from atrous.contract import AtrousError, LabelSpace, Preprocessing
from atrous.foreign import (
    from_caffe_deconvnet,
    from_caffe_deeplab,
    from_caffe_fcn,
    from_deeplab_pytorch,
    from_smp,
    from_torchvision,
    from_trunks,
)
from atrous.foreign.files import Weights, read_weights
from atrous.foreign.matching import Recognised, Tensors, fitted, listed, misfit
from atrous.foreign.refused import known_and_absent
from atrous.models import TABLE, build

SOURCES: tuple[Callable[[Tensors], Recognised | None], ...] = (
    from_torchvision.recognised,
    from_smp.recognised,
    from_deeplab_pytorch.recognised,
    from_caffe_fcn.recognised,
    from_caffe_deeplab.recognised,
    from_caffe_deeplab.recognised_as_v2,
    from_caffe_deeplab.recognised_on_resnet,
    from_caffe_deconvnet.recognised,
)


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A network with the weights of a file, and what is known of it; `notes` say what was guessed and left out."""

    net: nn.Module
    source: str
    model: str
    options: dict[str, Any]
    classes: int
    preprocessing: Preprocessing
    notes: tuple[str, ...]


def imported(
    path: str | Path,
    *,
    model: str | None = None,
    classes: int | None = None,
    encoder: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Imported:
    """Read a file of weights of others and return the network of ours that it fills.

    `model` is the network where the file does not tell (a classifier's or trunk's weights), or a check where it does;
    `encoder` is needed for trunks other than ResNets and VGG16. `classes` counts those of a fresh head; `options` are
    further keywords of the network's builder.

    Raises `AtrousError` where the file is none of those that are known, is another network than `model`, or does not
    fit; `ValueError` for a network or an option that there is not.
    """
    path = Path(path)
    wishes = {**({} if encoder is None else {"encoder": encoder}), **(options or {})}
    if isinstance(wishes.get("encoder"), str):
        wishes["encoder"] = wishes["encoder"].removeprefix("tu-")  # smp's mark of timm's encoders
    if model is not None and model not in TABLE:
        build(model, 2)  # says which there are
    weights = read_weights(path)
    _refuse_known(weights, path, model)
    candidates = [found for source in SOURCES if (found := source(weights.tensors))]
    if candidates:
        found = next((each for each in candidates if each.model == model), candidates[0])
        return _of_a_source(found, weights, path, model, wishes)
    if model is not None and from_trunks.looks_like_a_trunk(weights.tensors):
        return _of_a_trunk(weights, path, model, classes, wishes)
    raise AtrousError(f"{path}: {_unknown(weights, model, wishes)}")


def _of_a_source(
    found: Recognised, weights: Weights, path: Path, model: str | None, wishes: Mapping[str, Any]
) -> Imported:
    if model not in (None, found.model):
        raise AtrousError(
            f"{path}: {found.source}, which is {found.model} here, and {model} was asked for; leave it out"
        )
    inside = found.options.get("encoder")
    if inside is not None and wishes.get("encoder") not in (None, inside):
        raise AtrousError(f"{path}: its encoder is {inside}, and {wishes['encoder']} was asked for; leave it out")
    if found.needs_encoder and "encoder" not in wishes:
        raise AtrousError(
            f"{path}: {found.source} on an encoder that is no plain ResNet; give --encoder with timm's name"
        )
    net = fitted(found, path, wishes, len(weights.tensors))
    guesses = (note for option, note in found.guesses.items() if option not in wishes)
    return Imported(
        net=net.eval(),
        source=found.source,
        model=found.model,
        options={**found.options, **wishes},
        classes=found.classes,
        preprocessing=_padded_as(found.preprocessing, net),
        notes=(*weights.notes, *found.notes, *guesses),
    )


def _of_a_trunk(weights: Weights, path: Path, model: str, classes: int | None, wishes: Mapping[str, Any]) -> Imported:
    net, options, preprocessing, notes = from_trunks.started(weights.tensors, path, model, classes or 21, wishes)
    return Imported(
        net=net.eval(),
        source=f"weights of the encoder {options.get('encoder') or 'vgg16'}",
        model=model,
        options=options,
        classes=classes or 21,
        preprocessing=_padded_as(preprocessing, net),
        notes=(*weights.notes, *notes),
    )


def _padded_as(preprocessing: Preprocessing, net: Any) -> Preprocessing:
    from dataclasses import replace

    return replace(preprocessing, padding=net.preprocessing_padding)


def _refuse_known(weights: Weights, path: Path, model: str | None) -> None:
    name = known_and_absent(weights.tensors)
    if name is not None:
        asked = "" if model is None else f", and not of {model}"
        raise AtrousError(f"{path}: weights of {name}{asked}; atrous does not have that network")
    ours = [key for key in weights.tensors if key.startswith(("encoder.body.", "encoder.vgg.", "down."))]
    if weights.kind == "safetensors" and len(ours) > len(weights.tensors) // 2:
        raise AtrousError(
            f"{path}: has the names of a network of atrous, which needs no import: give the model folder that it is "
            "from, where config.json says how to build it"
        )


def _unknown(weights: Weights, model: str | None, wishes: Mapping[str, Any]) -> str:
    """Return what is known of weights that are not: where they differ from a network, or how they look."""
    tensors = weights.tensors
    if model is None:
        shapes = [f"{name!r} {tuple(tensor.shape)}" for name, tensor in tensors.items()]
        return (
            f"weights of no network that is known, {len(tensors)} tensors: {listed(shapes)}. A trunk's or "
            "classifier's take --as MODEL with --encoder NAME; --as MODEL also says where these differ from it"
        )
    wrong = misfit(tensors, build(model, 21, **wishes).state_dict(), model, len(tensors))
    return f"not weights of {model}: {wrong or 'it has the names of atrous itself; give the model folder'}"


def space_of(classes: int, names: Sequence[str] | None) -> tuple[LabelSpace, str | None]:
    """Return the classes by the names given, and without them VOC's for 21, else numbered; and a note where guessed.

    Raises `ValueError` where there are more or fewer names than classes.
    """
    from atrous.data.layouts import voc

    if names is not None:
        if len(names) != classes:
            raise ValueError(f"{len(names)} names of classes came, and the weights have {classes}: {', '.join(names)}")
        return LabelSpace(names=tuple(names)), None
    if classes == len(voc.NAMES):
        space = LabelSpace(names=voc.NAMES, colours=voc.palette(classes))
        return space, "21 classes: taken for VOC's; --classes gives other names"
    return LabelSpace(
        names=tuple(f"class {index}" for index in range(classes))
    ), f"{classes} classes, numbered; --classes names them"
