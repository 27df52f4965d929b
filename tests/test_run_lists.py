"""Runs on a folder divided by the caller's lists: resumed with and without them, and scored on the same folder."""

import json

import numpy as np
import pytest

from atrous.contract import AtrousError, Preprocessing
from atrous.data import fingerprint, write_image
from atrous.runs import data_of, data_to_train_on, resumed_data
from atrous.store import Config, config_json, write_json

LISTS = {"train": "ab", "val": "cd"}


def written(place):
    """Write a folder of six images, of which its own lists leave out `d`, and the lists of `LISTS`."""
    for number, name in enumerate("abcdef"):
        noise = np.random.default_rng(number).integers(0, 255, (4, 5, 3), np.uint8)
        write_image(place / "data" / "images" / f"{name}.png", noise)
        write_image(place / "data" / "masks" / f"{name}.png", np.tile(np.uint8([0, 1, 1, 0, 1]), (4, 1)))
    (place / "data" / "train.txt").write_text("a\nb\nc\n")
    (place / "data" / "val.txt").write_text("e\nf\n")
    for name, lines in LISTS.items():
        (place / f"{name}.txt").write_text("\n".join(lines))
    return place / "data", {f"{name}_list": place / f"{name}.txt" for name in LISTS}


def run_on(out, dataset):
    config = Config(
        model="deeplab_v3plus", options={}, space=dataset.space, preprocessing=Preprocessing(), geometry={},
        fingerprint=fingerprint(dataset),
    )  # fmt: skip
    (out / "best").mkdir(parents=True)
    write_json(out / "best" / "config.json", config_json(config))
    write_json(out / "split.json", {name: [pair.name for pair in pairs] for name, pairs in dataset.splits.items()})
    return out


def names_of(dataset):
    return {split: "".join(pair.name[-1] for pair in pairs) for split, pairs in dataset.splits.items()}


def test_a_run_keeps_the_split_of_its_lists(tmp_path):
    root, lists = written(tmp_path)
    dataset = data_to_train_on(root, classes=None, **lists)
    assert names_of(dataset) == LISTS
    run = run_on(tmp_path / "run", dataset)
    assert names_of(data_of(run, root)) == LISTS
    assert names_of(data_of(run / "best", root)) == names_of(data_of(run, root))
    wishes = {"classes": None, "ignore": None, "labels": None, "layout": None, "masks": None}
    for given in ({}, lists, {"train_list": None, "val_list": None}, {"train_list": str(lists["train_list"])}):
        if given == {"train_list": str(lists["train_list"])}:
            with pytest.raises(AtrousError, match=r"train.txt: .*run was started with others in val, first images/c;"):
                resumed_data(run, root, **wishes, **given)
        else:
            assert resumed_data(run, root, **wishes, **given).splits == dataset.splits


def test_a_run_is_resumed_whatever_the_order_of_its_lists(tmp_path):
    root, lists = written(tmp_path)
    dataset = data_to_train_on(root, **lists)
    run = run_on(tmp_path / "run", dataset)
    lists["train_list"].write_text("images/b.png\nimages/a.png\n")
    assert resumed_data(run, root, **lists).splits == dataset.splits


def test_other_lists_are_refused(tmp_path):
    root, lists = written(tmp_path)
    run = run_on(tmp_path / "run", data_to_train_on(root, **lists))
    lists["train_list"].write_text("a\ne\n")
    words = (
        r"train.txt and .*val.txt: .*run was started with others in train, first images/b; leave --train-list and "
        r"--val-list out to resume"
    )
    with pytest.raises(AtrousError, match=words):
        resumed_data(run, root, **lists)


def test_an_image_of_the_lists_that_is_gone(tmp_path):
    root, lists = written(tmp_path)
    run = run_on(tmp_path / "run", data_to_train_on(root, **lists))
    for kind in ("images", "masks"):
        (root / kind / "d.png").unlink()
    with pytest.raises(
        AtrousError, match=r"1 of the 4 images that .*run was trained with are missing, first 'images/d'"
    ):
        data_of(run, root)


def test_a_real_folder_is_scored_on_what_its_lists_left_to_val(data_dir, tmp_path):
    names = sorted(path.stem for path in (data_dir / "isbi2012" / "image").iterdir())
    for name, some in (("train", names[:24]), ("val", names[24:])):
        (tmp_path / f"{name}.txt").write_text("\n".join(some))
    lists = {f"{name}_list": tmp_path / f"{name}.txt" for name in LISTS}
    dataset = data_to_train_on(data_dir / "isbi2012", **lists)
    run = run_on(tmp_path / "run", dataset)
    assert json.loads((run / "split.json").read_text())["val"] == [f"image/{name}" for name in names[24:]]
    assert data_of(run, data_dir / "isbi2012").splits == dataset.splits
