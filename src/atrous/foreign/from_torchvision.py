"""torchvision's `fcn_resnet50/101` and `deeplabv3_resnet50/101`.

Source: torchvision/models/segmentation, fcn.py and deeplabv3.py.
"""

from __future__ import annotations

from typing import Any

from atrous.foreign.matching import Recognised, Tensors, classes_of, mostly, renamed
from atrous.foreign.resnets import resnet_options

_FCN = (("backbone.", "encoder.body."), ("aux_classifier.", "auxiliary."))
_DEEPLAB = (
    *_FCN,
    ("classifier.0.convs.4.1.", "aspp.pooling.project.0."),
    ("classifier.0.convs.4.2.", "aspp.pooling.project.1."),
    ("classifier.0.convs.", "aspp.branches."),
    ("classifier.0.project.", "aspp.project."),
    ("classifier.1.", "refine.0."),
    ("classifier.2.", "refine.1."),
    ("classifier.4.", "classify."),
)


def recognised(tensors: Tensors) -> Recognised | None:
    """Return torchvision's FCN or DeepLab v3 on a ResNet, or None for other weights."""
    body = resnet_options(tensors, "backbone.")
    if not body or not mostly(tensors, ("backbone.", "classifier.", "aux_classifier."), "classifier."):
        return None
    pyramid = any(name.startswith("classifier.0.convs.") for name in tensors)
    auxiliary = any(name.startswith("aux_classifier.") for name in tensors)
    options: dict[str, Any] = {**body, "output_stride": 8, "head": "torchvision"}
    if auxiliary:
        options["auxiliary"] = True
    state, theirs = renamed(tensors, lambda name: _ours(name, _DEEPLAB if pyramid else _FCN))
    return Recognised(
        source=f"torchvision's {'deeplabv3' if pyramid else 'fcn'}_{body['encoder']}",
        model="deeplab_v3" if pyramid else "fcn32s",
        classes=classes_of(tensors, "classifier.4"),
        options=options,
        state=state,
        theirs=theirs,
        notes=("the auxiliary head is kept for training",) if auxiliary else (),
    )


def _ours(name: str, layers: tuple[tuple[str, str], ...]) -> str:
    for theirs, ours in layers:
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name
