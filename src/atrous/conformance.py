"""What every network promises, one function per promise, for the networks of this package and for anyone's own.

`check` builds a network and runs them all. The functions that take a `scorer` look at a `Segmenter` around a network
in evaluation mode, the others at a network alone. Each raises `AtrousError` with the network's name and what came, and
leaves the network as it was.
"""

from __future__ import annotations

import bisect
import copy
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from atrous.contract import FORMAT, AtrousError, Geometry, LabelSpace, Preprocessing, plain
from atrous.models import Segmenter

SIZES = (
    *((1, 1), (1, 257), (257, 1), (2, 3), (15, 16), (31, 64), (33, 17), (48, 49)),
    *((65, 129), (100, 37), (128, 255), (200, 97), (257, 240)),
)
"""Odd, even, tiny and lopsided (height, width), on either side of the usual strides."""

TOLERANCE = 1e-5
"""How far two ways of computing the same may lie apart, as a share of the largest logit where that is above 1."""


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

    `preprocessing` says how many channels the network takes; by default it is ImageNet's with the padding of
    `net.preprocessing_padding`. `parameters` and `receptive_field` (of a logit, in pixels) are compared where they are
    given. The caller's random state is left alone.

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
        check_buffers(net)
        if parameters is not None:
            check_parameter_count(net, parameters)
        if receptive_field is not None:
            check_receptive_field(net, receptive_field, channels)
        check_geometry(net, channels)
        check_gradient(net, channels)
        check_small_crop(net, channels)
        check_forward_changes_nothing(net, channels)
        check_saving(fresh, channels)
        scorer = Segmenter(net, LabelSpace(names=tuple(map(str, range(classes)))), preprocessing).eval()
        check_sizes(scorer, sizes)
        for promise in (check_probabilities, check_labels, check_rows, check_repetition, check_images, check_depths):
            promise(scorer)
        if channels == 3:
            check_grey(scorer)


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


@torch.no_grad()
def check_sizes(scorer: Segmenter, sizes: Iterable[tuple[int, int]] = SIZES) -> None:
    """See that images of any size come back as probabilities (n, classes, h, w) and labels (n, h, w) of that size."""
    for size in sizes:
        images = _images(scorer, *size)
        with _naming(scorer, f"an image of {size[0]} x {size[1]}"):
            shapes = tuple(scorer(images).shape), tuple(scorer.labels(images).shape)
        promised = (1, len(scorer.space), *size), (1, *size)
        _require(shapes == promised, scorer, f"probabilities and labels are {shapes}, where {promised} is promised")


@torch.no_grad()
def check_probabilities(scorer: Segmenter) -> None:
    """See that probabilities are float32, from 0 to 1, and sum to one at every pixel."""
    probabilities = scorer(_images(scorer))
    _require(probabilities.dtype == torch.float32, scorer, f"probabilities are {probabilities.dtype}, not float32")
    within = (probabilities >= 0) & (probabilities <= 1)
    _require(bool(within.all()), scorer, "probabilities are not all from 0 to 1")
    error = (probabilities.sum(1) - 1).abs().max().item()
    _require(error <= TOLERANCE, scorer, f"probabilities do not sum to one: a sum is {error:.2g} away")


@torch.no_grad()
def check_labels(scorer: Segmenter) -> None:
    """See that `labels` is uint8 and names the most probable class, wherever that leads by more than 1e-5."""
    for size in ((37, 50), (1, 9), (66, 33)):
        images = _images(scorer, *size)
        labels, probabilities = scorer.labels(images), scorer(images)
        _require(labels.dtype == torch.uint8, scorer, f"labels are {labels.dtype}, not uint8")
        best = probabilities.topk(min(2, probabilities.shape[1]), 1).values
        clear = best[:, 0] - best[:, -1] > TOLERANCE
        wrong = int((clear & (labels != probabilities.argmax(1))).sum())
        _require(wrong == 0, scorer, f"labels are not the most probable class at {wrong} pixels of {labels.numel()}")


@torch.no_grad()
def check_rows(scorer: Segmenter) -> None:
    """See that an image scores the same alone and beside another."""
    images = _images(scorer, count=2)
    apart = torch.cat([scorer.logits(images[:1]), scorer.logits(images[1:])])
    same = _close(scorer.logits(images), apart)
    _require(same, scorer, "an image scores differently beside another: rows of a batch mix")


@torch.no_grad()
def check_repetition(scorer: Segmenter) -> None:
    """See that in evaluation mode the same image gives the same numbers twice."""
    images = _images(scorer)
    _require(torch.equal(scorer(images), scorer(images)), scorer, "the same image scores differently the second time")


@torch.no_grad()
def check_images(scorer: Segmenter) -> None:
    """See that neither probabilities nor labels write into the images they are given."""
    for dtype in (torch.uint8, torch.float32):
        images = _images(scorer).to(dtype)
        before = images.clone()
        scorer(images)
        scorer.labels(images)
        _require(torch.equal(images, before), scorer, f"the {dtype} images that were given have been changed")


@torch.no_grad()
def check_depths(scorer: Segmenter) -> None:
    """See that uint8 and float32 images of the same values score the same."""
    images = _images(scorer)
    same = _close(scorer.logits(images), scorer.logits(images.float()))
    _require(same, scorer, "uint8 and float32 images of the same values score differently")


def check_export(scorer: Segmenter) -> None:
    """See that the network exports to ONNX, and that the file computes what torch does at four sizes.

    `check` leaves it out, since tracing a network takes seconds; onnx and onnxscript are needed for it.
    """
    from atrous.exporting import export_onnx

    with tempfile.TemporaryDirectory() as folder, _naming(scorer, "exporting it"):
        export_onnx(scorer, _settings(scorer), Path(folder) / "net.onnx")


@torch.no_grad()
def check_grey(scorer: Segmenter) -> None:
    """See that a grey image scores as its copy with three equal channels, where the network takes three."""
    grey = _images(scorer)[:, :1]
    same = _close(scorer.logits(grey), scorer.logits(grey.repeat(1, 3, 1, 1)))
    _require(same, scorer, "a grey image scores differently from its copy with three equal channels")


def check_parameter_count(net: nn.Module, stated: int) -> None:
    """See that the network has as many parameters as stated; buffers are not counted."""
    count = sum(parameter.numel() for parameter in net.parameters())
    _require(count == stated, net, f"{count:,} parameters came, {stated:,} are stated")


def check_buffers(net: nn.Module) -> None:
    """See that no buffer holds an infinity or a NaN."""
    broken = [name for name, buffer in net.named_buffers() if not torch.isfinite(buffer).all()]
    _require(not broken, net, f"buffers are not finite: {', '.join(broken)}")


@torch.no_grad()
def check_geometry(net: nn.Module, channels: int = 3) -> None:
    """See that valid sizes, high or wide, give logits of the size that `net.geometry` says."""
    geometry = _geometry(net)
    small = geometry.valid(2 * geometry.margin + 1)
    sides = [small, geometry.valid(small + 1), geometry.valid(small + 64)]
    for size in zip(sides, reversed(sides), strict=True):
        with _naming(net, f"{size[0]} x {size[1]}, which its geometry calls valid,"):
            came = tuple(net(torch.randn(2, channels, *size)).shape)
        promised = 2, came[1], *(_logits_along(geometry, side) for side in size)
        _require(came == promised, net, f"logits of {size[0]} x {size[1]} are {came}; the geometry says {promised}")


@torch.no_grad()
def check_forward_changes_nothing(net: nn.Module, channels: int = 3) -> None:
    """See that `forward` leaves its input and every attribute of every module as they were.

    In evaluation mode the buffers are compared too. Numbers, texts, tensors and containers of these are compared by
    value, other attributes by identity.
    """
    net = copy.deepcopy(net)
    for mode in ("evaluation", "training"):
        before = _state(net.train(mode == "training"))
        images = _crop(net, channels)
        given = images.clone()
        net(images)
        _require(torch.equal(images, given), net, "the network has changed its input in place")
        after = _state(net)
        changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        _require(not changed, net, f"forward changes what modules hold, in {mode} mode: {', '.join(changed)}")


def check_gradient(net: nn.Module, channels: int = 3) -> None:
    """See that a training step on one crop, of two strides or the least there is, reaches every parameter."""
    net = awaken(copy.deepcopy(net)).train()
    # What only training looks at, such as an auxiliary head, is in `supervised`.
    trained_by = getattr(net, "supervised", lambda images: (net(images),))
    with _naming(net, "a batch of one small crop in training mode"):
        outputs = trained_by(_crop(net, channels))
    sum((logits * torch.randn_like(logits)).sum() for logits in outputs).backward()
    trained = [(name, parameter.grad) for name, parameter in net.named_parameters() if parameter.requires_grad]
    silent = [name for name, gradient in trained if gradient is None or not gradient.any()]
    _require(not silent, net, f"no gradient reaches {', '.join(silent)}")


def check_small_crop(net: nn.Module, channels: int = 3) -> None:
    """See that training refuses a crop below the least one with a `ValueError` that names the least."""
    least = _geometry(net).minimum
    if least == 1:
        return
    net = copy.deepcopy(net).train()
    try:
        net(torch.randn(1, channels, least - 1, least - 1))
    except ValueError as error:
        named = f"{least} x {least}" in str(error)
        _require(named, net, f"the error about a crop of {least - 1} pixels does not name the least, {least} x {least}")
    else:
        _require(False, net, f"training takes a crop of {least - 1} pixels, and the geometry's least is {least}")


@torch.no_grad()
def check_receptive_field(net: nn.Module, stated: int, channels: int = 3) -> None:
    """See that the logit in the middle sees as many pixels as stated, down and across.

    A pixel that is not a number makes every logit that looks at it not a number, whatever the weights.
    """
    geometry = _geometry(net)
    long, short = geometry.valid(3 * stated + 2 * geometry.margin), geometry.valid(2 * geometry.margin + 1)
    row, column = _logits_along(geometry, long) // 2, _logits_along(geometry, short) // 2
    for way in ("down", "across"):

        def reached(pixels: slice, way: str = way) -> bool:
            images = torch.zeros(1, channels, long, short)
            images[:, :, pixels] = torch.nan
            logits = net(images) if way == "down" else net(images.mT).mT
            return bool(logits[0, :, row, column].isnan().any())

        first = bisect.bisect_left(range(long), True, key=lambda pixel: reached(slice(pixel + 1)))
        last = bisect.bisect_left(range(long), True, key=lambda pixel: not reached(slice(pixel + 1, None)))
        seen = last - first + 1
        _require(seen == stated, net, f"the middle logit sees {seen} pixels {way}, {stated} are stated")


@torch.no_grad()
def check_saving(fresh: Callable[[], nn.Module], channels: int = 3) -> None:
    """See that the state of one network, through a safetensors file, makes another give identical logits."""
    first, second = awaken(fresh()).eval(), fresh().eval()
    with tempfile.TemporaryDirectory() as folder, _naming(first, "saving and loading its state"):
        path = Path(folder) / "model.safetensors"
        save_file({name: tensor.contiguous() for name, tensor in first.state_dict().items()}, path)
        second.load_state_dict(load_file(path))
    images = _crop(first, channels)
    _require(torch.equal(first(images), second(images)), first, "after saving and loading the logits are others")


def _require(kept: bool, module: nn.Module, broken: str) -> None:
    if not kept:
        raise AtrousError(f"{_name(module)}: {broken}")


@contextmanager
def _naming(module: nn.Module, what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # whatever a network of anyone's own may raise
        raise AtrousError(f"{_name(module)}: {what} raised {error!r}") from error


def _settings(scorer: Segmenter) -> dict[str, Any]:
    """Return what an exported file says of a network that no folder describes."""
    space = plain(scorer.space)
    geometry, preprocessing = plain(scorer.geometry), plain(scorer.preprocessing)
    settings = {"format": FORMAT, "architecture": _name(scorer), "options": {}, "classes": space.pop("names")}
    return {**settings, **space, "preprocessing": preprocessing, "geometry": geometry}


def _name(module: nn.Module) -> str:
    return type(getattr(module, "net", module)).__name__


def _geometry(net: Any) -> Geometry:
    return net.geometry


def _images(scorer: Segmenter, height: int = 37, width: int = 50, count: int = 1) -> Tensor:
    return torch.randint(0, 256, (count, scorer.preprocessing.channels, height, width), dtype=torch.uint8)


def _crop(net: nn.Module, channels: int) -> Tensor:
    side = _geometry(net).valid(2 * _geometry(net).stride)
    return torch.randn(1, channels, side, side)


def _logits_along(geometry: Geometry, side: int) -> int:
    inner = side - 2 * geometry.margin
    return (inner - 1) // geometry.stride + 1 if geometry.align_corners else inner // geometry.stride


def _close(first: Tensor, second: Tensor) -> bool:
    bound = TOLERANCE * max(1.0, float(second.abs().max()))
    return first.shape == second.shape and torch.allclose(first, second, rtol=0, atol=bound)


def _state(net: nn.Module) -> dict[str, Any]:
    apart = {"_parameters", "_modules", "_buffers"} if net.training else {"_parameters", "_modules"}
    modules = net.named_modules()
    return {
        f"{name}.{key}": _frozen(each)
        for name, module in modules
        for key, each in vars(module).items()
        if key not in apart
    }


def _frozen(value: Any) -> Any:
    """Return a copy that can be compared with ==."""
    if isinstance(value, Tensor):
        return value.shape, value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    if isinstance(value, dict):
        return [(key, _frozen(each)) for key, each in value.items()]
    if isinstance(value, list | tuple):
        return [_frozen(each) for each in value]
    return copy.copy(value) if isinstance(value, str | int | float | set | frozenset | None) else id(value)
