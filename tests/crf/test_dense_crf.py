"""The CRF against published marginals, and what must hold whatever comes."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from atrous import _core
from atrous import crf as room
from atrous.crf import DenseCRF, Lattice
from atrous.crf.dense_crf import FAST
from atrous.crf.exact import softmax

CRF = DenseCRF(w1=4, sigma_alpha=67, sigma_beta=3, w2=3, sigma_gamma=3, iterations=4)
PARAMETERS = ("w1", "sigma_alpha", "sigma_beta", "w2", "sigma_gamma")
GOLDEN: dict[str, tuple[tuple[float, ...], dict[str, Any]]] = {
    "gauss_sym": ((0, 20, 13, 3, 3), {}),
    "bilat_sym": ((10, 20, 13, 0, 3), {}),
    "both_sym": ((10, 20, 13, 3, 3), {}),
    "both_before": ((10, 20, 13, 3, 3), {"normalisation": "before"}),
    "both_after": ((10, 20, 13, 3, 3), {"normalisation": "after"}),
    "both_none": ((10, 3, 13, 3, 1), {"normalisation": "none"}),
    "deeplab": ((4, 49, 5, 3, 3), {}),
    "matrix_compat": ((1, 20, 13, 0, 3), {"compatibility": [[0, -4, -1], [-4, 0, -2], [-1, -2, 0]]}),
}


def image_of(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 40, shape, np.uint8)


def probabilities_of(*shape: int, seed: int = 1, sharpness: float = 3) -> NDArray[np.float32]:
    values = np.exp(sharpness * np.random.default_rng(seed).standard_normal(shape))
    return (values / values.sum(0)).astype(np.float32)


def are_close(left: NDArray[Any], right: NDArray[Any], tolerance: float = 1e-5) -> bool:
    return left.shape == right.shape and bool(np.abs(left - right).max() <= tolerance)


@pytest.fixture(scope="module")
def golden(data_dir: Path) -> dict[str, NDArray[Any]]:
    with np.load(data_dir / "crf" / "densecrf2d_96.npz") as file:
        return dict(file)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("steps", [1, 2, 5, 10])
@pytest.mark.parametrize("name", GOLDEN)
def test_marginals_are_those_of_the_published_program(
    golden: dict[str, NDArray[Any]], name: str, steps: int, threads: int
) -> None:
    numbers, options = GOLDEN[name]
    crf = DenseCRF(**dict(zip(PARAMETERS, numbers, strict=True)), **options, iterations=steps, threads=threads)
    ours, theirs = crf(golden["image_rgb"], golden["prob"]), golden[f"{name}_q{steps}"]
    apart = np.abs(ours - theirs)
    assert (ours.argmax(0) == theirs.argmax(0)).mean() >= 0.9999
    assert apart.mean() <= 1e-6
    assert np.quantile(apart, 0.9999) <= 1e-3


def test_another_parameter_is_seen_by_that_comparison(golden: dict[str, NDArray[Any]]) -> None:
    ours = DenseCRF(w1=10, sigma_alpha=20, sigma_beta=13.1, w2=3, sigma_gamma=3)(golden["image_rgb"], golden["prob"])
    assert np.abs(ours - golden["both_sym_q10"]).mean() > 1e-5


@pytest.mark.parametrize("labels", [1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 21, 150])
def test_any_number_of_labels(labels: int) -> None:
    image, probabilities = image_of(17, 13, 3), probabilities_of(labels, 17, 13)
    marginals = CRF(image, probabilities)
    assert marginals.dtype == np.float32
    assert marginals.flags.c_contiguous
    assert are_close(marginals.sum(0), np.ones((17, 13)))
    padded = np.concatenate([probabilities, np.full((1, 17, 13), 1e-5, np.float32)])
    assert are_close(CRF(image, padded)[:labels], marginals, 1e-2)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_any_number_of_channels_as_bytes_and_as_floats(channels: int) -> None:
    image, probabilities = image_of(12, 19, channels), probabilities_of(3, 12, 19)
    from_bytes = CRF(image, probabilities)
    np.testing.assert_array_equal(CRF(image.astype(np.float32), probabilities), from_bytes)
    in_units = replace(CRF, sigma_beta=3 / 4)
    np.testing.assert_array_equal(in_units(image.astype(np.float32) / 4, probabilities), from_bytes)
    if channels == 1:
        np.testing.assert_array_equal(CRF(image[..., 0], probabilities), from_bytes)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 2), (3, 100)])
def test_thin_images(size: tuple[int, int]) -> None:
    marginals = CRF(image_of(*size, 3), probabilities_of(4, *size))
    assert are_close(marginals.sum(0), np.ones(size))


@pytest.mark.parametrize("count", [2, 3])
def test_number_of_threads_changes_rounding_only(count: int) -> None:
    image, probabilities = image_of(50, 33, 3), probabilities_of(5, 50, 33)
    single, several = replace(CRF, threads=1), replace(CRF, threads=count)
    assert single.lattice(image).core.strips == 1
    assert several.lattice(image).core.strips == count
    assert are_close(several(image, probabilities), single(image, probabilities))


def test_inputs_stay_as_they_are_whatever_their_strides() -> None:
    image, probabilities = image_of(14, 15, 3), probabilities_of(4, 14, 15)
    expected = CRF(image, probabilities)
    wide, deep = np.repeat(image, 2, axis=1), np.ascontiguousarray(np.moveaxis(probabilities, 0, -1))
    strided, last = wide[:, ::2], np.moveaxis(deep, -1, 0)
    assert not strided.flags.c_contiguous
    assert not last.flags.c_contiguous
    for given_image, given_probabilities in ((image, probabilities), (strided, last)):
        given_image.flags.writeable = given_probabilities.flags.writeable = False
        before = given_image.copy(), given_probabilities.copy()
        np.testing.assert_array_equal(CRF(given_image, given_probabilities), expected)
        np.testing.assert_array_equal(given_image, before[0])
        np.testing.assert_array_equal(given_probabilities, before[1])


@pytest.mark.parametrize("dtype", ["f2", "f8", ">f4"])
def test_other_floating_types_are_converted(dtype: str) -> None:
    image, probabilities = image_of(9, 8, 3), probabilities_of(4, 9, 8).astype(dtype)
    np.testing.assert_array_equal(CRF(image, probabilities), CRF(image, probabilities.astype(np.float32)))


def test_without_iterations_or_kernels_it_is_the_softmax() -> None:
    image, logits = image_of(9, 8, 3), np.log(probabilities_of(4, 9, 8))
    for crf in (replace(CRF, iterations=0), replace(CRF, w1=0, w2=0)):
        assert are_close(crf(image, logits=logits), np.exp(logits))
        assert are_close(crf(image, np.exp(logits)), np.exp(logits), 1e-4)


def test_weight_of_zero_leaves_its_kernel_out() -> None:
    probabilities = probabilities_of(4, 20, 21)
    smooth, rough = replace(CRF, w1=0), replace(CRF, w2=0)
    np.testing.assert_array_equal(
        smooth(image_of(20, 21, 3), probabilities), smooth(image_of(20, 21, 3, seed=5), probabilities)
    )
    np.testing.assert_array_equal(
        replace(rough, sigma_gamma=9)(image_of(20, 21, 3), probabilities), rough(image_of(20, 21, 3), probabilities)
    )


def test_probabilities_and_their_logarithms_agree() -> None:
    image, probabilities = image_of(20, 21, 3), probabilities_of(4, 20, 21, sharpness=1)
    assert are_close(CRF(image, probabilities), CRF(image, logits=np.log(probabilities)))


def test_compatibilities_that_mean_the_same_agree() -> None:
    image, probabilities = image_of(20, 21, 3), probabilities_of(4, 20, 21)
    potts = CRF(image, probabilities)
    for same in (np.ones(4), -np.eye(4), 1 - np.eye(4), (1 - np.eye(4)).tolist()):
        assert are_close(replace(CRF, compatibility=same)(image, probabilities), potts)
    stronger = replace(CRF, compatibility=[2, 2, 2, 2])(image, probabilities)
    assert are_close(stronger, replace(CRF, w1=8, w2=6)(image, probabilities))


def test_pairs_of_a_matrix_are_not_made_symmetric() -> None:
    image, probabilities = image_of(20, 21, 3), probabilities_of(2, 20, 21)
    matrix = np.array([[0.0, 1.0], [0.2, 0.0]])
    there = replace(CRF, compatibility=matrix)(image, probabilities)
    assert not are_close(replace(CRF, compatibility=matrix.T)(image, probabilities), there, 1e-2)


def test_without_its_own_message_a_pixel_is_less_sure() -> None:
    image, probabilities = image_of(20, 21, 3), probabilities_of(4, 20, 21)
    crf = replace(CRF, normalisation="none", w2=0, sigma_beta=1, w1=1, iterations=1)
    with_own = crf(image, probabilities)
    assert replace(crf, self_message=False)(image, probabilities).max(0).mean() < with_own.max(0).mean()


def test_kernels_of_ones_own_are_the_built_in_ones_for_the_same_features() -> None:
    image, probabilities = image_of(20, 21), probabilities_of(4, 20, 21)
    y, x = np.mgrid[:20, :21].astype(np.float32)
    places, colours = np.stack([x, y]) / np.float32(3), image[None] / np.float32(3)
    bilateral = np.concatenate([np.stack([x, y]) / np.float32(67), colours])
    empty, expected = replace(CRF, w1=0, w2=0), CRF(image, probabilities)
    assert are_close(empty(image, probabilities, pairwise=[(bilateral, 4), (places, 3)]), expected)
    lattice = Lattice.of_features(places)
    assert are_close(replace(CRF, w2=0)(image, probabilities, pairwise=[(lattice, 3), (places, 0)]), expected)


def test_lattice_stands_for_its_image() -> None:
    image, probabilities = image_of(40, 21, 3), probabilities_of(4, 40, 21)
    lattice = replace(CRF, threads=1).lattice(image)
    for crf in (CRF, replace(CRF, w1=2, w2=1, iterations=2, compatibility=[1, 2, 1, 0]), replace(CRF, w1=0)):
        assert are_close(crf(lattice, probabilities), crf(image, probabilities))


def test_batch_is_its_images_one_by_one() -> None:
    images, probabilities = image_of(5, 20, 21, 3), np.stack([probabilities_of(4, 20, 21, seed=n) for n in range(5)])
    expected = np.stack([CRF(*pair) for pair in zip(images, probabilities, strict=True)])
    for threads in (1, 2, 7, None):
        assert are_close(replace(CRF, threads=threads).batch(images, probabilities), expected)
    logits = np.log(probabilities)
    assert are_close(CRF.batch(images[..., 0], logits=logits)[3], CRF(images[3, ..., 0], logits=logits[3]))
    assert CRF.batch(images[:0], probabilities[:0]).shape == (0, 4, 20, 21)


def test_volume_of_one_slice_is_its_image() -> None:
    image, probabilities = image_of(20, 21, 3), probabilities_of(4, 20, 21)
    for given_image in (image, image[..., 0]):
        volume = CRF.volume(given_image[None], probabilities[:, None])
        assert volume.shape == (4, 1, 20, 21)
        np.testing.assert_array_equal(volume[:, 0], CRF(given_image, probabilities))
    stretched = CRF.volume(image[None], probabilities[:, None], spacing=(9, 2, 2))[:, 0]
    finer = replace(CRF, sigma_alpha=67 / 2, sigma_gamma=3 / 2)(image, probabilities)
    assert are_close(stretched, finer)


def test_volume_has_a_third_position() -> None:
    image, probabilities = image_of(4, 10, 11, 1), probabilities_of(3, 4, 10, 11)
    z, y, x = np.mgrid[:4, :10, :11].astype(np.float32)
    places = np.stack([x * np.float32(0.5), y, z * np.float32(2)])
    bilateral = np.concatenate([places / np.float32(67), image[None, ..., 0] / np.float32(3)])
    empty = replace(CRF, w1=0, w2=0)
    own = empty.volume(image, probabilities, pairwise=[(bilateral, 4), (places / np.float32(3), 3)])
    spaced = CRF.volume(image, probabilities, spacing=(2, 1, 0.5))
    assert are_close(spaced, own)
    assert not are_close(CRF.volume(image, probabilities), spaced, 1e-3)
    lattice = CRF.lattice(image, spacing=(2, 1, 0.5))
    assert are_close(CRF.volume(lattice, probabilities, spacing=[2, 1, 0.5]), spaced)


def test_far_slices_are_told_nothing() -> None:
    image, probabilities = image_of(3, 20, 21, 3), probabilities_of(4, 3, 20, 21)
    crf = replace(CRF, normalisation="none")
    changed = probabilities.copy()
    changed[:, 2] = probabilities_of(4, 20, 21, seed=9)
    near, far = (crf.volume(image, changed, spacing=(dz, 1, 1))[:, 0] for dz in (1, 1e5))
    assert are_close(crf.volume(image, probabilities, spacing=(1e5, 1, 1))[:, 0], far)
    assert not are_close(crf.volume(image, probabilities)[:, 0], near, 1e-3)


def test_fast_mode_puts_its_values_where_none_were_chosen() -> None:
    image, probabilities = image_of(30, 31, 3), probabilities_of(5, 30, 31)
    fast = replace(CRF, mode="fast")(image, probabilities)
    np.testing.assert_array_equal(fast, replace(CRF, **FAST)(image, probabilities))
    chosen = replace(CRF, tolerance=0.5)
    spelt_out = replace(CRF, **{**FAST, "tolerance": 0.5})
    np.testing.assert_array_equal(replace(chosen, mode="fast")(image, probabilities), spelt_out(image, probabilities))
    matrix = replace(CRF, mode="fast", compatibility=1 - np.eye(5))(image, probabilities)
    assert are_close(matrix, replace(CRF, **{**FAST, "prune": 0})(image, probabilities), 1e-4)


def photo_like(labels: int, height: int = 96, width: int = 128) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return an image of five noisy areas, and probabilities as a network's: blurred, at a stride of 8, enlarged."""
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:height, :width]
    centres = rng.random((5, 2)) * (height, width)
    areas = np.argmin([(y - row) ** 2 + (x - column) ** 2 for row, column in centres], axis=0)
    image = rng.integers(40, 215, (5, 3))[areas] + rng.normal(0, 6, (height, width, 3))
    scores = rng.normal(-5, 1.5, (labels, height // 8, width // 8)).astype(np.float32)
    for area, label in enumerate(rng.permutation(labels)[:5]):
        inside = cv2.resize((areas == area).astype(np.float32), (width // 8, height // 8), interpolation=cv2.INTER_AREA)
        scores[label] += 8 * cv2.GaussianBlur(inside, (0, 0), 0.8) + rng.normal(0, 1, inside.shape)
    logits = np.stack([cv2.resize(each, (width, height), interpolation=cv2.INTER_LINEAR) for each in scores])
    return image.clip(0, 255).astype(np.uint8), softmax(logits)


@pytest.mark.parametrize("numbers", [(4, 67, 3, 3, 3), (10, 80, 13, 3, 3)])
def test_fast_mode_gives_the_labels_of_the_full_one(numbers: tuple[float, ...]) -> None:
    image, probabilities = photo_like(21)
    full = DenseCRF(**dict(zip(PARAMETERS, numbers, strict=True)))
    wanted, found = (crf(image, probabilities).argmax(0) for crf in (full, replace(full, mode="fast")))
    assert (wanted != probabilities.argmax(0)).mean() > 0.01  # the CRF had something to do
    assert (found == wanted).mean() >= 0.999


def test_fast_mode_of_two_labels_is_the_full_one_but_for_rounding() -> None:
    image, probabilities = photo_like(5)
    two = np.stack([probabilities[:2].sum(0), probabilities[2:].sum(0)])
    full = replace(CRF, iterations=10)(image, two)
    fast = replace(CRF, iterations=10, mode="fast")(image, two)
    assert (full.argmax(0) != two.argmax(0)).mean() > 0.01
    assert are_close(fast, full, 1e-3)
    five = replace(CRF, iterations=10, mode="fast")(image, probabilities)
    assert not are_close(five, replace(CRF, iterations=10)(image, probabilities), 1e-3)  # of more labels it is not


def test_fast_mode_settles_the_less_the_larger_the_weights() -> None:
    settles = [replace(CRF, mode="fast", w1=w1)._spelt_out().settle for w1 in (1, 4, 10, 20)]
    assert settles[0] == FAST["settle"]
    assert settles == sorted(settles, reverse=True)
    assert settles[3] < settles[2] < settles[1] / 10
    assert replace(CRF, mode="fast", w1=20, settle=0.01)._spelt_out().settle == 0.01


def test_kernels_get_the_parameters_and_the_array_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, dict[str, Any]]] = []

    def mean_field(unary: NDArray[Any], pairwise: Any, **options: Any) -> NDArray[Any]:
        calls.append((unary, options))
        return unary

    monkeypatch.setattr(_core, "mean_field", mean_field)
    image, probabilities = image_of(20, 21, 3), probabilities_of(4, 20, 21)
    chosen: dict[str, Any] = {"precision": "float16", "settle": 0.01, "tolerance": 0.002, "self_message": False}
    marginals = replace(CRF, **chosen)(image, logits=probabilities)
    unary, options = calls[0]
    assert np.shares_memory(unary, probabilities)
    assert np.shares_memory(marginals, unary)
    assert options == chosen | {"iterations": 4, "from_probabilities": False, "kept": None, "compatibility": None}


def test_compatibilities_can_be_compared_and_written() -> None:
    crf = replace(CRF, compatibility=np.eye(3))
    assert crf == replace(CRF, compatibility=np.eye(3).tolist())
    assert crf != CRF
    assert len({crf, CRF, replace(CRF)}) == 2
    assert DenseCRF(**json.loads(json.dumps(asdict(crf)))) == crf
    assert pickle.loads(pickle.dumps(crf)) == crf


def test_names_that_others_rely_on() -> None:
    presets = {"crf_as_rnn", "deeplab_v1", "deeplab_v2", "mild", "pydensecrf_example"}
    others = {"DenseCRF", "GuidedFilter", "Lattice", "Scribbles", "Superpixels", "exact_mean_field", "soft_labels"}
    assert set(room.__all__) == presets | others
    assert dir(room) == sorted(room.__all__)
    for name in room.__all__:
        assert getattr(room, name).__name__ == name
        assert getattr(room, name).__module__.startswith("atrous.crf.")
    with pytest.raises(AttributeError, match=r"module 'atrous.crf' has no attribute 'Lattices'; it has .*DenseCRF"):
        _ = room.Lattices


def test_the_room_needs_numpy_and_no_more() -> None:
    program = """
import sys
for name in ("cv2", "PIL", "torch", "scipy", "pydantic"):
    sys.modules[name] = None
import numpy as np
import atrous.crf as room
assert {"Scribbles", "soft_labels"} <= set(room.__all__)
print(room.mild()(np.zeros((2, 3), np.uint8), np.full((2, 2, 3), 0.5, np.float32)).tolist())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert json.loads(done.stdout) == np.full((2, 2, 3), 0.5).tolist()


sizes = st.tuples(st.integers(1, 5), st.integers(1, 12), st.integers(1, 12))
cases = sizes.flatmap(
    lambda size: st.tuples(
        arrays.arrays(np.float32, size, elements=st.floats(-20, 20, width=32)),
        arrays.arrays(np.uint8, (*size[1:], 3)),
        st.permutations(range(size[0])),
    )
)


@settings(max_examples=60, deadline=None)
@given(case=cases, normalisation=st.sampled_from(("symmetric", "before", "after", "none")), shift=st.integers(-64, 64))
def test_whatever_comes_marginals_sum_to_one_and_labels_are_alike(
    case: tuple[NDArray[np.float32], NDArray[np.uint8], list[int]], normalisation: Any, shift: int
) -> None:
    logits, image, order = case
    crf = replace(CRF, w1=1.5, w2=1, iterations=3, normalisation=normalisation)
    marginals = crf(image, logits=logits)
    assert marginals.min() >= 0
    assert are_close(marginals.sum(0), np.ones(image.shape[:2]))
    assert are_close(crf(image, logits=logits[order]), marginals[order], 1e-3)
    assert are_close(crf(image, logits=logits + np.float32(shift)), marginals, 1e-3)


@pytest.mark.parametrize("normalisation", ["after", "none"])
def test_half_precision_needs_small_sums(normalisation: Any) -> None:
    words = (
        f"precision is float16 and normalisation {normalisation}, which adds up values until they are too large for "
        "half precision: give precision float32, or normalisation symmetric or before"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        replace(CRF, normalisation=normalisation, precision="float16")
    image, probabilities = image_of(20, 21, 3), probabilities_of(4, 20, 21)
    single = replace(
        CRF, normalisation=normalisation, **{name: FAST[name] for name in ("prune", "settle", "tolerance")}
    )
    fast = replace(CRF, normalisation=normalisation, mode="fast")
    np.testing.assert_array_equal(fast(image, probabilities), single(image, probabilities))
