"""Whatever cannot be used is refused, with what came, what is accepted and what to do."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from atrous.crf import DenseCRF, Lattice

NUMBERS: dict[str, Any] = {"w1": 4, "sigma_alpha": 67, "sigma_beta": 3, "w2": 3, "sigma_gamma": 3}
CRF = DenseCRF(**NUMBERS)
IMAGE = np.zeros((4, 5, 3), np.uint8)
HALVES = np.full((2, 4, 5), 0.5, np.float32)


def changed(*index: int, to: float) -> np.ndarray[Any, Any]:
    values = HALVES.copy()
    values[index] = to
    return values


def refuses(words: str, *arguments: Any, kind: type[Exception] = ValueError, **named: Any) -> None:
    with pytest.raises(kind, match=f"^{re.escape(words)}$"):
        CRF(*arguments, **named)


NEEDED = "; (labels, h, w) with at least one label and the image's sizes (4, 5) is needed"
ASK = ". Are these logits? Give logits=..."


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (HALVES * 0, "the probabilities of a pixel must sum to 1; 20 of 20 pixels do not, and pixel (0, 0) is furthest "
         f"off with a sum of 0{ASK}"),
        (changed(1, 2, 3, to=0.6), "the probabilities of a pixel must sum to 1; 1 of 20 pixels do not, and pixel (2, "
         f"3) is furthest off with a sum of 1.1{ASK}"),
        (changed(1, 2, 3, to=-0.25), "probabilities go down to -0.25; below 0 are 1 of 40 values, the first at pixel "
         f"(2, 3) of label 1{ASK}"),
        (changed(1, 2, 3, to=np.nan), "probabilities hold NaN: 1 of 40 values, the first at pixel (2, 3) of label 1; "
         "every value must be finite"),
        (changed(0, 0, 1, to=np.inf), "probabilities hold infinity: 1 of 40 values, the first at pixel (0, 1) of label "
         "0; every value must be finite"),
        (np.where(changed(0, 0, 1, to=np.inf) > 1, np.nan, changed(1, 0, 1, to=-np.inf)), "probabilities hold NaN and "
         "infinity: 2 of 40 values, the first at pixel (0, 1) of label 0; every value must be finite"),
        (HALVES.astype(np.float64) * 1e300, "probabilities hold infinity: 40 of 40 values, the first at pixel (0, 0) "
         "of label 0; every value must be finite"),
        (np.zeros((4, 5), np.uint8), "probabilities are uint8; floating-point numbers of shape (labels, h, w) are "
         "needed. Are these labels? Make probabilities of them with atrous.crf.soft_labels"),
        (HALVES[0], f"probabilities have shape (4, 5){NEEDED}. DenseCRF.batch takes several images, DenseCRF.volume "
         "volumes"),
        (HALVES[None], f"probabilities have shape (1, 2, 4, 5){NEEDED}. DenseCRF.batch takes several images, "
         "DenseCRF.volume volumes"),
        (HALVES[:0], f"probabilities have shape (0, 4, 5){NEEDED}. There is nothing to refine"),
        (np.moveaxis(HALVES, 0, -1), f"probabilities have shape (4, 5, 2){NEEDED}. Axis 2, of length 2, looks like the "
         "labels: give probabilities.transpose(2, 0, 1)"),
        (np.moveaxis(HALVES, 0, 1), f"probabilities have shape (4, 2, 5){NEEDED}. Axis 1, of length 2, looks like the "
         "labels: give probabilities.transpose(1, 0, 2)"),
        (HALVES.swapaxes(1, 2), f"probabilities have shape (2, 5, 4){NEEDED}. The sides are swapped: give "
         "probabilities.transpose(0, 2, 1)"),
        (HALVES[:, :3], f"probabilities have shape (2, 3, 5){NEEDED}. Resize the logits to the image before their "
         "softmax"),
        (HALVES.astype(complex), "probabilities are complex128; floating-point numbers of shape (labels, h, w) are "
         "needed. Are these labels? Make probabilities of them with atrous.crf.soft_labels"),
    ],
)  # fmt: skip
def test_probabilities_that_cannot_be_used(values: np.ndarray[Any, Any], words: str) -> None:
    refuses(words, IMAGE, values)
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        replace(CRF, mode="fast")(IMAGE, values)
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        replace(CRF, mode="exact")(IMAGE, values)


def test_axes_of_equal_length_are_told_by_their_sums() -> None:
    cube = np.random.default_rng(0).random((4, 4, 4)).astype(np.float32) ** 2
    cube /= cube.sum(0)
    for axis, order in ((1, "(1, 0, 2)"), (2, "(2, 0, 1)")):
        refuses(
            f"probabilities sum to 1 over axis {axis}, not 0: give probabilities.transpose{order}, labels first",
            IMAGE[:, :4],
            np.moveaxis(cube, 0, axis),
        )
    assert CRF(IMAGE[:, :4], cube).shape == (4, 4, 4)


def test_labels_are_counted_of_the_rest_label_too() -> None:
    values = np.concatenate([HALVES, np.zeros((3, 4, 5), np.float32)])
    values[3, 1, 1], values[4, 1, 1] = -0.004, 0.004
    for crf in (CRF, replace(CRF, prune=0.2)):
        with pytest.raises(ValueError, match=r"probabilities go down to -0\.004; below 0 are 1 of 100 values"):
            crf(IMAGE, values)


def test_sums_may_be_off_by_a_hundredth() -> None:
    assert CRF(IMAGE, changed(0, 1, 1, to=0.509)).shape == (2, 4, 5)
    with pytest.raises(ValueError, match=r"furthest off with a sum of 1\.011"):
        CRF(IMAGE, changed(0, 1, 1, to=0.511))


@pytest.mark.parametrize(("bad", "what"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
def test_logits_that_cannot_be_used(bad: float, what: str) -> None:
    words = (
        f"logits hold {what}: 1 of 40 values, the first at pixel (3, 4) of label 0; every value must be finite; were "
        "they made with np.log of 0? Give the probabilities instead"
    )
    for crf in (CRF, replace(CRF, prune=0.1), replace(CRF, mode="exact")):
        with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
            crf(IMAGE, logits=changed(0, 3, 4, to=bad))
    refuses(words.replace("logits", "probabilities").partition("; were")[0], IMAGE, changed(0, 3, 4, to=bad))


def test_exactly_one_of_probabilities_and_logits() -> None:
    rest = "; give exactly one: crf(image, probabilities) or crf(image, logits=logits)"
    refuses(f"neither probabilities nor logits came{rest}", IMAGE, kind=TypeError)
    refuses(f"both probabilities and logits came{rest}", IMAGE, HALVES, logits=HALVES, kind=TypeError)


class _Tensor:
    __module__ = "torch"


@pytest.mark.parametrize(
    ("came", "words"),
    [
        (_Tensor(), "a torch tensor came; a NumPy array is needed: NAME.detach().cpu().numpy()"),
        ([[[0.5]]], "a list came; a NumPy array is needed: np.asarray(NAME)"),
        ("photo.jpg", "a str came; a NumPy array is needed: np.asarray(NAME)"),
    ],
)
def test_only_numpy_arrays(came: Any, words: str) -> None:
    refuses("probabilities: " + words.replace("NAME", "probabilities"), IMAGE, came, kind=TypeError)
    refuses("logits: " + words.replace("NAME", "logits"), IMAGE, logits=came, kind=TypeError)
    refuses("image: " + words.replace("NAME", "image"), came, HALVES, kind=TypeError)
    with pytest.raises(TypeError, match=r"^images: a "):
        CRF.batch(came, HALVES[None])


@pytest.mark.parametrize("dtype", ["u2", "i4", "f8", "f2", "?"])
def test_only_bytes_and_single_precision_images(dtype: str) -> None:
    words = (
        f"image is {np.dtype(dtype)}; uint8, or float32 in the units of sigma_beta, is accepted: give "
        "image.astype(np.float32) and a sigma_beta that fits the range of its values"
    )
    refuses(words, IMAGE.astype(dtype), HALVES)


def test_shapes_of_images() -> None:
    rest = (
        "; (h, w) or (h, w, c) is accepted, each at least 1. DenseCRF.batch takes several images, DenseCRF.volume "
        "volumes"
    )
    refuses(f"image has shape (4, 5, 0){rest}", IMAGE[..., :0], HALVES)
    refuses(f"image has shape (0, 5){rest}", IMAGE[:0, :, 0], HALVES)
    refuses(f"image has shape (1, 4, 5, 3){rest}", IMAGE[None], HALVES)
    refuses(
        "image has shape (3, 4, 5); axis 0, of length 3, looks like the channels, which come last: give "
        "image.transpose(1, 2, 0)",
        np.moveaxis(IMAGE, -1, 0),
        HALVES,
    )
    with pytest.raises(ValueError, match=r"\(d, h, w\) or \(d, h, w, c\) is accepted"):
        CRF.volume(IMAGE[:, 0], HALVES)
    with pytest.raises(
        ValueError, match=r"looks like the channels, which come last: give image.transpose\(1, 2, 3, 0\)"
    ):
        CRF.volume(np.zeros((3, 6, 4, 5), np.uint8), np.full((2, 6, 4, 5), 0.5))


def test_values_of_images() -> None:
    image = IMAGE.astype(np.float32)
    image[2, 3, 1] = np.nan
    refuses(
        "image holds NaN: 1 of 60 values, the first at pixel (2, 3) of channel 1; give finite values", image, HALVES
    )
    far = np.full((4, 5), 1e37, np.float32)
    with pytest.raises(
        ValueError, match=r"values up to 1e\+37 over sigma_beta 0.001, are too large for float32; give larger"
    ):
        replace(CRF, sigma_beta=1e-3)(far, HALVES)
    with pytest.raises(
        ValueError, match=r"^positions over sigma_alpha 1e-45, or values up to 0 over sigma_beta 3, are "
    ):
        replace(CRF, sigma_alpha=1e-45)(IMAGE, HALVES)
    with pytest.raises(ValueError, match=r"^sigma_gamma is 1e-45, too small for float32; give a larger one$"):
        replace(CRF, sigma_gamma=1e-45)(IMAGE, HALVES)


def test_a_batch_names_its_image() -> None:
    images, halves = np.stack([IMAGE] * 3), np.stack([HALVES] * 3)
    halves[1] *= 2
    with pytest.raises(
        ValueError, match=r"^image 1 of the batch: the probabilities of a pixel must sum to 1; 20 of 20"
    ):
        CRF.batch(images, halves)
    for bad in ((images[:2], halves), (images, HALVES), (IMAGE[0], halves)):
        words = f"images have shape {bad[0].shape} and probabilities {bad[1].shape}; (n, h, w) or (n, h, w, c) and (n,"
        with pytest.raises(ValueError, match=f"^{re.escape(words)} labels, h, w\\) are needed$"):
            CRF.batch(*bad)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("sigma_alpha", 0, "sigma_alpha is 0; a finite number above 0 is needed"),
        ("sigma_beta", -3, "sigma_beta is -3; a finite number above 0 is needed"),
        ("sigma_gamma", np.nan, "sigma_gamma is nan; a finite number above 0 is needed"),
        ("sigma_gamma", np.inf, "sigma_gamma is inf; a finite number above 0 is needed"),
        ("w1", -1, "w1 is -1; a finite number of at least 0 and below 1e+12 is needed"),
        ("w2", 1e39, "w2 is 1e+39; a finite number of at least 0 and below 1e+12 is needed"),
        ("tolerance", np.nan, "tolerance is nan; a finite number of at least 0 and below 1e+12 is needed"),
        ("prune", 1, "prune is 1; a finite number of at least 0 and below 1 is needed"),
        ("settle", 1.5, "settle is 1.5; a finite number of at least 0 and below 1 is needed"),
        ("iterations", -1, "iterations is -1; 0 or more is needed"),
        ("threads", 0, "threads is 0; 1 or more is needed"),
        ("normalisation", "mean", "normalisation is 'mean'; symmetric, before, after or none is accepted"),
        ("mode", "quick", "mode is 'quick'; full, fast or exact is accepted"),
        ("precision", "float64", "precision is 'float64'; float32 or float16 is accepted"),
        ("compatibility", "ising", "compatibility is 'ising'; potts, a number per label (labels,), or a penalty per "
         "pair of labels (labels, labels) is accepted"),
        ("compatibility", ((1, 2),), "compatibility is ((1, 2),); potts, a number per label (labels,), or a penalty "
         "per pair of labels (labels, labels) is accepted"),
        ("compatibility", (1, np.nan), "compatibility holds NaN, infinity or numbers above 1e+12; every number must be "
         "below it"),
    ],
)  # fmt: skip
def test_parameters_out_of_range(field: str, value: Any, words: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        DenseCRF(**{**NUMBERS, field: value})


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("w1", "4", "w1 is '4'; a number is needed"),
        ("w2", True, "w2 is True; a number is needed"),
        ("sigma_alpha", None, "sigma_alpha is None; a number is needed"),
        ("iterations", 2.5, "iterations is 2.5; a whole number is needed"),
        ("iterations", True, "iterations is True; a whole number is needed"),
        ("threads", "2", "threads is '2'; a whole number is needed"),
        ("threads", 1.5, "threads is 1.5; a whole number is needed"),
        ("self_message", 1, "self_message is 1; True or False is needed"),
    ],
)
def test_parameters_of_another_type(field: str, value: Any, words: str) -> None:
    with pytest.raises(TypeError, match=f"^{re.escape(words)}$"):
        DenseCRF(**{**NUMBERS, field: value})


def test_numbers_of_numpy_are_numbers() -> None:
    crf = DenseCRF(**{**NUMBERS, "w1": np.float32(4), "iterations": np.int64(3), "self_message": np.bool_(True)})
    assert crf == replace(CRF, iterations=3)
    assert type(crf.w1) is float


def test_compatibility_must_fit_the_labels() -> None:
    for given in ([1, 2, 3], np.eye(3)):
        with pytest.raises(ValueError, match=r"^compatibility is for 3 labels, and 2 came; give a number for each$"):
            replace(CRF, compatibility=given)(IMAGE, HALVES)
    with pytest.raises(
        ValueError, match=r"^prune is 0\.2: it merges labels, which the penalties of a compatibility matrix"
    ):
        replace(CRF, compatibility=np.eye(3), prune=0.2)


def test_lattices_of_other_settings_and_sizes() -> None:
    lattice = CRF.lattice(IMAGE)
    words = (
        "the lattice has sigma_alpha 67.0, sigma_beta 3.0, normalisation symmetric, spacing (1.0, 1.0); sigma_alpha "
        "67.0, sigma_beta 5.0, normalisation symmetric, spacing (1.0, 1.0) is needed: make it with lattice(image) of "
        "the same CRF"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        replace(CRF, sigma_beta=5)(lattice, HALVES)
    with pytest.raises(ValueError, match=r"normalisation after, spacing .* is needed"):
        replace(CRF, normalisation="after")(lattice, HALVES)
    refuses(
        "probabilities have shape (2, 3, 5); (labels, h, w) with at least one label and the image's sizes (4, 5) is "
        "needed. Resize the logits to the image before their softmax",
        lattice,
        HALVES[:, :3],
    )
    with pytest.raises(ValueError, match="the lattice has normalisation before; normalisation symmetric is needed"):
        CRF(IMAGE, HALVES, pairwise=[(Lattice.of_features(HALVES, normalisation="before"), 1)])


def test_kernels_of_ones_own() -> None:
    def own(words: str, *pairs: Any, kind: type[Exception] = ValueError) -> None:
        refuses(words, IMAGE, HALVES, pairwise=pairs, kind=kind)

    own("pairwise holds a ndarray; pairs (features, weight) are needed", HALVES, kind=TypeError)
    own("features: a list came; a NumPy array is needed: np.asarray(features)", ([1], 1), kind=TypeError)
    own("a weight of pairwise is '1'; a number is needed", (HALVES, "1"), kind=TypeError)
    own("a weight of pairwise is -1; a finite number of at least 0 and below 1e+12 is needed", (HALVES, -1))
    own("features of pairwise are for an image of (3, 5); (4, 5) is needed, as the image is", (HALVES[:, :3], 1))
    rest = "floating-point numbers (d, h, w) or (d, depth, h, w) are needed, each at least 1"
    own(f"features are uint8 of shape (4, 5, 3); {rest}", (IMAGE, 1))
    own(f"features are float32 of shape (0, 4, 5); {rest}", (HALVES[:0], 1))
    own("pairwise holds a int; pairs (features, weight) are needed", 5, kind=TypeError)
    for bad in (None, 5):
        words = f"pairwise is {bad}; a sequence of pairs (features, weight) is needed, or () for no kernels of your own"
        refuses(words, IMAGE, HALVES, pairwise=bad, kind=TypeError)
    words = "kernel 1 of pairwise: features hold NaN or infinity; every feature of every point must be a finite number"
    for crf in (CRF, replace(CRF, mode="exact")):
        with pytest.raises(ValueError, match=f"^{words}$"):
            crf(IMAGE, HALVES, pairwise=[(HALVES, 1), (HALVES * np.float32(np.nan), 1)])


def test_spacing() -> None:
    for bad in ((1, 1), (1, 1, 1, 1), 2):
        with pytest.raises(ValueError, match=r"^spacing is .*; \(dz, dy, dx\) is needed$"):
            CRF.volume(IMAGE, HALVES, spacing=bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^spacing is 0; a finite number above 0 is needed$"):
        CRF.volume(IMAGE, HALVES, spacing=(0, 1, 1))
