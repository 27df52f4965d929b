"""VGG16 as Caffe stores it, under our names: what FCN, DeepLab v1 and v2 and DeconvNet have in common."""

from __future__ import annotations

from torch import Tensor

from atrous.foreign.matching import Tensors
from atrous.layers.vgg import STAGES

CONVOLUTIONS = tuple(
    (stage, f"conv{stage}_{place}") for stage, (_, depth) in enumerate(STAGES, 1) for place in range(1, depth + 1)
)
"""The stage and the name of the thirteen convolutions; the name is the same in Caffe and here."""


def vgg_state(tensors: Tensors, prefix: str) -> tuple[dict[str, Tensor], dict[str, str], dict[str, float]]:
    """Return the convolutions' state below `prefix`, their names in the file, and a width other than 1.

    >>> vgg_state({}, "vgg.")
    ({}, {}, {})
    """
    state: dict[str, Tensor] = {}
    theirs: dict[str, str] = {}
    for stage, name in CONVOLUTIONS:
        put_convolution(tensors, name, f"{prefix}stage{stage}.{name}", 3, state, theirs)
    first = tensors.get("conv1_1.0")
    width = {} if first is None or len(first) == STAGES[0][0] else {"width": len(first) / STAGES[0][0]}
    return state, theirs, width


def as_convolution(blob: Tensor, size: int) -> Tensor:
    """Return a layer's weights as a `size` x `size` convolution; inner products are reshaped, which is exact.

    Caffe flattens (channels, rows, columns), and before 2015 stored inner products as (1, 1, outputs, inputs).

    >>> import torch
    >>> as_convolution(torch.zeros(1, 1, 8, 98), 7).shape
    torch.Size([8, 2, 7, 7])
    """
    if blob.ndim == 4 and (tuple(blob.shape[:2]) != (1, 1) or blob.shape[2] == blob.shape[3] == size):
        return blob
    outputs, inputs = blob.shape[-2:]
    channels = inputs // size**2
    return blob.reshape(outputs, channels, size, size) if channels * size**2 == inputs else blob


def put_convolution(
    tensors: Tensors, layer: str, ours: str, size: int, state: dict[str, Tensor], theirs: dict[str, str]
) -> None:
    """Put weights and biases of a layer into `state`, where the file has them; biases in one row.

    >>> import torch
    >>> state: dict[str, Tensor] = {}
    >>> put_convolution({"fc8.1": torch.zeros(1, 1, 1, 21)}, "fc8", "score", 1, state, {})
    >>> {name: tuple(value.shape) for name, value in state.items()}
    {'score.bias': (21,)}
    """
    for number, part in ((0, "weight"), (1, "bias")):
        blob = tensors.get(f"{layer}.{number}")
        if blob is not None:
            state[f"{ours}.{part}"] = as_convolution(blob, size) if part == "weight" else blob.flatten()
            theirs[f"{ours}.{part}"] = f"{layer}.{number}"
