"""DeconvNet of its authors, trained in Caffe; its test net has the statistics folded into each norm's scale and shift.

Source: HyeonwooNoh/DeconvNet, model/DeconvNet/DeconvNet_inference_deploy.prototxt and
training/003_make_bn_layer_testable/BN_make_INFERENCE_script.py.
"""

from __future__ import annotations

import torch
from torch import Tensor

from atrous.foreign.matching import Recognised, Tensors, caffe_preprocessing
from atrous.foreign.vgg_caffe import CONVOLUTIONS, put_convolution
from atrous.layers.norm import EPSILON
from atrous.layers.vgg import STAGES


def recognised(tensors: Tensors) -> Recognised | None:
    """Return DeconvNet, or None for other weights."""
    if "fc6-deconv.0" not in tensors or "deconv1_1.0" not in tensors or "fc6.0" not in tensors:
        return None
    state: dict[str, Tensor] = {}
    theirs: dict[str, str] = {}
    for layer, norm, ours, ours_norm, size in _LAYERS:
        put_convolution(tensors, layer, ours, size, state, theirs)
        _put_norm(tensors, norm, ours_norm, state, theirs)
    score = next((name[:-2] for name in tensors if name.startswith("seg-score") and name.endswith(".0")), "seg-score")
    put_convolution(tensors, score, "seg_score", 1, state, theirs)
    first, hidden = tensors["conv1_1.0"], len(state["encoder.fc6.weight"])
    width = len(first) / STAGES[0][0]
    options = {"in_channels": int(first.shape[1]), **({} if width == 1 else {"width": width})}
    return Recognised(
        source="DeconvNet of its authors, trained in Caffe",
        model="deconvnet",
        classes=len(state["seg_score.weight"]) if "seg_score.weight" in state else 21,
        options=options | ({} if hidden == round(4096 * width) else {"hidden": round(hidden / width)}),
        state=state,
        theirs=theirs,
        preprocessing=caffe_preprocessing(),
        notes=_notes(tensors),
    )


def _layers() -> list[tuple[str, str, str, str, int]]:
    """Return for each layer its name and its norm's in Caffe, the same here, and its window."""
    rows = []
    for stage, name in CONVOLUTIONS:
        place = name.removeprefix("conv")
        rows.append((name, f"bn{place}", f"encoder.stage{stage}.{name}", f"encoder.stage{stage}.norm{place}", 3))
        here = f"deconv{stage}."
        rows.append((f"deconv{place}", f"debn{place}", f"{here}deconv{place}", f"{here}norm{place}", 3))
    for number, size in ((6, 7), (7, 1)):
        rows.append((f"fc{number}", f"bnfc{number}", f"encoder.fc{number}", f"encoder.norm{number}", size))
    return [*rows, ("fc6-deconv", "fc6-deconv-bn", "fc6_deconv", "norm6", 7)]


_LAYERS = _layers()


def _put_norm(tensors: Tensors, norm: str, ours: str, state: dict[str, Tensor], theirs: dict[str, str]) -> None:
    """Put scale and shift, and the statistics where there are any; folded ones are a mean of 0 and a deviation of 1."""
    parts = ("weight", "bias", "running_mean", "running_var")
    for place, part in enumerate(parts):
        blob = tensors.get(f"{norm}.{place}")
        if blob is not None:
            state[f"{ours}.{part}"], theirs[f"{ours}.{part}"] = blob.flatten(), f"{norm}.{place}"
    if f"{ours}.weight" in state and f"{norm}.2" not in tensors:
        state[f"{ours}.running_mean"] = torch.zeros_like(state[f"{ours}.weight"])
        state[f"{ours}.running_var"] = torch.full_like(state[f"{ours}.weight"], 1 - EPSILON)


def _notes(tensors: Tensors) -> tuple[str, ...]:
    if "bn1_1.2" in tensors:
        return ()
    return (
        "its norms are taken as those of the test net, statistics folded in; a net as trained needs that step first",
    )
