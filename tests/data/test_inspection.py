"""The doctor names each defect, tells the healthy, and never stumbles over a broken file."""

import json

import numpy as np
import pytest
from PIL import Image

from atrous.contract import AtrousError
from atrous.data import inspect_dataset


@pytest.fixture
def healthy(tmp_path):
    mask = np.zeros((6, 8), np.uint8)
    mask[2:4] = 1
    for index in range(6):
        for kind, array in (("images", np.full((6, 8, 3), index, np.uint8)), ("masks", mask)):
            for split in ("train", "val"):
                folder = tmp_path / kind / split
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(folder / f"{index}.png")
    return tmp_path


def save(path, array):
    Image.fromarray(np.asarray(array, np.uint8)).save(path)


def test_healthy_has_no_finding(healthy):
    report = inspect_dataset(healthy)
    assert report.findings == ()
    assert (report.images, report.splits, report.layout) == (12, {"train": 6, "val": 6}, "folders")
    assert report.classes[1] == {"name": "class 1", "value": 1, "pixels": 12 * 16, "images": 12}
    assert "findings: none" in report.as_text()
    assert json.loads(json.dumps(report.as_json()))["findings"] == []


def jpeg_mask(root):
    (root / "masks/train/0.png").unlink()
    save(root / "masks/train/0.jpg", np.zeros((6, 8)))


def soften(root):
    edge = np.repeat([0, 60, 120, 180, 220, 255], [22, 1, 1, 1, 1, 22]).reshape(6, 8)
    for path in (root / "masks").rglob("*.png"):
        save(path, edge)


@pytest.mark.parametrize(
    ("kind", "break_it", "remedy"),
    [
        ("unreadable-file", lambda root: (root / "images/train/0.png").write_bytes(b"\x89PNG"), "Copy the files again"),
        ("unreadable-file", lambda root: (root / "masks/train/0.png").write_bytes(b""), "Copy the files again"),
        ("jpeg-mask", jpeg_mask, "as PNG"),
        ("size-differs", lambda root: save(root / "masks/train/0.png", np.ones((7, 8))), "nearest neighbour"),
        ("image-without-mask", lambda root: (root / "masks/train/0.png").unlink(), "Add masks"),
        ("mask-without-image", lambda root: (root / "images/train/0.png").unlink(), "Add images"),
        ("name-twice", lambda root: save(root / "images/train/0.bmp", np.zeros((6, 8, 3))), "Remove or rename"),
        ("class-missing-in-train", lambda root: save(root / "masks/val/0.png", np.full((6, 8), 2)), "class 2: A class"),
        ("all-ignore-mask", lambda root: save(root / "masks/val/0.png", np.full((6, 8), 255)), "Every pixel is ignore"),
        ("empty-mask", lambda root: save(root / "masks/train/0.png", np.zeros((6, 8))), "Only the first class"),
        ("soft-mask", soften, "Round them"),
    ],
)
def test_one_defect_is_one_finding(healthy, kind, break_it, remedy):
    break_it(healthy)
    report = inspect_dataset(healthy)
    assert [finding.kind for finding in report.findings] == [kind]
    assert remedy in report.findings[0].remedy
    assert 1 <= len(report.findings[0].files) <= report.findings[0].count
    assert kind in report.as_text()


def test_label_outside(healthy):
    save(healthy / "masks/train/3.png", np.full((6, 8), 9))
    report = inspect_dataset(healthy, classes=["a", "b"])
    assert [(finding.kind, finding.files, finding.count) for finding in report.findings] == [
        ("label-outside", ("masks/train/3.png",), 1)
    ]
    assert "Try --labels colours" in report.findings[0].remedy


def test_object_numbers(healthy):
    for index in range(6):
        save(healthy / f"masks/train/{index}.png", np.arange(48).reshape(6, 8) // (1 + index % 2))
    report = inspect_dataset(healthy)
    assert [finding.kind for finding in report.findings] == ["object-numbers"]
    assert "--labels instances" in report.findings[0].remedy
    assert report.classes == ()
    assert inspect_dataset(healthy, labels="instances").findings == ()


def test_only_a_folder_that_cannot_be_read_raises(tmp_path):
    with pytest.raises(AtrousError, match="the folder is empty"):
        inspect_dataset(tmp_path)


@pytest.mark.parametrize(
    ("folder", "options", "kinds"),
    [
        ("camvid11", {}, []),
        ("isbi2012", {}, []),
        ("cwfid", {}, []),
        ("voc2012_animals", {}, ["class-missing-in-train"]),
        ("dsb2018", {"labels": "instances"}, []),
        ("dsb2018", {}, ["object-numbers"]),
    ],
)
def test_real_data_is_healthy(data_dir, folder, options, kinds):
    report = inspect_dataset(data_dir / folder, **options)
    assert [finding.kind for finding in report.findings] == kinds
