"""Class weights against values worked out by hand, and those that SegNet's authors published for CamVid."""

import numpy as np
import pytest
from PIL import Image

from atrous.contract import Recipe
from atrous.data import fingerprint, open_dataset, write_image
from atrous.recipes.weighting import class_weights_of

CLASSES = [
    {"name": "road", "learnt": 800, "among": 1000},
    {"name": "tree", "learnt": 90, "among": 900},
    {"name": "car", "learnt": 10, "among": 500},
    {"name": "moon", "learnt": 0, "among": 0},
]


def weights(wanted, classes=CLASSES):
    return class_weights_of(Recipe(class_weights=wanted), classes)


def test_none_and_given_ones():
    assert weights("none") is None
    assert weights((1, 0, 2, 0.5)) == (1.0, 0.0, 2.0, 0.5)
    with pytest.raises(ValueError, match="3 class_weights came, and the data has 4 classes; give one for each, or med"):
        weights((1, 2, 3))
    with pytest.raises(ValueError, match="2 class_weights came, and the data has 1 class; give"):
        weights((1, 2), CLASSES[:1])


def test_median_by_hand():
    # Frequencies 0.8, 0.1 and 0.02, each among the images that hold the class.
    assert weights("median") == pytest.approx((0.125, 1.0, 5.0, 0.0))
    assert weights("median", CLASSES[:2]) == pytest.approx((0.45 / 0.8, 4.5))


def test_root_by_hand():
    roots = [each**-0.5 for each in (800, 90, 10)]
    assert weights("root") == pytest.approx([root / (sum(roots) / 3) for root in roots] + [0])
    assert sum(weights("root")) == pytest.approx(3)


def test_root_is_at_most_ten():
    many = [{"learnt": 10**9, "among": 10**9}] * 20 + [{"learnt": 1, "among": 10**9}]
    assert weights("root", many)[-1] == 10
    assert weights("root", many)[0] < 0.01


def test_one_class_weighs_one():
    for wanted in ("median", "root"):
        assert weights(wanted, [{"learnt": 7, "among": 7}]) == (1.0,)


def test_what_cannot_be_worked_out():
    for wanted in ("median", "root"):
        with pytest.raises(
            ValueError, match=f"no training image has a pixel of a class, so that class_weights {wanted}"
        ):
            weights(wanted, CLASSES[3:])
        with pytest.raises(ValueError, match="has no 'learnt' of its classes, as those of earlier versions"):
            weights(wanted, [{"pixels": 3}])


def test_of_the_training_images_alone(tmp_path):
    def put(split, name, labels):
        for kind, array in (("images", np.zeros((2, 4), np.uint8)), ("masks", np.array(labels, np.uint8))):
            (tmp_path / kind / split).mkdir(parents=True, exist_ok=True)
            write_image(tmp_path / kind / split / f"{name}.png", array)

    put("train", "a", [[0, 0, 0, 1], [0, 0, 255, 255]])
    put("train", "b", [[0, 0, 0, 0], [0, 0, 0, 0]])
    put("val", "c", [[1, 1, 1, 1], [1, 1, 2, 2]])
    classes = fingerprint(open_dataset(tmp_path, classes=("road", "car", "tree")))["classes"]
    assert [each["learnt"] for each in classes] == [13, 1, 0]
    assert [each["among"] for each in classes] == [14, 6, 0]
    assert [each["pixels"] for each in classes] == [13, 7, 2]
    middle = (13 / 14 + 1 / 6) / 2
    assert weights("median", classes) == pytest.approx((middle / (13 / 14), middle * 6, 0))


def test_camvids_are_about_those_published(data_dir):
    # Theirs, in SegNet's released prototxt, count the unlabelled pixels as a twelfth class; all are a little smaller
    # for it. That of signs is 2.5 times what these labels have, and is left out.
    published = {
        **{"Sky": 0.2595, "Building": 0.1826, "Pole": 4.5640, "Road": 0.1417, "Pavement": 0.9051, "Tree": 0.3826},
        **{"Fence": 1.8418, "Car": 0.6823, "Pedestrian": 6.2478, "Bicyclist": 7.3614},
    }
    dataset = open_dataset(data_dir / "camvid11")
    masks = [np.asarray(Image.open(pair.mask)) for pair in dataset.splits["train"]]
    counts = np.array([np.bincount(mask.ravel(), minlength=12)[:11] for mask in masks])
    among = (counts.sum(1, keepdims=True) * (counts > 0)).sum(0)
    classes = [{"learnt": own, "among": all_of} for own, all_of in zip(counts.sum(0), among, strict=True)]
    given = dict(zip(dataset.space.names, weights("median", classes), strict=True))
    for name, weight in published.items():
        assert given[name] / weight == pytest.approx(1.1, abs=0.1), name
