"""Label Studio's exports: every region it draws, which annotation counts, where images are, and what is wrong."""

import json

import numpy as np
import pytest
from PIL import Image

from atrous.contract import AtrousError
from atrous.data import open_dataset, read_sample
from atrous.data.layouts import label_studio, recognise

POLYGON = {"points": [[10, 10], [50, 10], [50, 40], [10, 40]], "closed": True, "polygonlabels": ["cat"]}


def region(value=POLYGON, kind="polygonlabels", size=(20, 30), **more):
    return {
        "id": "x1", "type": kind, "from_name": "label", "to_name": "image", "image_rotation": 0, "value": value,
        "original_width": size[1], "original_height": size[0], **more,
    }  # fmt: skip


def task(*regions, image="/data/upload/1/0a1b2c3d-a.jpg", **more):
    return {"id": 1, "data": {"image": image}, "annotations": [{"id": 1, "result": list(regions)}], **more}


def write(root, *tasks, names=("images/a.jpg",), size=(20, 30), file="export.json"):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size[::-1]).save(root / name)
    (root / file).write_text(json.dumps(list(tasks)), encoding="utf-8")
    return root


def kinds(found):
    return [(problem.kind, problem.path.name) for problem in found.problems]


def mask_of(root):
    return recognise(root).splits["train"].pairs[0].mask.read()


def test_polygons_are_read(tmp_path):
    dog = {**POLYGON, "points": [[60, 60], [90, 60], [90, 90]], "polygonlabels": ["dog", "cat"]}
    found = recognise(write(tmp_path, task(region(), region(dog))))
    assert (found.layout, found.problems, found.notes) == ("label-studio", (), ())
    assert (found.told.classes, found.told.values) == (("background", "cat", "dog"), (0, 1, 2))
    dataset = open_dataset(tmp_path)
    sample = read_sample(dataset.splits["train"][0], dataset.space)
    np.testing.assert_array_equal(np.argwhere(sample.labels == 1).min(axis=0), [2, 3])
    assert int((sample.labels == 1).sum()) == 6 * 12
    assert np.unique(sample.instances).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "address",
    [
        "/data/upload/1/0a1b2c3d-a.jpg", "/data/local-files/?d=set/images/a.jpg", "https://host:80/x/images/a.jpg?q=1",
        "s3://bucket/images/a.jpg", "images/a.jpg", "C:\\data\\images\\a.jpg",
    ],
)  # fmt: skip
def test_addresses_of_images(tmp_path, address):
    write(tmp_path, task(region(), image=address))
    assert [pair.name for pair in recognise(tmp_path).splits["train"].pairs] == ["images/a"]


def test_addresses_with_other_letters_and_fields(tmp_path):
    write(tmp_path, task(region(), image="/data/upload/2/%ED%95%9C%20a.png"), names=["val/한 a.png"])
    assert recognise(tmp_path).splits["val"].pairs[0].name == "val/한 a"
    other = task(region())
    other["data"] = {"text": "hello", "picture": "x/한 a.png"}
    write(tmp_path, other)
    assert recognise(tmp_path).splits["val"].pairs[0].name == "val/한 a"


def brush(mask):
    """Pack a mask as one stretch of bytes: 32 bits of their number, word size 8, lengths of 16 bits."""
    values = np.repeat(np.where(mask, 255, 0).ravel(), 4).tolist()
    bits = f"{len(values):032b}{7:05b}" + f"{15:04b}" * 4 + f"000{len(values) - 1:016b}"
    bits += "".join(f"{value:08b}" for value in values)
    bits += "0" * (-len(bits) % 8)
    return [int(bits[place : place + 8], 2) for place in range(0, len(bits), 8)]


def test_kinds_of_regions(tmp_path):
    box = {"x": 10, "y": 10, "width": 40, "height": 30, "rotation": 0, "rectanglelabels": ["cat"]}
    assert int(mask_of(write(tmp_path, task(region(box, "rectanglelabels")))).sum()) == 6 * 12
    turned = {**box, "x": 50, "rotation": 90}
    mask = mask_of(write(tmp_path, task(region(turned, "rectanglelabels"))))
    assert np.argwhere(mask).min(axis=0).tolist() == [2, 9]
    assert np.argwhere(mask).max(axis=0).tolist() == [13, 14]
    ellipse = {"x": 50, "y": 50, "radiusX": 20, "radiusY": 10, "rotation": 0, "ellipselabels": ["cat"]}
    y, x = np.mgrid[:20, :30] + 0.5
    wanted = ((x - 15) / 6) ** 2 + ((y - 10) / 2) ** 2 <= 1
    np.testing.assert_array_equal(mask_of(write(tmp_path, task(region(ellipse, "ellipselabels")))), wanted)
    value = {"format": "rle", "rle": brush(wanted), "brushlabels": ["cat"]}
    np.testing.assert_array_equal(mask_of(write(tmp_path, task(region(value, "brushlabels")))), wanted)


def test_labels_apart_from_their_regions(tmp_path):
    points = {"points": POLYGON["points"]}
    labels = region({**points, "labels": ["cat"]}, "labels")
    found = recognise(write(tmp_path, task(region(points, "polygon"), labels)))
    assert found.problems == ()
    assert found.told.classes == ("background", "cat")
    assert int(found.splits["train"].pairs[0].mask.read().sum()) == 72


def test_which_annotation_counts(tmp_path):
    empty, full = {"result": []}, {"result": [region()]}
    several = task()
    several["annotations"] = [{**full, "was_cancelled": True}, empty, full]
    other = task(region(), image="b.jpg")
    write(tmp_path, several, other, names=("images/a.jpg", "images/b.jpg"))
    found = recognise(tmp_path)
    note = "1 tasks have several annotations: ground truth counts, else the first that was not cancelled."
    assert found.notes == (note,)
    assert [int(pair.mask.read().max()) for pair in found.splits["train"].pairs] == [0, 1]
    several["annotations"][2] = {**full, "ground_truth": True}
    write(tmp_path, several, other)
    assert [int(pair.mask.read().max()) for pair in recognise(tmp_path).splits["train"].pairs] == [1, 1]
    several["annotations"] = [{**full, "was_cancelled": True}]
    write(tmp_path, several, other)
    assert kinds(recognise(tmp_path)) == [("image-without-mask", "a.jpg")]


def test_older_and_smaller_exports(tmp_path):
    older = task(region())
    older["completions"] = older.pop("annotations")
    assert int(mask_of(write(tmp_path, older)).sum()) == 72
    small = {"id": 1, "image": "/data/upload/1/0a1b2c3d-a.jpg", "label": [{**POLYGON, "original_width": 30,
             "original_height": 20}], "annotator": 1}  # fmt: skip
    assert int(mask_of(write(tmp_path, small)).sum()) == 72
    single = {"id": 1, "result": [region()], "task": {"id": 1, "data": {"image": "a.jpg"}}}
    write(tmp_path, single)
    (tmp_path / "export.json").write_text(json.dumps(single))
    assert int(mask_of(tmp_path).sum()) == 72


@pytest.mark.parametrize(
    ("broken", "kind", "match"),
    [
        (region({**POLYGON, "polygonlabels": []}), "broken-annotation", "region 2 in export.json: it has no label"),
        (region(size=(21, 30)), "broken-annotation", "its original size is 21 x 30, and (20, 30) before"),
        (region(image_rotation=90), "broken-annotation", "the image was turned by 90 degrees"),
        (region({**POLYGON, "points": [[1, 1], [2, 2]]}), "broken-annotation", "a polygon of 2 corners"),
        (region({**POLYGON, "points": [[1, 1], [2, "x"], [3, 3]]}), "broken-annotation", "no list of numbers"),
        (region({**POLYGON, "points": [[1, 1], [150, 1], [3, 30]]}), "shape-outside", "15.0 pixels beyond the image"),
        (region({"rle": [1, 300], "brushlabels": ["cat"]}), "broken-rle", "no list of bytes"),
        (region({"rle": "abc", "brushlabels": ["cat"]}), "broken-rle", "no list of bytes"),
        (
            region({"x": 1, "y": None, "width": 3, "height": 3, "rectanglelabels": ["cat"]}),
            "broken-annotation",
            "y is None",
        ),
        (
            region({"x": 1, "y": 1, "radiusX": "3", "radiusY": 3, "ellipselabels": ["cat"]}),
            "broken-annotation",
            "radiusX",
        ),
        (region({"choices": ["good"]}, "choices"), None, ""),
        ("nonsense", None, ""),
        (region(id=[1]), None, ""),
    ],
)
def test_broken_regions_become_problems(tmp_path, broken, kind, match):
    found = recognise(write(tmp_path, task(region(), broken)))
    assert [problem.kind for problem in found.problems] == ([] if kind is None else [kind])
    assert not found.problems or match in found.problems[0].detail


def test_broken_brushes_are_told_when_read(tmp_path):
    value = {"format": "rle", "rle": brush(np.eye(20, 30))[:-3], "brushlabels": ["cat"]}
    write(tmp_path, task(region(value, "brushlabels")))
    with pytest.raises(AtrousError, match=r"export.json: a.jpg: the run lengths are broken: .*cut off") as caught:
        mask_of(tmp_path)
    assert caught.value.kind == "broken-rle"


def test_images_that_are_missing_or_have_no_task(tmp_path):
    write(tmp_path, task(region()), task(region(), image="gone.jpg"), names=("images/a.jpg", "images/b.jpg"))
    found = recognise(tmp_path)
    assert found.splits["train"].missing == ("gone.jpg",)
    assert kinds(found) == [("image-without-mask", "b.jpg")]
    write(tmp_path, task(region(), image="gone.jpg"))
    with pytest.raises(
        AtrousError, match=r"none of the images of its 1 tasks is below .* \(the first image: gone.jpg\)"
    ):
        recognise(tmp_path)


def test_exports_without_anything_to_draw(tmp_path):
    write(tmp_path, task(region({"choices": ["good"]}, "choices")))
    with pytest.raises(AtrousError, match=r"export.json: no region of its 1 tasks has a label and an outline"):
        recognise(tmp_path)


def test_a_size_that_is_not_the_files(tmp_path):
    write(tmp_path, task(region()), size=(30, 20))
    with pytest.raises(AtrousError, match=r"export.json: it says that a.jpg is 20 x 30 .*swapped"):
        mask_of(tmp_path)


def test_other_files_are_none_of_this_layout(tmp_path):
    for text in (
        "{}",
        "[]",
        '[{"original_width": 3}]',
        '["original_width"]',
        '[{"data": 3, "original_width": 1}]',
        '{"original_width":',
    ):
        (tmp_path / "a.json").write_text(text)
        assert label_studio.recognise(tmp_path) is None


def test_an_export_that_is_there_twice(tmp_path):
    write(tmp_path, task(region()), file="export-1.json")
    write(tmp_path, task(region()), file="export-2.json")
    found = recognise(tmp_path)
    assert kinds(found) == [("name-twice", "a.jpg")]
    assert found.problems[0].detail.startswith("export-1.json and export-2.json both annotate it")
    assert len(open_dataset(tmp_path).splits["train"]) == 1


def test_two_tasks_of_one_image(tmp_path):
    found = recognise(write(tmp_path, task(region()), task(region())))
    assert kinds(found) == [("name-twice", "a.jpg")]
    assert found.problems[0].detail == "export.json annotates it more than once: the first counts"


def test_key_points_do_not_hide_a_folder_of_masks(tmp_path):
    point = region({"x": 1, "y": 1, "keypointlabels": ["nose"]}, kind="keypointlabels")
    write(tmp_path, task(point))
    (tmp_path / "masks").mkdir()
    Image.new("L", (30, 20), 1).save(tmp_path / "masks" / "a.png")
    assert recognise(tmp_path).layout == "folders"
    write(tmp_path, task(region()))
    found = recognise(tmp_path)
    assert found.layout == "label-studio"
    assert any("masks/ holds masks too" in note for note in found.notes)


def test_labels_in_other_letters_are_the_same(tmp_path):
    first, second = ({**POLYGON, "polygonlabels": [name]} for name in ("\ubcf4", "\u1107\u1169"))
    assert recognise(write(tmp_path, task(region(first), region(second)))).told.classes == ("background", "\ubcf4")


def test_the_split_is_that_of_the_file_or_its_folder_or_else_the_image(tmp_path):
    (tmp_path / "val").mkdir()
    write(tmp_path, task(region()), file="val/export.json")
    assert list(recognise(tmp_path).splits) == ["val"]
    (tmp_path / "val" / "export.json").rename(tmp_path / "test export.json")
    assert list(recognise(tmp_path).splits) == ["test"]
    (tmp_path / "test export.json").unlink()
    write(tmp_path, task(region(), image="a.jpg"), names=("val/test_cam/a.jpg",))
    (tmp_path / "images" / "a.jpg").unlink()
    assert list(recognise(tmp_path).splits) == ["val"]
