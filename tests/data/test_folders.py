"""Folders of images beside folders of masks, whatever they are called and however they are split."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atrous.contract import AtrousError
from atrous.data import open_dataset
from atrous.data.layouts import folders, recognise
from atrous.data.names import partners
from atrous.data.pairs import files_below, holds, images_below


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def paired(root):
    """Return the names of images and masks by split, below the root."""
    return {
        split: [(pair.image.relative_to(root).as_posix(), pair.mask and pair.mask.relative_to(root).as_posix())
                for pair in each.pairs]
        for split, each in recognise(root).splits.items()
    }  # fmt: skip


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("img_dir", "ann_dir"), ("imgs", "gts"), ("JPEGImages", "annotations"), ("Input", "Target"),
        ("images", "ground truth"), ("image_2", "semantic"), ("frames", "SegmentationClass"), ("x", "y"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("split", ["", "{}/train", "train/{}", "train_{}", "{}-train", "{}/Training", "Train/{}"])
def test_every_usual_arrangement(tmp_path, images, masks, split):
    image, mask = ((split or "{}").format(name) + "/a.png" for name in (images, masks))
    touch(tmp_path, image, mask)
    assert recognise(tmp_path).layout == "folders"
    assert paired(tmp_path) == {"train": [(image, mask)]}


def test_images_beside_a_folder_of_their_masks(tmp_path):
    assert paired(touch(tmp_path / "a", "a.jpg", "masks/a.png")) == {"train": [("a.jpg", "masks/a.png")]}
    carvana = touch(tmp_path / "b", "train/a_01.jpg", "train_masks/a_01_mask.gif", "test/b_01.jpg")
    assert paired(carvana) == {
        "train": [("train/a_01.jpg", "train_masks/a_01_mask.gif")],
        "test": [("test/b_01.jpg", None)],
    }
    inner = touch(tmp_path / "c", "train/a.jpg", "train/masks/a.png", "val/b.jpg", "val/masks/b.png")
    assert paired(inner) == {"train": [("train/a.jpg", "train/masks/a.png")], "val": [("val/b.jpg", "val/masks/b.png")]}


def test_split_folders_on_one_side_only(tmp_path):
    images = touch(
        tmp_path / "a", "images/train/a.png", "images/val/b.png", "masks/a.png", "masks/b.png", "masks/c.png"
    )
    found = recognise(images)
    assert paired(images) == {
        "train": [("images/train/a.png", "masks/a.png")],
        "val": [("images/val/b.png", "masks/b.png")],
    }
    assert [path.name for each in found.splits.values() for path in each.masks_alone] == ["c.png"]
    masks = touch(tmp_path / "b", "images/a.png", "images/b.png", "masks/train/a.png", "masks/val/b.png")
    assert paired(masks) == {
        "train": [("images/a.png", "masks/train/a.png")],
        "val": [("images/b.png", "masks/val/b.png")],
    }


def test_a_split_without_masks_is_not_left_out(tmp_path):
    touch(tmp_path, "train/images/a.png", "train/masks/a.png", "val/images/b.png")
    with pytest.raises(AtrousError, match=r"1 image \(val/images/b.png\) has no mask"):
        open_dataset(tmp_path)
    other = touch(tmp_path / "other", "images/train/a.png", "masks/train/a.png", "masks/val/b.png")
    with pytest.raises(AtrousError, match=r"1 mask \(masks/val/b.png\) has no image"):
        open_dataset(other)


def test_what_is_in_no_split_is_told(tmp_path):
    touch(tmp_path, "images/train/a.png", "masks/train/a.png", "images/b.png", "images/extra/c.png", "masks/b.png")
    assert recognise(tmp_path).notes == (
        "left out, since in no split: 1 of the files in images/",
        "left out, since no splits: the folders extra/ in images/",
        "left out, since in no split: 1 of the files in masks/",
    )
    other = touch(tmp_path / "other", "train/images/a.png", "train/masks/a.png", "images/b.png", "masks/b.png")
    assert recognise(other).notes == (
        "left out, since others are in splits: images/",
        "left out, since others are in splits: masks/",
    )


def test_several_folders_of_masks(tmp_path):
    touch(tmp_path, *(f"images/{name}.png" for name in "abc"), *(f"masks/{name}.png" for name in "abc"))
    touch(tmp_path, "labels/a.png")
    assert {Path(mask).parent.name for _, mask in paired(tmp_path)["train"]} == {"masks"}
    touch(tmp_path, "labels/b.png")
    with pytest.raises(
        AtrousError,
        match=r"masks/ \(3 of 3 images have a mask\) and labels/ \(2 of 3 images have a mask\) could both hold the "
        r'masks\. Say which: --masks "masks/\{stem\}\.png", or move one of them away',
    ):
        recognise(tmp_path)
    assert len(recognise(tmp_path, masks="masks/{stem}.png").splits["train"].pairs) == 3


def test_two_folders_of_one_split(tmp_path):
    touch(tmp_path, *(f"{split}/{kind}/a.png" for split in ("train", "val", "valid") for kind in ("images", "masks")))
    with pytest.raises(AtrousError, match=r"val/masks/ .* and valid/masks/ .* could both hold the masks\. Say which"):
        recognise(tmp_path)


def test_annotations_that_are_no_masks(tmp_path):
    yolo = touch(tmp_path / "yolo", "images/train/a.png", "labels/train/a.txt")
    assert folders.recognise(yolo) is None
    assert folders.recognise(touch(tmp_path / "json", "images/a.png", "annotations/all.json")) is None
    beside = touch(tmp_path / "beside", "images/a.png", "labels/a.txt", "masks/a.png")
    assert paired(beside) == {"train": [("images/a.png", "masks/a.png")]}


def test_volumes_and_arrays_are_paired(tmp_path):
    names = ("images/a.nii.gz", "images/b.nrrd", "images/c.npy", "images/d.jpg")
    touch(tmp_path, *names, "masks/a_mask.nii.gz", "masks/b.nrrd", "masks/c.npy", "masks/d.mat")
    found = folders.recognise(tmp_path)
    assert [(pair.name, pair.mask.name) for pair in found.splits["train"].pairs] == [
        ("images/a", "a_mask.nii.gz"), ("images/b", "b.nrrd"), ("images/c", "c.npy"), ("images/d", "d.mat"),
    ]  # fmt: skip


@pytest.mark.parametrize("folder", ["", "splits/", "lists/", "ImageSets/", "ImageSets/Segmentation/"])
@pytest.mark.parametrize("name", ["{}.txt", "{}_list.txt", "{}set.txt"])
def test_lists_wherever_they_are(tmp_path, folder, name):
    touch(tmp_path, *(f"{kind}/{stem}.png" for kind in ("imgs", "gts") for stem in "abc"), f"{folder}x")
    (tmp_path / (folder + name.format("train"))).write_text("﻿imgs/a.png\r\ngts/b.png\r\n", encoding="utf-8")
    (tmp_path / (folder + name.format("val"))).write_text("c\n")
    assert {split: len(pairs) for split, pairs in paired(tmp_path).items()} == {"train": 2, "val": 1}


def test_lists_name_images_by_what_tells_them_apart(tmp_path):
    touch(tmp_path, "imgs/00_img.jpg", "gts/00_gt.png", "imgs/c/01_img.jpg", "gts/c/01_gt.png", "imgs/d/01_img.jpg")
    touch(tmp_path, "gts/d/01_gt.png", "imgs/with space_img.jpg", "gts/with space_gt.png")
    (tmp_path / "train.txt").write_text("00\nC:\\data\\imgs\\c\\01_img.jpg\nwith space\n")
    (tmp_path / "val.txt").write_text("/data/d/01\n")
    assert paired(tmp_path)["train"][1:] == [
        ("imgs/c/01_img.jpg", "gts/c/01_gt.png"), ("imgs/with space_img.jpg", "gts/with space_gt.png"),
    ]  # fmt: skip
    assert paired(tmp_path)["val"] == [("imgs/d/01_img.jpg", "gts/d/01_gt.png")]
    (tmp_path / "val.txt").write_text("01\n")
    assert recognise(tmp_path).splits["val"].missing == ("01",)


def test_what_lists_leave_out_or_name_twice(tmp_path):
    touch(tmp_path, *(f"{kind}/{stem}.png" for kind in ("images", "masks") for stem in "abc"))
    (tmp_path / "train.txt").write_text("a\nb\n")
    (tmp_path / "val.txt").write_text("b\n")
    assert recognise(tmp_path).notes == ("left out, since in no list: 1 of the pairs, first images/c",)
    assert [problem.kind for problem in recognise(tmp_path).problems] == ["in-two-splits"]
    (tmp_path / "train.txt").unlink()
    assert {split: len(pairs) for split, pairs in paired(tmp_path).items()} == {"train": 2, "val": 1}
    (tmp_path / "val.txt").write_text("x\ny\n")
    with pytest.raises(
        AtrousError, match=r"nothing in val\.txt names one of the 3 pairs .*; the first name is x\. Corr"
    ):
        recognise(tmp_path)
    (tmp_path / "val.txt").write_bytes(b"\xff\xfd\x00")
    with pytest.raises(AtrousError, match=r"val\.txt: this is not text in UTF-8 \(byte 0\)\. Save it as UTF-8"):
        recognise(tmp_path)
    (tmp_path / "val.txt").write_text("b\n", encoding="utf-16")
    assert paired(tmp_path)["val"] == [("images/b.png", "masks/b.png")]


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("a", "A"), ("image_1", "mask_1"), ("1", "label-1"), ("a", "a.mask"), ("a", "a_labelTrainIds"), ("a_rgb", "a"),
        ("a sat", "a mask"), ("0016E5_1", "0016E5_1_L"), ("c/a", "c/a_seg"),
    ],
)  # fmt: skip
def test_names_that_belong_together(image, mask):
    assert partners(["other", image], ["other", mask]) == {"other": "other", image: mask}


def test_names_that_do_not_belong_together():
    assert partners(["a", "a_image"], ["a_mask"]) == {"a": "a_mask"}
    assert partners(["010", "011"], ["110", "111"]) == {}
    assert partners(["a1", "a2"], ["b1", "b3"]) == {}
    assert partners(["c/a", "d/a"], ["a"]) == {}
    assert partners(["a"], []) == {}
    assert partners([], ["a"]) == {}


def test_names_of_another_system(tmp_path):
    touch(tmp_path, "images/한국.JPG", "masks/한국.PNG")
    assert len(paired(tmp_path)["train"]) == 1


def test_hidden_files_are_left_out(tmp_path):
    touch(tmp_path, "images/a.jpg", "images/.DS_Store", "images/._a.jpg", "images/Thumbs.db", "images/.git/x.png")
    touch(tmp_path, "masks/a.png", "masks/._a.png", "masks/desktop.ini")
    assert paired(tmp_path) == {"train": [("images/a.jpg", "masks/a.png")]}


def test_links_are_followed_and_circles_are_not(tmp_path):
    touch(tmp_path / "far", "a.png")
    touch(tmp_path / "data", "images/b.png", "masks/b.png", "masks/city/a.png")
    (tmp_path / "data" / "images" / "city").symlink_to(tmp_path / "far")
    (tmp_path / "data" / "images" / "again").symlink_to(tmp_path / "data" / "images")
    (tmp_path / "far" / "back").symlink_to(tmp_path / "data")
    names = [path.relative_to(tmp_path).as_posix() for path in images_below(tmp_path / "data" / "images")]
    assert names[:2] == ["data/images/b.png", "data/images/city/a.png"]
    assert not any("again" in name for name in names)
    assert len(names) == len({os.path.realpath(tmp_path / name) for name in names})
    (tmp_path / "loop").mkdir()
    (tmp_path / "loop" / "loop").symlink_to(tmp_path / "loop")
    assert files_below(tmp_path / "loop", bool) == []
    assert not holds(tmp_path / "loop", bool)


def test_what_is_no_folder(tmp_path):
    touch(tmp_path / "a", "images", "masks/a.png")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "images").symlink_to(tmp_path / "gone")
    touch(tmp_path / "b", "masks/a.png")
    for root in (tmp_path / "a", tmp_path / "b"):
        with pytest.raises(AtrousError, match=r"no layout of images and masks was recognised. It holds images, masks/"):
            recognise(root)


@pytest.mark.parametrize("name", ["images/a.jpg", "masks/a.png", "train/images/a.jpg"])
def test_images_or_masks_alone(tmp_path, name):
    touch(tmp_path, name)
    with pytest.raises(AtrousError, match=r"no layout of images and masks was recognised. It holds .* \(1 image files"):
        recognise(tmp_path)


def test_a_relative_root(tmp_path, monkeypatch):
    touch(tmp_path, "images/a.jpg", "masks/a.png")
    monkeypatch.chdir(tmp_path)
    assert recognise(Path()).splits["train"].pairs[0].name == "images/a"


@pytest.mark.parametrize(
    ("values", "classes", "ignore"),
    [([0, 255], (0, 255), None), ([0, 128, 255], (0, 128, 255), None), ([0, 1], (0, 1), 255)],
)
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_values_of_masks(tmp_path, values, classes, ignore, depth):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for name in "ab":
            array = np.repeat(np.array([values], depth), 4, axis=0)
            Image.fromarray(array).save(tmp_path / folder / f"{name}.png")
    space = open_dataset(tmp_path).space
    assert (space.values, space.ignore) == (classes, ignore)


def test_a_table_that_is_no_list_does_no_harm(tmp_path):
    touch(tmp_path, *(f"{kind}/{stem}.png" for kind in ("images", "masks") for stem in "abc"))
    (tmp_path / "train.csv").write_bytes("이름,값\n".encode("cp949"))
    assert recognise(tmp_path).layout == "folders"
    (tmp_path / "train.txt").write_bytes("도로\n".encode("cp949"))
    with pytest.raises(AtrousError, match=r"train\.txt: this is not text in UTF-8"):
        recognise(tmp_path)


def test_a_listed_image_that_is_gone_is_not_another_of_its_name(tmp_path):
    touch(tmp_path, *(f"{kind}/{name}.png" for kind in ("images", "masks") for name in ("x/a", "y/b", "y/c")))
    (tmp_path / "train.txt").write_text("x/a\nx/b\n")
    (tmp_path / "val.txt").write_text("y/c\n")
    found = recognise(tmp_path)
    assert [pair.name for pair in found.splits["train"].pairs] == ["images/x/a"]
    assert found.splits["train"].missing == ("x/b",)
