"""What every network promises, one function per promise, for the networks of this package and for anyone's own.

`check` builds a network and runs all of them. Each function raises `AtrousError` that names the network, the promise
and what came instead, and leaves the network it is given as it was.
"""

from __future__ import annotations

import bisect
import copy
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from atrous.contract import AtrousError, LabelSpace, Preprocessing
from atrous.models import Segmenter

SIZES = (
    *((1, 1), (1, 257), (257, 1), (2, 3), (15, 16), (31, 64), (33, 17), (48, 49)),
    *((65, 129), (100, 37), (128, 255), (200, 97), (257, 240)),
)
"""Odd, even, tiny and lopsided (height, width), on either side of the usual strides."""

TOLERANCE = 1e-5
"""How far two ways of computing the same may lie apart, as a share of the largest value."""

_SIZE = (37, 50)


def check(
    build: Callable[..., nn.Module],
    *,
    classes: int = 3,
    preprocessing: Preprocessing | None = None,
    parameters: int | None = None,
    receptive_field: int | None = None,
    sizes: Iterable[tuple[int, int]] = SIZES,
    seed: int = 0,
    **options: Any,
) -> None:
    """Build `build(classes, **options)` and see that it keeps every promise of a network.

    The network has a `geometry` and turns normalised images into logits; it is checked inside a `Segmenter` with
    `preprocessing`, by default ImageNet's with the padding of `net.preprocessing_padding`. `parameters` and
    `receptive_field` (of a logit, in pixels) are compared where they are given. The random state is left alone.

    Raises `AtrousError` for the first promise that is broken.

    >>> from atrous.models import fcn32s
    >>> check(fcn32s, width=1 / 64, sizes=[(1, 1), (7, 9)])
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = partial(build, classes, **options)
        net = awaken(fresh()).eval()
        if preprocessing is None:
            preprocessing = Preprocessing(padding=getattr(net, "preprocessing_padding", "mean"))
        channels = preprocessing.channels
        if parameters is not None:
            check_parameter_count(net, parameters)
        check_buffers_are_finite(net)
        check_geometry(net, channels)
        check_net_leaves_its_input(net, channels)
        check_forward_keeps_no_state(net, channels)
        check_gradient_reaches_every_parameter(net, channels)
        if receptive_field is not None:
            check_receptive_field(net, receptive_field, channels)
        check_weights_survive_a_file(fresh, channels)
        segmenter = Segmenter(net, LabelSpace(names=tuple(map(str, range(classes)))), preprocessing).eval()
        check_sizes(segmenter, sizes)
        for promise in (
            check_probabilities,
            check_labels,
            check_rows_are_independent,
            check_evaluation_repeats,
            check_images_stay_unchanged,
            check_depths_agree,
        ):
            promise(segmenter)
        if channels == 3:
            check_grey_is_three_equal_colours(segmenter)


def awaken(net: nn.Module) -> nn.Module:
    """Give the parameters of `net` that are all zero small random values, in place, and return it.

    Layers that start at zero make every score zero and stop every gradient: nothing could be seen.

    >>> layer = nn.BatchNorm2d(8)
    >>> bool(layer.bias.any()), bool(awaken(layer).bias.any())
    (False, True)
    """
    for parameter in net.parameters():
        if not parameter.detach().any():
            nn.init.normal_(parameter, std=0.1)
    return net


# Promises of a scorer: images (n, c, h, w) to probabilities, and labels ------------------------------------------------


@torch.no_grad()
def check_sizes(scorer: nn.Module, sizes: Iterable[tuple[int, int]] = SIZES) -> None:
    """See that images of any size come back as probabilities (n, classes, h, w) and labels (n, h, w) of that size."""
    for height, width in sizes:
        images = _images(scorer, height, width)
        try:
            probabilities, labels = scorer(images), scorer.labels(images)
        except Exception as error:
            raise AtrousError(f"{_name(scorer)}: an image of {height} x {width} raised {error!r}") from error
        for what, array in (("probabilities", probabilities), ("labels", labels)):
            came = tuple(array.shape[-2:])
            _require(came == (height, width), scorer, f"{what} of an image of {height} x {width} are {came}")


@torch.no_grad()
def check_probabilities(scorer: nn.Module) -> None:
    """See that probabilities are float32, from 0 to 1, and sum to one at every pixel."""
    probabilities = scorer(_images(scorer))
    _require(probabilities.dtype == torch.float32, scorer, f"probabilities are {probabilities.dtype}, not float32")
    within = bool(((probabilities >= 0) & (probabilities <= 1)).all())
    _require(within, scorer, "probabilities are not all from 0 to 1")
    error = (probabilities.sum(1) - 1).abs().max().item()
    _require(error <= TOLERANCE, scorer, f"probabilities do not sum to one: a sum is {error:.2g} away")


@torch.no_grad()
def check_labels(scorer: nn.Module) -> None:
    """See that `labels` is uint8 and names the most probable class, wherever that leads by more than 1e-5."""
    for size in (_SIZE, (1, 9), (66, 33)):
        images = _images(scorer, *size)
        labels, probabilities = scorer.labels(images), scorer(images)
        _require(labels.dtype == torch.uint8, scorer, f"labels are {labels.dtype}, not uint8")
        best = probabilities.topk(min(2, probabilities.shape[1]), 1).values
        clear = best[:, 0] - best[:, -1] > TOLERANCE
        wrong = int((clear & (labels != probabilities.argmax(1))).sum())
        _require(wrong == 0, scorer, f"labels are not the most probable class at {wrong} pixels of {size[0] * size[1]}")


@torch.no_grad()
def check_rows_are_independent(scorer: nn.Module) -> None:
    """See that an image scores the same alone and beside another."""
    images = _images(scorer, count=2)
    apart = torch.cat([scorer(images[:1]), scorer(images[1:])])
    _require(_close(scorer(images), apart), scorer, "an image scores differently beside another: rows of a batch mix")


@torch.no_grad()
def check_evaluation_repeats(scorer: nn.Module) -> None:
    """See that in evaluation mode the same image gives the same numbers twice."""
    images = _images(scorer)
    _require(torch.equal(scorer(images), scorer(images)), scorer, "the same image scores differently the second time")


@torch.no_grad()
def check_images_stay_unchanged(scorer: nn.Module) -> None:
    """See that neither probabilities nor labels write into the images they are given."""
    for dtype in (torch.uint8, torch.float32):
        images = _images(scorer).to(dtype)
        before = images.clone()
        scorer(images)
        scorer.labels(images)
        _require(torch.equal(images, before), scorer, f"the {dtype} images that were given have been changed")


@torch.no_grad()
def check_depths_agree(scorer: nn.Module) -> None:
    """See that uint8 and float32 images of the same values score the same."""
    images = _images(scorer)
    agree = _close(scorer(images), scorer(images.float()))
    _require(agree, scorer, "uint8 and float32 images of the same values score differently")


@torch.no_grad()
def check_grey_is_three_equal_colours(scorer: nn.Module) -> None:
    """See that a grey image scores as its copy with three equal channels, where the network takes three."""
    grey = _images(scorer)[:, :1]
    agree = _close(scorer(grey), scorer(grey.repeat(1, 3, 1, 1)))
    _require(agree, scorer, "a grey image scores differently from its copy with three equal channels")


# Promises of a network: normalised images to logits ---------------------------------------------------------------------


def check_parameter_count(net: nn.Module, stated: int) -> None:
    """See that the network has as many parameters as stated; buffers are not counted."""
    count = sum(parameter.numel() for parameter in net.parameters())
    _require(count == stated, net, f"{count:,} parameters, {stated:,} are stated")


def check_buffers_are_finite(net: nn.Module) -> None:
    """See that no buffer holds an infinity or a NaN."""
    broken = [name for name, buffer in net.named_buffers() if not torch.isfinite(buffer).all()]
    _require(not broken, net, f"buffers are not finite: {', '.join(broken)}")


@torch.no_grad()
def check_geometry(net: nn.Module, channels: int = 3) -> None:
    """See that valid sizes give logits of the size that `net.geometry` says, high or wide."""
    geometry = net.geometry
    small = geometry.valid(2 * geometry.margin + 1)
    sides = [small, geometry.valid(small + 1), geometry.valid(small + 64)]
    for height, width in zip(sides, reversed(sides), strict=True):
        try:
            logits = net(torch.randn(2, channels, height, width))
        except Exception as error:
            raise AtrousError(f"{_name(net)}: {height} x {width}, a valid size, raised {error!r}") from error
        promised = tuple(_logit_side(net, side) for side in (height, width))
        came = tuple(logits.shape)
        _require(
            came[0] == 2 and came[2:] == promised,
            net,
            f"logits of 2 images of {height} x {width} are {came}; the geometry says (2, classes, *{promised})",
        )


@torch.no_grad()
def check_net_leaves_its_input(net: nn.Module, channels: int = 3) -> None:
    """See that the network does not compute in place on what it is given."""
    images = _crop(net, channels)
    before = images.clone()
    net(images)
    _require(torch.equal(images, before), net, "the network has changed its input in place")


@torch.no_grad()
def check_forward_keeps_no_state(net: nn.Module, channels: int = 3) -> None:
    """See that `forward` leaves every attribute of every module as it was, and in evaluation every buffer too.

    Attributes are compared by value where they are numbers, texts, arrays or containers of these, else by identity.
    """
    net = copy.deepcopy(net)
    for training in (False, True):
        before = _state(net.train(training))
        net(_crop(net, channels))
        after = _state(net)
        changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        mode = "training" if training else "evaluation"
        _require(not changed, net, f"forward changes what modules hold, in {mode} mode: {', '.join(changed)}")


def check_gradient_reaches_every_parameter(net: nn.Module, channels: int = 3) -> None:
    """See that a training step on one small crop, of two strides or the least there is, moves every parameter."""
    net = awaken(copy.deepcopy(net)).train()
    try:
        logits = net(_crop(net, channels))
    except Exception as error:
        raise AtrousError(f"{_name(net)}: a batch of one small crop in training mode raised {error!r}") from error
    (logits * torch.randn_like(logits)).sum().backward()
    silent = [
        name
        for name, parameter in net.named_parameters()
        if parameter.requires_grad and (parameter.grad is None or not parameter.grad.any())
    ]
    _require(not silent, net, f"no gradient reaches {', '.join(silent)}")


@torch.no_grad()
def check_receptive_field(net: nn.Module, stated: int, channels: int = 3) -> None:
    """See that the logit in the middle sees as many pixels as stated, down and across.

    A pixel that is not a number makes every logit that looks at it not a number, whatever the weights.
    """
    net = copy.deepcopy(net).eval()
    sides = net.geometry.valid(3 * stated), net.geometry.valid(1)
    for size in (sides, sides[::-1]):
        axis = size.index(max(size))
        middle = [_logit_side(net, side) // 2 for side in size]

        def reached(pixels: slice, size: tuple[int, ...] = size, axis: int = axis, at: list[int] = middle) -> bool:
            images = torch.zeros(1, channels, *size)
            images.movedim(2 + axis, 0)[pixels] = torch.nan
            return bool(net(images)[0, :, at[0], at[1]].isnan().any())

        first = bisect.bisect_left(range(size[axis]), True, key=lambda pixel: reached(slice(0, pixel + 1)))
        last = bisect.bisect_left(range(size[axis]), True, key=lambda pixel: not reached(slice(pixel + 1, None)))
        seen = last - first + 1
        _require(
            seen == stated, net, f"the middle logit sees {seen} pixels {'across' if axis else 'down'}, not {stated}"
        )


@torch.no_grad()
def check_weights_survive_a_file(fresh: Callable[[], nn.Module], channels: int = 3) -> None:
    """See that the state of one network, through a safetensors file, makes another give identical logits."""
    first, second = awaken(fresh()).eval(), fresh().eval()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        try:
            save_file({name: tensor.contiguous() for name, tensor in first.state_dict().items()}, path)
            second.load_state_dict(load_file(path))
        except Exception as error:
            raise AtrousError(f"{_name(first)}: saving and loading its state raised {error!r}") from error
    images = _crop(first, channels)
    _require(torch.equal(first(images), second(images)), first, "after saving and loading the logits are others")


# What the promises are checked with -------------------------------------------------------------------------------------


def _require(kept: bool, net: nn.Module, broken: str) -> None:
    if not kept:
        raise AtrousError(f"{_name(net)}: {broken}")


def _name(module: nn.Module) -> str:
    return type(getattr(module, "net", module)).__name__


def _images(scorer: nn.Module, height: int = _SIZE[0], width: int = _SIZE[1], count: int = 1) -> Tensor:
    return torch.randint(0, 256, (count, scorer.preprocessing.channels, height, width), dtype=torch.uint8)


def _crop(net: nn.Module, channels: int) -> Tensor:
    side = net.geometry.valid(2 * net.geometry.stride)
    return torch.randn(1, channels, side, side)


def _logit_side(net: nn.Module, side: int) -> int:
    inner, stride = side - 2 * net.geometry.margin, net.geometry.stride
    return int((inner - 1) // stride + 1 if net.geometry.align_corners else inner // stride)


def _close(first: Tensor, second: Tensor) -> bool:
    bound = TOLERANCE * max(1.0, float(second.abs().max()))
    return first.shape == second.shape and torch.allclose(first, second, rtol=0, atol=bound)


def _state(net: nn.Module) -> dict[str, Any]:
    """Return every attribute of every module by its full name, in a form that can be compared."""
    hidden = {"_parameters", "_modules", "_buffers"} if net.training else {"_parameters", "_modules"}
    return {
        f"{name}.{key}".lstrip("."): _frozen(value)
        for name, module in net.named_modules()
        for key, value in vars(module).items()
        if key not in hidden
    }


def _frozen(value: Any) -> Any:
    if isinstance(value, Tensor):
        return tuple(value.shape), value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    if isinstance(value, dict):
        return [(key, _frozen(each)) for key, each in value.items()]
    if isinstance(value, list | tuple):
        return [_frozen(each) for each in value]
    return value if isinstance(value, str | int | float | bool | set | frozenset | None) else id(value)
