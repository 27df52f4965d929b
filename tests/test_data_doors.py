"""The doors of the data room: inspect and convert from the command line, with their exit codes and words."""

import json

import numpy as np
import pytest
from PIL import Image

import atrous
from atrous import flags
from atrous.data import open_dataset
from atrous.data.conversion import FORMATS
from atrous.data.scenes import write_scenes


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    """Return a folder of small street scenes."""
    return write_scenes(tmp_path_factory.mktemp("data") / "street", train=6, val=3, size=(48, 52))


def test_the_formats_of_the_flag_are_those_there_are():
    assert tuple(FORMATS) == flags.FORMATS


def test_convert(run, street, tmp_path):
    code, out, _ = run("convert", street, tmp_path / "coco", "--to", "coco")
    assert code == 0
    assert out.startswith(f"{tmp_path / 'coco'}: 9 images as coco, ")
    assert open_dataset(tmp_path / "coco").layout == "coco"
    code, out, _ = run("convert", tmp_path / "coco", tmp_path / "masks", "--to", "masks", "--json")
    told = json.loads(out)
    assert (code, told["format"], told["images"]) == (0, "masks", 9)
    again, before = open_dataset(tmp_path / "masks"), open_dataset(street)
    assert again.space.names == before.space.names
    for split in ("train", "val"):
        for one, other in zip(again.splits[split], before.splits[split], strict=True):
            first, second = atrous.data.read_sample(one, again.space), atrous.data.read_sample(other, before.space)
            np.testing.assert_array_equal(first.labels, second.labels)
            np.testing.assert_array_equal(first.image, second.image)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--to", "tfrecord"), "atrous: format 'tfrecord' came; there are masks, "),
        (("--to", "coco", "--values"), "values came with 'coco'; only masks can hold the numbers of the source"),
        (("--to", "coco", "--layout", "voc"), "this is not the layout voc. It holds "),
        (
            (
                "--to",
                "dicom-seg",
            ),
            "DICOM",
        ),
    ],
)
def test_convert_refuses(run, street, tmp_path, arguments, words):
    code, _, error = run("convert", street, tmp_path / "out", *arguments)
    assert code == 2
    assert words in error
    assert not (tmp_path / "out").exists()


def test_convert_leaves_the_source_alone(run, street, tmp_path):
    code, _, error = run("convert", street, street / "new", "--to", "masks")
    assert code == 2
    assert "which stays as it is. Name a folder elsewhere." in error


def test_inspect_exits_by_what_it_finds(run, street, tmp_path):
    assert run("inspect", street)[0] == 0
    masks = tmp_path / "masks"
    masks.mkdir()
    (tmp_path / "images").mkdir()
    for name in "abc":
        for kind in ("images", "masks"):
            Image.fromarray(np.eye(20, dtype=np.uint8)).save(tmp_path / kind / f"{name}.png")
    (tmp_path / "images" / "a.png").write_bytes(b"")
    code, out, _ = run("inspect", tmp_path, "--json")
    told = json.loads(out)
    assert (code, told["layout"], told["images"]) == (1, "folders", 3)
    finding = next(each for each in told["findings"] if each["kind"] == "unreadable-file")
    assert (finding["files"], finding["count"]) == (["images/a.png"], 1)
    assert finding["remedy"].startswith("Copy the files again")
    assert [set(entry) >= {"name", "value", "pixels", "images"} for entry in told["classes"]] == [True, True]
    code, _, error = run("inspect", tmp_path / "nowhere")
    assert (code, error.endswith("a folder of images and masks is wanted. Check the path.\n")) == (2, True)


def test_a_template_and_a_layout_by_name(run, tmp_path):
    for name in "ab":
        for place in (f"photos/{name}.jpg", f"truth/{name}-labels.png"):
            (tmp_path / place).parent.mkdir(exist_ok=True)
            Image.fromarray(np.eye(20, dtype=np.uint8)).save(tmp_path / place)
    template = "{parent}/../truth/{stem}-labels.png"
    code, out, _ = run("inspect", tmp_path, "--masks", template, "--json")
    assert (json.loads(out)["layout"], json.loads(out)["images"]) == ("template", 2)
    code, _, error = run("inspect", tmp_path, "--layout", "pascal")
    assert (code, "layout 'pascal' came; there are camvid, " in error) == (2, True)


def test_a_page_that_is_a_folder_is_refused_before_anything_is_read(run, street, tmp_path, monkeypatch):
    monkeypatch.setattr("atrous.data.diagnosis.examine", lambda *_, **__: pytest.fail("it was read"))
    code, _, err = run("inspect", street, "--html", tmp_path, "--quiet")
    assert code == 2
    assert f"{tmp_path}: this is a folder, and a file is to be written. Name a file in it." in " ".join(err.split())
