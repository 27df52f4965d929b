"""CVAT's export of masks: the classes are those of labelmap.txt, whether masks are colours or numbers."""

import numpy as np
import pytest
from PIL import Image

from atrous.contract import AtrousError
from atrous.data import open_dataset, read_sample
from atrous.data.layouts import recognise

LABELS = "# label:color_rgb:parts:actions\ncar:128,0,0::\nbackground:0,0,0::\n큰 길:0,128,0:wheel,door:drive\n"
COLOURS = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0]], np.uint8)  # background, car, road
TRUE = np.array([[0, 1], [2, 2]])


def export(root, mode, labels=LABELS, subset="default"):
    """Write an export of three images whose masks are colours, a palette of them, or the numbers of the lines."""
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    (root / "labelmap.txt").write_text(labels, encoding="utf-8")
    (root / "ImageSets/Segmentation" / f"{subset}.txt").write_text("a\nb\nc d\n")
    for name in ("a", "b", "c d"):
        Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(root / "JPEGImages" / f"{name}.jpg")
        mask(mode).save(root / "SegmentationClass" / f"{name}.png")
    return root


def mask(mode):
    if mode == "RGB":
        return Image.fromarray(COLOURS[TRUE])
    lines = np.array([1, 0, 2], np.uint8)[TRUE]
    image = Image.fromarray(lines)
    if mode == "P":
        image = Image.fromarray(TRUE.astype(np.uint8), mode="L").convert("P")
        image.putpalette(COLOURS.ravel().tolist())
    if mode == "grey P":
        image = image.convert("P")
        image.putpalette([level for level in range(3) for _ in range(3)])
    return image


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated:DeprecationWarning")
@pytest.mark.parametrize("mode", ["RGB", "P", "L", "grey P"])
def test_colours_and_numbers(tmp_path, mode):
    dataset = open_dataset(export(tmp_path, mode))
    assert (dataset.layout, dataset.space.names) == ("cvat", ("background", "car", "큰 길"))
    assert dataset.space.colours == ((0, 0, 0), (128, 0, 0), (0, 128, 0))
    assert dataset.made_split
    for pair in (*dataset.splits["train"], *dataset.splits["val"]):
        assert read_sample(pair, dataset.space).labels.tolist() == TRUE.tolist()


def test_subsets(tmp_path):
    assert len(recognise(export(tmp_path, "RGB", subset="train")).splits["train"].pairs) == 3


def test_lines_that_are_not_understood(tmp_path):
    labels = LABELS + "bike\nbus:1,2::\ntram:1,2,300::\ncar:7,7,7::\nlorry:0,128,0::\n:9,9,9::\n\n"
    found = recognise(export(tmp_path, "RGB", labels))
    assert found.told.classes == ("background", "car", "큰 길")
    assert {problem.kind for problem in found.problems} == {"broken-annotation"}
    assert [problem.detail.split(" is not ")[0].split(" repeats ")[0] for problem in found.problems] == [
        "line 5: 'bike'", "line 6: 'bus:1,2::'", "line 7: 'tram:1,2,300::'", "line 8: 'car:7,7,7::'",
        "line 9: 'lorry:0,128,0::'", "line 10: ':9,9,9::'",
    ]  # fmt: skip
    (tmp_path / "labelmap.txt").write_text("# nothing\nbike\n")
    with pytest.raises(
        AtrousError, match=r"labelmap\.txt: no line names a class\. A line is name:red,green,blue::, su"
    ):
        recognise(tmp_path)


def test_an_export_without_images(tmp_path):
    root = export(tmp_path, "RGB")
    for path in (root / "JPEGImages").iterdir():
        path.unlink()
    (root / "JPEGImages").rmdir()
    with pytest.raises(AtrousError, match=r"this is CVAT's export of masks without the images\. Export it again"):
        recognise(root)


def test_a_mask_that_cannot_be_read_is_left_to_reading(tmp_path):
    root = export(tmp_path, "RGB")
    (root / "SegmentationClass" / "a.png").write_bytes(b"no image")
    assert recognise(root).told.labels == "colours"


@pytest.mark.parametrize("line", ["van:128,0,0::", "car:9,9,9::", "what is this"])
def test_a_line_that_is_left_out_keeps_its_number(tmp_path, line):
    root = export(tmp_path, "L", f"background:0,0,0::\ncar:128,0,0::\n{line}\ntree:0,128,0::\n")
    for name in ("a", "b", "c d"):
        Image.fromarray(np.uint8([[0, 1], [3, 3]])).save(root / "SegmentationClass" / f"{name}.png")
    dataset = open_dataset(root)
    assert (dataset.space.names, dataset.space.values) == (("background", "car", "tree"), (0, 1, 3))
    assert read_sample(dataset.splits["train"][0], dataset.space).labels.tolist() == [[0, 1], [2, 2]]


def test_frames_of_several_films_share_names(tmp_path):
    root = export(tmp_path, "RGB")
    for film in ("one", "two"):
        for kind, suffix in (("JPEGImages", "jpg"), ("SegmentationClass", "png")):
            (root / kind / film).mkdir()
            Image.fromarray(COLOURS[TRUE]).save(root / kind / film / f"0.{suffix}")
    (root / "ImageSets/Segmentation/default.txt").write_text("one/0\ntwo/0\na\n")
    pairs = recognise(root).splits["train"].pairs
    assert [(pair.name, pair.mask.parent.name) for pair in pairs] == [
        ("JPEGImages/one/0", "one"), ("JPEGImages/two/0", "two"), ("JPEGImages/a", "SegmentationClass"),
    ]  # fmt: skip
    (root / "ImageSets/Segmentation/default.txt").write_text("0\nb\n/x/JPEGImages/two/0.jpg\n")
    found = recognise(root).splits["train"]
    assert [pair.name for pair in found.pairs] == ["JPEGImages/b", "JPEGImages/two/0"]
    assert found.missing == ("0 (which may be one/0 or two/0)",)
