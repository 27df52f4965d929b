"""CRF-as-RNN: mean field in the fully connected CRF as a layer, trained together with the network whose logits it gets.

Zheng, Jayasumana, Romera-Paredes, Vineet, Su, Du, Huang, Torr, "Conditional Random Fields as Recurrent Neural
Networks", ICCV 2015 (arXiv 1502.03240). An iteration of mean field is differentiable, so some of them in a row are a
recurrent network, whose state is the refined logits x and which sees the network's own logits u at every step:

    step             what                                  shape                    learnt
    initialise       x = u                                 (classes, points)
    softmax          Q = softmax(x)                        (classes, points)
    pass messages    K1 Q, K2 Q                            2 x (classes, points)    no: the sigmas are fixed
    weight           m = w1 K1 Q + w2 K2 Q                 (classes, points)        w1, w2
    compatibility    p = compatibility m                   (classes, points)        (classes, classes)
    add unary        x = u - p, and again from softmax     (classes, points)

5 steps in training and 10 in evaluation. The weights are a number per label, as the paper's text has them (this is from
memory), a matrix as in its released program, or one number.

A filter K is linear, and its gradient is the transposed filter. On the CPU and in float32 both are the compiled
kernels'; on other devices, and in float64, both are gathers and sums of torch. Lattices are built from the images by
NumPy arrays on the host, whatever the device: no gradient reaches the images, and images on a GPU are copied.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, cast, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from atrous import _core
from atrous.contract import Preprocessing
from atrous.crf import parameters
from atrous.crf.dense_crf import DenseCRF
from atrous.crf.lattice import Lattice
from atrous.crf.presets import crf_as_rnn
from atrous.crf.sparse import tables

Weights = Literal["scalar", "label", "matrix"]
_Gaussian = Callable[[Tensor, bool], Tensor]
_KEPT = 4
"""Of how many sizes the spatial filter is kept."""


class CRFasRNN(nn.Module):
    """Images (n, c, h, w) and logits (n, classes, h, w) to refined logits (n, classes, h, w).

    Their softmax is the marginals; up to a constant per pixel they are its logarithm. Images are in the units of
    sigma_beta, 0 to 255 for the presets, not normalised; any number of channels. `crf` has the numbers that training
    starts from, `crf_as_rnn()` without one, and how many iterations evaluation does; while `training`, there are
    `training_iterations`. 0 iterations return the logits that came. Untrained, the marginals are those of `crf`.

    `weights` says what `w1` and `w2` are: a number ("scalar"), a number per label ("label"), or a matrix that starts
    diagonal ("matrix"). `compatibility` is the penalty of label i (row) where label j is likely, without another in
    `crf` Potts: 0 on its diagonal and 1 elsewhere. These three are all the parameters.

    It computes in float32, of logits in float64 in float64, whatever autocast says, and returns the logits' dtype. Each
    iteration in training keeps four maps of the logits' size.

    Raises `ValueError` and `TypeError` for numbers out of range and for a `crf` with shortcuts (`mode`, `prune` and the
    like), which have no gradients.

    Source: Zheng et al. 2015, sections 3 and 4.

    >>> layer = CRFasRNN(2, DenseCRF(w1=4, sigma_alpha=67, sigma_beta=3, w2=3, sigma_gamma=3)).eval()
    >>> layer(torch.zeros(1, 3, 4, 5), torch.zeros(1, 2, 4, 5)).shape
    torch.Size([1, 2, 4, 5])
    >>> [(name, tuple(each.shape)) for name, each in layer.named_parameters()]
    [('w1', (2,)), ('w2', (2,)), ('compatibility', (2, 2))]
    """

    def __init__(
        self,
        classes: int = 21,
        crf: DenseCRF | None = None,
        *,
        training_iterations: int = 5,
        weights: Weights = "label",
    ) -> None:
        super().__init__()
        crf = crf_as_rnn() if crf is None else crf
        _check_crf(crf)
        self.classes, self.crf = parameters.whole("classes", classes, 1), crf
        self.training_iterations = parameters.whole("training_iterations", training_iterations, 0)
        self.w1, self.w2 = (nn.Parameter(_started(weight, classes, weights)) for weight in (crf.w1, crf.w2))
        self.compatibility = nn.Parameter(_penalties(crf, classes))

    def forward(self, images: Tensor, logits: Tensor) -> Tensor:
        """Return the refined logits, of the dtype of those that came.

        Raises `ValueError` for shapes that do not fit, another number of classes, logits that are not floating point,
        and NaN or infinity.
        """
        _check(images, logits, self.classes)
        iterations = self.training_iterations if self.training else self.crf.iterations
        if not iterations:
            return logits
        with torch.autocast(logits.device.type, enabled=False):
            values = _full(logits)
            refined = [
                self._refined(each.flatten(1), self._kernels(image, each), iterations).reshape(each.shape)
                for image, each in zip(_on_host(images), values, strict=True)
            ]
        return torch.stack(refined).to(logits.dtype)

    def extra_repr(self) -> str:
        return f"{self.classes}, {self.crf}, training_iterations={self.training_iterations}"

    def _refined(self, unary: Tensor, kernels: tuple[Filter, Filter], iterations: int) -> Tensor:
        w1, w2, compatibility = (each.to(unary.dtype) for each in (self.w1, self.w2, self.compatibility))
        x = unary  # (classes, points)
        for _ in range(iterations):
            marginals = x.softmax(0)
            bilateral, spatial = (kernel(marginals) for kernel in kernels)
            x = unary - compatibility @ (_weighted(w1, bilateral) + _weighted(w2, spatial))
        return x

    def _kernels(self, image: NDArray[Any], logits: Tensor) -> tuple[Filter, Filter]:
        """Return the bilateral and the spatial filter for one image (h, w, c) and what is to be filtered."""
        crf = self.crf
        dtype, device = logits.dtype, logits.device
        bilateral = filter_of(crf.lattice(image), self_message=crf.self_message, dtype=dtype, device=device)
        return bilateral, _spatial(crf, image.shape[:2], dtype, device)


class WithCRF(nn.Module):
    """`net` and a CRF as one network: normalised images to refined logits on the images' own grid.

    The net's logits are enlarged bilinearly to the image, as `Segmenter` does, and then refined; so the grid is the
    image's, of stride 1, and where the net has a margin, that of the image without it. All that training, `Segmenter`
    and the checks of conformance ask of a network is here, and is the net's: `geometry` but for its stride, `classes`,
    `encoder`, `preprocessing_padding`. `supervised` has the refined logits in place of the net's main ones, beside its
    others.

    `preprocessing` is how the images were normalised. It is undone for the CRF, which sees the stored colours with
    their range spread over 0 to 255, in the order RGB: uint8 images as they were stored. What the caller pads to a size
    that the net takes, it takes for pixels too.

    Raises `ValueError` where the net and the CRF differ in their number of classes.

    Source: Zheng et al. 2015, section 5.

    >>> from atrous.models import fcn32s
    >>> net = WithCRF(fcn32s(2, width=1 / 64), CRFasRNN(2)).eval()
    >>> net(torch.zeros(1, 3, 32, 64)).shape, net.geometry.stride
    (torch.Size([1, 2, 32, 64]), 1)
    """

    mean: Tensor
    std: Tensor

    def __init__(self, net: Any, crf: CRFasRNN, *, preprocessing: Preprocessing | None = None) -> None:
        super().__init__()
        if getattr(net, "classes", crf.classes) != crf.classes:
            raise ValueError(f"the net scores {net.classes} classes, and the CRF is for {crf.classes}; give it as many")
        self.net, self.crf = net, crf
        self.preprocessing = preprocessing or Preprocessing(padding=net.preprocessing_padding)
        self.geometry = replace(net.geometry, stride=1)
        self.preprocessing_padding = net.preprocessing_padding
        for name in ("mean", "std"):
            values = torch.tensor(getattr(self.preprocessing, name)).reshape(1, -1, 1, 1)
            self.register_buffer(name, values, persistent=False)

    @property
    def encoder(self) -> nn.Module:
        """The net's encoder."""
        return self.net.encoder

    @property
    def classes(self) -> int:
        """How many classes are scored."""
        return self.crf.classes

    def forward(self, images: Tensor) -> Tensor:
        """Return the refined logits (n, classes, h, w), without the margin where the net has one."""
        return self._refined(images, self.net(images))

    def supervised(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return what training compares with the labels: the refined logits, then the net's others."""
        trained_by = getattr(self.net, "supervised", lambda images: (self.net(images),))
        main, *others = trained_by(images)
        return self._refined(images, main), *others

    def _refined(self, images: Tensor, logits: Tensor) -> Tensor:
        margin, align = self.geometry.margin, self.geometry.align_corners
        height, width = images.shape[2:]
        inner = images[:, :, margin : height - margin, margin : width - margin]
        if logits.shape[2:] != inner.shape[2:]:
            logits = F.interpolate(_full(logits), inner.shape[2:], mode="bilinear", align_corners=align)
        return self.crf(self._colours(inner), logits)

    @torch.no_grad()
    def _colours(self, images: Tensor) -> Tensor:
        if images.shape[1] != self.preprocessing.channels:
            raise ValueError(
                f"images of {images.shape[1]} channels came, and the preprocessing of WithCRF has "
                f"{self.preprocessing.channels}: give it the one that they were normalised with"
            )
        shares = images.float() * self.std + self.mean
        # Caffe's preprocessing takes its mean off values in 0..255, and knows no shares.
        scale = 1 if max(self.preprocessing.mean) > 1 else 255
        return scale * (shares.flip(1) if self.preprocessing.order == "BGR" else shares)


class _Filtered(torch.autograd.Function):
    """The gradient of a linear filter is its transpose, whose gradient is the filter."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, gaussian: _Gaussian, transposed: bool) -> Tensor:
        ctx.gaussian, ctx.transposed = gaussian, transposed
        return gaussian(values, transposed)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return cast(Tensor, _Filtered.apply(gradient, ctx.gaussian, not ctx.transposed)), None, None


@dataclass(frozen=True, eq=False)
class Filter:
    """How points talk: values (channels, points) to messages of the same shape, with a gradient.

    `gaussian` filters values, or transposed. `own` (points,) is what of its value a point hears from itself and is not
    to hear, or None.
    """

    gaussian: _Gaussian
    own: Tensor | None

    def __call__(self, values: Tensor) -> Tensor:
        messages = cast(Tensor, _Filtered.apply(values, self.gaussian, False))
        return messages if self.own is None else messages - self.own * values


def filter_of(lattice: Lattice, *, self_message: bool, dtype: torch.dtype, device: torch.device) -> Filter:
    """Return the filter of a lattice for values of this dtype on this device: compiled for float32 on the CPU."""
    compiled = device.type == "cpu" and dtype == torch.float32
    gaussian = functools.partial(_compiled, lattice.core) if compiled else Gathered(lattice.core, dtype, device)
    own = None if self_message else torch.from_numpy(_core.self_response(lattice.core)).to(device, dtype)
    return Filter(gaussian, own)


def _compiled(lattice: _core.Lattice, values: Tensor, transposed: bool) -> Tensor:
    return torch.from_numpy(_core.filtered(lattice, values.detach().numpy(), transposed=transposed))


class Gathered:
    """The filter of a lattice in torch's own operations, for any device and floating-point dtype."""

    def __init__(self, lattice: _core.Lattice, dtype: torch.dtype, device: torch.device) -> None:
        rows = tables(lattice)
        self.size, self.gain = lattice.size, lattice.gain
        self.corners, self.neighbours = (torch.from_numpy(each).to(device) for each in (rows.corners, rows.neighbours))
        self.splat, self.slice = (
            torch.from_numpy(np.ascontiguousarray(weights.T)[..., None]).to(device, dtype)
            for weights in (lattice.splat, lattice.slice)
        )

    def __call__(self, values: Tensor, transposed: bool) -> Tensor:
        splat, slice_ = (self.slice, self.splat) if transposed else (self.splat, self.slice)
        points = values.T.contiguous()
        table = points.new_zeros(self.size + 1, points.shape[1])
        for rows, weights in zip(self.corners, splat, strict=True):
            table.index_add_(0, rows, weights * points)
        for before, behind in self.neighbours.flip(0) if transposed else self.neighbours:
            table = table + (table[before] + table[behind]) / 2
        filtered = torch.zeros_like(points)
        for rows, weights in zip(self.corners, slice_, strict=True):
            filtered.addcmul_(weights, table[rows], value=self.gain)
        return filtered.T


@functools.lru_cache(maxsize=_KEPT)
def _spatial(crf: DenseCRF, shape: tuple[int, int], dtype: torch.dtype, device: torch.device) -> Filter:
    lattice = Lattice.of_positions(
        shape, sigma_gamma=crf.sigma_gamma, normalisation=crf.normalisation, threads=crf.threads
    )
    return filter_of(lattice, self_message=crf.self_message, dtype=dtype, device=device)


def _weighted(weights: Tensor, messages: Tensor) -> Tensor:
    return weights @ messages if weights.ndim == 2 else weights.reshape(-1, 1) * messages


def _started(weight: float, classes: int, weights: str) -> Tensor:
    kind = parameters.choice("weights", weights, get_args(Weights))
    shapes = {"scalar": torch.ones(()), "label": torch.ones(classes), "matrix": torch.eye(classes)}
    return weight * shapes[kind]


def _penalties(crf: DenseCRF, classes: int) -> Tensor:
    given = parameters.compatibility_array(crf.compatibility, classes)
    if given is None:
        return 1 - torch.eye(classes)
    return torch.from_numpy(-np.diag(given) if given.ndim == 1 else given)


def _full(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _on_host(images: Tensor) -> NDArray[Any]:
    """Return images (n, c, h, w) as NumPy's (n, h, w, c), uint8 or float32."""
    images = images.detach() if images.dtype == torch.uint8 else images.detach().float()
    return images.permute(0, 2, 3, 1).cpu().numpy()


def _check_crf(crf: Any) -> None:
    if not isinstance(crf, DenseCRF):
        raise TypeError(f"crf is a {type(crf).__name__}; a DenseCRF is needed, as crf_as_rnn() is")
    shortcuts = ("mode", "precision", "prune", "settle", "tolerance")
    taken = [
        f"{each.name} {getattr(crf, each.name)!r}" for each in fields(crf) if getattr(crf, each.name) != each.default
    ]
    came = [each for each in taken if each.startswith(shortcuts)]
    if came:
        raise ValueError(f"crf has {', '.join(came)}, and a layer computes in full; leave these at their defaults")


def _check(images: Tensor, logits: Tensor, classes: int) -> None:
    if logits.ndim != 4 or logits.shape[1] != classes or 0 in logits.shape:
        raise ValueError(
            f"logits have shape {tuple(logits.shape)}; (n, {classes}, h, w) is needed for {classes} classes, each at "
            "least 1"
        )
    if not logits.is_floating_point():
        raise ValueError(f"logits are {logits.dtype}; floating-point scores are needed, not labels")
    if images.ndim != 4 or (len(images), *images.shape[2:]) != (len(logits), *logits.shape[2:]) or 0 in images.shape:
        raise ValueError(
            f"images have shape {tuple(images.shape)} and logits {tuple(logits.shape)}; (n, c, h, w) and "
            f"(n, {classes}, h, w) of one size are needed: enlarge the logits first, as WithCRF does"
        )
    bad = int((~torch.isfinite(logits)).sum())
    if bad:
        raise ValueError(
            f"logits hold NaN or infinity: {bad:,} of {logits.numel():,} values; every value must be finite. If this "
            "came up in training, take a lower learning rate"
        )
