"""Real datasets of many origins are recognised without a hint, opened, and read."""

import numpy as np
import pytest

from atrous.contract import AtrousError
from atrous.data import open_dataset, read_sample

SETS = {  # folder: layout, images per split, classes, ignore
    "camvid11": ("camvid", {"train": 367, "val": 101}, 11, 11),
    "isbi2012": ("folders", {"train": 24, "val": 6}, 2, None),
    "voc2012_animals": ("voc", {"train": 220, "val": 245}, 21, 255),
    "cwfid": ("folders", {"train": 49, "val": 11}, 3, 255),
    "ade20k_sample": ("ade20k", {"train": 2, "val": 1}, 150, 0),
    "mmseg_samples/pseudo_cityscapes_dataset": ("cityscapes", {"val": 1}, 19, 255),
    "mmseg_samples/pseudo_dataset": ("folders", {"train": 4, "val": 1}, 4, 255),
    "mmseg_samples/pseudo_lip_dataset": ("lip", {"train": 1, "val": 1}, 20, 255),
    "mmseg_samples/pseudo_loveda_dataset": ("folders", {"train": 1}, 8, 255),
    "mmseg_samples/pseudo_mapillary_dataset": ("mapillary", {"train": 1}, 46, 65),
    "mmseg_samples/pseudo_potsdam_dataset": ("folders", {"train": 1}, 6, 255),
    "mmseg_samples/pseudo_refuge_dataset": ("folders", {"train": 1}, 3, 255),
    "mmseg_samples/pseudo_synapse_dataset": ("folders", {"train": 1, "val": 1}, 1, 255),
    "mmseg_samples/pseudo_vaihingen_dataset": ("folders", {"train": 1}, 6, 255),
}

SHARES = {  # of some classes, on the samples that are read here
    "camvid11": {0: 0.157, 3: 0.314},
    "cwfid": {0: 0.926, 1: 0.016, 2: 0.058},
    "isbi2012": {0: 0.22, 1: 0.78},
}


def shares(dataset):
    """Return the share of each class among the counted pixels of all samples, of every 20th where they are many."""
    pairs = [pair for split in dataset.splits.values() for pair in split]
    counts = np.zeros(256, np.int64)
    for pair in pairs[:: 20 if len(pairs) >= 300 else 1]:
        sample = read_sample(pair, dataset.space)
        assert sample.image.shape[:2] == sample.labels.shape
        counts += np.bincount(sample.labels.ravel(), minlength=256)
    assert not counts[len(dataset.space) : 255].any()
    return counts[:255] / max(counts[:255].sum(), 1)


@pytest.mark.parametrize("folder", SETS)
def test_a_set_is_recognised_and_read(data_dir, folder):
    layout, splits, classes, ignore = SETS[folder]
    dataset = open_dataset(data_dir / folder)
    assert dataset.layout == layout
    assert {name: len(pairs) for name, pairs in dataset.splits.items()} == splits
    assert (len(dataset.space), dataset.space.ignore) == (classes, ignore)
    found = shares(dataset)
    assert found.sum() == pytest.approx(1)
    for index, share in SHARES.get(folder, {}).items():
        assert found[index] == pytest.approx(share, abs=0.001), dataset.space.names[index]


def test_object_numbers_are_taken_for_such(data_dir, caplog):
    dataset = open_dataset(data_dir / "dsb2018")
    assert "dsb2018: the masks number objects, so 0 is background and every other number an object" in caplog.text
    assert {name: len(pairs) for name, pairs in dataset.splits.items()} == {"train": 371, "val": 80}
    assert (dataset.layout, dataset.space.names) == ("folders", ("background", "object"))
    assert 0.05 < shares(dataset)[1] < 0.3


def test_masks_of_depths_are_no_classes(data_dir):
    with pytest.raises(AtrousError, match=r"the masks hold values from 0 to 10,000; classes are 0..254"):
        open_dataset(data_dir / "mmseg_samples" / "pseudo_nyu_dataset")


def test_names_of_sets_that_tell_them(data_dir):
    ade = open_dataset(data_dir / "ade20k_sample").space
    assert (ade.names[0], ade.values[0], ade.names[149], ade.values[149]) == ("wall", 1, "flag", 150)
    street = open_dataset(data_dir / "mmseg_samples" / "pseudo_cityscapes_dataset").space
    assert street.names[13] == "car"


def test_both_encodings_of_one_street_agree(data_dir, tmp_path):
    source = data_dir / "mmseg_samples" / "pseudo_cityscapes_dataset"
    both = open_dataset(source)
    for path in source.rglob("*.png"):
        if "labelTrainIds" not in path.name:
            (tmp_path / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path.relative_to(source)).symlink_to(path)
    ids = open_dataset(tmp_path)
    first, second = (read_sample(each.splits["val"][0], each.space).labels for each in (both, ids))
    assert np.mean(first == second) > 0.997  # the ids were made smaller on their own: edges differ by a pixel
    assert len(np.unique(first)) == 11
