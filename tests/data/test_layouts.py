"""Every layout is recognised without being told, and what does not fit is named."""

import json
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest
from PIL import Image

from atrous.contract import AtrousError
from atrous.data import Pair, open_dataset, read_sample
from atrous.data.inspection import inspect_dataset
from atrous.data.layouts import mapillary, recognise, sbd
from atrous.data.layouts.voc import palette
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
    with pytest.raises(AtrousError, match=r"2 of the listed files are not there, first d\. Copy them"):
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


def test_voc_of_several_kinds_of_masks(tmp_path):
    base = tmp_path / "VOCdevkit" / "VOC2012"
    place(base, *(f"JPEGImages/{x}.png" for x in "abc"), "SegmentationClass/a.png")
    place(base, *(f"SegmentationClassAug/{x}.png" for x in "abc"))
    lists = base / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\nb\n")
    (lists / "val.txt").write_text("c\n")
    found = recognise(tmp_path)
    assert found.notes == ("the masks are those of SegmentationClassAug/, of 2 folders of masks",)
    assert [pair.name for pair in found.splits["train"].pairs] == [
        "VOCdevkit/VOC2012/JPEGImages/a",
        "VOCdevkit/VOC2012/JPEGImages/b",
    ]
    assert found.splits["val"].pairs[0].mask.parent.name == "SegmentationClassAug"


def test_voc_masks_in_colours(tmp_path):
    place(tmp_path, "JPEGImages/a.png", "JPEGImages/b.png")
    (tmp_path / "SegmentationClass").mkdir()
    colours = np.array(palette(21), np.uint8)
    for name in "ab":
        array = np.repeat(colours[[[0], [15], [2], [20]]], 4, axis=1)
        array[0, 0] = (224, 224, 192)
        Image.fromarray(array).save(tmp_path / "SegmentationClass" / f"{name}.png")
    dataset = open_dataset(tmp_path)
    labels = read_sample(dataset.splits["train"][0], dataset.space).labels
    assert labels[:, 0].tolist() == [255, 15, 2, 20]


def test_voc_as_labelme_writes_it(tmp_path):
    place(tmp_path, "JPEGImages/a.png", "JPEGImages/b.png", "SegmentationClassPNG/a.png", "SegmentationClassPNG/b.png")
    (tmp_path / "class_names.txt").write_text("__ignore__\n_background_\ncat\n")
    assert open_dataset(tmp_path).space.names == ("_background_", "cat")


def test_the_original_of_camvid(tmp_path):
    for name in ("0001TP_1", "0001TP_2"):
        place(tmp_path, f"701_StillsRaw_full/{name}.png")
        mask = np.array([[[0, 0, 0], [64, 0, 128]], [[128, 64, 128], [64, 0, 128]]], np.uint8).repeat(2, 0).repeat(2, 1)
        (tmp_path / "LabeledApproved_full").mkdir(exist_ok=True)
        Image.fromarray(mask).save(tmp_path / "LabeledApproved_full" / f"{name}_L.png")
    colours = tmp_path / "label_colors.txt"
    colours.write_text("64 0 128\tCar\n128 64 128\t\tRoad Shoulder\n0 0 0 Void\n1 2 Sky\n64 0 128 Bus\n")
    dataset = open_dataset(tmp_path)
    assert (dataset.layout, dataset.space.names) == ("camvid", ("Car", "Road Shoulder"))
    labels = read_sample(dataset.splits["train"][0], dataset.space).labels
    assert labels[::2, ::2].tolist() == [[255, 0], [1, 0]]
    assert [problem.detail[:16] for problem in recognise(tmp_path).problems] == ["line 4: '1 2 Sky", "line 5: '64 0 12"]
    colours.write_text("nothing")
    with pytest.raises(AtrousError, match=r"label_colors.txt: no line names a class. A line is red green blue name"):
        recognise(tmp_path)


@pytest.mark.parametrize("inner", [("", ""), ("TrainVal_images/", "TrainVal_parsing_annotations/")])
def test_lip(tmp_path, inner):
    for split in ("train", "val"):
        place(tmp_path, f"{inner[0]}{split}_images/7_42.png", f"{inner[1]}{split}_segmentations/7_42.png")
    place(tmp_path, "test_images/t.png")
    dataset = open_dataset(tmp_path)
    assert (dataset.layout, len(dataset.space), dataset.space.names[13]) == ("lip", 20, "face")
    assert {name: len(pairs) for name, pairs in dataset.splits.items()} == {"train": 1, "val": 1, "test": 1}
    assert "the 20 of Look into Person" in recognise(tmp_path).notes[0]


@pytest.mark.parametrize("base", ["", "dataset/"])
def test_sbd(tmp_path, base):
    place(tmp_path, *(f"{base}img/{x}.jpg" for x in "ab"))
    for name in "ab":
        (tmp_path / base / "cls").mkdir(exist_ok=True)
        (tmp_path / base / "cls" / f"{name}.mat").touch()
    (tmp_path / base / "train.txt").write_text("a\n")
    (tmp_path / base / "val.txt").write_text("b\n")
    found = recognise(tmp_path)
    assert (found.layout, found.told.ignore, len(found.told.classes)) == ("sbd", 255, 21)
    assert [pair.mask.name for pair in found.splits["val"].pairs] == ["b.mat"]
    assert found.splits["val"].pairs[0].name == f"{base}img/b"
    assert sbd.recognise(place(tmp_path / "other", "img/a.png", "cls/a.png")) is None


def mapillary_labels(*labels):
    return json.dumps(
        {"labels": [{"name": name, "readable": short, "color": list(colour)} for name, short, colour in labels]}
    )


@pytest.mark.parametrize("version", ["v1.2/", "v2.0/", ""])
def test_mapillary(tmp_path, version):
    for split in ("training", "validation"):
        place(tmp_path, f"{split}/images/a.png", f"{split}/{version}labels/a.png")
    place(tmp_path, "testing/images/t.png")
    config = tmp_path / f"config{'_' * bool(version)}{version.rstrip('/')}.json"
    labels = [("animal--bird", "Bird", (1, 2, 3)), ("a--line", "Line", (4, 5, 6)), ("b--line", "Line", (7, 8, 9))]
    config.write_text(mapillary_labels(*labels, ("void--unlabeled", "Unlabeled", (0, 0, 0))), encoding="utf-8-sig")
    dataset = open_dataset(tmp_path)
    assert (dataset.layout, dataset.space.names) == ("mapillary", ("Bird", "a--line", "b--line"))
    assert (dataset.space.values, dataset.space.ignore) == ((0, 1, 2), 3)
    assert {name: len(pairs) for name, pairs in dataset.splits.items()} == {"train": 1, "val": 1, "test": 1}
    for text in ("[]", "{", '{"labels": [1]}', '{"labels": [{"name": "a", "color": [1, 2]}]}', '{"labels": null}'):
        config.write_text(text)
        if not version and "color" not in text:  # a configuration without version may be any program's
            assert mapillary.recognise(tmp_path) is None
            continue
        with pytest.raises(AtrousError, match=r"json: this is no configuration of Mapillary Vistas .* Copy it from"):
            recognise(tmp_path)
    config.unlink()
    found = mapillary.recognise(tmp_path)
    assert (found and found.told.ignore) == {"v1.2/": 65, "v2.0/": 123, "": None}[version]


def test_a_split_of_mapillary_without_masks(tmp_path):
    place(tmp_path, "training/images/a.png", "training/v1.2/labels/a.png", "validation/images/b.png")
    with pytest.raises(AtrousError, match=r"1 image \(validation/images/b.png\) has no mask"):
        open_dataset(tmp_path)


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


def test_slices_of_one_thing_are_not_divided(tmp_path):
    names = [f"case{case}_slice{index:03d}" for case in range(12) for index in range(3)]
    names += [f"ride {ride}-frame_{index}" for ride in range(6) for index in range(2)]
    names += [f"volume {volume}_slice/{index:03d}" for volume in range(6) for index in range(2)]
    place(tmp_path, *(f"{kind}/{name}.png" for kind in ("images", "masks") for name in names))
    dataset = open_dataset(tmp_path)
    things = {
        split: {pair.name.rsplit("_slice")[0].rsplit("-frame")[0] for pair in pairs}
        for split, pairs in dataset.splits.items()
    }
    assert dataset.made_split
    assert len(things["val"]) >= 2
    assert not things["train"] & things["val"]
    one = split_by_hash(Pair(f"case_slice{index}", tmp_path / f"{index}.png", None) for index in range(10))
    assert all(one.values())


def test_a_folder_around_the_dataset_is_seen_through(tmp_path):
    place(tmp_path / "unpacked" / "street", "images/a.png", "images/b.png", "masks/a.png", "masks/b.png")
    (tmp_path / "unpacked" / "__MACOSX").mkdir()
    (tmp_path / "unpacked" / "street" / "classes.json").write_text('{"names": ["road", "car"]}', "utf-8")
    dataset = open_dataset(tmp_path / "unpacked")
    assert (dataset.root, dataset.space.names) == (tmp_path / "unpacked" / "street", ("road", "car"))
    assert {pair.name for pairs in dataset.splits.values() for pair in pairs} == {"images/a", "images/b"}
    notes = inspect_dataset(tmp_path / "unpacked").notes
    assert "the dataset is the folder street/ inside" in notes


def test_archives_are_to_be_unpacked(tmp_path):
    for name in ("images.zip", "masks.tar.gz"):
        (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(AtrousError, match=r"this is an archive, and a folder is read. Unpack it, and name the folder."):
        open_dataset(tmp_path / "images.zip")
    with pytest.raises(AtrousError, match=r"\(0 image files in all\)\. Unpack images.zip first\. Accepted are: "):
        open_dataset(tmp_path)


def test_an_unknown_layout_and_one_that_is_another(tmp_path):
    place(tmp_path, "images/a.png", "masks/a.png")
    with pytest.raises(ValueError, match="layout 'pascal' came; there are camvid, "):
        open_dataset(tmp_path, layout="pascal")
    with pytest.raises(AtrousError, match=r"this is not the layout voc. It holds images/, masks/"):
        open_dataset(tmp_path, layout="voc")


def test_voc_with_folders_within(tmp_path):
    place(tmp_path, *(f"{kind}/{film}/0.png" for kind in ("JPEGImages", "SegmentationClass") for film in ("v1", "v2")))
    pairs = recognise(tmp_path).splits["train"].pairs
    assert [(pair.image.parent.name, pair.mask.parent.name) for pair in pairs] == [("v1", "v1"), ("v2", "v2")]
    (tmp_path / "SegmentationClass/v1/0.png").unlink()
    (tmp_path / "JPEGImages/v2/0.png").unlink()
    assert not recognise(place(tmp_path, "JPEGImages/c.png", "SegmentationClass/c.png")).splits["train"].pairs[1:]
    (tmp_path / "SegmentationClass/v2/0.png").rename(tmp_path / "SegmentationClass/0.png")
    pairs = recognise(tmp_path).splits["train"].pairs  # one folder of masks for images in several
    assert [pair.name for pair in pairs] == ["JPEGImages/c", "JPEGImages/v1/0"]
    place(tmp_path, "JPEGImages/c.bmp")
    with pytest.raises(AtrousError, match=r"1 names are used by several files, first JPEGImages/c\.bmp and JPEG"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(("listed", "stored"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_voc_and_names_of_another_system(tmp_path, listed, stored):
    names = [f"도로{letter}" for letter in "ab"]
    place(tmp_path, *(normalize(stored, f"JPEGImages/{name}.png") for name in names))
    place(tmp_path, *(normalize(listed, f"SegmentationClass/{name}.png") for name in names))
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text(normalize(listed, "\n".join(names)), encoding="utf-8")
    found = recognise(tmp_path).splits["train"]
    assert (len(found.pairs), found.missing) == (2, ())


@pytest.mark.parametrize("line", ["/JPEGImages/a.png /SegmentationClass/a.png", "a.png\tb", "C:\\x\\a.png", "a, 1"])
def test_lines_of_voc(tmp_path, line):
    place(tmp_path, "JPEGImages/a.png", "SegmentationClass/a.png", "ImageSets/Segmentation/x.png")
    (tmp_path / "ImageSets/Segmentation/train.txt").write_text(line)
    found = recognise(tmp_path).splits["train"]
    assert ([pair.name for pair in found.pairs], found.missing) == (["JPEGImages/a"], ())


def test_folders_called_as_those_of_lip(tmp_path):
    place(tmp_path, *(f"{split}_{kind}/a.png" for split in ("train", "val") for kind in ("images", "segmentations")))
    dataset = open_dataset(tmp_path)
    assert (dataset.layout, len(dataset.space)) == ("folders", 2)
    assert {split: len(pairs) for split, pairs in dataset.splits.items()} == {"train": 1, "val": 1}


@pytest.mark.parametrize(
    "config",
    ["{}", "[]", "{", '{"model": "unet"}', '{"labels": ["road", "car"]}', '{"labels": [{}]}'],
)
def test_a_config_of_another_program(tmp_path, config):
    place(tmp_path, *(f"{split}/{kind}/{split}.png" for split in ("train", "val") for kind in ("images", "labels")))
    (tmp_path / "config.json").write_text(config)
    assert recognise(tmp_path).layout == "folders"


def test_what_is_wrong_inside_the_only_folder_is_said(tmp_path):
    place(tmp_path / "out" / "in", "SegmentationClass/a.png")
    (tmp_path / "out" / "in" / "labelmap.txt").write_text("a:1,2,3::\n")
    with pytest.raises(AtrousError, match=r"in: this is CVAT's export of masks without the images"):
        open_dataset(tmp_path)
    place(tmp_path / "other" / "deep", "a.png")
    with pytest.raises(AtrousError, match=r"other: no layout of images and masks was recognised\. It holds deep/ \(1"):
        open_dataset(tmp_path / "other")
