"""COCO's panoptic annotations, of a real sample and with what can be wrong."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from atrous.contract import AtrousError
from atrous.data import open_dataset, read_sample
from atrous.data.layouts import recognise

CATEGORIES = [{"id": 1, "name": "cat", "isthing": 1}, {"id": 200, "name": "grass", "isthing": 0}]


def folder(root, ids, segments, *, categories=CATEGORIES, name="panoptic_val2017", image_size=None):
    """Write an image, the picture of its segments' ids and the JSON file."""
    ids = np.asarray(ids)
    (root / "val2017").mkdir(parents=True, exist_ok=True)
    (root / "annotations" / name).mkdir(parents=True, exist_ok=True)
    Image.new("RGB", image_size or ids.shape[::-1]).save(root / "val2017" / "a.jpg")
    colours = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)
    Image.fromarray(colours).save(root / "annotations" / name / "a.png")
    content = {
        "images": [{"id": 5, "file_name": "a.jpg", "height": ids.shape[0], "width": ids.shape[1]}],
        "annotations": [{"image_id": 5, "file_name": "a.png", "segments_info": segments}],
        "categories": categories,
    }
    (root / "annotations" / f"{name}.json").write_text(json.dumps(content))
    return root


def segment(number, category, **more):
    return {"id": number, "category_id": category, "iscrowd": 0, **more}


IDS = [[0, 7, 7], [70000, 70000, 900]]
SEGMENTS = [segment(7, 1), segment(70000, 200), segment(900, 1, iscrowd=1)]


def test_ids_are_looked_up(tmp_path):
    found = recognise(folder(tmp_path, IDS, SEGMENTS))
    assert (found.layout, found.problems, list(found.splits)) == ("coco-panoptic", (), ["val"])
    assert (found.told.classes, found.told.values, found.told.ignore) == (("cat", "grass"), (1, 200), 255)
    (pair,) = found.splits["val"].pairs
    assert pair.name == "val2017/a"
    assert pair.mask.read().tolist() == [[255, 1, 1], [200, 200, 1]]
    assert pair.mask.instances().tolist() == [[0, 1, 1], [2, 2, 0]]
    dataset = open_dataset(tmp_path)
    sample = read_sample(dataset.splits["val"][0], dataset.space)
    assert sample.labels.tolist() == [[255, 0, 0], [1, 1, 0]]
    assert hash(pair.mask) == hash(pair.mask)


def test_grey_ids_and_ids_that_are_not_listed(tmp_path):
    grey = 3 + 256 * 3 + 65536 * 3
    found = recognise(folder(tmp_path, [[grey] * 20], [segment(grey, 1)]))
    assert np.unique(found.splits["val"].pairs[0].mask.read()).tolist() == [1]
    found = recognise(folder(tmp_path, [[9] + [7] * 30], [segment(7, 1)]))
    with pytest.raises(AtrousError, match=r"a.png: 1 pixels have the id 9, which is none of the 1 segments") as caught:
        found.splits["val"].pairs[0].mask.read()
    assert caught.value.kind == "label-outside"


@pytest.mark.parametrize(
    ("more", "kind", "match"),
    [
        (segment(70000, 3), "class-unknown", "category 3, which panoptic_val2017.json does not list: ignored"),
        (segment(70000, None), "class-unknown", "category None"),
        (segment("x", 1), "broken-annotation", "has no id from 1 to 16777215"),
        (segment(-4, 1), "broken-annotation", "has no id"),
        (segment(7, 1), "broken-annotation", "segment 7 is listed twice"),
    ],
)
def test_broken_segments_become_problems(tmp_path, more, kind, match):
    found = recognise(folder(tmp_path, [[7] * 20], [segment(7, 1), more]))
    assert [problem.kind for problem in found.problems] == [kind]
    assert match in found.problems[0].detail
    assert found.splits["val"].pairs[0].mask.read().tolist() == [[1] * 20]


def test_files_that_are_missing(tmp_path):
    root = folder(tmp_path, IDS, SEGMENTS)
    path = root / "annotations" / "panoptic_val2017.json"
    content = json.loads(path.read_text())
    for number, name in ((6, "b"), (7, "c")):
        content["images"].append({"id": number, "file_name": f"{name}.jpg"})
        content["annotations"].append({"image_id": number, "file_name": f"{name}.png", "segments_info": []})
    Image.new("RGB", (3, 2)).save(root / "val2017" / "b.jpg")
    path.write_text(json.dumps(content))
    found = recognise(root)
    assert found.splits["val"].missing == ("c.jpg",)
    assert [(each.kind, each.path.name) for each in found.problems] == [("image-without-mask", "b.jpg")]
    shutil.rmtree(root / "val2017")
    with pytest.raises(AtrousError, match=r"none of the listed images is below .* \(the first: a.jpg\)"):
        recognise(root)
    shutil.rmtree(root / "annotations" / "panoptic_val2017")
    with pytest.raises(
        AtrousError, match=r"no folder below .* holds its PNG files of segment ids \(the first: a.png\)"
    ):
        recognise(root)


def test_classes_that_do_not_fit_a_byte(tmp_path):
    many = [{"id": number, "name": f"c{number}"} for number in range(1, 301)]
    found = recognise(folder(tmp_path, [[7] * 9], [segment(7, 300)], categories=many))
    assert found.told.classes == ("c300",)
    assert found.splits["val"].pairs[0].mask.read().max() == 0
    ids = np.arange(1, 301)[None]
    with pytest.raises(
        AtrousError, match=r"300 categories are used, and 1 to 255 are possible, since labels are one byte"
    ):
        recognise(folder(tmp_path, ids, [segment(number, number) for number in range(1, 301)], categories=many))


def test_sizes_that_differ(tmp_path):
    found = recognise(folder(tmp_path, IDS, SEGMENTS, image_size=(2, 3)))
    with pytest.raises(AtrousError, match="Height and width are swapped") as caught:
        found.splits["val"].pairs[0].mask.read()
    assert caught.value.kind == "axes-swapped"


def test_damaged_json(tmp_path):
    root = folder(tmp_path, IDS, SEGMENTS)
    path = root / "annotations" / "panoptic_val2017.json"
    path.write_text(path.read_text()[:-3])
    with pytest.raises(AtrousError, match=r"panoptic_val2017.json: this is not JSON"):
        recognise(root)


@pytest.mark.parametrize("two_channels", [False, True])
def test_real_areas_are_those_of_the_json(data_dir, tmp_path, two_channels):
    root = data_dir / "coco_panoptic_sample"
    if two_channels:
        for name in ("input_images", "panoptic_examples_2ch_format"):
            shutil.copytree(root / name, tmp_path / name)
        shutil.copy(root / "panoptic_examples.json", tmp_path)
        root = tmp_path
    dataset = open_dataset(root)
    assert (dataset.layout, len(dataset.space), dataset.space.ignore) == ("coco-panoptic", 133, 255)
    pairs = [pair for pairs in dataset.splits.values() for pair in pairs]
    assert sorted(pair.name for pair in pairs) == ["input_images/000000142238", "input_images/000000439180"]
    entries = {
        entry["image_id"]: entry["segments_info"]
        for entry in json.loads((root / "panoptic_examples.json").read_text())["annotations"]
    }
    for pair in pairs:
        segments = entries[int(pair.image.stem)]
        sample = read_sample(pair, dataset.space)
        areas = sorted(np.unique(sample.instances[sample.instances > 0], return_counts=True)[1].tolist())
        assert areas == sorted(each["area"] for each in segments if not each["iscrowd"])
        for category in {each["category_id"] for each in segments}:
            wanted = sum(each["area"] for each in segments if each["category_id"] == category)
            assert int((sample.labels == dataset.space.values.index(category)).sum()) == wanted
        assert int((sample.labels != 255).sum()) == sum(each["area"] for each in segments)


def with_png_images(root, segments=SEGMENTS):
    folder(root, IDS, segments)
    (root / "val2017" / "a.jpg").unlink()
    Image.new("RGB", (3, 2)).save(root / "val2017" / "a.png")
    path = root / "annotations" / "panoptic_val2017.json"
    content = json.loads(path.read_text())
    content["images"][0]["file_name"] = "a.png"
    path.write_text(json.dumps(content))
    return root


@pytest.mark.parametrize("deep", [True, False])
def test_images_that_are_png_are_not_taken_for_their_masks(tmp_path, deep):
    root = with_png_images(tmp_path)
    if not deep:
        for path in list((root / "annotations").iterdir()):
            path.rename(root / path.name)
    found = recognise(root)
    assert (found.problems, [pair.name for pair in found.splits["val"].pairs]) == ((), ["val2017/a"])
    assert found.splits["val"].pairs[0].mask.read().tolist() == [[255, 1, 1], [200, 200, 1]]


def test_images_that_nothing_tells_apart(tmp_path):
    root = folder(tmp_path, IDS, SEGMENTS)
    path = root / "annotations" / "panoptic_val2017.json"
    content = json.loads(path.read_text())
    content["images"].append({"id": 6, "file_name": "b.png"})
    content["annotations"].append({"image_id": 6, "file_name": "b.png", "segments_info": SEGMENTS})
    path.write_text(json.dumps(content))
    shutil.copy(path.with_suffix("") / "a.png", path.with_suffix("") / "b.png")
    for place in ("one", "two"):
        (root / place).mkdir()
        Image.new("RGB", (3, 2)).save(root / place / "b.png")
    found = recognise(root)
    assert [(problem.kind, problem.path) for problem in found.problems] == [("name-twice", path)]
    assert "b.png may be" in found.problems[0].detail
    assert [pair.name for pair in found.splits["val"].pairs] == ["val2017/a"]


def test_names_of_masks_in_other_letters(tmp_path):
    root = folder(tmp_path, IDS, SEGMENTS)
    path = root / "annotations" / "panoptic_val2017.json"
    path.write_text(path.read_text().replace('"a.', '"\ubcf4.'))
    (root / "val2017" / "a.jpg").rename(root / "val2017" / "\u1107\u1169.jpg")
    (root / "annotations" / "panoptic_val2017" / "a.png").rename(
        root / "annotations" / "panoptic_val2017" / "\u1107\u1169.png"
    )
    found = recognise(root)
    assert found.splits["val"].pairs[0].mask.read().tolist() == [[255, 1, 1], [200, 200, 1]]


def test_categories_that_files_number_otherwise(tmp_path):
    folder(tmp_path, IDS, SEGMENTS)
    other = [{"id": 1, "name": "grass"}, {"id": 2, "name": "cat"}]
    path = folder(tmp_path / "x", IDS, [segment(7, 2), segment(70000, 1), segment(900, 2)], categories=other)
    (path / "val2017").rename(tmp_path / "train2017")
    (path / "annotations" / "panoptic_val2017").rename(tmp_path / "annotations" / "panoptic_train2017")
    (path / "annotations" / "panoptic_val2017.json").rename(tmp_path / "annotations" / "panoptic_train2017.json")
    found = recognise(tmp_path)
    assert found.told.classes == ("grass", "cat")
    train, val = (found.splits[split].pairs[0].mask.read().tolist() for split in ("train", "val"))
    assert train == val == [[255, 2, 2], [1, 1, 2]]
    assert any("2 of 2 categories have other ids" in note for note in found.notes)


def test_segments_still_packed_do_not_hide_other_annotations(tmp_path):
    folder(tmp_path, IDS, SEGMENTS)
    shutil.rmtree(tmp_path / "annotations" / "panoptic_val2017")
    with pytest.raises(AtrousError, match=r"no folder below .* holds its PNG files"):
        recognise(tmp_path)
    outline = {"id": 1, "image_id": 5, "category_id": 1, "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2]]}
    images = [{"id": 5, "file_name": "a.jpg", "height": 2, "width": 3}]
    content = {"images": images, "annotations": [outline], "categories": CATEGORIES}
    (tmp_path / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    found = recognise(tmp_path)
    assert found.layout == "coco"
    assert found.notes == (
        "left aside: annotations/panoptic_val2017.json; with their PNG files unpacked, --layout coco-panoptic reads "
        "them.",
    )


@pytest.mark.parametrize("name", ["", None, "."])
def test_entries_that_name_no_png_file(tmp_path, name):
    root = folder(tmp_path, IDS, SEGMENTS)
    path = root / "annotations" / "panoptic_val2017.json"
    content = json.loads(path.read_text())
    content["annotations"].append(
        {"image_id": 6, "segments_info": SEGMENTS, **({} if name is None else {"file_name": name})}
    )
    path.write_text(json.dumps(content))
    found = recognise(root)
    assert [(problem.kind, problem.detail) for problem in found.problems] == [
        ("broken-annotation", "the entry of image 6 names no PNG file: left out")
    ]
