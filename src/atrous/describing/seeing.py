"""What the middle logit of a network sees of one image: its theoretical receptive field, and the effective one."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from atrous.contract import Geometry, LabelSpace, Preprocessing
from atrous.data.scenes import street_scene
from atrous.describing.figure import Sight
from atrous.describing.network import size_taken
from atrous.layers.followed import Pair
from atrous.layers.probing import without_weights
from atrous.layers.receptive_field import effective_receptive_field, receptive_field
from atrous.models import Segmenter

LARGEST = 577
"""The longest side for which gradients are taken: memory grows with the area."""

COPIES, NOISE = 2, 0.1
"""How many copies of the image the effective field is a mean of, and how noisy they are, as a share of the range."""


def seen(
    net: Any,
    size: Pair,
    *,
    channels: int = 3,
    image: NDArray[Any] | None = None,
    preprocessing: Preprocessing | None = None,
    trained: bool = False,
) -> Sight:
    """Return what the middle logit sees of an image (h, w, c), by default of a synthetic street.

    The image is cut to the proportions of `size` and resized to it, or to less where that is larger than 577 pixels;
    the effective field is the mean over two noisy copies, without which it is speckled. `preprocessing` is the
    network's, by default the usual one for images of `channels`. Weights that are not `trained` are random; layers that
    start at zero are drawn too, on the network itself.

    Source: Luo et al., NIPS 2016, for the effective receptive field.
    """
    preprocessing = preprocessing or _usual(channels)
    if not trained:
        draw_zeros(net)
    height, width = size_taken(net, (min(size[0], LARGEST), min(size[1], LARGEST)))
    if image is None:
        image = street_scene(8, size=(height, width)).image
    picture = fitted(image, (height, width))
    segmenter = Segmenter(net, LabelSpace(names=("a", "b")), preprocessing).eval().requires_grad_(False)
    stored = _as_stored(picture, preprocessing)
    copies = _noisy(_with_channels(stored, preprocessing.channels), preprocessing.high - preprocessing.low)
    shown = (_with_channels(stored, 3) - preprocessing.low) / (preprocessing.high - preprocessing.low)
    return Sight(
        image=(255 * np.clip(shown, 0, 1)).astype(np.uint8),
        field=receptive_field(net, height, width, channels=preprocessing.channels),
        effective=np.mean([_effective(segmenter, copy[None]) for copy in copies], axis=0),
        middle=_middle(net, (height, width), preprocessing.channels),
        trained=trained,
        copies=COPIES,
    )


def _middle(net: Any, size: Pair, channels: int) -> tuple[float, float]:
    """Return the (row, column) of the pixel that the logit in the middle lies over."""
    with torch.no_grad():
        logits = without_weights(net)(torch.empty(1, channels, *size, device="meta"))
    height, width = logits.shape[2:]
    return pixel_of(height // 2, net.geometry), pixel_of(width // 2, net.geometry)


def pixel_of(logit: int, geometry: Geometry) -> float:
    """Return where a logit lies along a side of the image: at a pixel, or between two where it is halved.

    >>> pixel_of(3, Geometry(stride=8, align_corners=True)), pixel_of(3, Geometry(stride=8)), pixel_of(
    ...     3, Geometry(margin=92)
    ... )
    (24.0, 27.5, 95.0)
    """
    within = 0 if geometry.align_corners else (geometry.stride - 1) / 2
    return float(geometry.margin + logit * geometry.stride + within)


def _effective(segmenter: Segmenter, images: Tensor) -> NDArray[np.float32]:
    return effective_receptive_field(segmenter.net, segmenter.normalised(images))


def _usual(channels: int) -> Preprocessing:
    return Preprocessing() if channels == 3 else Preprocessing(mean=(0.5,) * channels, std=(0.25,) * channels)


def fitted(image: NDArray[Any], size: Pair) -> NDArray[Any]:
    """Return the middle of an image (h, w, c), cut to the proportions of `size` and resized to it.

    >>> fitted(np.zeros((10, 30, 3), np.uint8), (20, 20)).shape
    (20, 20, 3)
    """
    import cv2

    height, width = image.shape[:2]
    scale = min(height / size[0], width / size[1])
    rows, columns = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    top, left = (height - rows) // 2, (width - columns) // 2
    cut = np.ascontiguousarray(image[top : top + rows, left : left + columns])
    method = cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR
    return cv2.resize(cut, size[::-1], interpolation=method).reshape(*size, -1)


def _with_channels(image: NDArray[Any], channels: int) -> NDArray[Any]:
    """Return (h, w, channels): grey is the mean of the colours, and further channels repeat those there are."""
    if channels == 1:
        return image.mean(2, keepdims=True)
    return image[..., np.arange(channels) % image.shape[2]]


def _as_stored(image: NDArray[Any], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Return an image in the units that the network was trained on; an 8-bit one is stretched to a deeper range."""
    values = image.astype(np.float32)
    if image.dtype == np.uint8 and (preprocessing.low, preprocessing.high) != (0, 255):
        values = (preprocessing.low + values / 255 * (preprocessing.high - preprocessing.low)).astype(np.float32)
    return values


def _noisy(image: NDArray[np.float32], span: float) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    values = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
    return values + NOISE * span * torch.randn(COPIES, *values.shape, generator=generator)


def draw_zeros(net: nn.Module) -> None:
    """Draw the weights that a network starts with at zero, in place: else nothing could be seen through them.

    Scales of norms become 1, filters are drawn from He's distribution; biases stay.

    >>> layer = nn.Conv2d(1, 1, 3)
    >>> nn.init.zeros_(layer.weight).any().item(), (draw_zeros(layer), layer.weight.any().item())[1]
    (False, True)
    """
    for module in net.modules():
        weight = getattr(module, "weight", None)
        if not isinstance(weight, nn.Parameter) or weight.detach().any():
            continue
        if weight.ndim > 1:
            nn.init.kaiming_normal_(weight, nonlinearity="relu")
        else:
            nn.init.ones_(weight)
