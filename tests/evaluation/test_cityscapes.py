"""The numbers of Cityscapes' own evaluation program, on a set that is made up."""

import numpy as np
import pytest
from PIL import Image

from atrous.contract import LabelSpace
from atrous.evaluation import Evaluation, joined

program = pytest.importorskip(
    "cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling",
    reason="cityscapesScripts is not installed: pip install cityscapesScripts",
)


def scenes(count, ids, random):
    """Yield true and predicted ids of Cityscapes (40, 60): all classes, ignored ones in the truth, mistakes."""
    for _ in range(count):
        everything = np.arange(34)
        coarse = np.resize(random.permutation(everything), (5, 8))
        truth = np.kron(coarse, np.ones((8, 8), int))[:, :60].astype(np.uint8)
        guess = np.where(random.random(truth.shape) < 0.7, truth, random.choice(ids, truth.shape))
        found = np.where(np.isin(guess, ids), guess, random.choice(ids, truth.shape)).astype(np.uint8)
        yield truth, found


def ours(pairs, ids, names):
    numbers = np.full(256, 255, np.uint8)
    numbers[ids] = np.arange(len(ids))
    space = LabelSpace(names=tuple(names))
    return joined(
        Evaluation.of(f"{k}.png", numbers[truth], numbers[found], space) for k, (truth, found) in enumerate(pairs)
    )


@pytest.mark.parametrize("absent", [(), (7, 33)])
def test_the_same_numbers(absent, tmp_path, monkeypatch):
    """A class that the truth lacks and the prediction has is 0 in their mean, and NaN in ours but in the other mean."""
    counted = sorted(
        (label for label in program.labels if label.id >= 0 and not label.ignoreInEval), key=lambda each: each.trainId
    )
    ids = [label.id for label in counted]
    pairs = [(np.where(np.isin(truth, absent), 8, truth).astype(np.uint8), found)
             for truth, found in scenes(3, ids, np.random.default_rng(0))]  # fmt: skip
    files = {"truth": [], "found": []}
    for index, pair in enumerate(pairs):
        for (kind, paths), labels in zip(files.items(), pair, strict=True):
            paths.append(str(tmp_path / f"aachen_{index:06}_000019_{kind}_labelIds.png"))
            Image.fromarray(labels).save(paths[-1])
    for name, value in {"evalInstLevelScore": False, "JSONOutput": False, "quiet": True}.items():
        monkeypatch.setattr(program.args, name, value)
    theirs = program.evaluateImgLists(files["found"], files["truth"], program.args)
    evaluation = ours(pairs, ids, [label.name for label in counted])
    assert len(ids) == 19
    np.testing.assert_array_equal(evaluation.scores.confusion, np.array(theirs["confMatrix"])[np.ix_(ids, ids)])
    np.testing.assert_array_equal(
        np.nan_to_num(evaluation.scores.iou), [theirs["classScores"][name] for name in evaluation.space.names]
    )
    assert np.isnan(evaluation.scores.iou).sum() == len(absent)
    np.testing.assert_allclose(evaluation.scores.mean_iou_with_absent, theirs["averageScoreClasses"], rtol=1e-15)
    assert (evaluation.scores.mean_iou == evaluation.scores.mean_iou_with_absent) == (not absent)
