"""Labels that are nowhere likely, merged into one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from atrous.crf import DenseCRF

CRF = DenseCRF(w1=4, sigma_alpha=67, sigma_beta=3, w2=3, sigma_gamma=3, iterations=5)


@pytest.fixture
def image() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 40, (20, 30, 3), np.uint8)


@pytest.fixture
def probabilities() -> NDArray[np.float32]:
    """Return those of three likely labels, 0, 2 and 5 of six, and three that have up to 2 % each."""
    values = np.exp(2 * np.random.default_rng(1).standard_normal((6, 20, 30)))
    values /= values[[0, 2, 5]].sum(0)
    values[[1, 3, 4]] = 0.02 * np.random.default_rng(2).random((3, 20, 30))
    return (values / values.sum(0)).astype(np.float32)


@pytest.mark.parametrize("name", ["probabilities", "logits"])
@pytest.mark.parametrize("compatibility", ["potts", (1.0, 2.0, 1.5, 1.0, 1.0, 0.5)])
def test_merged_labels_change_little(
    image: NDArray[Any], probabilities: NDArray[Any], compatibility: Any, name: str
) -> None:
    crf = replace(CRF, compatibility=compatibility)
    values = probabilities if name == "probabilities" else np.log(probabilities) + 7
    full, pruned = crf(image, **{name: values}), replace(crf, prune=0.03)(image, **{name: values})
    assert (full.argmax(0) == pruned.argmax(0)).mean() > 0.995
    assert np.abs(full - pruned).mean() < 1e-2
    assert not np.array_equal(full, pruned)
    np.testing.assert_allclose(pruned.sum(0), 1, atol=1e-5)


def test_rest_is_shared_out_as_the_probabilities_were(image: NDArray[Any], probabilities: NDArray[Any]) -> None:
    marginals = replace(CRF, prune=0.03)(image, probabilities)
    rest = [1, 3, 4]
    ours, theirs = (values[rest] / values[rest].sum(0) for values in (marginals, probabilities + np.float32(1e-5)))
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_it_is_inference_with_a_rest_label_that_gets_no_messages(
    image: NDArray[Any], probabilities: NDArray[Any]
) -> None:
    few = np.concatenate([probabilities[[0, 2, 5]], probabilities[[1, 3, 4]].sum(0, keepdims=True)])
    expected = replace(CRF, compatibility=[1, 1, 1, 0])(image, few)
    marginals = replace(CRF, prune=0.03)(image, probabilities)
    np.testing.assert_allclose(marginals[[0, 2, 5]], expected[:3], atol=1e-5)
    np.testing.assert_allclose(marginals[[1, 3, 4]].sum(0), expected[3], atol=1e-5)


def test_labels_without_any_probability_share_alike(image: NDArray[Any], probabilities: NDArray[Any]) -> None:
    values = probabilities.copy()
    values[[1, 3, 4]] = 0
    values /= values.sum(0)
    marginals = replace(CRF, prune=0.03)(image, values)
    np.testing.assert_allclose(marginals.sum(0), 1, atol=1e-5)
    np.testing.assert_allclose(marginals[1], marginals[3])
    assert marginals.min() >= 0


def test_nothing_is_merged_where_one_label_or_all_are_unlikely(
    image: NDArray[Any], probabilities: NDArray[Any]
) -> None:
    few = probabilities[[0, 1, 2]] / probabilities[[0, 1, 2]].sum(0)
    np.testing.assert_array_equal(replace(CRF, prune=0.03)(image, few), CRF(image, few))
    flat = np.full((6, 20, 30), 1 / 6, np.float32)
    np.testing.assert_array_equal(replace(CRF, prune=0.5)(image, flat), CRF(image, flat))


def test_labels_as_likely_as_the_limit_are_kept(image: NDArray[Any], probabilities: NDArray[Any]) -> None:
    limit = float(np.sort(probabilities.max((1, 2)))[1])
    np.testing.assert_array_equal(replace(CRF, prune=limit)(image, probabilities), CRF(image, probabilities))
    assert not np.array_equal(replace(CRF, prune=limit * 1.01)(image, probabilities), CRF(image, probabilities))


def test_inputs_stay_as_they_are(image: NDArray[Any], probabilities: NDArray[Any]) -> None:
    logits = np.log(probabilities)
    probabilities.flags.writeable = logits.flags.writeable = False
    replace(CRF, prune=0.03)(image, probabilities)
    replace(CRF, prune=0.03)(image, logits=logits)


def after(iterations: int) -> DenseCRF:
    return replace(CRF, iterations=iterations)


def test_tolerance_is_of_all_labels(image: NDArray[Any], probabilities: NDArray[Any]) -> None:
    """Idle labels take part in the mean, so a tolerance ends the iterations where it does without pruning."""
    changes = [
        np.abs(after(steps + 1)(image, probabilities) - after(steps)(image, probabilities)).mean()
        for steps in (1, 2, 3)
    ]
    tolerance = (changes[1] + changes[2]) / 2
    ended = replace(after(5), prune=0.03, tolerance=float(tolerance))(image, probabilities)
    np.testing.assert_array_equal(ended, replace(after(4), prune=0.03)(image, probabilities))
