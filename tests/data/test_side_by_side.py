"""Images and masks in one folder are told apart by their names, and photos alone are not claimed."""

from pathlib import Path

import pytest

from atrous.data.layouts import recognise, side_by_side


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def paired(found):
    return {split: [(pair.name, pair.mask and pair.mask.name) for pair in each.pairs] for split, each in found.items()}


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("{}.jpg", "{}_mask.png"), ("{}.png", "{}_label.png"), ("{}.tif", "{}_gt.tif"), ("{}.jpg", "{}_seg.png"),
        ("{}.JPG", "{}_annotation.PNG"), ("{}.jpg", "{}-mask.png"), ("{}.png", "{}.mask.png"), ("{}.jpg", "{}.png"),
        ("{}_image.png", "{}_mask.png"), ("{}.jpeg", "mask_{}.png"), ("img_{}.jpg", "gt_{}.png"),
        ("{}.jpg", "{}_L.png"), ("{}.nii.gz", "{}_seg.nii.gz"), ("{}.JPG", "{}.bmp"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("stem", ["x", "frame 7", "한국 🙂", "a.b"])
def test_names(tmp_path, image, mask, stem):
    touch(tmp_path, image.format(stem), mask.format(stem), image.format("other"), mask.format("other"))
    found = side_by_side.recognise(tmp_path)
    assert sorted(pair.image.name for pair in found.splits["train"].pairs) == sorted(
        (image.format(stem), image.format("other"))
    )
    assert {pair.mask.name for pair in found.splits["train"].pairs} == {mask.format(stem), mask.format("other")}


def test_splits_by_folder_and_by_list(tmp_path):
    names = ("train/a.jpg", "train/a_mask.png", "validation/city/b.jpg", "validation/city/b_mask.png", "test/c.jpg")
    found = recognise(touch(tmp_path / "folders", *names))
    assert found.layout == "side-by-side"
    assert paired(found.splits) == {
        "train": [("train/a", "a_mask.png")],
        "val": [("validation/city/b", "b_mask.png")],
        "test": [("test/c", None)],
    }
    root = touch(tmp_path / "lists", "a.jpg", "a_mask.png", "b.jpg", "b_mask.png")
    (root / "train.txt").write_text("a.jpg\n")
    (root / "val.txt").write_text("b\n")
    assert paired(recognise(root).splits) == {"train": [("a", "a_mask.png")], "val": [("b", "b_mask.png")]}


def test_most_images_must_have_a_mask(tmp_path):
    touch(tmp_path, "a.jpg", "a_mask.png", "b.jpg", "b_mask.png", "c.jpg", "z_mask.png")
    found = side_by_side.recognise(tmp_path).splits["train"]
    assert ([path.name for path in found.images_alone], [path.name for path in found.masks_alone]) == (
        ["c.jpg"],
        ["z_mask.png"],
    )
    touch(tmp_path, "d.jpg")
    assert side_by_side.recognise(tmp_path) is None


@pytest.mark.parametrize(
    "names",
    [
        ("a.jpg", "b.jpg", "c.png"), ("cat_l.jpg", "dog_l.jpg"), ("a.jpg", "a.png", "b.jpg"), ("a.png", "a.tif"),
        ("a.jpg", "a.png", "a.bmp"), ("a.jpg", "a.JPEG"), ("a_mask.png", "b_mask.png"), ("a.txt",),
        ("x/a.jpg", "y/a.png"),
    ],
)  # fmt: skip
def test_photos_are_not_claimed(tmp_path, names):
    assert side_by_side.recognise(touch(tmp_path, *names)) is None


def test_patients_with_the_same_names(tmp_path):
    touch(tmp_path, *(f"patient{index}/scan{end}.tif" for index in (1, 2) for end in ("", "_mask")))
    found = side_by_side.recognise(tmp_path).splits["train"]
    assert [Path(pair.image).parent == Path(pair.mask).parent for pair in found.pairs] == [True, True]
