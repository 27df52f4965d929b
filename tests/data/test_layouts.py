"""Every layout is recognised without being told, and what does not fit is named."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atrous.contract import AtrousError
from atrous.data import Pair, open_dataset
from atrous.data.pairs import split_by_hash


def place(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.eye(4, dtype=np.uint8)).save(root / name)
    return root


@pytest.mark.parametrize("images", ["images", "image", "imgs", "img", "Images"])
@pytest.mark.parametrize("masks", ["masks", "mask", "labels", "label", "annotations", "annotation", "gt", "annot"])
def test_folder_names(tmp_path, images, masks):
    place(tmp_path, f"{images}/a.png", f"{images}/b.png", f"{masks}/a.png", f"{masks}/b.png")
    dataset = open_dataset(tmp_path)
    assert (dataset.layout, dataset.made_split) == ("folders", True)
    assert {name: len(pairs) for name, pairs in dataset.splits.items()} == {"train": 1, "val": 1}


@pytest.mark.parametrize("val", ["val", "valid", "validation"])
@pytest.mark.parametrize("above", [True, False])
def test_split_folders_above_and_below(tmp_path, val, above):
    for split in ("train", val):
        for kind in ("images", "masks"):
            place(tmp_path, f"{split}/{kind}/a.png" if above else f"{kind}/{split}/a.png")
    place(tmp_path, "test/images/t.png" if above else "images/test/t.png")
    dataset = open_dataset(tmp_path)
    assert not dataset.made_split
    assert {name: len(pairs) for name, pairs in dataset.splits.items()} == {"train": 1, "val": 1, "test": 1}
    assert dataset.splits["train"][0].name == ("train/images/a" if above else "images/train/a")
    assert dataset.splits["test"][0].mask is None


@pytest.mark.parametrize("ending", ["_mask", "_label", "_gt", "-mask", "_MASK"])
def test_endings_of_masks_and_images(tmp_path, ending):
    place(tmp_path, "images/a.png", f"masks/a{ending}.png", "images/b_image.png", f"masks/b{ending}.png")
    masks = {pair.mask.name for pairs in open_dataset(tmp_path).splits.values() for pair in pairs}
    assert masks == {f"a{ending}.png", f"b{ending}.png"}


def test_names_of_any_script_and_nested_folders(tmp_path):
    for name in ("with spaces", "한국어", "🙂", "city/deep/x", "a.b.c"):
        place(tmp_path, f"images/{name}.png", f"masks/{name}.png")
    pairs = [pair for pairs in open_dataset(tmp_path).splits.values() for pair in pairs]
    assert {pair.name for pair in pairs} >= {"images/with spaces", "images/한국어", "images/🙂", "images/city/deep/x"}
    assert all(pair.image.stem == pair.mask.stem for pair in pairs)


def test_list_files_make_the_split(tmp_path):
    place(tmp_path, *(f"{kind}/{name}.png" for kind in ("images", "masks") for name in "abc"))
    (tmp_path / "train.txt").write_text("/home/somebody/data/a.png\nb\n")
    (tmp_path / "val.txt").write_text("c.png,c_mask.png\n")
    dataset = open_dataset(tmp_path)
    assert [pair.name for pair in dataset.splits["train"]] == ["images/a", "images/b"]
    assert not dataset.made_split
    (tmp_path / "val.txt").write_text("c\nd\ne\n")
    with pytest.raises(AtrousError, match=r"2 listed names have no image, first d\. Copy the images"):
        open_dataset(tmp_path)


def test_camvid_and_voc(tmp_path):
    camvid = place(tmp_path / "camvid", "train/a.png", "trainannot/a.png", "val/b.png", "valannot/b.png")
    assert open_dataset(camvid).layout == "camvid"
    assert open_dataset(camvid).space.ignore == 11
    voc = place(
        tmp_path / "voc", *(f"JPEGImages/{x}.png" for x in "abc"), *(f"SegmentationClass/{x}.png" for x in "ab")
    )
    dataset = open_dataset(voc)
    assert (dataset.layout, dataset.made_split, len(dataset.space)) == ("voc", True, 21)
    assert dataset.space.colours[15] == (192, 128, 128)
    lists = voc / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\n")
    (lists / "val.txt").write_text("b\n")
    assert open_dataset(voc).splits["val"][0].name == "JPEGImages/b"
    (lists / "val.txt").write_text("b\nc\n")
    with pytest.raises(AtrousError, match=r"1 image \(JPEGImages/c.png\) has no mask"):
        open_dataset(voc)


def test_what_cannot_be_recognised(tmp_path):
    with pytest.raises(AtrousError, match=r"gone: no such folder, and a folder of images and masks is wanted"):
        open_dataset(tmp_path / "gone")
    with pytest.raises(AtrousError, match=r"the folder is empty. Put images/ and masks/ into it"):
        open_dataset(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    with pytest.raises(AtrousError, match=r"the folders are there and hold no images"):
        open_dataset(tmp_path)
    place(tmp_path / "other", "pictures/a.png")
    with pytest.raises(AtrousError, match=r"It holds pictures/ \(1 image files in all\). Accepted are: train/"):
        open_dataset(tmp_path / "other")
    with pytest.raises(AtrousError, match="this is a file"):
        open_dataset(tmp_path / "other" / "pictures" / "a.png")


def test_unpaired_files_are_named(tmp_path):
    place(tmp_path, *(f"images/{x}.png" for x in "abcdef"), "masks/a.png")
    with pytest.raises(
        AtrousError, match=r"5 images \(images/b.png, images/c.png, images/d.png, ...\) have no mask. Add masks"
    ):
        open_dataset(tmp_path)
    other = place(tmp_path / "other", "images/a.png", "masks/a.png", "masks/b.png")
    with pytest.raises(AtrousError, match=r"1 mask \(masks/b.png\) has no image. Add images"):
        open_dataset(other)
    double = place(tmp_path / "double", "images/a.png", "images/a.bmp", "masks/a.png")
    with pytest.raises(AtrousError, match=r"1 names are used by several files, first images/a.bmp and images/a.png"):
        open_dataset(double)


def test_the_split_hangs_on_the_name_alone():
    pairs = [Pair(f"images/{index}", Path(f"{index}.png"), None) for index in range(1000)]
    whole = {pair.name for pair in split_by_hash(pairs)["val"]}
    assert 150 < len(whole) < 250
    half = {pair.name for pair in split_by_hash(pairs[::2])["val"]}
    assert half == whole & {pair.name for pair in pairs[::2]}
    for count in (2, 3, 4):
        assert all(split_by_hash(pairs[:count]).values())


@pytest.mark.parametrize(
    ("folder", "layout", "splits", "space", "options"),
    [
        ("camvid11", "camvid", {"train": 367, "val": 101}, (11, 11), {}),
        ("voc2012_animals", "voc", {"train": 220, "val": 245}, (21, 255), {}),
        ("isbi2012", "folders", {"train": 24, "val": 6}, (2, None), {}),
        ("cwfid", "folders", {"train": 49, "val": 11}, (3, 255), {}),
        ("dsb2018", "folders", {"train": 371, "val": 80}, (2, None), {"labels": "instances"}),
    ],
)
def test_real_data(data_dir, folder, layout, splits, space, options):
    dataset = open_dataset(data_dir / folder, **options)
    assert dataset.layout == layout
    assert {name: len(pairs) for name, pairs in dataset.splits.items()} == splits
    assert (len(dataset.space), dataset.space.ignore) == space


def test_real_object_numbers_are_noticed(data_dir):
    with pytest.raises(AtrousError, match=r"look like object numbers, not classes. Try --labels instances"):
        open_dataset(data_dir / "dsb2018")
