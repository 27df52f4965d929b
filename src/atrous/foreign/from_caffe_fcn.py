"""FCN-32s, FCN-16s and FCN-8s of their authors, trained in Caffe.

Source: shelhamer/fcn.berkeleyvision.org, voc-fcn{32,16,8}s/net.py and voc-fcn8s-atonce/net.py.
"""

from __future__ import annotations

import torch
from torch import Tensor

from atrous.foreign.matching import Recognised, Tensors
from atrous.foreign.vgg_caffe import put_convolution, vgg_state
from atrous.layers.upsample import BilinearDeconvolution, bilinear_kernel
from atrous.models.fcn import CAFFE_PREPROCESSING

_DECONVOLUTIONS = {
    "fcn32s": (("upscore", "upscore32", 32),),
    "fcn16s": (("upscore2", "upscore2", 2), ("upscore16", "upscore16", 16)),
    "fcn8s": (("upscore2", "upscore2", 2), ("upscore_pool4", "upscore_pool4", 2), ("upscore8", "upscore8", 8)),
}
"""Per net, the layers that enlarge: their name in Caffe, ours, and the stride; the last one makes full size."""
_SKIPS = ("score_pool4", "score_pool3")
_SCALES = ("scale_pool4", "scale_pool3")


def recognised(tensors: Tensors) -> Recognised | None:
    """Return an FCN of Caffe, or None for other weights."""
    if "score_fr.0" not in tensors or "conv1_1.0" not in tensors:
        return None
    classes = len(tensors["score_fr.0"])
    skips = [name for name in _SKIPS if f"{name}.0" in tensors]
    model = ("fcn32s", "fcn16s", "fcn8s")[len(skips)]
    state, theirs, width = vgg_state(tensors, "encoder.vgg.")
    layers = {"fc6": ("encoder.fc6", 7), "fc7": ("encoder.fc7", 1)} | {name: (name, 1) for name in ("score_fr", *skips)}
    for layer, (ours, size) in layers.items():
        put_convolution(tensors, layer, ours, size, state, theirs)
    kind, absent = _put_deconvolutions(tensors, model, classes, state, theirs)
    at_once = {f"{layer}.factor": _factor(tensors[f"{layer}.0"]) for layer in _SCALES if f"{layer}.0" in tensors}
    options = {"in_channels": int(tensors["conv1_1.0"].shape[1]), "deconvolution": kind, **width}
    return Recognised(
        source=f"{model} of its authors, trained in Caffe{', at once' if at_once else ''}",
        model=model,
        classes=classes,
        options=options | ({"at_once": True} if at_once else {}),
        state=state | at_once,
        theirs=theirs,
        preprocessing=CAFFE_PREPROCESSING,
        notes=(f"deconvolutions: {kind}", *(f"{name} is not in the file; taken as bilinear" for name in absent)),
    )


def _factor(blob: Tensor) -> Tensor:
    """Return one number where Caffe keeps the same one for every channel."""
    first = blob.flatten()[0]
    return first if bool((blob == first).all()) else blob


def _put_deconvolutions(
    tensors: Tensors, model: str, classes: int, state: dict[str, Tensor], theirs: dict[str, str]
) -> tuple[str, list[str]]:
    """Put the enlarging layers into `state`; return which kind they are, and which the file has not.

    All bilinear are `"fixed"`, all but the last `"learnt"`, and else `"full"`.
    """
    layers = _DECONVOLUTIONS[model]
    blobs = {ours: tensors.get(f"{name}.0") for name, ours, _ in layers}
    bilinear = [_is_bilinear(blobs[ours], stride, classes) for _, ours, stride in layers]
    kind = "fixed" if all(bilinear) else "learnt" if bilinear[-1] else "full"
    for name, ours, stride in layers:
        blob, full = blobs[ours], kind == "full" or (kind == "learnt" and ours != layers[-1][1])
        own = BilinearDeconvolution(classes, stride, learnt=full).weight.detach()
        state[f"{ours}.weight"] = blob if blob is not None and full else own
        theirs[f"{ours}.weight"] = f"{name}.0"
        bias = tensors.get(f"{name}.1")
        if bias is not None and bool(bias.any()):  # ours have none: the difference is reported
            state[f"{ours}.bias"], theirs[f"{ours}.bias"] = bias, f"{name}.1"
    return kind, [name for name, ours, _ in layers if blobs[ours] is None]


def _is_bilinear(blob: Tensor | None, stride: int, classes: int) -> bool:
    if blob is None:
        return True
    kernel = bilinear_kernel(2 * stride)
    if blob.shape == (classes, 1, 2 * stride, 2 * stride):
        return torch.allclose(blob, kernel.expand_as(blob), atol=1e-6)
    expected = torch.eye(classes)[:, :, None, None] * kernel
    return blob.shape == expected.shape and torch.allclose(blob, expected, atol=1e-6)
