"""Every image is in one split, and empty splits are none."""

import json

import numpy as np
import pytest

from atrous.contract import AtrousError
from atrous.data import open_dataset, write_image
from atrous.data.inspection import inspect_dataset
from atrous.data.layouts import recognise


def pictures(root, *names):
    for name in names:
        write_image(root / name, np.eye(4, dtype=np.uint8))
    return root


def voc(root):
    pictures(
        root, *(f"JPEGImages/{name}.png" for name in "abcd"), *(f"SegmentationClass/{name}.png" for name in "abcd")
    )
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    for split, names in {"train": "a\nb\nc", "val": "b", "test": "b\nc\nd"}.items():
        (root / f"ImageSets/Segmentation/{split}.txt").write_text(names)


def lists(root):
    pictures(root, *(f"i/{name}.png" for name in "abcd"), *(f"m/{name}_m.png" for name in "abcd"))
    for split, names in {"train": "abc", "val": "b", "test": "bcd"}.items():
        (root / f"{split}.txt").write_text("".join(f"i/{name}.png m/{name}_m.png\n" for name in names))


def folders(root):
    pictures(root, *(f"images/{name}.png" for name in "abcd"), *(f"masks/{name}.png" for name in "abcd"))
    for split, names in {"train": "a\nb\nc", "val": "b", "test": "b\nc\nd"}.items():
        (root / f"{split}.txt").write_text(names)


@pytest.mark.parametrize("made", [voc, lists, folders])
def test_an_image_in_several_splits_stays_in_one(tmp_path, made):
    made(tmp_path)
    found = recognise(tmp_path)
    names = {split: [pair.name[-1] for pair in each.pairs] for split, each in found.splits.items()}
    assert names == {"train": ["a"], "val": ["b"], "test": ["c", "d"]}
    assert {problem.kind for problem in found.problems} == {"in-two-splits"}
    assert [(problem.path.name[0], problem.detail) for problem in found.problems] == [
        ("b", "in train and in val; kept in the latter"),
        ("c", "in train and in test; kept in the latter"),
        ("b", "in test and in val; kept in the latter"),
    ]
    assert "in-two-splits" in {finding.kind for finding in inspect_dataset(tmp_path).findings}


def test_folds_that_overlap(tmp_path):
    pictures(tmp_path, *(f"imagesTr/{name}_0000.png" for name in "abc"), *(f"labelsTr/{name}.png" for name in "abc"))
    (tmp_path / "splits_final.json").write_text(json.dumps([{"train": ["a", "b"], "val": ["b", "c"]}]))
    splits = open_dataset(tmp_path).splits
    assert [[pair.name for pair in splits[split]] for split in splits] == [["imagesTr/a"], ["imagesTr/b", "imagesTr/c"]]


@pytest.mark.parametrize("empty", ["val", "test"])
def test_an_empty_split_is_none(tmp_path, empty):
    pictures(tmp_path, *(f"{kind}/train/{name}.png" for kind in ("images", "masks") for name in "abc"))
    for kind in ("images", "masks"):
        (tmp_path / kind / empty).mkdir()
    dataset = open_dataset(tmp_path)
    assert dataset.made_split
    assert {split: bool(pairs) for split, pairs in dataset.splits.items()} == {"train": True, "val": True}
    assert f"{empty} holds nothing, as if it were not there" in recognise(tmp_path).notes


def test_lists_of_files_that_are_not_there(tmp_path):
    voc(tmp_path)
    for split in ("train", "val", "test"):
        (tmp_path / f"ImageSets/Segmentation/{split}.txt").write_text("gone\nfar\n")
    with pytest.raises(
        AtrousError, match=r"2 of the listed files are not there, first gone\. Copy them, or take them of"
    ):
        open_dataset(tmp_path)
    assert "listed-missing" in {finding.kind for finding in inspect_dataset(tmp_path).findings}
