"""Cityscapes: the nineteen counted classes, from numbers to train on or from the public ids."""

import numpy as np
import pytest
from PIL import Image

from atrous.contract import AtrousError
from atrous.data import open_dataset, read_sample
from atrous.data.layouts import cityscapes, recognise


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, np.uint8)).save(path)


def city(root, split, name, masks, *, kind="gtFine", archive=""):
    town = name.split("_")[0]

    def base(folder):
        return root / f"{folder}{archive}" / folder if archive else root / folder

    write(base("leftImg8bit") / split / town / f"{name}_leftImg8bit.png", np.zeros((2, 18, 3)))
    for ending, array in masks.items():
        write(base(kind) / split / town / f"{name}_{kind}_{ending}.png", array)


IDS = np.arange(36).reshape(2, 18)
IDS[1, 17] = 255  # what the licence plate's -1 is in a byte


def test_the_public_table():
    names = [name for name, _, number, _ in cityscapes.LABELS if number != 255]
    assert names[:3] == ["road", "sidewalk", "building"]
    assert names[-1] == "bicycle"
    assert sorted(cityscapes.TRAIN_IDS.values()) == list(range(19))
    assert [label for _, label, _, _ in cityscapes.LABELS] == [*range(34), -1]
    assert cityscapes.TRAIN_IDS[26] == 13


@pytest.mark.parametrize("archive", ["", "_trainvaltest"])
def test_ids_are_renumbered(tmp_path, archive):
    city(tmp_path, "train", "ulm_000001_000019", {"labelIds": IDS[:, :17]}, archive=archive)
    city(tmp_path, "train", "bonn_000001_000019", {"labelIds": IDS}, archive=archive)
    city(tmp_path, "val", "jena_000001_000019", {"labelIds": IDS}, archive=archive)
    city(tmp_path, "test", "rom_000001_000019", {"labelIds": IDS}, archive=archive)
    dataset = open_dataset(tmp_path)
    assert (dataset.layout, len(dataset.space), dataset.space.ignore) == ("cityscapes", 19, 255)
    assert {split: len(pairs) for split, pairs in dataset.splits.items()} == {"train": 2, "val": 1, "test": 1}
    assert dataset.splits["test"][0].mask is None
    labels = read_sample(dataset.splits["val"][0], dataset.space).labels
    expected = [cityscapes.TRAIN_IDS.get(label, 255) for label in IDS.ravel().tolist()]
    assert labels.ravel().tolist() == expected


def test_numbers_to_train_on_come_first(tmp_path):
    city(tmp_path, "train", "ulm_000001_000019", {"labelIds": IDS, "labelTrainIds": IDS % 19, "color": IDS})
    city(tmp_path, "train", "ulm_000002_000019", {"labelIds": IDS})
    first, second = recognise(tmp_path).splits["train"].pairs
    assert first.mask.name.endswith("labelTrainIds.png")
    assert second.mask.path.name.endswith("labelIds.png")


def test_coarse_annotations(tmp_path):
    city(tmp_path, "train", "ulm_000001_000019", {"labelIds": IDS}, kind="gtCoarse")
    city(tmp_path, "train_extra", "trier_000001_000019", {"labelIds": IDS}, kind="gtCoarse")
    assert len(recognise(tmp_path).splits["train"].pairs) == 2


def test_what_is_missing(tmp_path):
    city(tmp_path, "train", "ulm_000001_000019", {"color": IDS, "instanceIds": IDS})
    with pytest.raises(
        AtrousError, match=r"no file of these images ends in _gtFine_labelIds\.png or _gtFine_labelTrain"
    ):
        recognise(tmp_path)
    city(tmp_path, "train", "ulm_000002_000019", {"labelIds": IDS})
    (tmp_path / "gtFine/train/ulm/ulm_000003_000019_gtFine_labelIds.png").touch()
    found = recognise(tmp_path).splits["train"]
    assert [path.name for path in found.images_alone] == ["ulm_000001_000019_leftImg8bit.png"]
    assert [path.name for path in found.masks_alone] == ["ulm_000003_000019_gtFine_labelIds.png"]
    (tmp_path / "other" / "leftImg8bit").mkdir(parents=True)
    assert cityscapes.recognise(tmp_path / "other") is None
