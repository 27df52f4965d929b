"""The doors of evaluation: evaluate and compare, of runs, of masks of any tool, and of stored evaluations."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import atrous
from atrous.cli import main
from atrous.contract import AtrousError, LabelSpace, Preprocessing
from atrous.data import Pair, open_dataset, read_sample, write_image
from atrous.data.facts import identity
from atrous.data.grids import Spacing
from atrous.data.volumes import Slice
from atrous.evaluation import Comparison, Distances
from atrous.models import Segmenter, build
from atrous.prediction import predicted
from atrous.runs import split_of
from atrous.runs.lengths import lengths_of
from atrous.store import Config, plain, save_model

SPACE = LabelSpace(names=("background", "cell"))
Run = Callable[..., tuple[int, str, str]]


def stored(root: Path, *, space: LabelSpace = SPACE, seed: int = 0) -> Path:
    """Write a run of a random network in which both classes occur."""
    torch.manual_seed(seed)
    options = {"encoder": "resnet18", "width": 1 / 16}
    net = build("deeplab_v3plus", len(space), **options)
    torch.nn.init.normal_(net.classify.weight, std=3)
    segmenter = Segmenter(net, space, Preprocessing()).eval()
    config = Config(
        model="deeplab_v3plus",
        options=options,
        space=space,
        preprocessing=segmenter.preprocessing,
        geometry=plain(segmenter.geometry),
    )
    save_model(root / "best", segmenter, config)
    return root


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("runs")
    log = [{"epoch": 1, "loss": 0.9}, {"epoch": 2, "loss": 0.5, "mean_iou": 0.4, "pixel_accuracy": 0.6}]
    first, second = stored(root / "one"), stored(root / "two", seed=1)
    (first / "log.jsonl").write_text("\n".join(map(json.dumps, log)) + "\n", "utf-8")
    return first, second


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a dataset of three images in val, one with a name that HTML must escape."""
    root = tmp_path_factory.mktemp("data") / "cells"
    random = np.random.default_rng(0)
    for name in ("a", "b & <i>c", "세포 🙂"):
        image = random.integers(0, 256, (33, 41, 3), dtype=np.uint8)
        mask = np.zeros((33, 41), np.uint8)
        for top, left in ((2, 3), (12, 20), (22, 6)):
            mask[top : top + random.integers(3, 9), left : left + random.integers(3, 9)] = 1
        mask[:2, :2] = 255
        write_image(root / "images" / "val" / f"{name}.png", image)
        write_image(root / "masks" / "val" / f"{name}.png", mask)
    for kind in ("images", "masks"):
        write_image(root / kind / "train" / "t.png", np.eye(8, dtype=np.uint8))
    return root


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def called(*arguments: Any) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main([str(item) for item in arguments])
        out, err = capsys.readouterr()
        return int(left.value.code or 0), out, err

    return called


# Of a run -------------------------------------------------------------------------------------------------------------


def test_scores_images_and_intervals(runs: tuple[Path, Path], cells: Path) -> None:
    report = atrous.evaluate(runs[0], cells, device="cpu")
    document = report.as_json()
    assert document["images"] == 3
    assert [image["name"] for image in document["per_image"]["images"]] == [
        "images/val/a",
        "images/val/b & <i>c",
        "images/val/세포 🙂",
    ]
    assert document["intervals"]["mean_iou"]["low"] <= document["mean_iou"] <= document["intervals"]["mean_iou"]["high"]
    assert report.evaluation.measures == ()
    assert report.as_text().startswith("mean IoU")
    json.dumps(document, allow_nan=False)
    about = document["about"]
    assert about["model"] == str(runs[0])
    assert about["split"] == "val"
    assert len(about["weights_sha256"]) == len(about["data_sha256"]) == 64
    assert about["versions"]["atrous"] == atrous.__version__


def test_one_image_has_no_interval(runs: tuple[Path, Path], cells: Path) -> None:
    report = atrous.evaluate(runs[0], cells, split="train", device="cpu")
    assert report.as_json()["intervals"] is None
    assert "one image: there is no interval" in report.as_text()


def test_measures_are_those_that_were_named(runs: tuple[Path, Path], cells: Path) -> None:
    report = atrous.evaluate(runs[0], cells, measures="calibration,boundary-iou", device="cpu")
    assert report.evaluation.measures == ("boundary_iou", "calibration")
    every = atrous.evaluate(runs[0], cells, measures=["all"], device="cpu").evaluation
    assert every.measures == (
        "boundary", "trimap", "boundary_iou", "distances", "objects", "rand", "warping", "calibration",
    )  # fmt: skip
    assert atrous.evaluate(runs[0], cells, objects=True, device="cpu").evaluation.measures == ("objects", "rand")


def test_void_and_foreground(runs: tuple[Path, Path], cells: Path) -> None:
    said = atrous.evaluate(runs[0], cells, void=True, foreground=False, device="cpu").as_text()
    assert "mean IoU, void wrong" in said
    assert "foreground mean IoU" not in said
    plain_text = atrous.evaluate(runs[0], cells, device="cpu").as_text()
    assert "void wrong" not in plain_text
    assert "foreground mean IoU" in plain_text  # the first class is called background


def test_windows_and_flips_change_what_is_scored(runs: tuple[Path, Path], cells: Path) -> None:
    plain_one = atrous.evaluate(runs[0], cells, device="cpu")
    other = atrous.evaluate(runs[0], cells, tta=True, device="cpu")
    assert (plain_one.scores.confusion != other.scores.confusion).any()
    assert other.about["settings"] == {"tta": True}


def test_several_models_are_averaged(runs: tuple[Path, Path], cells: Path) -> None:
    both = atrous.evaluate(",".join(map(str, runs)), cells, device="cpu")
    assert both.about["model"] == f"{runs[0]}, {runs[1]}"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"measures": "boundry"}, "measure 'boundry' is not known; did you mean 'boundary'"),
        ({"measures": "x"}, "measure 'x' is not known; there are all, boundary, trimap"),
        ({"resamples": 3}, "resamples 3 came; 0 for no intervals, or 20 and more"),
        ({"ignore": 1}, "ignore 1 came, which is the class 'cell'"),
        ({"crf": True, "objects": True}, "objects came with crf"),
        ({"crf": True, "measures": "trimap"}, "measures came with crf"),
    ],
)
def test_settings_that_cannot_be(runs: tuple[Path, Path], cells: Path, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        atrous.evaluate(runs[0], cells, device="cpu", **settings)


def test_data_without_masks(runs: tuple[Path, Path], tmp_path: Path) -> None:
    for folder, names in (("JPEGImages", "ab"), ("SegmentationClass", "a")):
        for name in names:
            write_image(
                tmp_path / folder / f"{name}.png", np.zeros((8, 8, 3) if folder[0] == "J" else (8, 8), np.uint8)
            )
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for name, stem in (("train", "a"), ("test", "b")):
        (lists / f"{name}.txt").write_text(f"{stem}\n", "utf-8")
    with pytest.raises(AtrousError, match=r"1 of the 1 images in test have no mask, first .*b.png"):
        atrous.evaluate(runs[0], tmp_path, split="test", device="cpu")
    with pytest.raises(AtrousError, match=r"no images in the split 'nothing'"):
        atrous.evaluate(runs[0], tmp_path, split="nothing", device="cpu")


def test_a_page_that_is_a_folder(runs: tuple[Path, Path], cells: Path, tmp_path: Path) -> None:
    with pytest.raises(AtrousError, match="this is a folder, and a file is to be written"):
        atrous.evaluate(runs[0], cells, html=tmp_path, device="cpu")


def test_the_page_is_whole(runs: tuple[Path, Path], cells: Path, tmp_path: Path) -> None:
    atrous.evaluate(runs[0], cells, html=tmp_path / "a b" / "report.html", device="cpu")
    text = (tmp_path / "a b" / "report.html").read_text("utf-8")
    for heading in ("What was scored", "Training", "Classes", "Confusion", "Contours", "Calibration", "Images"):
        assert f"<h2>{heading}</h2>" in text
    assert "b &amp; &lt;i&gt;c" in text
    assert "<i>c" not in text
    assert not re.search(r"<script|(src|href)=(?!\"data:)|@import|url\(", text)
    assert text.count('<img alt="image"') == 3
    assert not re.search(r"\bnan\b|\bNone\b", re.sub(r"base64,[^\"]*", "", text))


def test_both_sides_of_refining_are_in_the_page(runs: tuple[Path, Path], cells: Path, tmp_path: Path) -> None:
    page = tmp_path / "crf.html"
    both = atrous.evaluate(
        runs[0], cells, crf="mild", html=page, measures="trimap,distances", sequence=True, device="cpu"
    )
    assert isinstance(both, Comparison)
    text = page.read_text("utf-8")
    assert "before and after refining" in text
    assert "flicker: still flicker" in text
    assert "distances: Hausdorff 95, pixels" in text
    assert f"{100 * both.before.scores.mean_iou:.2f}" in text
    assert f"{100 * both.after.scores.mean_iou:.2f}" in text
    assert '<img alt="before"' in text


def test_images_that_may_have_been_learnt_from(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    random = np.random.default_rng(0)
    for index in range(8):
        write_image(tmp_path / "data" / "images" / f"{index}.png", random.integers(0, 256, (9, 9, 3), dtype=np.uint8))
        write_image(tmp_path / "data" / "masks" / f"{index}.png", random.integers(0, 2, (9, 9), dtype=np.uint8))
    run = stored(tmp_path / "run")
    config = json.loads((run / "best" / "config.json").read_text("utf-8"))
    dataset = open_dataset(tmp_path / "data")
    splits = {name: len(pairs) for name, pairs in dataset.splits.items()}
    config["fingerprint"] = {"sha256": identity(dataset), "splits": splits}
    (run / "best" / "config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(AtrousError, match=r"does not say with which.* --split val scores what the folder"):
        atrous.evaluate(run, tmp_path / "data", device="cpu")
    report = atrous.evaluate(run, tmp_path / "data", split="val", device="cpu")
    assert "some that are scored may be among them" in report.about["notes"][0]
    assert "does not say with which" in caplog.text
    names = {name: [pair.name for pair in pairs] for name, pairs in dataset.splits.items()}
    (run / "split.json").write_text(json.dumps(names), "utf-8")
    assert atrous.evaluate(run, tmp_path / "data", device="cpu").about["notes"] == []


@pytest.mark.filterwarnings("ignore")  # of the exporter's library
def with_metadata(path: Path, **more: Any) -> Path:
    """Write an ONNX file that computes nothing and says of itself what an exported one says."""
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [helper.make_node("Identity", ["images"], [name]) for name in ("logits", "probabilities", "labels")]
    ends = [helper.make_tensor_value_info(name, kind, None) for name in ("logits", "probabilities", "labels")]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("images", kind, None)], ends)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    values = json.loads((stored(path.parent / "run") / "best" / "config.json").read_text("utf-8"))
    helper.set_model_props(model, {"atrous": json.dumps({**values, **more})})
    onnx.save(model, path)
    return path


def test_a_carried_split(tmp_path: Path) -> None:
    split = {"train": ["images/a"], "val": ["images/b"]}
    path = with_metadata(tmp_path / "a.onnx", split=split)
    assert split_of(path, path) == split
    path = with_metadata(tmp_path / "b.onnx")
    assert split_of(path, path) is None
    path = with_metadata(tmp_path / "c.onnx", split=["a"])
    with pytest.raises(AtrousError, match=r"c\.onnx: no split is in it"):
        split_of(path, path)
    (tmp_path / "split.json").write_text(json.dumps({"val": ["images/c"]}), "utf-8")
    assert split_of(path, path) == {"val": ["images/c"]}


@pytest.mark.slow
def test_an_exported_file_says_what_it_was_trained_with(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    data = numbered(tmp_path / "data", list("abcdefgh"))
    for kind in ("images", "masks"):  # no split of its own
        for path in (data / kind / "val").iterdir():
            path.rename(data / kind / path.name)
        (data / kind / "val").rmdir()
    run = stored(tmp_path / "run")
    dataset = open_dataset(data)
    config = json.loads((run / "best" / "config.json").read_text("utf-8"))
    config["fingerprint"] = {"sha256": identity(dataset), "splits": {"train": 5, "val": 3}}
    (run / "best" / "config.json").write_text(json.dumps(config), "utf-8")
    atrous.export(run, out=tmp_path / "without.onnx")
    names = [f"images/{name}" for name in "abcdefgh"]
    (run / "split.json").write_text(json.dumps({"train": names[3:], "val": names[:3]}), "utf-8")
    atrous.export(run, out=tmp_path / "with.onnx")
    with pytest.raises(AtrousError, match=r"without\.onnx: was trained with images of this folder, and does not say"):
        atrous.evaluate(tmp_path / "without.onnx", data)
    report = atrous.evaluate(tmp_path / "with.onnx", data)
    assert report.evaluation.names == tuple(names[:3])
    assert report.about["notes"] == []


# Frames, volumes and places -------------------------------------------------------------------------------------------


def numbered(root: Path, names: list[str]) -> Path:
    random = np.random.default_rng(0)
    for name in names:
        write_image(root / "images" / "val" / f"{name}.png", random.integers(0, 256, (9, 11, 3), dtype=np.uint8))
        write_image(root / "masks" / "val" / f"{name}.png", random.integers(0, 2, (9, 11), dtype=np.uint8))
    return root


def test_flicker_is_of_frames(runs: tuple[Path, Path], cells: Path, tmp_path: Path) -> None:
    clip = numbered(tmp_path / "clip", ["a_007", "a_009", "a_011", "b_003", "b_005"])
    report = atrous.evaluate(runs[0], clip, measures="flicker", device="cpu")
    assert report.evaluation.flicker.pairs == 3
    assert report.about["notes"] == [
        "flicker: the 5 images are taken for frames of 2 sequences, since their names are numbered in even steps"
    ]
    with pytest.raises(ValueError, match="the names of the images are not numbered in even steps; --sequence"):
        atrous.evaluate(runs[0], cells, measures="flicker", device="cpu")
    said = atrous.evaluate(runs[0], cells, sequence=True, device="cpu")
    assert said.evaluation.measures == ("flicker",)
    assert said.evaluation.flicker.pairs == 2
    assert "in the order of their names, as --sequence says" in said.as_text()
    assert atrous.evaluate(runs[0], clip, measures="all", device="cpu").evaluation.flicker is None


def test_neighbours_are_drawn_together(runs: tuple[Path, Path], tmp_path: Path) -> None:
    clip = numbered(tmp_path, [f"clip_{index:02}" for index in range(24)])
    alone = atrous.evaluate(runs[0], clip, device="cpu")
    together = atrous.evaluate(runs[0], clip, block=6, device="cpu")
    assert "--block N draws N neighbours together" in alone.intervals.note
    assert together.intervals.note is None
    assert together.as_json()["intervals"]["block"] == 6
    assert alone.intervals.mean_iou.low != together.intervals.mean_iou.low
    both = atrous.compare(*runs, clip, block=6, device="cpu")
    assert "in blocks of 6" in both.sentence
    assert both.note is None
    assert "--block N draws" in atrous.compare(*runs, clip, device="cpu").as_text()
    with pytest.raises(ValueError, match="block 25 came, and 24 images are scored"):
        atrous.evaluate(runs[0], clip, block=25, device="cpu")
    for settings, words in (({"block": 0}, "block 0 came"), ({"block": 2, "resamples": 0}, "without intervals")):
        with pytest.raises(ValueError, match=words):
            atrous.evaluate(runs[0], clip, device="cpu", **settings)


def volume(path: Path, array: Any, spacing: tuple[float, ...]) -> None:
    nibabel = pytest.importorskip("nibabel")
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([*spacing, 1.0])), path)


def test_the_slices_of_a_volume_are_measured_together(runs: tuple[Path, Path], tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    truths = {}
    for name in ("a", "b"):
        truths[name] = np.zeros((17, 19, 5), np.uint8)
        truths[name][4:12, 5:15, 1:4] = 1
        image = random.integers(0, 256, (17, 19, 5)).astype(np.uint8)
        volume(tmp_path / "images" / "val" / f"{name}.nii.gz", image, (0.5, 0.75, 3.0))
        volume(tmp_path / "masks" / "val" / f"{name}.nii.gz", truths[name], (0.5, 0.75, 3.0))
    report = atrous.evaluate(runs[0], tmp_path, measures="distances", device="cpu")
    found = report.evaluation.distances
    assert (found.unit, found.volumes, len(found.values)) == ("mm", 2, 2)
    assert report.scores.images == 10
    assert "(in mm; 2 images, 2 of them volumes; " in report.as_text()

    slices = {pair.name: pair for pair in open_dataset(tmp_path, space=SPACE).splits["val"]}
    scorer = atrous.load(runs[0], device="cpu")
    expected = None
    for name in ("a", "b"):
        samples = [read_sample(pair, SPACE) for key, pair in slices.items() if f"/{name}/" in key]
        labels = np.stack([predicted(scorer, sample, SPACE).labels for sample in samples])
        truth = np.stack([sample.labels for sample in samples])
        place = samples[0].place
        each = Distances.of(truth, labels, SPACE, spacing=(place.slice, *place.pixel), unit="mm")
        expected = each if expected is None else expected + each
    np.testing.assert_allclose(found.values, expected.values)


def test_places_of_two_units_are_measured_in_pixels(cells: Path, tmp_path: Path) -> None:
    slices = [Slice(tmp_path / "v.nii", index, place=Spacing((1.0, 2.0), 3.0)) for index in range(3)]
    pairs = [Pair(f"v/{index}", each, None) for index, each in enumerate(slices)]
    assert lengths_of(pairs).spacings == dict.fromkeys(("v/0", "v/1", "v/2"), (3.0, 1.0, 2.0))
    gap = lengths_of([pairs[0], pairs[2]])
    assert gap.volumes == {}
    assert gap.spacings["v/0"] == (1.0, 2.0)
    assert "the slices of 1 volumes do not follow one another evenly" in gap.notes[0]
    mixed = lengths_of([*pairs, Pair("p", cells / "images" / "val" / "a.png", None)])
    assert (mixed.unit, mixed.spacings) == (None, {})
    assert "in pixels, since the images are not of one unit (3 in mm, 1 in pixels)" in mixed.notes[0]


# Comparing ------------------------------------------------------------------------------------------------------------


def test_two_runs(runs: tuple[Path, Path], cells: Path, tmp_path: Path) -> None:
    page = tmp_path / "versus.html"
    found = atrous.compare(*runs, cells, html=page, measures="trimap", device="cpu")
    alone = [atrous.evaluate(each, cells, device="cpu").scores for each in runs]
    assert [side["mean_iou"] for side in found.means] == pytest.approx([each.mean_iou for each in alone])
    document = found.as_json()
    assert document["difference"]["mean_iou"] == pytest.approx(alone[1].mean_iou - alone[0].mean_iou)
    for row, first, second in zip(document["classes"], alone[0].iou, alone[1].iou, strict=True):
        assert (row["first"], row["second"]) == pytest.approx((first, second))
        assert row["low"] <= row["high"]
    assert document["sentence"] in found.as_text()
    text = page.read_text("utf-8")
    assert "Other measures" in text
    assert '<img alt="one"' in text
    assert '<img alt="errors two"' in text


def test_both_runs_are_treated_alike(run: Run, runs: tuple[Path, Path], cells: Path, tmp_path: Path) -> None:
    around = {"scales": (0.5, 1.0), "window": 64, "overlap": 0.5}
    found = atrous.compare(*runs, cells, device="cpu", **around)
    alone = [atrous.evaluate(each, cells, device="cpu", **around).scores for each in runs]
    assert [side["mean_iou"] for side in found.means] == pytest.approx([each.mean_iou for each in alone])
    refined = atrous.compare(*runs, cells, crf="mild", device="cpu")
    after = [atrous.evaluate(each, cells, crf="mild", device="cpu").after.scores for each in runs]
    assert [side["mean_iou"] for side in refined.means] == pytest.approx([each.mean_iou for each in after])
    page = tmp_path / "p.html"
    code, said, _ = run("compare", *runs, cells, "--crf", "--html", page, "--json", "--device", "cpu", "--quiet")
    assert code == 0
    assert "crf refined" not in page.read_text("utf-8")
    assert json.loads(said)["images"] == 3
    with pytest.raises(ValueError, match="tta came without data; it is for models"):
        atrous.compare(cells, cells, labels=cells, tta=True)


def test_what_evaluate_stores_is_what_compare_reads(
    run: Run, runs: tuple[Path, Path], cells: Path, tmp_path: Path
) -> None:
    files = []
    for each in runs:
        code, said, _ = run("evaluate", each, cells, "--json", "--device", "cpu", "--quiet")
        assert code == 0
        files.append(tmp_path / f"{each.name}.json")
        files[-1].write_text(said, "utf-8")
    code, said, _ = run("compare", *files, "--json")
    assert code == 0
    direct = atrous.compare(*runs, cells, device="cpu").as_json()
    assert json.loads(said) == direct
    code, said, _ = run("compare", *files, "--html", tmp_path / "v.html")
    assert code == 0
    assert said.startswith("first: one\nsecond: two")
    assert (tmp_path / "v.html").is_file()


def test_the_same_twice_is_no_difference(runs: tuple[Path, Path], cells: Path) -> None:
    found = atrous.compare(runs[0], runs[0], cells, device="cpu")
    assert found.as_json()["difference"]["mean_iou"] == 0
    assert found.won == (0, 0)
    assert not found.differences["mean_iou"].significant


def test_files_that_hold_no_evaluation(tmp_path: Path) -> None:
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    first.write_text("[1]", "utf-8")
    second.write_text("{", "utf-8")
    with pytest.raises(AtrousError, match=r"a.json: holds no counts per image; give a file that"):
        atrous.compare(first, first)
    with pytest.raises(AtrousError, match=r"b.json: not readable JSON"):
        atrous.compare(second, first)
    with pytest.raises(ValueError, match="data came with two JSON files"):
        atrous.compare(first, first, tmp_path)


def test_runs_without_data(runs: tuple[Path, Path]) -> None:
    with pytest.raises(ValueError, match="neither data nor labels came; two runs are compared on DATA"):
        atrous.compare(*runs)


# Masks of any tool ----------------------------------------------------------------------------------------------------


def masks(folder: Path, **arrays: Any) -> Path:
    for name, array in arrays.items():
        write_image(folder / f"{name}.png", np.asarray(array, np.uint8))
    return folder


TRUTH = np.array([[0, 0, 1, 1], [0, 2, 2, 255]])
FOUND = np.array([[0, 1, 1, 1], [0, 2, 0, 0]])
MATRIX = [[2, 1, 0], [0, 2, 0], [1, 0, 1]]


def test_names_are_paired_with_their_endings(tmp_path: Path) -> None:
    labels = masks(tmp_path / "labels" / "town", x_gtFine_labelTrainIds=TRUTH, y_gtFine_labelTrainIds=TRUTH)
    found = masks(tmp_path / "found", x_leftImg8bit_pred=FOUND, y_pred=FOUND, z_pred=FOUND)
    report = atrous.evaluate_masks(found, labels.parent, classes=("road", "car", "sky"))
    assert report.scores.confusion.tolist() == (2 * np.array(MATRIX)).tolist()
    assert report.scores.space.names == ("road", "car", "sky")
    assert report.about["notes"] == ["1 predictions have no label and are left out"]
    assert "1 predictions have no label" in report.as_text()


def test_cityscapes_ids_of_both_sides(tmp_path: Path) -> None:
    truth, found = np.array([[7, 7, 26, 3]]), np.array([[7, 26, 26, 0]])
    labels = masks(tmp_path / "gtFine", a_gtFine_labelIds=truth, a_gtFine_instanceIds=truth, a_gtFine_color=truth)
    ids = masks(tmp_path / "ids", a_leftImg8bit=found)
    trained = masks(tmp_path / "trained", a_leftImg8bit=[[0, 13, 13, 5]])
    for folder in (ids, trained):
        scores = atrous.evaluate_masks(folder, labels).scores
        assert scores.space.names[:2] == ("road", "sidewalk")
        assert scores.confusion[0, 0] == scores.confusion[0, 13] == scores.confusion[13, 13] == 1
        assert scores.confusion.sum() == 3


def test_what_is_predicted_as_nothing_is_wrong(tmp_path: Path) -> None:
    labels = masks(tmp_path / "labels", a=[[0, 1, 2, 255]])
    found = masks(tmp_path / "found", a=[[0, 255, 2, 255]])
    report = atrous.evaluate_masks(found, labels)
    assert report.scores.space.names[-1] == "(no class)"
    assert report.scores.iou[:3].tolist() == [1, 0, 1]
    assert report.scores.mean_iou == pytest.approx(2 / 3)


def test_forms_of_masks_may_differ(tmp_path: Path) -> None:
    labels = masks(tmp_path / "labels", a=[[0, 255, 255, 0]])
    ones = masks(tmp_path / "ones", a=[[0, 1, 0, 0]])
    palette = Image.fromarray(np.uint8([[0, 1, 0, 0]]))
    palette.putpalette([0, 0, 0, 200, 10, 10])
    (tmp_path / "palette").mkdir()
    palette.save(tmp_path / "palette" / "a.png")
    for folder in (ones, tmp_path / "palette"):
        assert atrous.evaluate_masks(folder, labels).scores.confusion.tolist() == [[2, 0], [1, 1]]
    back = atrous.evaluate_masks(labels, ones)
    assert back.scores.confusion.tolist() == [[2, 1], [0, 1]]
    assert "predictions hold 0 and 255" in back.about["notes"][0]


def test_coloured_masks(tmp_path: Path) -> None:
    red, green = (200, 0, 0), (0, 200, 0)
    labels = masks(tmp_path / "labels", a=[[red, red, green, green]])
    found = masks(tmp_path / "found", a=[[red, green, green, green]])
    assert atrous.evaluate_masks(found, labels).scores.confusion.tolist() == [[2, 0], [1, 1]]


def test_a_dataset_as_labels(cells: Path, tmp_path: Path) -> None:
    found = tmp_path / "found"
    for path in (cells / "masks" / "val").iterdir():
        array = np.array(Image.open(path))
        write_image(found / path.name, np.where(array == 255, 0, array).astype(np.uint8))
    report = atrous.evaluate_masks(found, cells)
    assert report.scores.pixel_accuracy == 1
    assert report.scores.images == 3


def test_volumes_of_masks(tmp_path: Path) -> None:
    truth = np.zeros((9, 8, 4), np.uint8)
    truth[2:6, 2:6, 1:3] = 1
    for name in ("x", "y"):
        volume(tmp_path / "labels" / f"{name}_seg.nii.gz", truth, (0.5, 0.5, 2.0))
        volume(tmp_path / "found" / f"{name}.nii.gz", np.roll(truth, 1, 0), (0.5, 0.5, 2.0))
        volume(tmp_path / "set" / "images" / "val" / f"{name}.nii.gz", truth * 100, (0.5, 0.5, 2.0))
        volume(tmp_path / "set" / "masks" / "val" / f"{name}.nii.gz", truth, (0.5, 0.5, 2.0))
    for labels in (tmp_path / "labels", tmp_path / "set"):
        report = atrous.evaluate_masks(tmp_path / "found", labels, measures="distances")
        assert report.scores.images == 8
        assert report.scores.confusion.tolist() == [[496, 16], [16, 48]]
        distances = report.evaluation.distances
        assert (distances.unit, distances.volumes, distances.hausdorff95[1]) == ("mm", 2, 0.5)
    volume(tmp_path / "found" / "y.nii.gz", truth[:, :, :3], (0.5, 0.5, 2.0))
    with pytest.raises(AtrousError, match=r"voxels came and .* has"):
        atrous.evaluate_masks(tmp_path / "found", tmp_path / "labels")


def test_a_folder_of_masks_has_no_split(tmp_path: Path) -> None:
    labels = masks(tmp_path / "labels", a=TRUTH)
    with pytest.raises(AtrousError, match="a folder of masks alone, which has no split 'test'; leave the split out"):
        atrous.evaluate_masks(labels, labels, split="test")


def test_two_folders_of_masks_are_no_model_and_data(run: Run, tmp_path: Path) -> None:
    labels = masks(tmp_path / "labels", a=TRUTH)
    code, _, err = run("evaluate", labels, labels)
    assert code == 2
    assert f"atrous evaluate --predictions {labels} --labels {labels}" in err


@pytest.mark.parametrize(
    ("labels", "found", "words"),
    [
        ({"a": TRUTH, "b": TRUTH}, {"a": FOUND}, "1 of the 2 labels in .* have no prediction, first b"),
        ({"a": TRUTH}, {"a": FOUND[:1]}, r"the prediction is 1 x 4 \(height x width\) and its label .* is 2 x 4"),
        ({"a": TRUTH}, {"a_pred": FOUND, "a_mask": FOUND}, "a_mask and a_pred all fit the label a"),
        ({"a_gt": TRUTH, "a": TRUTH}, {"a_pred": FOUND}, "a_pred fits several labels: a and a_gt"),
    ],
)
def test_pairs_that_are_none(tmp_path: Path, labels: Any, found: Any, words: str) -> None:
    with pytest.raises(AtrousError, match=words):
        atrous.evaluate_masks(masks(tmp_path / "found", **found), masks(tmp_path / "labels", **labels))


def test_folders_that_are_none(tmp_path: Path) -> None:
    labels = masks(tmp_path / "labels", a=TRUTH)
    (tmp_path / "empty").mkdir()
    with pytest.raises(AtrousError, match="nowhere: no such folder"):
        atrous.evaluate_masks(tmp_path / "nowhere", labels)
    with pytest.raises(AtrousError, match="empty: no masks in this folder"):
        atrous.evaluate_masks(tmp_path / "empty", labels)
    (masks(tmp_path / "cut", a=FOUND) / "a.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(AtrousError, match=r"a\.png"):
        atrous.evaluate_masks(tmp_path / "cut", labels)


def test_values_that_mean_nothing(tmp_path: Path) -> None:
    labels = masks(tmp_path / "labels", a=TRUTH)
    found = masks(tmp_path / "found", a=FOUND + 5)
    with pytest.raises(AtrousError, match=r"the prediction holds 5 on 4 pixels, and the classes are 0 \(x\), 1 \(y\)"):
        atrous.evaluate_masks(found, labels, classes=("x", "y", "z"))
    with pytest.raises(ValueError, match="calibration came, and masks have no probabilities"):
        atrous.evaluate_masks(labels, labels, measures="calibration")


def test_masks_from_the_command_line(run: Run, tmp_path: Path) -> None:
    labels = masks(tmp_path / "labels", a_gt=TRUTH, b_gt=TRUTH)
    found = masks(tmp_path / "found", a_pred=FOUND, b_pred=FOUND)
    page = tmp_path / "report.html"
    code, said, _ = run("evaluate", "--predictions", found, "--labels", labels, "--json", "--quiet", "--html", page)
    assert code == 0
    document = json.loads(said)
    assert document["confusion"] == (2 * np.array(MATRIX)).tolist()
    assert "objects" in document
    assert '<img alt="truth"' in page.read_text("utf-8")
    code, said, _ = run("compare", found, labels, "--labels", labels, "--quiet")
    assert code == 0
    assert said.startswith("first: found\nsecond: labels")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("evaluate", "MODEL and DATA missing"),
        ("evaluate run", "DATA missing"),
        ("evaluate --predictions a", "--labels missing"),
        ("evaluate --labels a", "--predictions missing"),
        ("evaluate run data --labels a", "--predictions missing"),
        ("evaluate run --predictions a --labels b", "'run' came with --predictions"),
        ("evaluate --predictions a --labels b --tta", "--tta came with --predictions"),
        ("evaluate run data --classes a,b", "--classes came with a model"),
        ("compare a b", "neither data nor labels came"),
        ("evaluate run data --measures boundry", "did you mean 'boundary'"),
    ],
)
def test_commands_that_are_not_clear(run: Run, arguments: str, words: str) -> None:
    code, _, err = run(*arguments.split())
    assert code == 2
    assert words in err
