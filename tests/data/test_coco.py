"""COCO's annotations in the folders of many tools, and what is wrong with them."""

import json

import numpy as np
import pytest
from PIL import Image

from atrous.contract import AtrousError
from atrous.data import open_dataset, read_sample
from atrous.data.layouts import coco, recognise
from atrous.data.rle import encode, string_of_counts

SQUARE = [1, 1, 5, 1, 5, 4, 1, 4]
CATEGORIES = [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]


def picture(path, size=(6, 9)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size[::-1]).save(path)


def image(number, name, size=(6, 9)):
    return {"id": number, "file_name": name, "height": size[0], "width": size[1]}


def annotation(number, image_id, category=3, segmentation=(SQUARE,), **more):
    listed = list(segmentation) if isinstance(segmentation, tuple) else segmentation
    return {"id": number, "image_id": image_id, "category_id": category, "segmentation": listed, "iscrowd": 0, **more}


def write(path, images, annotations, categories=CATEGORIES):
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(content), encoding="utf-8")


def one(root, *annotations, categories=CATEGORIES, entry=None):
    """Write a folder of one image with annotations and return what is found there."""
    picture(root / "images" / "a.png")
    write(root / "coco.json", [entry or image(1, "a.png")], list(annotations), categories)
    return recognise(root)


def kinds(found):
    return [(problem.kind, problem.path.name) for problem in found.problems]


@pytest.mark.parametrize(
    ("folders", "files", "names"),
    [
        (
            ("train2017", "val2017"),
            ("annotations/instances_train2017.json", "annotations/instances_val2017.json"),
            "{}",
        ),
        (("train", "valid"), ("train/_annotations.coco.json", "valid/_annotations.coco.json"), "{}"),
        (("images/train", "images/val"), ("annotations/train.json", "annotations/val.json"), "{}"),
        (("images", "images"), ("train.json", "val.json"), "images/{}"),
        (("train/images", "val/images"), ("train/labels.json", "val/labels.json"), "{}"),
        (("data/train", "data/val"), ("annotations.json",) * 2, "C:\\home\\me\\{folder}\\{}"),
        (("set/a", "set/b"), ("annotations/train.json", "annotations/val.json"), "/data/{folder}/{}"),
    ],
)
def test_folders_of_many_tools(tmp_path, folders, files, names):
    listed = {}
    for number, (folder, file, name) in enumerate(zip(folders, files, ("a 한.jpg", "b.jpg"), strict=True)):
        picture(tmp_path / folder / name)
        images, annotations = listed.setdefault(file, ([], []))
        images.append(image(number, names.format(name, folder=folder)))
        annotations.append(annotation(number, number))
    for file, content in listed.items():
        write(tmp_path / file, *content)
    found = recognise(tmp_path)
    assert (found.layout, found.problems) == ("coco", ())
    assert {split: [pair.name for pair in matched.pairs] for split, matched in found.splits.items()} == {
        "train": [f"{folders[0]}/a 한"],
        "val": [f"{folders[1]}/b"],
    }
    foreign = "C:" in names or names.startswith("/")
    assert len(found.notes) == foreign
    assert not foreign or found.notes[0].startswith(f"{len(files)} listed paths are of another machine")


def test_the_same_name_in_two_splits(tmp_path):
    for split in ("train", "val"):
        picture(tmp_path / split / "a.png")
        write(tmp_path / "annotations" / f"{split}.json", [image(1, "a.png")], [annotation(1, 1)])
    splits = recognise(tmp_path).splits
    assert {name: matched.pairs[0].name for name, matched in splits.items()} == {"train": "train/a", "val": "val/a"}


def test_polygons_run_lengths_and_strings_are_read(tmp_path):
    mask = np.zeros((6, 9), bool)
    mask[1:4, 1:5] = True
    counts = {"counts": encode(mask).tolist(), "size": [6, 9]}
    text = {"counts": string_of_counts(encode(mask)), "size": [6, 9]}
    for segmentation in ((SQUARE,), SQUARE, counts, text, ([1, 1, 3, 1, 3, 4, 1, 4], [2, 1, 5, 1, 5, 4, 2, 4])):
        found = one(tmp_path, annotation(1, 1, 7, segmentation))
        part = found.splits["train"].pairs[0].mask
        np.testing.assert_array_equal(part.read(), 7 * mask)
        np.testing.assert_array_equal(part.instances(), mask)
    dataset = open_dataset(tmp_path)
    assert dataset.space.names == ("background", "cat", "dog")
    assert dataset.space.values == (0, 3, 7)
    sample = read_sample(dataset.splits["train"][0], dataset.space)
    np.testing.assert_array_equal(sample.labels, 2 * mask)
    np.testing.assert_array_equal(sample.instances, mask)


def test_crowds_overlaps_and_repeated_annotations(tmp_path):
    large, small = [0, 0, 9, 0, 9, 6, 0, 6], [2, 2, 4, 2, 4, 4, 2, 4]
    found = one(
        tmp_path, annotation(1, 1, 7, (small,)), annotation(2, 1, 3, (large,), iscrowd=1), annotation(3, 1, 7, (small,))
    )
    mask = found.splits["train"].pairs[0].mask
    assert {value: int((mask.read() == value).sum()) for value in (0, 3, 7)} == {0: 0, 3: 50, 7: 4}
    assert np.unique(mask.instances()).tolist() == [0, 1]


def test_images_without_annotation_are_background_and_unlisted_ones_left_out(tmp_path):
    for name in ("images/a.png", "images/b.png", "images/c.png", "test/t.png"):
        picture(tmp_path / name)
    write(tmp_path / "coco.json", [image(1, "a.png"), image(2, "b.png")], [annotation(1, 1)])
    found = recognise(tmp_path)
    assert kinds(found) == [("image-without-mask", "c.png")]
    assert [pair.name for pair in found.splits["train"].pairs] == ["images/a", "images/b"]
    assert found.splits["train"].pairs[1].mask.read().max() == 0
    assert [(pair.name, pair.mask) for pair in found.splits["test"].pairs] == [("test/t", None)]


def test_missing_images(tmp_path):
    picture(tmp_path / "images" / "a.png")
    write(tmp_path / "train.json", [image(1, "a.png"), image(2, "gone.png")], [annotation(1, 1), annotation(2, 2)])
    found = recognise(tmp_path)
    assert found.splits["train"].missing == ("gone.png",)
    assert kinds(found) == []
    write(tmp_path / "train.json", [image(2, "gone.png")], [annotation(2, 2)])
    with pytest.raises(AtrousError, match=r"train.json: none of the listed images is below .* \(the first: gone.png\)"):
        recognise(tmp_path)


def test_missing_images_do_not_hide_folders_of_masks(tmp_path):
    picture(tmp_path / "images" / "a.png")
    picture(tmp_path / "masks" / "a.png")
    write(tmp_path / "old.json", [image(2, "gone.png")], [annotation(2, 2)])
    assert recognise(tmp_path).layout == "folders"


@pytest.mark.parametrize(
    ("entry", "kind", "match"),
    [
        (annotation(5, 1, 99), "class-unknown", "1 annotations are of category 99, which is not listed"),
        (annotation(5, 1, "3"), "class-unknown", "category '3'"),
        (annotation(5, 1, None), "class-unknown", "category None"),
        (annotation(5, 8), "broken-annotation", "1 annotations belong to images that are not listed, first image id 8"),
        (annotation(5, "1"), "broken-annotation", "1 annotations have no image id"),
        ("nonsense", "broken-annotation", "1 annotations have no image id"),
        (
            annotation(5, 1, 3, ([1, 1, 4, 4],)),
            "broken-annotation",
            "annotation 5 in coco.json: a polygon of 2 corners",
        ),
        (annotation(5, 1, 3, ([1, 1, 4, 4, 4],)), "broken-annotation", "5 numbers came, which are no pairs"),
        (annotation(5, 1, 3, ([1, 1, 4, 4, 4, None],)), "broken-annotation", "no list of numbers"),
        (annotation(5, 1, 3, (["1", "1", "4", "4", "4", "1"],)), "broken-annotation", "no list of numbers"),
        (annotation(5, 1, 3, ([1, 1, 4, 4, 4, float("nan")],)), "broken-annotation", "not finite"),
        (annotation(5, 1, 3, ([1, 1, 4, 4, 4, 1e300],)), "broken-annotation", "far too large"),
        (annotation(5, 1, 3, ([1, 1, 4, 4, [4], 1],)), "broken-annotation", "no list of numbers"),
        (annotation(5, 1, 3, (3,)), "broken-annotation", "numbers"),
        (annotation(5, 1, 3, ()), "broken-annotation", "it has no outline"),
        (annotation(5, 1, 3, None), "broken-annotation", "it has no outline"),
        (annotation(5, 1, 3, ([1, 1, 40, 1, 40, 4, 1, 4],)), "shape-outside", "31.0 pixels beyond the image"),
        (annotation(5, 1, 3, ([-3, 1, 4, 1, 4, 4, -3, 4],)), "shape-outside", "3.0 pixels beyond the image"),
        (annotation(5, 1, 3, {"counts": [1, 2]}), "broken-rle", "a size of two numbers"),
        (annotation(5, 1, 3, {"counts": 3, "size": [6, 9]}), "broken-rle", "a list or string of counts"),
        (annotation(5, 1, 3, {"counts": ["a"], "size": [6, 9]}), "broken-rle", "no list of whole numbers"),
    ],
)
def test_broken_annotations_become_problems(tmp_path, entry, kind, match):
    found = one(tmp_path, annotation(1, 1), entry)
    assert [problem.kind for problem in found.problems] == [kind]
    assert match in found.problems[0].detail
    assert found.splits["train"].pairs[0].mask.read().max() == 3


@pytest.mark.parametrize(
    ("segmentation", "match"),
    [
        ({"counts": [10, 20], "size": [6, 9]}, r"add up to 30, and 6 x 9 pixels are 54"),
        ({"counts": "한", "size": [6, 9]}, r"is none of the string's"),
        ({"counts": [54], "size": [9, 6]}, r"run lengths of 9 x 6 pixels"),
    ],
)
def test_broken_run_lengths_are_told_when_read(tmp_path, segmentation, match):
    found = one(tmp_path, annotation(1, 1, 3, segmentation))
    with pytest.raises(AtrousError, match=rf"coco.json: a.png: .*{match}") as caught:
        found.splits["train"].pairs[0].mask.read()
    assert caught.value.kind == "broken-rle"


def test_a_polygon_may_reach_one_pixel_beyond(tmp_path):
    assert kinds(one(tmp_path, annotation(1, 1, 3, ([-1, 1, 10, 1, 10, 4, -1, 7],)))) == []


@pytest.mark.parametrize(("size", "kind"), [((9, 6), "axes-swapped"), ((6, 8), "size-differs")])
def test_sizes_that_are_not_the_files(tmp_path, size, kind):
    found = one(tmp_path, annotation(1, 1, 3, ([1, 1, 4, 1, 4, 4],)), entry=image(1, "a.png", size))
    with pytest.raises(AtrousError, match=r"coco.json: it says that a.png is") as caught:
        found.splits["train"].pairs[0].mask.read()
    assert caught.value.kind == kind


@pytest.mark.parametrize("height", ["6", -6, None, 6.5, True])
def test_sizes_that_are_none(tmp_path, height):
    found = one(tmp_path, annotation(1, 1), entry={"id": 1, "file_name": "a.png", "height": height, "width": 9})
    assert kinds(found) == [("broken-annotation", "coco.json")]
    assert found.splits["train"].pairs[0].mask.read().shape == (6, 9)
    assert kinds(one(tmp_path, annotation(1, 1), entry={"id": 1, "file_name": "a.png"})) == []


@pytest.mark.parametrize(
    ("categories", "names", "values"),
    [
        (CATEGORIES, ("background", "cat", "dog"), (0, 3, 7)),
        ([{"id": -2, "name": "x"}, {"id": 3, "name": "cat"}], ("background", "x", "cat"), (0, 1, 2)),
        ([{"id": 0, "name": "x"}, {"id": 3, "name": "cat"}], ("background", "x", "cat"), (0, 1, 2)),
        ([{"id": 3, "name": "cat"}, {"id": 255, "name": "y"}], ("background", "cat", "y"), (0, 1, 2)),
        ([{"id": 10**9, "name": "z"}, {"id": 3, "name": "cat"}], ("background", "cat", "z"), (0, 1, 2)),
        ([{"id": 3, "name": "cat"}, {"id": 4, "name": "cat"}], ("background", "cat (3)", "cat (4)"), (0, 3, 4)),
        ([{"id": 0, "name": "pets"}, {"id": 3, "name": "cat", "supercategory": "pets"}], ("background", "cat"), (0, 3)),
        ([{"id": 3, "name": "cat"}, {"id": 1, "name": "Background"}], ("Background", "cat"), (0, 1)),
        ([{"id": 3, "name": "cat"}, {"id": 0, "name": "background"}], ("background", "cat"), (0, 3)),
    ],
)
def test_categories_are_classes(tmp_path, categories, names, values):
    found = one(tmp_path, annotation(1, 1, 3), categories=categories)
    assert found.told.classes == names
    assert found.told.values == values
    value = values[next(place for place, name in enumerate(names) if name.startswith("cat"))]
    assert np.unique(found.splits["train"].pairs[0].mask.read()).tolist() == [0, value]
    assert open_dataset(tmp_path).space.names == names


def test_colours_and_too_many_categories(tmp_path):
    coloured = [{"id": 3, "name": "cat", "color": [1, 2, 3]}, {"id": 4, "name": "dog", "color": [4, 5, 6]}]
    assert one(tmp_path, annotation(1, 1), categories=coloured).told.colours == ((0, 0, 0), (1, 2, 3), (4, 5, 6))
    many = [{"id": number, "name": f"c{number}"} for number in range(1, 1204)]
    found = one(tmp_path, annotation(1, 1), categories=many)
    assert found.told.classes == ("background", "c3")
    assert found.notes == ("1,203 categories are listed; those that no annotation uses are left out.",)
    with pytest.raises(
        AtrousError, match=r"1,203 categories are used, and 1 to 254 are possible, since labels are one"
    ):
        one(tmp_path, *(annotation(number, 1, number) for number in range(1, 1204)), categories=many)
    for broken in ([{"id": "3", "name": "cat"}], [{"id": 3}], ["cat"]):
        with pytest.raises(AtrousError, match=r"coco.json: the category .* came; each needs a whole number as id"):
            one(tmp_path, annotation(1, 1), categories=broken)
    with pytest.raises(AtrousError, match="no categories are listed"):
        one(tmp_path, annotation(1, 1), categories=[])


def test_files_that_contradict_each_other(tmp_path):
    picture(tmp_path / "images" / "a.png")
    write(tmp_path / "train.json", [image(1, "a.png")], [annotation(1, 1)])
    write(tmp_path / "val.json", [image(1, "a.png")], [annotation(1, 1)])
    found = recognise(tmp_path)
    assert kinds(found) == [("name-twice", "a.png")]
    assert list(found.splits) == ["train"]
    write(tmp_path / "val.json", [image(1, "a.png")], [annotation(1, 1)], [{"id": 3, "name": "cow"}])
    with pytest.raises(AtrousError, match=r"val.json: category 3 is 'cow' here, and 'cat' before"):
        recognise(tmp_path)


def test_things_and_stuff_are_drawn_together_and_key_points_left_out(tmp_path):
    picture(tmp_path / "val2017" / "a.png")
    folder = tmp_path / "annotations"
    images = [image(1, "a.png")]
    write(folder / "instances_val2017.json", images, [annotation(1, 1)])
    stuff = [annotation(1, 1, 92, ([0, 0, 9, 0, 9, 6, 0, 6],))]
    write(folder / "stuff_val2017.json", images, stuff, [{"id": 92, "name": "sky"}])
    people = [annotation(1, 1, 1, keypoints=[0, 0, 0])]
    write(folder / "person_keypoints_val2017.json", images, people, [{"id": 1, "name": "person"}])
    captions = {"images": images, "annotations": [{"id": 1, "image_id": 1, "caption": "a cat"}], "categories": []}
    (folder / "captions_val2017.json").write_text(json.dumps(captions))
    found = recognise(tmp_path)
    assert found.told.classes == ("background", "cat", "dog", "sky")
    assert found.problems == ()
    mask = found.splits["val"].pairs[0].mask.read()
    assert {value: int((mask == value).sum()) for value in (3, 92)} == {3: 12, 92: 42}


def test_ids_and_names_that_repeat(tmp_path):
    for name in ("x/a.png", "z/a.png", "images/b.png"):
        picture(tmp_path / name)
    entries = [image(1, "x/a.png"), image(1, "z/a.png"), image(2, "a.png"), image(3, "b.png"), {"id": 4}, "c.png"]
    write(tmp_path / "coco.json", entries, [annotation(1, 1)])
    found = recognise(tmp_path)
    assert [problem.kind for problem in found.problems[:4]] == [
        "name-twice", "name-twice", "broken-annotation", "broken-annotation",
    ]  # fmt: skip
    assert "image id 1 belongs to a.png and z/a.png" in found.problems[0].detail
    assert "a.png may be" in found.problems[1].detail
    assert [pair.name for pair in found.splits["train"].pairs] == ["images/b", "x/a"]


def test_boxes_are_no_segmentation(tmp_path):
    with pytest.raises(
        AtrousError, match=r"coco.json: its 2 annotations are boxes without outlines, which is data for"
    ):
        one(tmp_path, annotation(1, 1, 3, (), bbox=[1, 1, 2, 2]), annotation(2, 1, 3, None, bbox=[1, 1, 2, 2]))


def test_other_files_are_none_of_this_layout(tmp_path):
    picture(tmp_path / "images" / "a.png")
    for content in ({}, [], {"images": 3, "annotations": {}, "categories": ""}, {"shapes": [], "imagePath": "a.png"}):
        (tmp_path / "a.json").write_text(json.dumps(content))
        assert coco.recognise(tmp_path) is None
    (tmp_path / "a.json").write_bytes(b"\xff\xfe\x00")
    assert coco.recognise(tmp_path) is None


def test_damaged_files(tmp_path):
    picture(tmp_path / "images" / "a.png")
    write(tmp_path / "b.json", [image(1, "a.png")], [annotation(1, 1)])
    text = (tmp_path / "b.json").read_text()
    (tmp_path / "a.json").write_text(text[:-5])
    assert kinds(recognise(tmp_path)) == [("broken-annotation", "a.json")]
    (tmp_path / "b.json").unlink()
    with pytest.raises(AtrousError, match=r"a.json: this is not JSON .*Export or copy the annotations again"):
        recognise(tmp_path)
    (tmp_path / "a.json").write_text("\ufeff" + text, encoding="utf-8")
    assert kinds(recognise(tmp_path)) == []


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_real_run_lengths(data_dir):
    theirs = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")

    root = data_dir / "coco_panoptic_sample"
    found = recognise(root, layout="coco")
    content = json.loads((root / "panoptic_coco_detection_format.json").read_text())
    assert (len(found.told.classes), found.problems) == (134, ())
    assert [len(pair.mask.shapes) for pair in found.splits["train"].pairs] == [18, 32]
    for pair in found.splits["train"].pairs:
        entries = [each for each in content["annotations"] if each["image_id"] == int(pair.image.stem)]
        numbers = pair.mask.instances()
        for number, entry in enumerate(entries, start=1):
            wanted = theirs.decode(entry["segmentation"]).astype(bool)
            assert int(wanted.sum()) == entry["area"]
            assert entry["iscrowd"] or np.array_equal(numbers == number, wanted)


def two_splits(root, train, val):
    """Write an image of the category `1` of each file, whose categories are names by id."""
    for split, names in (("train", train), ("val", val)):
        picture(root / split / f"{split}.png")
        entries = [{"id": number, "name": name} for number, name in names.items()]
        own = next(number for number, name in names.items() if name == "dog")
        write(root / f"{split}.json", [image(1, f"{split}.png")], [annotation(1, 1, own)], entries)
    return recognise(root)


@pytest.mark.parametrize(
    ("train", "val", "names", "noted"),
    [
        ({1: "cat", 2: "dog"}, {3: "cat", 4: "dog"}, ("cat", "dog"), "val.json: 2 of 2 categories have other ids"),
        ({1: "cat", 2: "dog"}, {1: "dog", 2: "cat"}, ("cat", "dog"), "(dog is 1 here and 2 there)"),
        ({1: "dog"}, {1: "cat", 2: "dog"}, ("dog", "cat"), "(cat is 1 here and 3 there)"),
        ({1: "cat", 2: "dog"}, {1: "dog", 3: "cow"}, ("cat", "dog", "cow"), "1 of 2 categories"),
        ({1: "\ubcf4", 2: "dog"}, {2: "\u1107\u1169", 1: "dog"}, ("\ubcf4", "dog"), "2 of 2 categories"),
        ({1: "cat", 2: "dog"}, {1: "cat", 2: "dog"}, ("cat", "dog"), None),
        ({1: "dog", 2: "x", 3: "x"}, {1: "dog", 2: "x", 3: "x"}, ("dog", "x (2)", "x (3)"), None),
        ({1: "dog", 2: "x", 3: "x"}, {1: "dog", 4: "x"}, ("dog", "x (2)", "x (3)", "x (4)"), None),
        ({1: "dog", 2: "x"}, {1: "dog", 4: "x", 5: "x"}, ("dog", "x (2)", "x (4)", "x (5)"), None),
    ],
)
def test_categories_of_one_name_are_one_class(tmp_path, train, val, names, noted):
    found = two_splits(tmp_path, train, val)
    assert found.told.classes == ("background", *names)
    assert any(noted in note for note in found.notes) if noted else found.notes == ()
    space = open_dataset(tmp_path).space
    for split in ("train", "val"):
        labels = read_sample(found.splits[split].pairs[0], space).labels
        assert np.unique(labels).tolist() == [0, space.names.index("dog")]


@pytest.mark.parametrize("other", ["export old.json", "export_1.json", "exporu.json"])
def test_a_copy_beside_the_export_is_left_out(tmp_path, other):
    for name in ("a", "b", "c"):
        picture(tmp_path / f"{name}.png")
    images = [image(1, "a.png"), image(2, "b.png")]
    write(tmp_path / "export.json", images, [annotation(1, 1)])
    far = ([6, 4, 8, 4, 8, 6, 6, 6],)
    write(tmp_path / other, [*images, image(3, "c.png")], [annotation(1, 1, 7, far), annotation(2, 3, 7, far)])
    found = recognise(tmp_path)
    assert kinds(found) == [("broken-annotation", other)]
    assert "export.json annotates 1 image of it too, with the same categories" in found.problems[0].detail
    assert "export.json counts, since its name" in found.problems[0].detail
    values = {pair.name: np.unique(pair.mask.read()).tolist() for pair in found.splits["train"].pairs}
    assert values == {"a": [0, 3], "b": [0], "c": [0, 7]}


def test_annotations_of_another_split_never_count(tmp_path):
    picture(tmp_path / "images" / "a.png")
    picture(tmp_path / "images" / "b.png")
    write(tmp_path / "train.json", [image(1, "a.png")], [annotation(1, 1)])
    far = ([6, 4, 8, 4, 8, 6, 6, 6],)
    write(tmp_path / "val.json", [image(1, "a.png"), image(2, "b.png")], [annotation(1, 1, 7, far)])
    found = recognise(tmp_path)
    assert kinds(found) == [("name-twice", "a.png")]
    assert np.unique(found.splits["train"].pairs[0].mask.read()).tolist() == [0, 3]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("images/train/test_cam/a.png", "train"),
        ("train/val street/a.png", "train"),
        ("val/train/a.png", "val"),
        ("x/my val set/a.png", "val"),
        ("my train set/some val/a.png", "val"),
    ],
)
def test_a_folder_called_like_a_split_comes_before_words(tmp_path, name, split):
    picture(tmp_path / name)
    write(tmp_path / "coco.json", [image(1, name)], [annotation(1, 1)])
    assert list(recognise(tmp_path).splits) == [split]


def masks_beside(root):
    for name in ("a", "b"):
        picture(root / "images" / f"{name}.png")
        (root / "masks").mkdir(exist_ok=True)
        Image.new("L", (9, 6), 1).save(root / "masks" / f"{name}.png")


def test_boxes_do_not_hide_a_folder_of_masks(tmp_path):
    masks_beside(tmp_path)
    boxes = [annotation(1, 1, 3, None, bbox=[1, 1, 2, 2])]
    write(tmp_path / "coco.json", [image(1, "a.png"), image(2, "b.png")], boxes)
    assert recognise(tmp_path).layout == "folders"
    write(tmp_path / "coco.json", [image(1, "a.png"), image(2, "b.png")], [annotation(1, 1)])
    found = recognise(tmp_path)
    assert found.layout == "coco"
    assert found.notes == (
        "masks/ holds masks too, which are left aside for the annotations; --layout folders reads them.",
    )
    assert recognise(tmp_path, layout="folders").layout == "folders"


def test_listed_test_images_without_annotations(tmp_path):
    for name in ("a", "b", "c", "d"):
        picture(tmp_path / "test" / f"{name}.png")
    write(tmp_path / "annotations" / "instances_test.json", [image(1, "a.png")], [annotation(1, 1)])
    bare = {"images": [image(1, "b.png"), image(2, "gone.png"), image(3, "a.png"), {"id": 4}], "categories": []}
    (tmp_path / "annotations" / "image_info_test.json").write_text(json.dumps(bare))
    picture(tmp_path / "train" / "e.png")
    (tmp_path / "annotations" / "image_info_train.json").write_text(json.dumps({"images": [image(1, "e.png")]}))
    found = recognise(tmp_path)
    assert [(pair.name, pair.mask is None) for pair in found.splits["test"].pairs] == [
        ("test/a", False), ("test/b", True),
    ]  # fmt: skip
    assert list(found.splits) == ["test"]
    assert kinds(found) == [("image-without-mask", "c.png"), ("image-without-mask", "d.png")]
