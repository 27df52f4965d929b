"""Trunks: any encoder of timm, or one of ours, as a list of feature maps with their channels and strides."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from atrous.contract import AtrousError, Geometry
from atrous.layers.aspp import check_rates
from atrous.layers.resnet_beta import DEPTHS as BETA_DEPTHS
from atrous.layers.resnet_beta import ResNetBeta
from atrous.layers.resnet_caffe import DEPTHS as CAFFE_DEPTHS
from atrous.layers.resnet_caffe import ResNetCaffe
from atrous.layers.vgg import check_pretrained, colours_adapted
from atrous.layers.xception import Xception65

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and deviation of ImageNet's colours, as most published weights expect them."""


class Trunk(nn.Module):
    """An encoder: (n, in_channels, h, w) -> feature maps, shallow to deep.

    `channels` and `strides` say what each map has; `geometry` says which input sizes keep the maps aligned:
    16k + 1 where every strided layer is centred on a pixel (ResNets), multiples of the stride where it cuts the
    image into cells (ConvNeXt). `mean` and `std` are those of the colours that published weights expect.
    """

    def __init__(self, body: nn.Module, channels: Sequence[int], strides: Sequence[int], in_channels: int) -> None:
        super().__init__()
        self.body = body
        self.channels, self.strides = tuple(channels), tuple(strides)
        self.in_channels = in_channels
        self.mean: tuple[float, ...] = IMAGENET[0]
        self.std: tuple[float, ...] = IMAGENET[1]
        self.geometry = _geometry(body, self.strides[-1], in_channels)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the maps; raises `ValueError` in training for a crop whose deepest map would be a single value."""
        least = self.geometry.minimum
        if self.training and min(x.shape[2:]) < least:
            raise ValueError(
                f"a crop of {x.shape[2]} x {x.shape[3]} came; training takes crops of {least} x {least} and larger"
            )
        return list(self.body(x))


def _resnet_beta(name: str, in_channels: int, output_stride: int, width: float) -> nn.Module:
    return ResNetBeta(BETA_DEPTHS[name], in_channels=in_channels, output_stride=output_stride, width=width)


def _resnet_caffe(name: str, in_channels: int, output_stride: int, width: float) -> nn.Module:
    return ResNetCaffe(CAFFE_DEPTHS[name], in_channels=in_channels, output_stride=output_stride, width=width)


def _xception(name: str, in_channels: int, output_stride: int, width: float) -> nn.Module:
    paper = name == "xception65_paper"
    return Xception65(in_channels=in_channels, output_stride=output_stride, width=width, relu_between=paper)


OWN: dict[str, Callable[[str, int, int, float], nn.Module]] = {
    **dict.fromkeys(BETA_DEPTHS, _resnet_beta),
    **dict.fromkeys(CAFFE_DEPTHS, _resnet_caffe),
    **dict.fromkeys(("xception65", "xception65_paper"), _xception),
}
"""Trunks that a paper needs and timm lacks: (name, in_channels, output_stride, width) -> a body with its `channels` and
`strides` that returns a list of maps."""

PUBLISHED = ("xception65",)
"""Those of them for which timm has weights under the same names."""


def trunk(
    name: str,
    *,
    in_channels: int = 3,
    output_stride: int = 32,
    multigrid: Sequence[int] | None = None,
    pretrained: bool | str | Path = False,
    width: float = 1.0,
) -> Trunk:
    """Return the encoder `name`, its last stages made dense so that the deepest map has `output_stride`.

    A strided layer that becomes dense hands its stride on as atrous rate to every later layer (the hole algorithm).
    `multigrid` has a factor of the rate for each unit of the last stage. `pretrained` is True for timm's published
    weights or a `.safetensors` file of the encoder. `width` scales the channels (ResNets and our own): small copies.

    Raises `ValueError` for an unknown encoder (with the nearest names), a stride it cannot have and values of other
    kinds, `AtrousError` where weights cannot be had.

    Source: DeepLab v1 (arXiv 1412.7062) section 3.1; multi-grid from DeepLab v3 (arXiv 1706.05587) section 3.2.1.

    >>> trunk("resnet18", output_stride=16).strides
    (2, 4, 8, 16, 16)
    """
    _check(name, output_stride)
    check_pretrained(pretrained)
    if name in OWN:
        body: Any = OWN[name](name, in_channels, output_stride, width)
        channels, strides = body.channels, body.strides
        if pretrained is True and name not in PUBLISHED:
            raise AtrousError(f"encoder {name!r} has no published weights here: give a local .safetensors file instead")
        if pretrained is True:
            _load_state(body, _from_timm(name, 3, 32, True, 1.0).state_dict(), "timm", name)
    else:
        body = _from_timm(name, in_channels, output_stride, pretrained is True, width)
        channels, strides = body.feature_info.channels(), body.feature_info.reduction()
    if multigrid is not None:
        set_multigrid(body, name, multigrid)
    if isinstance(pretrained, str | Path):
        _load_file(body, pretrained, name)
    try:
        encoder = Trunk(body, channels, strides, in_channels)
        encoder.mean, encoder.std = _expected(name)
        return encoder
    except (AssertionError, RuntimeError) as error:
        raise ValueError(
            f"encoder {name!r} takes images of some sizes only: {error} "
            "Convolutional encoders such as resnet18 take any"
        ) from error


def _check(name: object, output_stride: object) -> None:
    if not isinstance(name, str):
        raise ValueError(f"encoder {name!r} came; the name of one is accepted, such as 'resnet50'")
    if not isinstance(output_stride, int) or isinstance(output_stride, bool) or output_stride < 1:
        raise ValueError(f"output stride {output_stride!r} came; a whole number is accepted: 8, 16 or 32")


def _expected(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation of the images that timm's weights of this encoder were trained on."""
    import timm

    published = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    return (tuple(published.mean), tuple(published.std)) if published is not None else IMAGENET


def _from_timm(name: str, in_channels: int, output_stride: int, pretrained: bool, width: float) -> Any:
    import timm

    if name not in timm.list_models():
        near = difflib.get_close_matches(name, [*timm.list_models(), *OWN], n=4, cutoff=0.5)
        hint = f"; near it: {', '.join(near)}" if near else ""
        raise ValueError(
            f"encoder {name!r} is not known{hint}; timm's convolutional encoders and {', '.join(OWN)} are accepted"
        )
    options: dict[str, Any] = {} if output_stride == 32 else {"output_stride": output_stride}
    if width != 1:
        if not name.startswith("resnet"):
            raise ValueError(f"width {width} came, but {name!r} has fixed channels: only ResNets can be made narrower")
        options["channels"] = tuple(max(8, round(c * width)) for c in (64, 128, 256, 512))
    try:
        return timm.create_model(name, features_only=True, in_chans=in_channels, pretrained=pretrained, **options)
    except (NotImplementedError, AssertionError, TypeError) as error:
        reason = str(error) or "not supported"
        raise ValueError(
            f"encoder {name!r} cannot give feature maps at output stride {output_stride}: {reason}. "
            "Convolutional encoders such as resnet18 can"
        ) from error
    except Exception as error:  # each of the hub's transports fails with classes of its own
        if not pretrained:
            raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise AtrousError(
            f"pretrained weights of {name!r} could not be fetched ({reason}): "
            "give a local file with --pretrained FILE, or train without"
        ) from error


def set_multigrid(body: nn.Module, name: str, multigrid: Sequence[int]) -> None:
    """Give each unit of the last stage the stage's atrous rate times its factor, in place.

    The first unit too, which without multi-grid may keep the rate of the stage before: at output stride 16 the factors
    (1, 2, 4) mean the rates (2, 4, 8). Raises `ValueError` unless there are as many factors as units, each
    a whole number of 1 or above.

    Source: DeepLab v3 section 3.2.1.
    """
    check_rates(multigrid, "multigrid")
    units = getattr(body, "layer4", None)
    if units is None or len(units) != len(multigrid):
        have = "no ResNet stage" if units is None else f"{len(units)} units"
        raise ValueError(f"multigrid {tuple(multigrid)} needs one rate per unit of the last stage; {name!r} has {have}")
    atrous = [
        (layer, factor)
        for unit, factor in zip(units, multigrid, strict=True)
        for layer in unit.modules()
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3)
    ]
    rate = max(layer.dilation[0] for layer, _ in atrous)
    for layer, factor in atrous:
        layer.dilation = layer.padding = (rate * factor, rate * factor)


def _load_file(body: nn.Module, path: str | Path, name: str) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not Path(path).is_file():
        raise AtrousError(f"{path}: no such file; --pretrained takes a .safetensors file of the encoder {name!r}")
    try:
        state = load_file(path)
    except SafetensorError as error:
        raise AtrousError(f"{path}: not a readable .safetensors file ({error})") from error
    _load_state(body, state, path, name)


def _load_state(body: nn.Module, state: Mapping[str, Tensor], path: str | Path, name: str) -> None:
    wanted = body.state_dict()
    # timm flattens names where it cuts an encoder into stages (stem.0 becomes stem_0), so names meet without dots.
    given = {key.replace(".", "_"): value for key, value in state.items()}
    found = {}
    for key, tensor in wanted.items():
        value = given.get(key.replace(".", "_"))
        if value is not None and value.ndim == 4 and value.shape[1] == 3 != tensor.shape[1]:
            value = colours_adapted(value, tensor.shape[1])  # the first layer, for grey or many channels
        if value is not None and value.shape == tensor.shape:
            found[key] = value
    missing = [key for key in wanted if key not in found and not key.endswith("num_batches_tracked")]
    if missing:
        raise AtrousError(
            f"{path}: {len(missing)} of {len(wanted)} tensors of {name!r} are missing or of another shape, "
            f"first {missing[0]!r}; is it a file of another encoder?"
        )
    body.load_state_dict(found, strict=False)


def _geometry(body: nn.Module, stride: int, in_channels: int) -> Geometry:
    """Find out how the encoder samples: s strides + 1 pixels give s + 1 values where it is centred on pixels."""
    try:
        centred = _deepest(body, in_channels, 65) == 64 // stride + 1
    except RuntimeError:  # one that adds maps of several strides, as HRNet does, takes whole cells only
        _deepest(body, in_channels, 64)
        centred = False
    if centred:
        return Geometry(multiple=stride, offset=1, minimum=stride + 1, stride=stride, align_corners=True)
    return Geometry(multiple=max(stride, 32), minimum=max(stride, 32), stride=stride)


@torch.no_grad()
def _deepest(body: nn.Module, in_channels: int, side: int) -> int:
    """Return the side of the deepest map of an image, in evaluation mode."""
    was_training = body.training
    device = next(body.parameters()).device
    try:
        return body.eval()(torch.zeros(1, in_channels, side, side, device=device))[-1].shape[-1]
    finally:
        body.train(was_training)
