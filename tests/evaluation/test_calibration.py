"""Calibration against a loop over pixels, torchmetrics, and by hand."""

import json
import math

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from atrous.evaluation import CALIBRATION_DEFINITIONS, Calibration


def maps(seed, classes=4, shape=(12, 13)):
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (classes, *shape))
    probabilities = (np.exp(logits) / np.exp(logits).sum(0)).astype(np.float32)
    truth = np.where(random.random(shape) < 0.6, probabilities.argmax(0), random.integers(0, classes, shape))
    return truth.astype(np.uint8), probabilities


def slowly(truth, probabilities, bins):
    counted = [place for place in np.ndindex(truth.shape) if truth[place] != 255]
    table = [[0, 0, 0.0] for _ in range(bins)]
    brier = nll = 0.0
    for place in counted:
        given = [float(each) for each in probabilities[(slice(None), *place)]]
        sure = max(given)
        row = next(index for index in range(bins) if sure <= (index + 1) / bins or index == bins - 1)
        table[row][0] += 1
        table[row][1] += given.index(sure) == truth[place]
        table[row][2] += sure
        brier += sum((p - (c == truth[place])) ** 2 for c, p in enumerate(given))
        nll -= math.log(given[truth[place]])
    ece = sum(abs(right - sure) for _, right, sure in table) / len(counted)
    return ece, brier / len(counted), nll / len(counted), table


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("bins", [1, 10, 15])
def test_against_a_loop(seed, bins):
    truth, probabilities = maps(seed)
    truth[:3] = 255
    found = Calibration.of(truth, probabilities, bins=bins)
    ece, brier, nll, table = slowly(truth, probabilities, bins)
    np.testing.assert_allclose([found.ece, found.brier, found.nll], [ece, brier, nll], rtol=1e-6)
    np.testing.assert_allclose(found.counts, table, rtol=1e-6)


def test_against_torchmetrics():
    truth, probabilities = maps(7, shape=(40, 40))
    given = torch.from_numpy(probabilities.reshape(4, -1).T.copy()), torch.from_numpy(truth.ravel().astype(np.int64))
    theirs = multiclass_calibration_error(*given, num_classes=4, n_bins=15)
    np.testing.assert_allclose(Calibration.of(truth, probabilities).ece, float(theirs), rtol=1e-4)


def test_perfect_and_hopeless():
    truth = np.uint8([[0, 1], [1, 0]])
    sure = np.stack([truth == 0, truth == 1]).astype(np.float32)
    perfect = Calibration.of(truth, sure)
    assert (perfect.ece, perfect.brier, perfect.nll) == (0, 0, 0)
    hopeless = Calibration.of(1 - truth, sure)
    assert (hopeless.ece, hopeless.brier) == (1, 2)
    np.testing.assert_allclose(hopeless.nll, -math.log(1e-7))


def test_volumes_and_half_precision():
    truth, probabilities = maps(1, shape=(3, 4, 5))
    exact, half = (Calibration.of(truth, each) for each in (probabilities, probabilities.astype(np.float16)))
    np.testing.assert_allclose([half.brier, half.nll], [exact.brier, exact.nll], rtol=1e-2)


def test_sums_are_over_the_set():
    parts = [Calibration.of(*maps(seed)) for seed in range(2)]
    whole = Calibration.of(*(np.concatenate(each, -1) for each in zip(maps(0), maps(1), strict=True)))
    both = parts[0] + parts[1]
    np.testing.assert_allclose([both.ece, both.brier, both.nll], [whole.ece, whole.brier, whole.nll])
    assert (both.images, both.pixels) == (2, whole.pixels)
    with pytest.raises(ValueError, match="15 and 3 bins came"):
        both + Calibration.of(*maps(0), bins=3)


def test_the_table_and_the_document():
    truth, probabilities = maps(0)
    found = Calibration.of(truth, probabilities)
    document = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert document["ece"] == found.ece
    assert document["bins"][0] == {"low": 0, "high": 1 / 15, "confidence": None, "accuracy": None, "pixels": 0}
    assert sum(row["pixels"] for row in document["bins"]) == truth.size == document["pixels"]
    text = found.as_text()
    assert all(words in text for words in CALIBRATION_DEFINITIONS.values())
    assert text.splitlines()[-1].split()[:3] == ["93", "to", "100"]


def test_nothing_counted():
    found = Calibration.of(np.full((2, 2), 255, np.uint8), np.full((3, 2, 2), np.nan, np.float32))
    assert found.pixels == 0
    assert math.isnan(found.ece)
    assert json.loads(json.dumps(found.as_json(), allow_nan=False))["nll"] is None
    assert found.as_text()


HALVES = np.full((2, 1, 2), 0.5, np.float32)


@pytest.mark.parametrize(
    ("truth", "probabilities", "bins", "words"),
    [
        (np.zeros((1, 2)), HALVES, 15, r"truth is float64 of shape \(1, 2\); labels are uint8"),
        (np.zeros((1, 3), np.uint8), HALVES, 15, r"of shape \(2, 1, 2\); floating point of shape \(classes, 1, 3\) is"),
        (np.zeros((1, 2), np.uint8), np.ones((2, 1, 2), np.uint8), 15, "probabilities are uint8 of shape"),
        (np.full((1, 2), 2, np.uint8), HALVES, 15, "truth has label 2; 2 probabilities came for each pixel"),
        (np.zeros((1, 2), np.uint8), HALVES * 3, 15, "probabilities of some pixel do not sum to 1"),
        (np.zeros((1, 2), np.uint8), HALVES * np.nan, 15, "do not sum to 1; .* not NaN"),
        (np.zeros((1, 2), np.uint8), np.float32([[[2, 1]], [[-1, 0]]]), 15, "probabilities -1 to 2 came; they are 0"),
        (np.zeros((1, 2), np.uint8), HALVES, 0, "0 bins came; one or more are needed"),
    ],
)
def test_what_is_refused(truth, probabilities, bins, words):
    with pytest.raises(ValueError, match=words):
        Calibration.of(truth, probabilities, bins=bins)


def test_a_bin_holds_its_upper_edge():
    truth = np.zeros((1, 4), np.uint8)
    sure = np.array([0.5, 0.625, 0.75, 1])
    found = Calibration.of(truth, np.stack([sure, 1 - sure])[:, None], bins=4)
    assert found.counts[:, 0].tolist() == [0, 1, 2, 1]
    quarters = Calibration.of(truth, np.full((4, 1, 4), 0.25), bins=4)
    assert quarters.counts[:, 0].tolist() == [4, 0, 0, 0]


def test_infinite_probabilities_are_refused_without_a_warning():
    endless = np.float32([[[np.inf, 0.5]], [[-np.inf, 0.5]]])
    with pytest.raises(ValueError, match="do not sum to 1"):
        Calibration.of(np.zeros((1, 2), np.uint8), endless)
