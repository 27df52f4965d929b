"""A template says where the mask of an image lies."""

from unicodedata import normalize

import pytest

from atrous.contract import AtrousError
from atrous.data.layouts import recognise
from atrous.data.layouts import template as template_layout


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def paired(root, template):
    splits = recognise(root, masks=template).splits
    return {split: [(pair.name, pair.mask and pair.mask.name) for pair in each.pairs] for split, each in splits.items()}


@pytest.mark.parametrize(
    ("template", "image", "mask"),
    [
        ("{parent}/../masks/{stem}_mask.png", "pictures/a b.jpg", "masks/a b_mask.png"),
        ("truth/{stem}.png", "pictures/한국.jpg", "truth/한국.png"),
        ("truth/{name}.png", "a.jpg", "truth/a.jpg.png"),
        ("truth/{stem}{suffix}", "x/🙂.png", "truth/🙂.png"),
        ("{parent}/m/{stem}.nii.gz", "s1/a.nii.gz", "s1/m/a.nii.gz"),
        ("m/{stem}.png", "s1/a.jpg", "s1/m/a.png"),
        ("../truth/{stem}.png", "s1/a.jpg", "truth/a.png"),
        ("{stem}.mat", "a.jpg", "a.mat"),
    ],
)
def test_fields(tmp_path, template, image, mask):
    touch(tmp_path, image, mask)
    found = template_layout.recognise(tmp_path, template).splits["train"]
    assert [(pair.image, pair.mask) for pair in found.pairs] == [(tmp_path / image, tmp_path / mask)]
    assert not found.images_alone
    assert not found.masks_alone


def test_masks_outside_the_root(tmp_path):
    touch(tmp_path, "pictures/a.jpg", "truth/a.png")
    assert paired(tmp_path / "pictures", "../truth/{stem}.png") == {"train": [("a", "a.png")]}


def test_splits(tmp_path):
    touch(tmp_path, "p/train/a.jpg", "p/validation/a.jpg", "p/test/c.jpg", "t/train/a.png", "t/validation/a.png")
    assert paired(tmp_path, "t/{split}/{stem}.png") == {
        "train": [("p/train/a", "a.png")],
        "val": [("p/validation/a", "a.png")],
        "test": [("p/test/c", None)],
    }


def test_what_is_left_over(tmp_path):
    touch(tmp_path, "p/a.jpg", "p/b.jpg", "t/a.png", "t/z.png", "labels/a.png", "labels/y.png")
    found = recognise(tmp_path, masks="t/{stem}.png").splits["train"]
    assert [path.name for path in found.images_alone] == ["b.jpg"]
    assert [path.name for path in found.masks_alone] == ["z.png"]
    assert [pair.name for pair in found.pairs] == ["p/a"]
    touch(tmp_path, "p/c/a.jpg")
    ((first, second),) = recognise(tmp_path, masks="t/{stem}.png").splits["train"].doubles
    assert (first, second) == (tmp_path / "p/a.jpg", tmp_path / "p/c/a.jpg")


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{folder}/{stem}.png", r"\{folder\} is not known; the fields are \{parent\}, \{stem\}, \{name\}"),
        ("{stem!r}.png", r"\{stem!r\} is not known"),
        ("masks/a.png", r"without \{stem\} or \{name\} to tell one image from another"),
        ("masks/{stem.png", r"with a brace that is alone"),
        ("{stem}}.png", r"with a brace that is alone"),
        ("", r"without \{stem\}"),
    ],
)
def test_templates_that_are_none(tmp_path, template, words):
    touch(tmp_path, "a.jpg")
    with pytest.raises(ValueError, match=words):
        recognise(tmp_path, masks=template)


def test_templates_that_find_nothing(tmp_path):
    touch(tmp_path, "p/a.jpg", "p/b.jpg")
    for template in ("{parent}/../t/{stem}.png", "{parent}/{name}", "{split}/{stem}.png", "x" * 300 + "{stem}"):
        with pytest.raises(
            AtrousError, match=r"none of 2 images has a mask where .* says\. The first image is p/a\.jpg, whose"
        ):
            recognise(tmp_path, masks=template)
    other = touch(tmp_path / "other", "a.txt")
    with pytest.raises(AtrousError, match=r"there are no images, so the template"):
        recognise(other, masks="{stem}.png")


@pytest.mark.parametrize(("image", "mask"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_of_another_system(tmp_path, image, mask):
    touch(tmp_path, normalize(image, "pictures/도로.jpg"), normalize(mask, "truth/도로.png"))
    (found,) = recognise(tmp_path, masks="truth/{stem}.png").splits["train"].pairs
    assert found.mask.is_file()
