"""ADE20K: 150 classes from 1, 0 is not counted; a plain folder of images and annotations is not taken for it."""

import numpy as np
import pytest
from PIL import Image

from atrous.data import open_dataset, read_sample
from atrous.data.layouts import ade20k, recognise

ROWS = [f"name {index}" for index in range(1, 151)]


def place(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.uint8([[0, 1], [7, 150]])).save(root / name)
    return root


@pytest.mark.parametrize("above", ["", "ADEChallengeData2016/"])
def test_splits_and_labels(tmp_path, above):
    for split, name in (("training", "ADE_train_1"), ("validation", "ADE_val_1")):
        place(tmp_path, f"{above}images/{split}/{name}.png", f"{above}annotations/{split}/{name}.png")
    dataset = open_dataset(tmp_path)
    assert (dataset.layout, len(dataset.space), dataset.space.ignore) == ("ade20k", 150, 0)
    assert [pair.name for pair in dataset.splits["val"]] == [f"{above}images/validation/ADE_val_1"]
    assert read_sample(dataset.splits["train"][0], dataset.space).labels.tolist() == [[255, 0], [6, 149]]
    assert dataset.space.names[0] == "class 1"


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("objectInfo150.csv", ["Idx,Ratio,Train,Val,Stuff,Name", *(f"1,0.1,2,3,0,{name};x;y" for name in ROWS)]),
        ("objectInfo150.txt", ["Idx\tRatio\tTrain\tVal\tName", *(f"1\t0.1\t2\t3\t{name}, x" for name in ROWS)]),
    ],
)
def test_names(tmp_path, name, lines):
    place(tmp_path, "images/1.png", "annotations/1.png")
    (tmp_path / name).write_text("\n".join(lines))
    found = recognise(tmp_path)
    assert (found.layout, found.told.classes) == ("ade20k", tuple(ROWS))
    lines[2] = lines[1]
    (tmp_path / name).write_text("\n".join(lines))
    assert recognise(tmp_path).told.classes[:3] == ("name 1", "name 1, x", "name 3")
    (tmp_path / name).write_text("\n".join(lines[:9]))
    found = recognise(tmp_path)
    assert found.told.classes[7:9] == ("class 8", "class 9")
    assert [(problem.kind, problem.detail) for problem in found.problems] == [
        ("broken-annotation", "8 classes are listed, and the masks have 150; they are numbered instead")
    ]


def test_flat_folders_with_both_kinds_of_names(tmp_path):
    names = ("ADE_train_1", "ADE_train_2", "ADE_val_1")
    place(tmp_path, *(f"{kind}/{name}.png" for kind in ("images", "annotations") for name in names))
    splits = recognise(tmp_path).splits
    assert {split: len(each.pairs) for split, each in splits.items()} == {"train": 2, "val": 1}


@pytest.mark.parametrize("split", ["", "training/"])
def test_other_images_and_annotations_are_not_ade20k(tmp_path, split):
    place(tmp_path, f"images/{split}a.png", f"annotations/{split}a.png")
    assert ade20k.recognise(tmp_path) is None
    assert recognise(tmp_path).layout == "folders"
